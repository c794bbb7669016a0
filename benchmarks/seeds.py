"""How many seeds grok: several seeds of one experiment trained as one stack, each into a folder of its own.

`python benchmarks/seeds.py --seeds 8 experiment=peluche` prints a table of every seed's marks and last accuracies; the
runs, with their figures, lie under outputs/seeds/NAME/SEED.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from grokplane import config
from grokplane.app import execute


def main() -> None:
    """Train, then print one row a seed, all seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="how many, from 0")
    parser.add_argument("--threshold", type=float, default=0.95, help="last test accuracy that counts as grokked")
    parser.add_argument("overrides", nargs="*", help="key=value, as for train.py")
    options = parser.parse_args()
    composed = [config.compose([*options.overrides, f"seed={seed}"]) for seed in range(options.seeds)]
    folders = [Path("outputs", "seeds", one.name, str(one.seed)) for one in composed]
    began = time.perf_counter()
    summaries = execute(composed, folders).summaries
    seconds = time.perf_counter() - began
    print("| seed | fitted at | generalised at | last train accuracy | last test accuracy |\n|---|---|---|---|---|")
    for seed, summary in enumerate(summaries):
        grok, last = summary["grok"], summary["last"]
        accuracies = f"{last['Acc/train']:.4f} | {last['Acc/test']:.4f}"
        print(f"| {seed} | {grok['train_step']} | {grok['test_step']} | {accuracies} |")
    grokked = sum(summary["last"]["Acc/test"] >= options.threshold for summary in summaries)
    print(f"\n{grokked} of {options.seeds} at or above {options.threshold:g}; ", end="")
    print(f"{seconds:.0f} s on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
