"""How many seeds grok: several seeds of one experiment trained as one stack, each into a folder of its own.

`python benchmarks/seeds.py --seeds 8 experiment=peluche` prints a table of every seed's marks and last accuracies; the
runs, with their figures, lie under outputs/seeds/NAME/SEED. The same call again goes on with what is not finished.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from omegaconf import DictConfig

from grokplane import config
from grokplane.app import execute
from grokplane.app.resume import disagreements, nothing_left, run_config
from grokplane.app.session import plain
from grokplane.record import read_summary


def has_work(one: DictConfig, folder: Path) -> bool:
    """Whether a run is not over; ends the program where its folder holds another one."""
    stored = run_config(folder)
    if stored is not None and (wrong := disagreements(plain(one), stored)):
        sys.exit(
            f"{folder} holds a run with another config ({', '.join(wrong)}): delete it, or name this one (name=NAME)"
        )
    return nothing_left(folder, one) is None


def main() -> None:
    """Train, then print one row a seed, all seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="how many, from 0")
    parser.add_argument("--threshold", type=float, default=0.95, help="last test accuracy that counts as grokked")
    parser.add_argument("overrides", nargs="*", help="key=value, as for train.py")
    options = parser.parse_args()
    composed = [
        config.compose([*options.overrides, f"seed={seed}", "train.resume=true"]) for seed in range(options.seeds)
    ]
    folders = [Path("outputs", "seeds", one.name, str(one.seed)) for one in composed]
    left = [pair for pair in zip(composed, folders, strict=True) if has_work(*pair)]
    began = time.perf_counter()
    if left:
        execute([one for one, _ in left], [folder for _, folder in left])
    summaries, seconds = [read_summary(folder) for folder in folders], time.perf_counter() - began
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
