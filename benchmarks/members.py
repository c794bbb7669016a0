"""How much memory and time a member takes in stacks of 1 to 256 members of peluche's task.

`python benchmarks/members.py` trains each stack in a process of its own: the members of `experiment=peluche`, seeds
0, 1 and so on, with `mi=off` and the metrics of the sweeps. Memory is the peak resident memory of the process (on a
GPU: what torch allocated there) beyond that before the stack was built; time is that of the steps, log points included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from grokplane import config
from grokplane.train import Stack, prepare_process, run

SIZES = (1, 16, 64, 256)
WARM = 16  # steps before the clock starts; a power of two, where the loop pauses
SETTINGS = (
    "experiment=peluche",
    "mi=off",
    "metrics=[loss,accuracy,weight_norms]",
    "log.dense_steps=0",
    "log.every=100",
)
UNIT = 1024**2 if sys.platform == "darwin" else 1024  # of ru_maxrss, in MiB


def used(device: torch.device) -> float:
    """Peak memory so far in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNIT


def measure(size: int, steps: int, overrides: list[str]) -> dict[str, float]:
    """MiB a member and milliseconds a member-step of a stack of so many members."""
    settings = [*SETTINGS, f"train.steps={WARM + steps}", *overrides]
    members = [config.member(config.compose([*settings, f"seed={seed}"])) for seed in range(size)]
    before = used(torch.device(members[0].train.device))
    prepare_process(members)
    stack = Stack(members)
    began = 0.0
    for point in run(stack):
        if point.step == WARM:
            began = time.perf_counter()
    seconds = time.perf_counter() - began
    return {"mebibytes": (used(stack.device) - before) / size, "milliseconds": 1e3 * seconds / steps / size}


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--steps", type=int, default=300, help="of each stack")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="key=value, as for train.py")
    options = parser.parse_intermixed_args()
    if options.only is not None:
        print(json.dumps(measure(options.only, options.steps, options.overrides)))
        return
    print("| members | MiB a member | ms a member-step | member-steps a second |\n|---:|---:|---:|---:|")
    for size in options.sizes:
        command = [sys.executable, __file__, "--only", str(size), "--steps", str(options.steps), *options.overrides]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        rate = 1e3 / found["milliseconds"]
        print(f"| {size} | {found['mebibytes']:.2f} | {found['milliseconds']:.3f} | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
