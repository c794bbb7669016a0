"""The cost of a training step: grokplane alone and stacked, a bare hand-written loop, and modelbatch.

One process times all of them in turn, round after round, so that a drift of the machine reaches all alike; warm-up,
building and log points are left out. `python benchmarks/step.py` needs the extra `bench` and an idle machine, and takes
some minutes; docs/benchmarks.md holds what it found.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from cases import IMAGES, LR, WEIGHT_DECAY, Case, cases
from report import Ratio, Timing, machine, report

from grokplane.process_settings import set_up_process
from grokplane.train import Stack, run

STACKED, MANY = 16, 256

Contender = Callable[[int], int]
"""Does that many steps, or a few more; says how many."""


def bare(case: Case) -> Contender:
    """The loop one would write for this one network: torch.nn, fused AdamW, tensors in memory."""
    torch.manual_seed(0)
    network = case.bare().to(case.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    batches = case.batches()

    def steps(count: int) -> int:
        for _ in range(count):
            inputs, targets = next(batches)
            optimizer.zero_grad()
            case.bare_loss(network(inputs), targets).backward()
            optimizer.step()
        return count

    return steps


def ours(case: Case, count: int, grid: bool, capture: bool = True) -> Contender:
    """grokplane's own loop over a stack; on a GPU without CUDA graph if asked."""
    stack = Stack(case.members(count, grid))
    points = run(stack, capture=capture)

    def steps(count: int) -> int:
        start = stack.step
        while stack.step < start + count:  # it pauses at powers of two besides
            next(points)
        return stack.step - start

    return steps


def modelbatch(case: Case, shared: bool, fused: bool) -> Contender:
    """modelbatch as its documentation has it, with one param group a model.

    Args:
        case: what to train; each model with a learning rate and weight decay of its own.
        shared: one batch for all models, its default; else each has its own, as members of a stack have.
        fused: torch's fused AdamW in place of the default one.
    """
    from modelbatch import ModelBatch, OptimizerFactory  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    stack = ModelBatch([case.bare() for _ in range(STACKED)], shared_input=shared)
    options = [vars(member.optimizer) for member in case.members(STACKED, grid=True)]
    configs = [{key: one[key] for key in ("lr", "weight_decay")} for one in options]
    factory = OptimizerFactory(torch.optim.AdamW, {"fused": True} if fused else {})
    optimizer = factory.create_optimizer(stack, configs)
    batches = case.batches(None if shared else STACKED)

    def steps(count: int) -> int:
        for _ in range(count):
            inputs, targets = next(batches)
            optimizer.zero_grad()
            stack.compute_loss(stack(inputs), targets, case.bare_loss).backward()
            optimizer.step()
        return count

    return steps


def contenders(case: Case) -> dict[str, tuple[Contender, int]]:
    """By name, each contender and how many members it trains."""
    found = {
        "bare": (bare(case), 1),
        "solo": (ours(case, 1, grid=False), 1),
        "16 seeds": (ours(case, STACKED, grid=False), STACKED),
        "16 grid": (ours(case, STACKED, grid=True), STACKED),
    }
    if case.device != "cpu":
        found["solo, uncaptured"] = ours(case, 1, grid=False, capture=False), 1
        found["16 grid, uncaptured"] = ours(case, STACKED, grid=True, capture=False), STACKED
        found["256 grid"] = ours(case, MANY, grid=True), MANY
    elif case.name == IMAGES:
        found["modelbatch"] = modelbatch(case, shared=False, fused=False), STACKED
        found["modelbatch, shared"] = modelbatch(case, shared=True, fused=False), STACKED
        found["modelbatch, fused"] = modelbatch(case, shared=False, fused=True), STACKED
    return found


def measure(case: Case, threads: int, rounds: int, seconds: float) -> list[Timing]:
    """Time all contenders of a case in turn, each for about `seconds` a round."""
    set_up_process(threads)
    rivals = contenders(case)
    rivals = {name: (awaited(steps, case.device), members) for name, (steps, members) in rivals.items()}
    counts = {name: calibrate(steps, seconds, case.pause) for name, (steps, _) in rivals.items()}
    found: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, (steps, members) in rivals.items():
            found[name].append(1e3 * each(steps, counts[name]) / members)
    return [Timing(case.name, threads, name, values) for name, values in found.items()]


def awaited(steps: Contender, device: str) -> Contender:
    """Steps that are done when it returns; a GPU is still at them otherwise."""
    if device == "cpu":
        return steps

    def done(count: int) -> int:
        number = steps(count)
        torch.cuda.synchronize(device)
        return number

    return done


def calibrate(steps: Contender, seconds: float, pause: int) -> int:
    """Warm up, and tell how many steps take about this long: a multiple of `pause`, at which the loop can be left."""
    steps(pause)
    return max(1, round(seconds / each(steps, pause) / pause)) * pause


def each(steps: Contender, count: int) -> float:
    """Seconds a step, over about that many."""
    start = time.perf_counter()
    number = steps(count)
    return (time.perf_counter() - start) / number


def matmul_rate(device: str, rounds: int = 15) -> float:
    """GFLOP/s of a large float32 product on the device, a CPU at its current number of threads: the best of several."""
    size = 1536 if device == "cpu" else 8192
    one, other = torch.randn(2, size, size, device=device)

    def multiply(count: int) -> int:
        for _ in range(count):
            torch.mm(one, other)
        return count

    multiply(1)
    return 2e-9 * size**3 / min(each(awaited(multiply, device), 1) for _ in range(rounds))


def main() -> int:
    """Time every case at every number of threads, or on a GPU; 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu", help="cpu or cuda, where one thread drives it")
    parser.add_argument("--case", nargs="+", help="only cases whose name starts so")
    parser.add_argument("--quick", action="store_true", help="3 short rounds in place of 9")
    parser.add_argument("--json", type=Path, help="write all timings there too")
    options = parser.parse_args()
    rounds, seconds = (3, 0.1) if options.quick else (9, 0.4)
    where = machine(options.device)
    print(where)
    timings: list[Timing] = []
    found: list[Ratio] = []
    for threads in options.threads if options.device == "cpu" else [1]:
        torch.set_num_threads(threads)
        rate = matmul_rate(options.device)
        for case in cases(threads, options.device):
            if options.case is None or case.name.startswith(tuple(options.case)):
                measured = measure(case, threads, rounds, seconds)
                timings += measured
                found += report(case, measured, rate)
    if options.json:
        record = {
            "machine": where,
            "timings": [asdict(t) for t in timings],
            "ratios": [asdict(r) for r in found],
        }
        options.json.write_text(json.dumps(record, indent=1))
    return int(any(one.verdict.startswith("FAIL") for one in found))


if __name__ == "__main__":
    sys.exit(main())
