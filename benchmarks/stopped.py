"""What members cost that have stopped: steps of a stack of eight of which 0, 1 or 7 are over, and of runs alone.

`python benchmarks/stopped.py [key=value ...]` takes the settings of `train.py`, by default three kinds of network, with
`mi=off` and without log points on the way. The contenders run in one process, in turn; medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time

from grokplane import config
from grokplane.train import Stack, prepare_process, run

MEMBERS, WARM = 8, 64  # a power of two, where the loop pauses; those that are over were taken out before
CASES = {"default": [], "nanda": ["experiment=nanda"], "lstm": ["model=lstm"]}
QUIET = ["mi=off", "metrics=[]", "log.dense_steps=0", "log.every=1000000", "train.checkpoint_every=1000000"]


def milliseconds(settings: list[str], members: int, over: int, steps: int) -> float:
    """Of one step of a stack of so many members, of which so many are over."""
    typed = [*settings, *QUIET, f"train.steps={WARM + steps}"]
    stacked = [config.member(config.compose([*typed, f"seed={seed}"])) for seed in range(members)]
    prepare_process(stacked)
    stack = Stack(stacked)
    stack.alive[:over] = False
    began = 0.0
    for point in run(stack):
        if point.step == WARM:
            began = time.perf_counter()
    return 1e3 * (time.perf_counter() - began) / steps


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="of each stack")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("overrides", nargs="*", help="key=value, as for train.py, in place of the three cases")
    options = parser.parse_intermixed_args()
    cases = {" ".join(options.overrides): options.overrides} if options.overrides else CASES
    shapes = {"8 alive": (MEMBERS, 0), "1 of 8 over": (MEMBERS, 1), "7 of 8 over": (MEMBERS, 7), "1 alone": (1, 0)}
    print(f"| ms a step | {' | '.join(shapes)} |\n|---|{'---:|' * len(shapes)}")
    for name, settings in cases.items():
        rounds = [
            [milliseconds(settings, *shape, options.steps) for shape in shapes.values()] for _ in range(options.rounds)
        ]
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in medians)} |", flush=True)


if __name__ == "__main__":
    main()
