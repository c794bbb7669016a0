"""How many seeds grok: several seeds of one experiment trained as one stack, each into a folder of its own.

`python benchmarks/seeds.py --seeds 8 experiment=peluche` prints a table of every seed's marks and accuracies: the last
ones and, to show the plateau before it generalises, those at the step `--at`. The runs, with their figures, lie under
outputs/seeds/NAME/SEED. The same call again goes on with what is not finished.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from grokplane import config
from grokplane.app import execute
from grokplane.app.resume import disagreements, nothing_left, run_config
from grokplane.app.session import plain
from grokplane.record import read_summary
from grokplane.record.rows import METRICS, read_rows


def has_work(one: DictConfig, folder: Path) -> bool:
    """Whether a run is not over; ends the program where its folder holds another one."""
    stored = run_config(folder)
    if stored is not None and (wrong := disagreements(plain(one), stored)):
        sys.exit(
            f"{folder} holds a run with another config ({', '.join(wrong)}): delete it, or name this one (name=NAME)"
        )
    return nothing_left(folder, one) is None


def accuracies(row: Mapping[str, Any]) -> str:
    """Of training, held-out and unseen questions, in three columns; the last is empty where there are no mirrors."""
    found = [row.get(f"Acc/{name}") for name in ("train", "test", "unseen")]
    return " | ".join("" if value is None else f"{value:.4f}" for value in found)


def row_at(folder: Path, step: int) -> Mapping[str, Any]:
    """What a run recorded at a step; empty if it has no log point there."""
    return next((row for row in read_rows(folder / METRICS) if row["step"] == step), {})


def main() -> None:
    """Train, then print one row a seed, all seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="how many, from 0")
    parser.add_argument("--threshold", type=float, default=0.95, help="last test accuracy that counts as grokked")
    parser.add_argument("--at", type=int, default=1_000, help="a log point whose accuracies are shown too")
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
    names = "train | test | unseen"
    print(f"| seed | fitted at | generalised at | at {options.at:,}: {names} | last: {names} |\n|{'---|' * 9}")
    for seed, (folder, summary) in enumerate(zip(folders, summaries, strict=True)):
        grok, shown = summary["grok"], [accuracies(row) for row in (row_at(folder, options.at), summary["last"])]
        print(f"| {seed} | {grok['train_step']} | {grok['test_step']} | {' | '.join(shown)} |")
    grokked = sum(summary["last"]["Acc/test"] >= options.threshold for summary in summaries)
    print(f"\n{grokked} of {options.seeds} at or above {options.threshold:g}; ", end="")
    print(f"{seconds:.0f} s on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
