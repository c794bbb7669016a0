"""What does mutual information cost a whole run? The default run with `mi=off` and with `mi=default`, in turns.

`python benchmarks/mi_run.py` trains through the real command line, logging, checkpoints, figures and W&B (offline)
included, three rounds of both; `--rounds 1 train.steps=4000` is a quick look.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = 0.25


def seconds(choice: str, folder: Path, overrides: list[str]) -> float:
    """Wall time of one run with a choice of `mi`.

    Raises:
        subprocess.CalledProcessError: if the run fails.
    """
    settings = [f"mi={choice}", f"hydra.run.dir={folder}", "record.wandb=offline", *overrides]
    began = time.perf_counter()
    subprocess.run([sys.executable, str(ROOT / "train.py"), *settings], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> int:
    """Print every round and the median of its ratios; 1 if that is above 1.25."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("overrides", nargs="*", help="key=value, as for train.py")
    options = parser.parse_intermixed_args()
    ratios = []
    with tempfile.TemporaryDirectory() as place:
        for number in range(options.rounds):
            # The other one first every second time, so that a machine that grows slower favours neither.
            order = ("off", "default")[:: 1 - 2 * (number % 2)]
            took = {choice: seconds(choice, Path(place) / f"{choice}{number}", options.overrides) for choice in order}
            ratios.append(took["default"] / took["off"])
            print(f"off {took['off']:6.1f} s   default {took['default']:6.1f} s   {ratios[-1]:.2f}", flush=True)
    more = statistics.median(ratios) - 1
    print(f"median {more:+.0%}: {'pass' if more <= ALLOWED else 'FAIL'} (<= {ALLOWED:+.0%})")
    return int(more > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
