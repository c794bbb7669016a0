"""`python -m grokplane.prune RUN`: accuracy of a trained run on its own split against sparsity."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokplane.app.commands import Parser, at_least, run_command
from grokplane.app.errors import Refused
from grokplane.app.pruning import TOLERANCE, Pruned, prune, sparsities
from grokplane.app.runs import load_trained
from grokplane.app.trained import Trained
from grokplane.files import write_text
from grokplane.record import overrides
from grokplane.record.folder import PRUNED
from grokplane.record.options import FORMATS
from grokplane.say import format_table, note, say
from grokplane.strict_json import to_json
from grokplane.waiting import BEFORE_REFUSALS, Doing

FIGURES = "figures"
STEPS = 41
DESCRIPTION = """\
Accuracy of a run's network against sparsity, by its last checkpoint or that of --step: the weights that are smallest
in size, over all layers together (global magnitude pruning), are set to zero, with no training afterwards. Pruned are
weight matrices, embeddings included; biases and layer norms are kept. Accuracy is told apart for the run's own training
subset (with its label noise, if it has any), for its own held-out subset, which training has never seen, and for its
out-of-domain subset, if it has one."""
EPILOG = f"""\
Writes {PRUNED}.csv and {FIGURES}/{PRUNED}.png into the run's folder, or the formats of the run's record.figure_format;
with --step N the files are called {PRUNED}_step_N.

example:
  python -m grokplane.prune outputs/default/2025-01-31_12-00-00-000000 --layers "layer 1" "layer 2"

Exit code: 0; 2 for what cannot be pruned, with one line that says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Prune the run of a command line; its exit code."""
    return run_command(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    parser = Parser("prune", DESCRIPTION, EPILOG)
    parser.add_argument(
        "--steps", type=at_least(3), default=STEPS, metavar="N", help=f"number of sparsities, 0 to 1; default: {STEPS}"
    )
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="prune these layers alone; default: all")
    parser.add_argument("--json", action="store_true", help="print one strict JSON object in place of the table")
    options = parser.parse_args(argv)
    with Doing("reading the run and pruning it", BEFORE_REFUSALS):
        run = load_trained(options.run, options.module, options.step)
        run.prepare_process()
        found = prune(run, sparsities(options.steps), options.layers)
    if run.note:
        note(run.note)
    is_said = say(to_json(_object(run, found)) if options.json else _text(run, found))
    name = PRUNED if options.step is None else f"{PRUNED}_step_{options.step}"
    try:
        with Doing("drawing the figure"):
            figures = _write(run, found, name)
    except OSError as error:
        raise Refused(f"RUN={run.folder}: {name}.csv and {FIGURES}/ cannot be written there ({error})") from error
    if not is_said:
        raise Refused(f"the report is lost; the table is in {run.folder / name}.csv")
    if not options.json:
        say(f"table: {run.folder / name}.csv, figure: {', '.join(map(str, figures))}")


def _text(run: Trained, found: Pruned) -> str:
    head = ["sparsity", "weights left", "Acc/train", "Acc/test", *(["Acc/ood"] if "Acc/ood" in found.levels[0] else [])]
    rows = [
        [f"{level['sparsity']:.4f}", f"{found.weights - level['zeroed']:,}"]
        + [f"{level[name]:.4f}" for name in head[2:]]
        for level in found.levels
    ]
    return "\n".join(
        [
            f"{run.title}; {found.weights:,} weights can be pruned, {found.others:,} other parameters are kept",
            "",
            format_table([head, *rows], [True] * len(head)),
            "",
            _verdict(found),
        ]
    )


def _verdict(found: Pruned) -> str:
    first, kept = found.levels[0]["Acc/test"], found.kept
    before = found.levels[: found.levels.index(kept)]
    worst = min(before, key=lambda level: level["Acc/test"], default=kept)
    dip = f"; before that it falls to {worst['Acc/test']:.4f} at {worst['sparsity']:.4f}"
    return (
        f"largest sparsity with held-out accuracy within {TOLERANCE:g} of the unpruned {first:.4f}: "
        f"{kept['sparsity']:.4f}{dip if worst['Acc/test'] < first - TOLERANCE - 1e-12 else ''}"
    )


def _object(run: Trained, found: Pruned) -> dict[str, Any]:
    sizes = {"weights": found.weights, "other_parameters": found.others}
    return {"run": str(run.folder), "step": run.step, **sizes, "tolerance": TOLERANCE} | {
        "largest_sparsity": found.kept["sparsity"],
        "levels": found.levels,
    }


def _write(run: Trained, found: Pruned, name: str) -> list[Path]:
    """Write the table and the figure under this name; the figure's files."""
    import pandas

    from grokplane import plot

    text = io.StringIO()
    writer = csv.DictWriter(text, found.levels[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.levels)
    write_text(run.folder / f"{name}.csv", text.getvalue())
    config = run.state["config"]
    title = f"{plot.about(config, None, overrides(run.folder)).title}\n"
    title += f"{found.weights:,} weights of step {run.step:,}, pruned by size"
    rows, kept = pandas.DataFrame(found.levels), found.kept["sparsity"]
    figure = plot.prune(rows, kept=kept, tolerance=TOLERANCE, title=title)
    # A checkpoint of an earlier version has no such key.
    formats = config["record"].get("figure_format", FORMATS[:1])
    return plot.save_all(figure, run.folder / FIGURES, name, formats)


if __name__ == "__main__":
    sys.exit(main())
