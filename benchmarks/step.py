"""The cost of a training step: grokplane alone and stacked, a bare hand-written loop, and modelbatch.

One process times all of them in turn, round after round, so that a drift of the machine reaches all alike; warm-up,
building and log points are left out. `python benchmarks/step.py` needs the extra `bench` and an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from cases import IMAGES, LR, WEIGHT_DECAY, Case, cases

from grokplane.train import Stack, run

STACKED = 16
SOLO_AT_MOST, OVER_MODELBATCH = 1.15, 1.5

Contender = Callable[[int], None]
"""Does that many steps."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds a member-step of one contender, one value a round."""

    case: str
    threads: int
    contender: str
    rounds: list[float]

    @property
    def median(self) -> float:
        """Over the rounds."""
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Ratio:
    """How many times faster one contender is than another in member-steps per second.

    Attributes:
        ratio: of the medians.
        low, high: quartiles of the ratio within a round.
        required: what the project promises; None where it promises nothing.
    """

    case: str
    threads: int
    name: str
    ratio: float
    low: float
    high: float
    required: float | None

    @property
    def verdict(self) -> str:
        """Whether the promise is kept."""
        if self.required is None:
            return ""
        return f"{'pass' if self.ratio >= self.required else 'FAIL'} (>= {self.required:.2f})"


def bare(case: Case) -> Contender:
    """The loop one would write for this one network: torch.nn, fused AdamW, tensors in memory."""
    torch.manual_seed(0)
    network = case.bare()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    batches = case.batches()

    def steps(count: int) -> None:
        for _ in range(count):
            inputs, targets = next(batches)
            optimizer.zero_grad()
            case.bare_loss(network(inputs), targets).backward()
            optimizer.step()

    return steps


def ours(case: Case, count: int, grid: bool) -> Contender:
    """grokplane's own loop over a stack."""
    stack = Stack(case.members(count, grid))
    points = run(stack)

    def steps(count: int) -> None:
        until = stack.step + count
        while stack.step < until:
            next(points)

    return steps


def modelbatch(case: Case, fused: bool) -> Contender:
    """modelbatch, as its documentation has it: one batch for all models, one param group a model."""
    from modelbatch import ModelBatch, OptimizerFactory  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    stack = ModelBatch([case.bare() for _ in range(STACKED)])
    configs = [{"lr": m.optimizer.options["lr"], "weight_decay": m.optimizer.options["weight_decay"]}
               for m in case.members(STACKED, grid=True)]  # fmt: skip
    factory = OptimizerFactory(torch.optim.AdamW, {"fused": True} if fused else {})
    optimizer = factory.create_optimizer(stack, configs)
    batches = case.batches()

    def steps(count: int) -> None:
        for _ in range(count):
            inputs, targets = next(batches)
            optimizer.zero_grad()
            stack.compute_loss(stack(inputs), targets, case.bare_loss).backward()
            optimizer.step()

    return steps


def contenders(case: Case) -> dict[str, tuple[Contender, int]]:
    """By name, each contender and how many members it trains."""
    rivals = {
        "bare": (bare(case), 1),
        "solo": (ours(case, 1, grid=False), 1),
        "16 seeds": (ours(case, STACKED, grid=False), STACKED),
        "16 grid": (ours(case, STACKED, grid=True), STACKED),
    }
    if case.name != IMAGES:
        return rivals
    return rivals | {
        "modelbatch": (modelbatch(case, fused=False), STACKED),
        "modelbatch fused": (modelbatch(case, fused=True), STACKED),
    }


def measure(case: Case, threads: int, rounds: int, seconds: float) -> list[Timing]:
    """Time all contenders of a case in turn, each for about `seconds` a round."""
    torch.set_num_threads(threads)
    rivals = contenders(case)
    counts = {name: calibrate(steps, seconds) for name, (steps, _) in rivals.items()}
    found: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, (steps, members) in rivals.items():
            found[name].append(1e3 * elapsed(steps, counts[name]) / counts[name] / members)
    return [Timing(case.name, threads, name, values) for name, values in found.items()]


def calibrate(steps: Contender, seconds: float) -> int:
    """Warm up, and tell how many steps take about this long: whole hundreds, as the loop pauses after a hundred."""
    steps(200)
    each = elapsed(steps, 100) / 100
    return max(1, round(seconds / each / 100)) * 100


def elapsed(steps: Contender, count: int) -> float:
    """Seconds for that many steps."""
    start = time.perf_counter()
    steps(count)
    return time.perf_counter() - start


def matmul_rate(size: int = 1536, rounds: int = 15) -> float:
    """GFLOP/s of a large float32 product at the current number of threads: the best of several."""
    one, other = torch.randn(size, size), torch.randn(size, size)

    def multiply(count: int) -> None:
        for _ in range(count):
            torch.mm(one, other)

    return 2e-9 * size**3 / min(elapsed(multiply, 1) for _ in range(rounds))


def ratios(case: Case, timings: list[Timing]) -> list[Ratio]:
    """Every comparison of a case that a promise is about, and the floor's share."""
    by_name = {timing.contender: timing for timing in timings}
    threads = timings[0].threads
    stacked = case.required if threads == 2 else None
    wanted = [("solo", "bare", 1 / SOLO_AT_MOST), ("16 seeds", "bare", stacked), ("16 grid", "bare", stacked)]
    if "modelbatch" in by_name:
        wanted += [("16 grid", "modelbatch", OVER_MODELBATCH), ("16 grid", "modelbatch fused", None)]
    return [compare(by_name[fast], by_name[slow], required) for fast, slow, required in wanted]


def compare(fast: Timing, slow: Timing, required: float | None) -> Ratio:
    """The ratio of medians, with quartiles over the rounds."""
    each = sorted(b / a for a, b in zip(fast.rounds, slow.rounds, strict=True))
    low, _, high = statistics.quantiles(each, n=4)
    name = f"{fast.contender} / {slow.contender}"
    return Ratio(fast.case, fast.threads, name, slow.median / fast.median, low, high, required)


def table(case: Case, timings: list[Timing], rate: float) -> str:
    """Markdown rows: milliseconds a member-step, and the floor that the products alone set at the measured rate."""
    naive, executed = (1e-6 * flops / rate for flops in (case.naive_flops, case.executed_flops))
    rows = [f"{'contender':<18} | ms a member-step | quartiles", "--- | ---: | ---"]
    for timing in timings:
        low, _, high = statistics.quantiles(timing.rounds, n=4)
        rows.append(f"{timing.contender:<18} | {timing.median:16.3f} | {low:.3f}-{high:.3f}")
    rows += [f"{'floor, as written':<18} | {naive:16.3f} | ", f"{'floor, as executed':<18} | {executed:16.3f} | "]
    return "\n".join(rows)


def machine() -> str:
    """Hardware, versions and load, in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    name = names[0] if names else platform.machine()
    return f"{name}, {cores} cores, load {load:.2f}; Python {platform.python_version()}, torch {torch.__version__}"


def report(case: Case, timings: list[Timing], rate: float) -> list[Ratio]:
    """Print a case's table and comparisons."""
    print(f"\n## {case.name}, {timings[0].threads} threads ({rate:.0f} GFLOP/s)\n\n{table(case, timings, rate)}\n")
    found = ratios(case, timings)
    for one in found:
        print(f"{one.name:<26} {one.ratio:5.2f} ({one.low:.2f}-{one.high:.2f})  {one.verdict}", flush=True)
    return found


def main() -> int:
    """Time every case at every number of threads; 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--case", nargs="+", help="only cases whose name starts so")
    parser.add_argument("--quick", action="store_true", help="3 short rounds in place of 9")
    parser.add_argument("--json", type=Path, help="write all timings there too")
    options = parser.parse_args()
    rounds, seconds = (3, 0.1) if options.quick else (9, 0.4)
    print(machine())
    timings: list[Timing] = []
    found: list[Ratio] = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        rate = matmul_rate()
        for case in cases(threads):
            if options.case is None or case.name.startswith(tuple(options.case)):
                measured = measure(case, threads, rounds, seconds)
                timings += measured
                found += report(case, measured, rate)
    if options.json:
        record = {"machine": machine(), "timings": [asdict(t) for t in timings], "ratios": [asdict(r) for r in found]}
        options.json.write_text(json.dumps(record, indent=1))
    return int(any(one.verdict.startswith("FAIL") for one in found))


if __name__ == "__main__":
    sys.exit(main())
