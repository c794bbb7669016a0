"""plot.ipynb executed from the first to the last cell, on a tiny run from the real command line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Container
from pathlib import Path

import nbformat
import pytest
from command import QUIET, TINY, Inside, ended_well, finished, summary
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOK = Path(__file__).parents[1] / "plot.ipynb"
SWEEP = """program: train.py
method: grid
parameters:
  model.init_scale: {values: [0.5, 1]}
  optimizer.weight_decay: {values: [0.1, 1]}
"""
# Pictures that each cell shows.
PLANES = {"plane": 1, "planes": 1, "film": 1, "map": 1, "accuracy": 1}
SHOWN = {"curves": 1, **PLANES, "norms": 1, "arrays": 2, "seeds": 5, "sweep": 1, "wandb": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a multirun of two seeds, one of its runs in the cache of `fetch`, and a sweep."""
    place = tmp_path_factory.mktemp("notebook")
    metrics = "metrics=[loss,accuracy,weight_norms,embeddings]"
    finished("-m", "seed=0,1", "train.steps=30", "log.every=10", metrics, *TINY, *QUIET, cwd=place)
    (place / "wide.yaml").write_text(SWEEP)
    finished("wide.yaml", "train.steps=30", *TINY, *QUIET, cwd=place, program="sweep.py")
    fetched = place / "outputs" / "wandb_cache" / "me" / "grok" / "abc"
    shutil.copytree(newest(place) / "0", fetched)
    (fetched / "wandb.json").write_text('{"state": "finished"}')
    return place


def newest(place: Path) -> Path:
    (multirun,) = (place / "outputs" / "multirun").iterdir()
    return multirun


def executed(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    cells: Container[str] | None = None,
    source: tuple[str, str] = ("", ""),
    **names: str,
) -> nbformat.NotebookNode:
    """Execute the notebook, or some of its cells, in a folder; errors in cells are raised.

    Args:
        place: the folder.
        monkeypatch: the fixture of the test.
        cells: ids of the cells; None: all.
        source: text in the source of the cells and its replacement.
        names: settings that the first cell reads.
    """
    for name in ("RUN", "SEEDS", "SWEEP", "WANDB_RUN"):
        monkeypatch.delenv(f"GROKPLANE_{name}", raising=False)
    for name, value in names.items():
        monkeypatch.setenv(f"GROKPLANE_{name}", value)
    own = {"IPYTHONDIR": "ipython", "JUPYTER_RUNTIME_DIR": "jupyter"}  # nothing is left in the home folder
    for name, folder in own.items():
        monkeypatch.setenv(name, str(place / folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cells is None or cell.id in cells]
    for cell in notebook.cells:
        cell.source = cell.source.replace(source[0], source[1], 1) if source[0] else cell.source
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(place)}})
    return client.execute(env=dict(os.environ))


def pictures(notebook: nbformat.NotebookNode) -> dict[str, int]:
    """Number of images by code cell, without cells that show none."""
    counts = {
        cell.id: sum(not {"image/png", "image/gif"}.isdisjoint(output.get("data", {})) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    return {name: count for name, count in counts.items() if count}


def said(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Printed text by code cell, without cells that print nothing."""
    printed = {cell.id: "".join(one.get("text", "") for one in cell.get("outputs", [])) for cell in notebook.cells}
    return {name: text for name, text in printed.items() if text}


def test_it_draws_everything(place: Path, monkeypatch: pytest.MonkeyPatch):
    notebook = executed(place, monkeypatch, RUN=str(newest(place) / "0"), WANDB_RUN="me/grok/abc")
    assert pictures(notebook) == SHOWN
    assert said(notebook) == {}


def test_it_says_what_it_has_not(place: Path, monkeypatch: pytest.MonkeyPatch):
    cells = ("paths", "load", "seeds", "sweep", "wandb")
    notebook = executed(place, monkeypatch, cells, RUN="outputs/multirun", SEEDS="outputs/none/*", SWEEP="none.csv")
    assert said(notebook) == {
        "sweep": "no table none.csv: python sweep.py sweeps/weight_decay_x_seed.yaml makes one\n",
        "seeds": "no run with a log point in outputs/none/*: python train.py -m seed=0,1,2 makes some\n",
        "wandb": "WANDB_RUN is empty: no run from W&B\n",
    }


def test_a_run_without_information_is_met_with_a_sentence(place: Path, monkeypatch: pytest.MonkeyPatch, inside: Inside):
    ended_well(inside, "train.steps=5", "mi=off", "hydra.run.dir=outputs/off", *TINY, *QUIET, cwd=place)
    notebook = executed(place, monkeypatch, RUN="outputs/off", SEEDS="outputs/off")
    assert pictures(notebook) == {"curves": 1, "norms": 1, "seeds": 2, "sweep": 1}
    told = said(notebook)
    assert {told[name] for name in ("plane", "planes", "film", "accuracy")} == {
        "this run has no I(X;L), or no labels as answers and so no I(L;Y) (or mi=off): nothing to draw here\n"
    }
    assert told["arrays"] == "no arrays to draw in this run (metrics=[...,embeddings] records some)\n"
    assert told["map"] == "no ladder of resolutions in this run (mi=default records one): nothing to draw here\n"


def test_no_run_and_a_run_without_rows_are_one_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metrics.jsonl").touch()
    for place, line in (
        (
            "outputs/typo",
            "no run (a folder with metrics.jsonl) in outputs/typo: RUN, or GROKPLANE_RUN, names another place",
        ),
        ("empty", f"{tmp_path / 'empty'} has no log point: the run ended before its first one, or has just begun"),
    ):
        with pytest.raises(CellExecutionError) as stopped:
            executed(tmp_path, monkeypatch, ("paths", "load"), RUN=place)
        assert stopped.value.ename == "Missing"
        assert stopped.value.evalue == line
        assert "Traceback" not in str(stopped.value)


def test_runs_that_differ_in_more_than_the_seed_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: Inside
):
    typed = ("optimizer.weight_decay=0.5,2", "seed=0,1", "train.steps=5", "mi=off", "hydra.sweep.dir=nine")
    ended_well(inside, "-m", *typed, "hydra/launcher=stacked", *TINY, *QUIET, cwd=tmp_path)
    words = "        title = title_of(setting)\n"
    drawn = executed(
        tmp_path,
        monkeypatch,
        ("paths", "load", "seeds"),
        (words, f"{words}        print(title, list(dict.fromkeys(setting['seed'])))\n"),
        RUN="nine",
        SEEDS="nine",
    )
    told = sorted(said(drawn)["seeds"].splitlines())
    assert [line.partition(", ")[0] for line in told] == [f"optimizer.weight_decay={decay}" for decay in ("0.5", "2.0")]
    assert all(line.endswith(", 2 runs [0, 1]") for line in told)
    assert pictures(drawn) == {"seeds": 3}


def test_it_finds_the_newest_default_run_and_makes_a_short_one_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: Inside
):
    quickly = f"SHORT = SHORT.replace('steps=5000', 'steps=2') + ' mi=off {' '.join(TINY)}'\n\n\ndef recorded"
    (tmp_path / "train.py").symlink_to(NOTEBOOK.with_name("train.py"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    first = executed(tmp_path, monkeypatch, ("paths", "load"), source=("def recorded", quickly))
    begins = "no run in outputs/default, where make train leaves one: python train.py name=short train.steps=2 "
    assert said(first)["paths"].startswith(begins)
    (short,) = (tmp_path / "outputs" / "short").iterdir()
    assert summary(short)["steps"] == 2
    assert said(executed(tmp_path, monkeypatch, ("paths", "load"))) == {}
    for folder, steps in (("outputs/default/b", 3), ("outputs/default/a", 4)):
        ended_well(inside, f"train.steps={steps}", "mi=off", f"hydra.run.dir={folder}", *TINY, *QUIET, cwd=tmp_path)
    last = executed(tmp_path, monkeypatch, ("paths", "load"))
    table = last.cells[-1].outputs[0]["data"]["text/plain"]
    assert table.splitlines()[-1].split()[1] == "4"


def test_the_short_run_is_a_call_that_is_taken(tmp_path: Path):
    """The arguments of the notebook's own call, with fewer steps."""
    source = next(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.id == "paths")
    (line,) = (line for line in source.splitlines() if line.startswith("SHORT = "))
    program, *typed = line.partition("=")[2].strip().strip('"').split()
    assert program == "train.py"
    assert finished(*typed, "train.steps=1", "mi=off", cwd=tmp_path).returncode == 0
