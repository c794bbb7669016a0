"""What the commands on trained runs share: arguments, refusals in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from grokplane import config
from grokplane.app.errors import REFUSALS, Refused, one_line
from grokplane.app.exit_codes import REFUSED
from grokplane.pasting import program
from grokplane.record import find_runs
from grokplane.say import note, open_streams


class _Use(argparse.Action):
    """Imports a plug-in."""

    def __call__(self, parser: object, namespace: object, values: Any, option_string: object = None) -> None:  # noqa: ARG002
        """Import the module that the argument names."""
        config.use_plugins([values])


class Parser(argparse.ArgumentParser):
    """Arguments of `grokplane NAME RUN ...`; what cannot be parsed is refused in one line.

    Args:
        name: of the command.
        description, epilog: what `--help` says before and after the list of arguments.
        many: whether the command takes several runs, as `runs`; else it takes one `run` and a `--step`.
    """

    def __init__(self, name: str, description: str, epilog: str, many: bool = False) -> None:
        super().__init__(
            prog=program(name),
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if many:
            self.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folder of a run, or one of runs")
        else:
            self.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
            text = "the checkpoint of this step, whatever became of the run; default: the last step of a finished run"
            self.add_argument("--step", type=at_least(0), metavar="N", help=text)
        self.add_argument("--module", metavar="CLASS", help="the run's own module, which is imported: my_nets.Net")
        self.add_argument("--plugin", metavar="MODULE", action=_Use, help="a plug-in of the run, which is imported")

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


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """The folders of runs that a command's arguments name: each is a run, or a folder of runs."""
    try:
        return list(find_runs([path.expanduser() for path in paths]).values())
    except FileNotFoundError as error:
        raise Refused(str(error)) from None


def run_command(command: Callable[[], None]) -> int:
    """Run the body of a command; its exit code: 0, or 2 for what is refused in one line."""
    open_streams()
    try:
        command()
    except REFUSALS as error:
        note(one_line(error, [], []))
        return REFUSED
    return 0
