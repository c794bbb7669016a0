"""plot.ipynb from its first cell to its last, on a tiny run of the real command line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Container
from pathlib import Path

import nbformat
import pytest
from command import QUIET, TINY, finished
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "plot.ipynb"
SWEEP = """program: train.py
method: grid
parameters:
  model.init_scale: {values: [0.5, 1]}
  optimizer.weight_decay: {values: [0.1, 1]}
"""
# Pictures that each cell shows.
SHOWN = {"curves": 1, "plane": 1, "planes": 1, "film": 1, "accuracy": 1, "norms": 1, "seeds": 4, "sweep": 1, "wandb": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a multirun of two seeds, one of its runs as `fetch` keeps those of W&B, and a sweep."""
    place = tmp_path_factory.mktemp("notebook")
    finished("-m", "seed=0,1", "train.steps=30", "log.every=10", *TINY, *QUIET, cwd=place)
    (place / "wide.yaml").write_text(SWEEP)
    finished("wide.yaml", "train.steps=30", *TINY, *QUIET, cwd=place, program="sweep.py")
    shutil.copytree(newest(place) / "0", place / "outputs" / "wandb_cache" / "me" / "grok" / "abc")
    return place


def newest(place: Path) -> Path:
    (multirun,) = (place / "outputs" / "multirun").iterdir()
    return multirun


def executed(
    place: Path, monkeypatch: pytest.MonkeyPatch, cells: Container[str] | None = None, **names: str
) -> nbformat.NotebookNode:
    """The notebook, or those of its cells, after a run from top to bottom in a folder; errors in it are raised."""
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
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(place)}})
    return client.execute(env=dict(os.environ))


def pictures(notebook: nbformat.NotebookNode) -> dict[str, int]:
    """How many pictures each code cell shows, cells without one left out."""
    counts = {
        cell.id: sum(not {"image/png", "image/gif"}.isdisjoint(output.get("data", {})) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    return {name: count for name, count in counts.items() if count}


def test_it_draws_everything(place: Path, monkeypatch: pytest.MonkeyPatch):
    one = newest(place) / "0"
    notebook = executed(place, monkeypatch, RUN=str(one), WANDB_RUN="me/grok/abc")
    assert pictures(notebook) == SHOWN
    texts = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    assert "".join(texts) == ""


def test_it_says_what_it_has_not(place: Path, monkeypatch: pytest.MonkeyPatch):
    cells = ("paths", "load", "seeds", "sweep", "wandb")
    notebook = executed(place, monkeypatch, cells, RUN="outputs/multirun", SEEDS="outputs/none/*", SWEEP="none.csv")
    said = {cell.id: cell.outputs[0].text for cell in notebook.cells if cell.id in ("seeds", "sweep", "wandb")}
    assert said == {
        "sweep": "no table none.csv: python sweep.py sweeps/weight_decay_x_seed.yaml makes one\n",
        "seeds": "no folder outputs/none/*: python train.py -m seed=0,1,2 makes one\n",
        "wandb": "WANDB_RUN is empty: no run from W&B\n",
    }
