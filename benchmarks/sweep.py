"""Is a grid trained as stacks sooner done than its cells one after the other, and are its results the same?

`python benchmarks/sweep.py` runs the 32 cells of sweeps/weight_decay_x_seed.yaml three times through the real command
line, logging and W&B (offline) included: as jobs of Hydra's basic launcher, by `sweep.py`, and by `sweep.py` in stacks
of 8. A stack and a solo run sum in another order. That round-off alone separates them shows in float64, where what
separates them must be smaller by nine orders: `--steps 200 train.dtype=float64`.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from grokplane.record import read_summary

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "sweeps" / "weight_decay_x_seed.yaml"
REQUIRED = 1.5
COMPARED = ("Acc/test", "Acc/train", "Loss/test", "WN/global")


def timed(arguments: Sequence[str], cwd: Path) -> float:
    """Wall time of a call.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def basic(common: Sequence[str], cwd: Path) -> tuple[float, list[Path]]:
    """The cells as a multirun of Hydra's basic launcher: its wall time and the cells' folders in order."""
    sweep = yaml.safe_load(FILE.read_text())
    fixed = [part for part in sweep["command"] if "=" in part]
    grid = [f"{key}={','.join(map(str, values['values']))}" for key, values in sweep["parameters"].items()]
    seconds = timed([str(ROOT / "train.py"), "-m", *fixed, *common, *grid, "hydra.sweep.dir=basic"], cwd)
    return seconds, sorted((cwd / "basic").glob("[0-9]*"), key=lambda folder: int(folder.name))


def stacked(common: Sequence[str], cwd: Path, name: str, *flags: str) -> tuple[float, list[Path]]:
    """The same by `sweep.py`."""
    seconds = timed([str(ROOT / "sweep.py"), str(FILE), *common, f"hydra.sweep.dir={name}", *flags], cwd)
    with (cwd / name / "sweep.csv").open(newline="") as file:
        return seconds, [cwd / name / row["folder"] for row in csv.DictReader(file)]


def main() -> int:
    """Print the times, their ratio and how far the results lie apart; 1 if the stacks are not 1.5 times sooner."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4_000, help="of each cell")
    parser.add_argument("overrides", nargs="*", help="key=value, for all cells")
    options = parser.parse_intermixed_args()
    common = [f"train.steps={options.steps}", "record.wandb=offline", *options.overrides]
    with tempfile.TemporaryDirectory() as place:
        runs = {"one by one": basic(common, Path(place))}
        print(f"one by one   {runs['one by one'][0]:.0f} s", flush=True)
        runs["stack"] = stacked(common, Path(place), "stack")
        print(f"stack        {runs['stack'][0]:.0f} s", flush=True)
        runs["stacks of 8"] = stacked(common, Path(place), "eights", "--max-members", "8")
        print(f"stacks of 8  {runs['stacks of 8'][0]:.0f} s", flush=True)
        last = {name: [read_summary(folder)["last"] for folder in folders] for name, (_, folders) in runs.items()}
    for one, other in itertools.combinations(last, 2):
        print(f"{one} - {other}: median (largest) absolute difference of the last values over the cells")
        for metric in COMPARED:
            apart = [abs(a[metric] - b[metric]) for a, b in zip(last[one], last[other], strict=True)]
            print(f"  {metric:<10} {statistics.median(apart):.2g} ({max(apart):.2g})")
    ratio = runs["one by one"][0] / runs["stack"][0]
    print(f"ratio {ratio:.2f}: {'pass' if ratio >= REQUIRED else 'FAIL'} (>= {REQUIRED:g})")
    return int(ratio < REQUIRED)


if __name__ == "__main__":
    sys.exit(main())
