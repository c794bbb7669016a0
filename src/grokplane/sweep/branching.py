"""`python branch.py RUN --at STEP ...`; `--help` imports no torch."""

from __future__ import annotations

import sys

from grokplane.pasting import program
from grokplane.say import open_streams, say
from grokplane.waiting import BEFORE_REFUSALS, Doing

USAGE = """{program} RUN [RUN ...] --at STEP [key=value ...] [--control] [--arm NAME key=value ...] [--out DIR]

Continues a run from a checkpoint under other settings. Each arm is a run of its own, with the config of RUN and the
keys that change; arms that differ in stackable keys form one stack. Up to STEP an arm is RUN, to the last bit.

  --at STEP,...          steps that have a checkpoint; last: the last one
  key=value              a key that changes; key=a,b makes an arm for each value, several such keys a grid
  --arm NAME key=value   an arm with a name; the keys before the first --arm are those of all arms
  --control              an arm without changes, except of train.steps, checkpoints and record.*
  --out DIR              folder of the arms [RUN/branches; with several runs DIR/NAME OF RUN]
  --max-members N        most members of a stack [as many as half of the free memory holds]
  --help                 show this text

An arm lands in STEP-NAME, where NAME is its key=value pairs or that of --arm. The same call again skips finished arms
and resumes the others. Exit code: 0 when every arm finished, 1 when one failed, 3 when one diverged, 2 for a call that
is refused, 130 or 143 when stopped by a signal.
"""


def main() -> None:
    """Run `branch.py`; ends the process with its exit code."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        open_streams()
        say(USAGE.format(program=program("branch")))
        sys.exit(0)
    with Doing("loading torch", BEFORE_REFUSALS):
        from grokplane.sweep.branch_command import main as run
    run()
