"""Grids of runs: sweep files and multiruns as stacks, and the executors that train them."""

from __future__ import annotations

import sys

from grokplane.pasting import program
from grokplane.say import open_streams, say
from grokplane.waiting import BEFORE_REFUSALS, Doing

USAGE = """{program} FILE [key=value ...] [--dry-run | --status] [--executor NAME] [--max-members N] [--seed N]

Trains every cell of a sweep file (W&B's format, method grid or random) as stacks, with no server. If there is no such
FILE, `NAME` and `sweeps/NAME.yaml` are the sweep file of that name that comes with grokplane.

  key=value              a key that is the same for all cells; wins over the file's command, fixes a parameter
  key=a,b                values of a parameter, in place of the file's or besides them
  hydra.sweep.dir=DIR    output folder: a folder per cell, sweep.csv, a figure [outputs/sweeps/FILE]
  hydra.launcher.KEY=V   options of the stacks and the executor, listed below
  --dry-run              print cells, stacks, memory and an estimate of the time; nothing is written
  --status               print the present table of the cells
  --executor NAME        where stacks are trained: {executors} [local]
  --max-members N        most members of a stack [as many as half of the free memory holds]
  --seed N               seed of method random [0]
  --help                 show this text

The same call again skips finished cells, resumes interrupted ones and retries failed ones. Exit code: 0 when every cell
finished, 1 when one failed or diverged, 2 for a call that is refused, 130 or 143 when stopped by a signal.
"""


def main() -> None:
    """Run `sweep.py`; ends the process with its exit code. `--help` imports no torch."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        from grokplane.sweep.executors import EXECUTORS
        from grokplane.sweep.options import launcher_keys

        open_streams()
        say("\n".join([USAGE.format(program=program("sweep"), executors=", ".join(EXECUTORS)), *launcher_keys()]))
        sys.exit(0)
    with Doing("loading torch", BEFORE_REFUSALS):
        from grokplane.sweep.command import main as run
    run()
