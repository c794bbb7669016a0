"""How many seeds grok: several seeds of one experiment trained as one stack through `grokplane.train`.

`python benchmarks/seeds.py --seeds 8 experiment=peluche` prints a table of every seed's marks and last accuracies.
"""

from __future__ import annotations

import argparse
import time

import torch
from tqdm import tqdm

from grokplane import config
from grokplane.train import Stack, run


def main() -> None:
    """Train, then print one row a seed, all seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="how many, from 0")
    parser.add_argument("--threshold", type=float, default=0.95, help="last test accuracy that counts as grokked")
    parser.add_argument("overrides", nargs="*", help="key=value, as for train.py")
    options = parser.parse_args()
    composed = [config.compose([*options.overrides, f"seed={seed}"]) for seed in range(options.seeds)]
    stack = Stack([config.member(one) for one in composed])
    began = time.perf_counter()
    with tqdm(total=composed[0].train.steps) as bar:
        records = [{} for _ in stack.members]
        for point in run(stack):
            bar.update(point.step - bar.n)
            records = [new or old for new, old in zip(point.records or records, records, strict=True)]
    seconds = time.perf_counter() - began
    print("| seed | fitted at | generalised at | last train accuracy | last test accuracy |\n|---|---|---|---|---|")
    for seed, (marks, record) in enumerate(zip(stack.marks, records, strict=True)):
        accuracies = f"{record['Acc/train']:.4f} | {record['Acc/test']:.4f}"
        print(f"| {seed} | {marks.train_step} | {marks.test_step} | {accuracies} |")
    grokked = sum(record["Acc/test"] >= options.threshold for record in records)
    print(f"\n{grokked} of {options.seeds} at or above {options.threshold:g} after {stack.step:,} steps; ", end="")
    print(f"{seconds:.0f} s on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
