"""Does memory grow with steps? Peak resident memory of `experiment=peluche` after 20,000 and after 200,000 steps.

`python benchmarks/memory.py` trains both through the real command line, W&B offline included; `--small` does 2,000 and
20,000 steps. The peak is the kernel's own (`ru_maxrss` of the finished process).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = 0.05


def peak_mebibytes(steps: int, folder: Path, overrides: list[str]) -> float:
    """Peak resident memory of a run of that many steps, with its default log points.

    Raises:
        subprocess.CalledProcessError: if the run fails.
    """
    settings = ["experiment=peluche", f"train.steps={steps}", f"hydra.run.dir={folder}", "record.wandb=offline"]
    command = [sys.executable, str(ROOT / "train.py"), *settings, *overrides]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def main() -> int:
    """Print both peaks; 1 if the longer run needs more than 5% above the shorter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="2,000 and 20,000 steps")
    parser.add_argument("overrides", nargs="*", help="key=value, as for train.py")
    options = parser.parse_args()
    short = 2_000 if options.small else 20_000
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for steps in (short, 10 * short):
            peaks.append(peak_mebibytes(steps, Path(folder) / str(steps), options.overrides))
            print(f"{steps:>9,} steps: peak {peaks[-1]:.1f} MiB", flush=True)
    growth = peaks[1] / peaks[0] - 1
    print(f"growth {growth:+.1%}: {'pass' if growth <= ALLOWED else 'FAIL'} (<= {ALLOWED:.0%})")
    return int(growth > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
