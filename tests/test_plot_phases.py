"""The map of phases: which cell has which colour, what its legend names, and the figure of a real sweep."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command import TINY, Inside
from matplotlib.figure import Figure
from sweeping import OFF, SWEEP, sweep_file, table

from grokplane.phases import PHASES
from grokplane.plot.phase_map import LOOKS, NO_NOISE
from grokplane.plot.sweeps import phases_figure

FRACTION, NOISE = "data.train_fraction", "data.label_noise"
FRACTIONS, NOISES = [0.1, 0.2, 0.3, 0.4], [0.2, 0.4, 0.6]


def frame(kinds: list[str], seeds: int = 1) -> pd.DataFrame:
    """Rows over fraction and noise; the kinds of the cells repeat, and one that is no phase is a status."""
    rows: list[dict[str, Any]] = []
    for number, (fraction, noise) in enumerate(product(FRACTIONS, NOISES)):
        for seed in range(seeds):
            kind = kinds[(number * seeds + seed) % len(kinds)]
            status = {"diverged": "diverged", "failed": "failed", "unfinished": "interrupted"}.get(kind, "finished")
            told = {"phase": kind if kind in PHASES else None, "status": status}
            rows.append({FRACTION: fraction, NOISE: noise, "seed": seed, **told})
    return pd.DataFrame(rows)


def cells(figure: Figure) -> dict[str, list[tuple[float, float]]]:
    """The centres of the cells by what they are coloured as."""
    figure.draw_without_rendering()
    found = {}
    for squares in figure.axes[0].collections:
        corners = [np.asarray(path.vertices)[:4] for path in squares.get_paths()]
        found[str(squares.get_label())] = [tuple(round(float(one), 9) for one in four.mean(0)) for four in corners]
    return found


def named(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def drawn(rows: pd.DataFrame) -> Figure:
    figure = phases_figure(rows, [FRACTION, NOISE, "seed"], title="a_sweep")
    assert figure is not None
    return figure


def test_every_phase_and_status_has_its_cells_and_its_entry() -> None:
    kinds = list(LOOKS)
    figure = drawn(frame(kinds))
    places = list(product(FRACTIONS, NOISES))
    expected = {kind: [place for n, place in enumerate(places) if kinds[n % len(kinds)] == kind] for kind in kinds}
    assert cells(figure) == expected
    assert named(figure) == kinds
    colors = [LOOKS[kind].color for kind in kinds]
    assert len(set(colors)) == len(colors)


def test_phases_that_do_not_occur_are_not_in_the_legend() -> None:
    figure = drawn(frame(["confusion", "coexistence"]))
    assert named(figure) == ["coexistence", "confusion"]
    assert figure.legends[0].get_title().get_text() == ""
    assert figure.axes[0].get_xlabel().endswith(FRACTION)
    assert figure.axes[0].get_ylabel().endswith(NOISE)


def test_a_cell_has_the_most_frequent_phase_of_its_seeds_and_says_how_many_have_it() -> None:
    kinds = ["forgetting", "memorisation", "memorisation"] + ["coexistence"] * 3 + ["unfinished", "failed", "confusion"]
    figure = drawn(frame(kinds, seeds=3))
    found = cells(figure)
    assert {kind: len(places) for kind, places in found.items()} == {
        "memorisation": 4,
        "coexistence": 4,
        "confusion": 4,
    }
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(texts) == ["1/3"] * 4 + ["2/3"] * 4
    assert figure.legends[0].get_title().get_text() == "3 runs a cell; k/n: only k of its n have this phase"


def test_no_map_without_phases_or_without_two_parameters() -> None:
    assert phases_figure(frame([NO_NOISE]), [FRACTION, NOISE]) is None
    assert phases_figure(frame(["confusion"]).drop(columns="phase"), [FRACTION, NOISE]) is None
    assert phases_figure(frame(["confusion"]), [FRACTION]) is None
    assert phases_figure(frame(["confusion"], seeds=2), [FRACTION, "seed"]) is None


@pytest.mark.parametrize("noises", [[0.1, 0.3, 0.6], [0, 0.3, 0.6]])
def test_a_sweep_over_noise_and_fraction_draws_its_phases(noises: list[float], tmp_path: Path, inside: Inside) -> None:
    tiny = [key for key in TINY if not key.startswith(FRACTION)]
    keys = (*tiny, "record.figures=false", "mi=off", "train.steps=60", "optimizer.lr=0.01", OFF)
    command = ["${env}", "${interpreter}", "${program}", *keys, "${args_no_hyphens}"]
    parameters = {NOISE: {"values": noises}, FRACTION: {"values": [0.4, 0.6, 0.8]}}
    path = sweep_file(tmp_path, command=command, parameters=parameters)
    done = inside(str(path), cwd=tmp_path, program=SWEEP)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "outputs/sweeps/tiny"
    assert (folder / "phases.png").stat().st_size > 1000
    assert f"figure  {Path('outputs/sweeps/tiny/phases.png')}" in done.stdout
    rows = table(folder).values()
    assert len(rows) == 9
    assert all((row["phase"] in PHASES) == (float(row[NOISE]) > 0) for row in rows)
    assert all(row["phase"] == "" for row in rows if float(row[NOISE]) == 0)


def test_a_sweep_without_noise_draws_no_phases(tmp_path: Path, inside: Inside) -> None:
    parameters = {"optimizer.lr": {"values": [0.01, 0.02]}, "optimizer.weight_decay": {"values": [0.1, 1]}}
    path = str(sweep_file(tmp_path, parameters=parameters))
    assert inside(path, "train.steps=5", OFF, cwd=tmp_path, program=SWEEP).returncode == 0
    assert {path.name for path in (tmp_path / "outputs/sweeps/tiny").glob("*.png")} == {"sweep.png"}
