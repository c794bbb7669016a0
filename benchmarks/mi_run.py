"""What does mutual information cost a whole run? Each run with `mi=off` and with `mi=default`, in turns.

`python benchmarks/mi_run.py --mnist FOLDER` trains through the real command line, logging, checkpoints, figures and W&B
(offline) included, three rounds of both; FOLDER holds MNIST/raw/, without it that case is left out. `--only default
nanda` chooses cases, `--rounds 1` is a quick look.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Case:
    """A run, and what information may cost it: a share of its wall time, or so many seconds."""

    typed: tuple[str, ...]
    share: float | None = None
    seconds: float | None = None
    program: str = "train.py"


CASES = {
    "default": Case((), share=0.10),
    "nanda": Case(("experiment=nanda", "train.steps=2000"), share=0.15),
    "power_division": Case(("experiment=power_division", "train.steps=2000"), share=0.15),
    "enerrio": Case(("experiment=enerrio", "train.steps=20000"), share=0.15),
    "mnist": Case(("train.steps=10000",), share=0.15, program="train_mnist.py"),
    "nanda, first 30 log points": Case(("experiment=nanda", "train.steps=30", "record.figures=false"), seconds=20.0),
}


def seconds(case: Case, choice: str, folder: Path, more: list[str]) -> float:
    """Wall time of one run with a choice of `mi`.

    Raises:
        subprocess.CalledProcessError: if the run fails.
    """
    settings = [f"mi={choice}", f"hydra.run.dir={folder}", "record.wandb=offline", *case.typed, *more]
    began = time.perf_counter()
    subprocess.run([sys.executable, str(ROOT / case.program), *settings], check=True, capture_output=True)
    return time.perf_counter() - began


def measured(name: str, case: Case, rounds: int, more: list[str]) -> bool:
    """Print every round of a case and the median of what it asks for; whether that is within its bar."""
    pairs = []
    with tempfile.TemporaryDirectory() as place:
        for number in range(rounds):
            # The other one first every second time, so that a machine that grows slower favours neither.
            order = ("off", "default")[:: 1 - 2 * (number % 2)]
            took = {choice: seconds(case, choice, Path(place) / f"{choice}{number}", more) for choice in order}
            pairs.append((took["off"], took["default"]))
            print(f"{name}: off {took['off']:6.1f} s   default {took['default']:6.1f} s", flush=True)
    if case.share is not None:
        found = statistics.median(default / off - 1 for off, default in pairs)
        passed, said, bar = found <= case.share, f"{found:+.1%}", f"{case.share:+.0%}"
    else:
        assert case.seconds is not None
        found = statistics.median(default - off for off, default in pairs)
        passed, said, bar = found <= case.seconds, f"{found:+.1f} s", f"{case.seconds:+.0f} s"
    print(f"{name}: median {said}: {'pass' if passed else 'FAIL'} (<= {bar})", flush=True)
    return passed


def main() -> int:
    """Measure the cases; 1 if one is above its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="cases")
    parser.add_argument("--mnist", type=Path, help="the folder that holds MNIST/raw/")
    options = parser.parse_args()
    passed = []
    for name in options.only:
        more = []
        if CASES[name].program == "train_mnist.py":
            if options.mnist is None:
                print(f"{name}: not measured, for want of --mnist FOLDER")
                continue
            more = [f"data.root={options.mnist.resolve()}"]
        passed.append(measured(name, CASES[name], options.rounds, more))
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main())
