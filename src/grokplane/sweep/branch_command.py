"""`python branch.py RUN --at STEP ...`: continues runs under other settings, all arms as stacks."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from grokplane import config
from grokplane.app.composing import Composer
from grokplane.app.errors import REFUSALS, Refused, one_line
from grokplane.app.exit_codes import DIVERGED, FAILED, FINISHED, REFUSED, SIGNALLED
from grokplane.app.jobs import check_trainable
from grokplane.app.nulls import as_nulls
from grokplane.app.plugged import named_plugins
from grokplane.app.report import report
from grokplane.app.sources import forget_sources
from grokplane.app.unread import refuse_unread, said
from grokplane.app.untyped import known_keys
from grokplane.record import read_summary
from grokplane.say import note, open_streams, say
from grokplane.sweep.branch_call import Arm, parse_branch_call
from grokplane.sweep.cells import Cell
from grokplane.sweep.command import leave, train_stacks
from grokplane.sweep.executors.local import Local
from grokplane.sweep.plan import left_to_do, stacks
from grokplane.waiting import BEFORE_REFUSALS, Doing

PROGRAM = "train"  # whose config the arms have


def main() -> None:
    """Run `branch.py` and end the process with its exit code."""
    open_streams()
    arguments = as_nulls(sys.argv[1:])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors in place of printing several lines
    signal.signal(signal.SIGTERM, leave)
    typed = [text for text in arguments if "=" in text and not text.startswith("-")]
    try:
        code = _main(arguments, typed)
    except REFUSALS as error:
        note(one_line(error, typed, known_keys(PROGRAM, typed)))
        code = REFUSED
    except KeyboardInterrupt:  # a second one during a step
        code = SIGNALLED + signal.SIGINT
    sys.exit(code)


def _main(arguments: Sequence[str], typed: Sequence[str]) -> int:
    with Doing("checking the call", BEFORE_REFUSALS):
        config.use_plugins(named_plugins(typed, None))
        config.register_schemas()
        call = parse_branch_call(arguments)
        composer = Composer(PROGRAM)
        cells = [_cell(arm, composer) for arm in call.arms]
        tasks = left_to_do(cells, remedy="name another folder with --out DIR, or delete these")
        _check(cells, composer)
        planned = stacks(tasks, call.max_members)
    code = train_stacks(cells, planned, Local())
    summaries = {cell.folder: read_summary(cell.folder) for cell in cells}
    for folder, summary in summaries.items():
        say(report(folder, summary) if summary.get("grok") else f"{folder}: {summary.get('error') or 'not begun'}")
    statuses = {summary.get("status") for summary in summaries.values()}
    if code or statuses <= {"finished"}:
        return code or FINISHED
    return DIVERGED if statuses <= {"finished", "diverged"} else FAILED


def _cell(arm: Arm, composer: Composer) -> Cell:
    try:
        return Cell({}, arm.overrides, arm.folder, composer.compose(arm.overrides, own=arm.folder))
    except REFUSALS as error:
        raise Refused(f"{one_line(error, arm.lines, known_keys(PROGRAM, arm.lines))}") from error


def _check(cells: Sequence[Cell], composer: Composer) -> None:
    """Refuse arms that have not begun and cannot be trained, and overrides that an arm would not read."""
    for cell in cells:
        if cell.config is None or cell.folder.exists():
            continue
        typed = said([one for one in composer.read(cell.overrides[1:]) if not one.is_hydra_override()])
        refuse_unread(typed, [check_trainable(cell.config)])
    forget_sources()
