"""`python sweep.py FILE`: trains a sweep file without a server, from reading the file to writing the table."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from grokplane import config
from grokplane.app.composing import Composer
from grokplane.app.errors import REFUSALS, Refused, one_line
from grokplane.app.exit_codes import FAILED, REFUSED, SIGNALLED
from grokplane.app.jobs import check_launcher, trains_elsewhere
from grokplane.app.nulls import as_nulls
from grokplane.app.plugged import named_plugins
from grokplane.app.progress import clock
from grokplane.app.unread import of_launcher, refuse_unread, said
from grokplane.app.untyped import known_keys
from grokplane.files import write_text
from grokplane.options import ConfigError
from grokplane.plugins import check_named
from grokplane.record import FolderLock, is_locked, status
from grokplane.record.folder import note_failure
from grokplane.resources import human
from grokplane.say import note, open_streams, say
from grokplane.sweep.call import Call, parse_call
from grokplane.sweep.cells import Cell, changed, make_cells
from grokplane.sweep.check import refuse_fewer_steps, refuse_hopeless
from grokplane.sweep.cost import pace
from grokplane.sweep.executors import Executor
from grokplane.sweep.place import Place, find_place
from grokplane.sweep.plan import Stacked, described, left_to_do, stacks
from grokplane.sweep.progress import SweepProgress
from grokplane.sweep.stack_job import failure_line
from grokplane.sweep.sweepfile import SweepFile, read_sweep
from grokplane.sweep.table import TABLE, counted, format_table, over_seeds, table, write_table
from grokplane.train.memory import free_bytes
from grokplane.waiting import BEFORE_REFUSALS, Doing

log = logging.getLogger(__name__)

FIGURE, PHASES = "sweep", "phases"
OVER = ("finished", "diverged", "failed")


def main() -> None:
    """Run `sweep.py` and end the process with its exit code."""
    open_streams()
    arguments = as_nulls(sys.argv[1:])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors in place of printing several lines
    signal.signal(signal.SIGTERM, leave)
    try:
        code = _main(arguments)
    except REFUSALS as error:
        note(one_line(error, [typed for typed in arguments if "=" in typed], known_keys("train")))
        code = REFUSED
    except KeyboardInterrupt:  # between two stacks, or a second one during a step
        code = SIGNALLED + signal.SIGINT
    sys.exit(code)


def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signature of a handler)
    """End the process with the exit code of the signal."""
    sys.exit(SIGNALLED + number)


def _main(arguments: Sequence[str]) -> int:
    call = parse_call(arguments)
    with Doing("composing the cells", BEFORE_REFUSALS):
        config.use_plugins(named_plugins(call.typed))  # what the file alone names is not imported
        sweep = read_sweep(call.file)
        composer = Composer(sweep.config_name)
        sweep = changed(sweep, call.typed, composer)
        check_named(named_plugins(tuple(sweep.fixed.values())))
        launcher = _launcher(call, sweep)
        if call.seed is not None and sweep.method == "grid":
            raise Refused(f"--seed {call.seed}: would not be read, as {sweep.path} says method: grid; leave it out")
        cells = make_cells(sweep, call.folder, call.seed or 0, composer)
        find_place(call.folder, sweep, cells, composer)
    if call.status:
        rows = table(cells, call.folder)
        lines = [format_table(rows, list(sweep.parameters)), counted(rows), *over_seeds(rows, list(sweep.parameters))]
        say("\n".join(lines))
        return 0
    with Doing("checking the cells and measuring what they take", BEFORE_REFUSALS):
        tasks = left_to_do(cells)
        refuse_fewer_steps(sweep, cells, tasks)
        refuse_hopeless(sweep, cells, tasks, trains_elsewhere(launcher))
        planned = stacks(tasks, launcher.max_members, measure=call.dry_run)
    if call.dry_run:
        _print_plan(cells, planned)
        return 0
    try:
        lock = FolderLock(call.folder, "hydra.sweep.dir")
    except OSError as error:
        raise ConfigError("hydra.sweep.dir", call.folder, f"cannot be made ({error.strerror})") from error
    try:
        place = find_place(call.folder, sweep, cells, composer)  # again, because another call may have come first
        return _run(place, cells, planned, instantiate(launcher[launcher.executor]))
    finally:
        lock.release()


def _launcher(call: Call, sweep: SweepFile) -> DictConfig:
    """The options of the stacks, validated."""
    asked = config.compose(["hydra/launcher=stacked", *call.hydra], sweep.config_name, with_hydra=True)
    check_launcher(asked)
    refuse_unread(said(config.parse(call.hydra)), [of_launcher(asked.hydra.launcher)])
    return asked.hydra.launcher


def _print_plan(cells: Sequence[Cell], planned: Sequence[Stacked]) -> None:
    """Print the planned stacks, and an estimate of the time to train them one after the other."""
    left = sum(len(stack.tasks) for stack in planned)
    bad = [cell for cell in cells if cell.config is None]
    say(f"{len(cells)} cells, {left} to train in {len(planned)} stacks")
    seconds, known = 0.0, dict[tuple[int, int], Any]()
    for number, stack in enumerate(planned, 1):
        size = len(stack.tasks)
        key = (id(stack.memory), size)  # stacks of the same group and size cost the same
        try:
            member = stack.member()
            if key not in known:
                known[key] = pace([member] * size)
        except Exception as error:  # an error of one cell must not end the others
            say(f"stack {number}: {described(stack)}; cannot be timed: {failure_line(error)}")
            continue
        own = known[key].seconds(max(0, stack.tasks[0].step), member.train.steps, member.log)
        seconds += own
        per = f"{known[key].step / size * 1e3:.3g} ms a member-step, {known[key].point / size * 1e3:.3g} ms a log point"
        say(f"stack {number}: {described(stack)}; {per}; about {clock(own)}")
    for cell in bad:
        say(f"{cell.folder.name}: cannot be built: {cell.error}")
    device = planned[0].tasks[0].config.train.device if planned else "cpu"
    most = max((stack.memory.of(len(stack.tasks)) for stack in planned if stack.memory), default=0)
    say(f"memory: {human(most)} at most, {human(free_bytes(device))} free")
    say(f"time: about {clock(seconds)} here, one stack after the other, without figures and uploads")


def _run(place: Place, cells: Sequence[Cell], planned: Sequence[Stacked], executor: Executor) -> int:
    """Train the planned stacks and write the table of all cells; return the exit code."""
    folder = place.folder
    note(f"folder  {folder}")
    place.write()
    for cell in cells:
        if cell.config is None and cell.error is not None:
            (cell.folder / ".hydra").mkdir(parents=True, exist_ok=True)
            write_text(cell.folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(list(cell.overrides)))
            note_failure(cell.folder, cell.error)
    code = train_stacks(cells, planned, executor)
    with Doing("writing the table"):
        rows, others = table(cells, folder), table(place.others, folder)
        write_table([*rows, *others], folder / TABLE)
    say("\n".join([counted(rows), *over_seeds(rows, place.keys)]))
    for row in rows:
        if row["status"] != "finished":
            why = row["error"] or (
                f"at step {row['diverged']}" if row["status"] == "diverged" else "run again to resume"
            )
            say(f"  {row['folder']}: {row['status']}, {why}")
    say(f"table   {folder / TABLE}" + f", with {len(others)} cells of earlier calls" * bool(others))
    if not all(row["status"] in OVER for row in rows):
        return code or FAILED
    composed = next(cell.config for cell in cells if cell.config is not None)
    with Doing("drawing the figure"):
        figures = _draw([*rows, *others], place.keys, composed, folder)
    for path in figures:
        say(f"figure  {path}")
    return FAILED if any(row["status"] != "finished" for row in rows) else 0


def train_stacks(cells: Sequence[Cell], planned: Sequence[Stacked], executor: Executor) -> int:
    """Train the stacks; return 128 + the signal that stopped the sweep, or 0."""
    code, count = 0, len(planned)
    jobs = [stack.job(f"stack {place} of {count}") for place, stack in enumerate(planned, 1)]
    with SweepProgress(len(cells), len(cells) - sum(len(stack.tasks) for stack in planned)) as progress:
        progress.plan([f"stack {place} of {count}: {described(stack)}" for place, stack in enumerate(planned, 1)])
        for position, result in executor.run(jobs):
            code = max(code, result.exit_code) if result.exit_code >= SIGNALLED else code
            for task, summary, error in zip(planned[position].tasks, result.summaries, result.errors, strict=True):
                if summary is None and error is not None:
                    _note_lost(task.folder, error)
            progress.ended(result)
    return code


def _note_lost(folder: Path, error: str) -> None:
    """Write the error of a run whose worker died without writing it."""
    if not is_locked(folder) and status(folder) not in ("finished", "diverged"):
        note_failure(folder, error)


def _draw(rows: Sequence[dict[str, Any]], parameters: Sequence[str], cell: DictConfig, folder: Path) -> list[Path]:
    """Draw the figures that fit the grid's shape. An error in drawing does not fail the sweep.

    Args:
        rows: the rows of the table.
        parameters: the swept keys.
        cell: the config of one cell.
        folder: the sweep's folder.

    Returns:
        Paths of the figures' files.
    """
    import pandas

    try:
        from grokplane import plot
        from grokplane.plot.sweeps import phases_figure, sweep_figure

        frame = pandas.DataFrame(rows)
        figures = {
            FIGURE: sweep_figure(frame, parameters, title=folder.name),
            PHASES: phases_figure(frame, parameters, title=folder.name),
        }
        drawn = [(name, figure) for name, figure in figures.items() if figure is not None]
        return [path for name, one in drawn for path in plot.save_all(one, folder, name, cell.record.figure_format)]
    except ValueError as error:
        say(f"figure  none: {error}")
    except Exception:
        log.warning("%s: the figure could not be drawn", folder, exc_info=True)
    return []
