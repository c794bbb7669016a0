"""`python -m grokplane.measure RUN... --metrics NAME,...`: metrics over the saved checkpoints of trained runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from grokplane.app.commands import Parser, at_least, run_command, run_folders
from grokplane.app.measuring import measure_run
from grokplane.app.progress import Preparation
from grokplane.app.runs import open_run
from grokplane.record.measured import MEASURED
from grokplane.say import say

DESCRIPTION = f"""\
Computes metrics over the saved checkpoints of runs and appends them to {MEASURED} in each run's folder, from which
`grokplane.record.load` gives them beside the recorded ones. What is there already is not computed again."""
EPILOG = """\
Metrics are choices of the config group `metrics`. One that the run's config has is measured with its keys, another
one with its defaults. Train with train.keep_checkpoints=log_points or 8/decade to have checkpoints to measure.

example:
  python -m grokplane.measure outputs/default --metrics weight_norms,sparsity --steps 1024 2048

Exit code: 0; 2 for what cannot be measured, with one line that says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the runs of a command line; its exit code."""
    return run_command(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    parser = Parser("measure", DESCRIPTION, EPILOG, many=True)
    parser.add_argument("--metrics", required=True, metavar="NAME,...", help="what is measured")
    parser.add_argument("--steps", nargs="+", type=at_least(0), metavar="N", help="default: all that have a checkpoint")
    options = parser.parse_args(argv)
    names = [name.strip() for name in options.metrics.split(",") if name.strip()]
    for folder in run_folders(options.runs):
        run = open_run(folder, options.module)
        with Preparation(f"measuring checkpoints of {folder.name}") as progress:
            new, old = measure_run(run, names, options.steps, progress.show)
        say(f"{folder}: {new} checkpoints measured" + (f", {old} were measured before" if old else ""))


if __name__ == "__main__":
    sys.exit(main())
