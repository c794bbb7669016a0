"""`grokplane COMMAND ...`: all programs as one console script; `python -m grokplane COMMAND ...` is the same.

Imports torch only once a command is known, so that `grokplane --help` answers at once.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from typing import NamedTuple

from grokplane.options import one_of
from grokplane.say import note, open_streams, say
from grokplane.waiting import BEFORE_REFUSALS, Doing

REFUSED = 2  # of `grokplane.app.exit_codes`, whose package imports Hydra
_HEAD = """grokplane COMMAND [ARGUMENT ...]

Grokking on the information plane: trains small networks, alone or as stacks, and measures them.
"""
_END = """
grokplane COMMAND --help lists a command's arguments, grokplane --version prints the version.
Runs land in outputs/ of the current folder."""


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        help: one line.
        module: where its `main` is.
        arguments: of `main`.
    """

    help: str
    module: str
    arguments: tuple[str, ...] = ()


COMMANDS = {
    "train": Command("train on algorithmic data: key=value ...", "grokplane.app", ("train",)),
    "train-mnist": Command("train on images: key=value ...", "grokplane.app", ("train_mnist",)),
    "branch": Command("continue runs under other settings: RUN --at STEP [key=value ...]", "grokplane.sweep.branching"),
    "sweep": Command("run a sweep file: FILE [key=value ...]", "grokplane.sweep"),
    "predict": Command('what a trained run answers: RUN "3,4" ...', "grokplane.predict"),
    "prune": Command("accuracy of a trained run against sparsity: RUN", "grokplane.prune"),
    "measure": Command("metrics over the checkpoints of runs: RUN ... --metrics NAME,...", "grokplane.measure"),
    "llc": Command("local learning coefficient of a run, by devinterp: RUN", "grokplane.llc"),
    "marks": Command(
        "when recorded accuracies reached a threshold and stayed: FILE|RUN ...", "grokplane.record.marked"
    ),
    "sync": Command("rebuild a run's W&B run: RUN", "grokplane.record.sync"),
}


def main() -> int:
    """Run the command that the arguments name; the exit code."""
    open_streams()
    name, *arguments = sys.argv[1:] or ["COMMAND"]
    if name in ("-h", "--help"):
        rows = [f"  {name:<12} {command.help}" for name, command in COMMANDS.items()]
        say("\n".join([_HEAD, *rows, _END]))
        return 0
    if name == "--version":
        say(f"grokplane {importlib.metadata.version('grokplane')}")
        return 0
    if name not in COMMANDS:
        note(f"grokplane {name}: {one_of(name, [*COMMANDS, '--help', '--version'])}")
        return REFUSED
    sys.argv = [f"grokplane {name}", *arguments]  # from which messages know how the program was started
    command = COMMANDS[name]
    with Doing("loading torch", BEFORE_REFUSALS):
        module = importlib.import_module(command.module)
    return module.main(*command.arguments)


if __name__ == "__main__":
    sys.exit(main())
