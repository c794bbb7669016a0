"""`python -m grokplane.llc RUN`: the local learning coefficient of a trained run, sampled with devinterp."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields

from grokplane.app.commands import Parser, at_least, run_command, run_folders
from grokplane.app.learning import check_installed, sample_run
from grokplane.app.progress import Preparation
from grokplane.app.runs import open_run
from grokplane.mechanism.learning_coefficient import Sampling
from grokplane.record.measured import MEASURED
from grokplane.say import format_table, say

DESCRIPTION = f"""\
Estimates the local learning coefficient of a run's training loss at saved checkpoints, by the Langevin sampler of the
package devinterp (pip install 'grokplane[llc]'), and appends LLC and LLC_Errors to {MEASURED} in the run's folder."""
EPILOG = """\
The estimate depends on --lr, --localization and --n-beta: compare values of equal settings. A negative value means that
the checkpoint is not near a minimum of the loss.

example:
  python -m grokplane.llc outputs/default --steps 1024 20000 --draws 2000

Exit code: 0; 2 for what cannot be sampled, with one line that says why."""


def above_zero(text: str) -> float:
    """The type of an argument that is a finite number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (0 < number < math.inf):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text.strip()}")
    return number


def from_zero(text: str) -> float:
    """The type of an argument that is zero or a finite number above it."""
    return 0.0 if text.strip() in ("0", "0.0") else above_zero(text)


# The type and the help of each option of `Sampling`, whose names and defaults are those of the dataclass.
OPTIONS: dict[str, tuple[Callable[[str], int | float], str]] = {
    "chains": (at_least(2), "independent chains"),
    "draws": (at_least(1), "steps of a chain whose losses count"),
    "burn_in": (at_least(0), "steps before these"),
    "lr": (above_zero, "step size"),
    "localization": (from_zero, "strength of the pull towards the checkpoint's weights"),
    "n_beta": (above_zero, "inverse temperature times the number n of training points; default: n / ln n"),
    "seed": (at_least(0), "seed of the noise"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Sample the run of a command line; its exit code."""
    return run_command(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    parser = Parser("llc", DESCRIPTION, EPILOG, many=True)
    parser.add_argument("--steps", nargs="+", type=at_least(0), metavar="N", help="default: the last checkpoint")
    for spec in fields(Sampling):
        kind, text = OPTIONS[spec.name]
        text = text if spec.default is None else f"{text}; default: {spec.default:g}"
        name = "--" + spec.name.replace("_", "-")
        parser.add_argument(name, dest=spec.name, type=kind, default=spec.default, metavar="N", help=text)
    options = parser.parse_args(argv)
    check_installed()
    how = Sampling(**{spec.name: getattr(options, spec.name) for spec in fields(Sampling)})
    for folder in run_folders(options.runs):
        run = open_run(folder, options.module)
        with Preparation(f"sampling checkpoints of {folder.name}") as progress:
            found, old = sample_run(run, how, options.steps, progress.show)
        cells = [[f"{step:,}", f"{value:.4g}", f"{error:.2g}"] for step, (value, error) in found.items()]
        if cells:
            say(format_table([["step", "LLC", "error"], *cells], [True, True, True]))
        say(f"{folder}: {len(found)} checkpoints sampled" + (f", {old} were sampled before" if old else ""))


if __name__ == "__main__":
    sys.exit(main())
