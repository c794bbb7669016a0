"""What the commands that ask a finished run share: its folder as a stack, and refusals in one line."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from grokplane import config
from grokplane.app.errors import REFUSALS, Refused, one_line
from grokplane.app.exit_codes import REFUSED
from grokplane.app.stored import composed, is_state
from grokplane.app.typed import go_on
from grokplane.metrics import Off
from grokplane.options import ConfigError
from grokplane.record import Checkpoints, NoCheckpoint, read_summary, status
from grokplane.record.checkpoints import __name__ as CHECKPOINTS_LOGGER
from grokplane.record.lock import holder
from grokplane.record.rows import METRICS
from grokplane.say import note, open_streams
from grokplane.train import Member, Stack, prepare_process
from grokplane.train.device import find_device

GO_ON = "go on with: {go_on}"
# What a folder must say of itself by status; a finished run is the only one that is asked.
NOT_FINISHED = {
    "running": "the run is still running ({holder}): wait for it; should it end early, " + GO_ON,
    "dead": "the run is dead (killed before its end): " + GO_ON,
    "interrupted": "the run was interrupted at step {steps:,}: " + GO_ON,
    "failed": "the run failed at step {steps:,}: " + GO_ON,
    "diverged": "the run diverged at step {steps:,}: its training loss is not finite, there is nothing to ask",
}


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        folder: the run's folder.
        step: number of updates that it had.
        member: what it is, on a device that is here.
        state: its last checkpoint.
        note: a line on what is not as it was in training, "" for nothing.
    """

    folder: Path
    step: int
    member: Member
    state: dict[str, Any]
    note: str = ""

    def stack(self, copies: int = 1) -> Stack:
        """So many copies of the trained network as one stack, in eval mode.

        Raises:
            Refused: a checkpoint that is not of the model which its config describes.
        """
        prepare_process([self.member], [self.state])
        stack = Stack([self.member] * copies)
        try:
            stack.load_states([self.state] * copies)
        except (KeyError, RuntimeError) as error:
            cause = str(error).partition("\n")[0]
            raise Refused(f"{self.folder}: the checkpoint does not fit the model of its config ({cause})") from error
        stack.network.at(self.step)  # a layer's noise is that of the last log point
        stack.network.eval()
        return stack


def load_trained(folder: Path, module: str | None = None) -> Trained:
    """The finished run in a folder.

    Args:
        folder: the run's folder.
        module: the class of the run's own module, which the caller trusts; None where it has none.

    Raises:
        Refused: a folder that holds no finished run, or one whose last checkpoint is damaged.
        ConfigError, HydraException: a stored config that makes no member.
    """
    again = go_on(folder, module)
    summary = _finished(folder, again)
    step, state = _last(folder, summary["steps"], again)
    # Nothing is measured of it, and what older versions measured had other keys.
    unmeasured = {**state["config"], "mi": {"_target_": f"{Off.__module__}.{Off.__name__}"}}
    member = config.member(composed(unmeasured, [module] if module else []))
    try:
        find_device(member.train.device)
    except ConfigError:
        note = f"note: the run's train.device={member.train.device} is not here; this is computed on the cpu"
        return Trained(folder, step, replace(member, train=replace(member.train, device="cpu")), state, note)
    return Trained(folder, step, member, state)


def _finished(folder: Path, again: str) -> dict[str, Any]:
    """The summary of a folder that holds a finished run."""
    if not folder.is_dir():
        raise Refused(f"RUN={folder}: no such folder")
    try:
        found, summary = status(folder), read_summary(folder)
    except ConfigError as error:
        if isinstance(error.__cause__, OSError):
            raise Refused(f"RUN={folder}: {error.allowed}") from None
        why = f"its summary.json is damaged ({error.__cause__})"
        raise Refused(f"RUN={folder}: {why}: delete it and {GO_ON.format(go_on=again)}") from None
    if found == "empty":
        raise Refused(f"RUN={folder}: must be the folder of a run, with a {METRICS}{_below(folder)}")
    if found != "finished":
        facts = {"go_on": again, "steps": summary.get("steps", 0)}
        facts |= {"holder": holder(folder)} if found == "running" else {}
        raise Refused(f"RUN={folder}: {NOT_FINISHED[found].format(**facts)}")
    return summary


def _below(folder: Path) -> str:
    runs = [child for child in sorted(folder.iterdir()) if (child / METRICS).is_file()]
    return f"; did you mean {' or '.join(map(str, runs[-3:]))}?" if runs else ""


def _last(folder: Path, steps: int, again: str) -> tuple[int, dict[str, Any]]:
    """The checkpoint of a run's last step."""
    checkpoints = Checkpoints(folder)
    with _silent(CHECKPOINTS_LOGGER):  # of a damaged checkpoint the refusal tells
        try:
            step, state = checkpoints.latest()
        except NoCheckpoint:
            step, state = -1, {}
    path = checkpoints.path(steps)
    if step != steps:
        what = "is damaged" if path.exists() else "is missing"
        raise Refused(f"{path}: the checkpoint of the last step {what}: {GO_ON.format(go_on=again)}")
    if not is_state(state, steps):
        raise Refused(f"{path}: holds no state of a run")
    return step, state


@contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


class Parser(argparse.ArgumentParser):
    """Arguments of `python -m grokplane.NAME RUN ...`; what cannot be parsed is refused in one line."""

    def __init__(self, name: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=f"python -m grokplane.{name}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run")
        self.add_argument("--module", metavar="CLASS", help="the run's own module, which is imported: my_nets.Net")

    def error(self, message: str) -> NoReturn:
        """Raise the refusal in place of printing the usage."""
        raise Refused(f"{message}; --help explains")


def at_least(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number not below `least`."""

    def whole(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text.strip()}")
        return int(text)

    return whole


def run_command(command: Callable[[], None]) -> int:
    """Run the body of a command; its exit code: 0, or 2 for what is refused in one line."""
    open_streams()
    try:
        command()
    except REFUSALS as error:
        note(one_line(error, [], []))
        return REFUSED
    return 0


def format_table(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Rows of text as columns two spaces apart, each column flush right or left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
