"""Every file in sweeps/ is read in the same way by sweep.py and by W&B, and each of its cells composes."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import yaml

from grokplane import config
from grokplane.app.composing import Composer
from grokplane.app.session import plain
from grokplane.sweep.agent_command import PROGRAMS
from grokplane.sweep.cells import cell_name, make_cells
from grokplane.sweep.groups import signature
from grokplane.sweep.sweepfile import read_sweep

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "sweeps").glob("*.yaml"))
MACROS = ["${env}", "${interpreter}", "${program}"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_sweep_is_one_that_the_agent_can_run(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert content["program"] in PROGRAMS
    assert (ROOT / content["program"]).exists()
    assert content["metric"].keys() == {"name", "goal"}
    assert content["command"][:3] == MACROS
    assert content["command"][-1] == "${args_no_hyphens}"
    assert content["name"] == path.stem
    head = " ".join(line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# "))
    counts = [len(values["values"]) for values in content["parameters"].values() if len(values.get("values", "")) > 1]
    said = re.search(
        r"(\d+) x (\d+) = (\d+) cells of [\d,]+ steps: [\d,]+ member-steps, about .+ by sweep.py on two ", head
    )
    assert said is not None, "it must say how long it takes"
    assert [int(said[1]), int(said[2]), int(said[3])] == [*counts, math.prod(counts)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_cell_of_a_shipped_sweep_composes(path: Path, tmp_path: Path) -> None:
    sweep = read_sweep(path)
    cells = make_cells(sweep, tmp_path, 0, Composer(sweep.config_name))
    assert [cell.error for cell in cells if cell.error is not None] == []
    assert len({cell.folder.name for cell in cells}) == len(cells) == len(sweep.cells())
    for cell in cells:
        assert cell.folder.name == cell_name(cell.values)
        assert "~" not in cell.folder.name  # short, and of plain characters
    for cell in (cells[0], cells[-1]):
        assert cell.config is not None
        config.member(cell.config)


def test_the_shipped_weight_decay_sweep_is_one_stack(tmp_path: Path) -> None:
    sweep = read_sweep(ROOT / "sweeps" / "weight_decay_x_seed.yaml")
    cells = make_cells(sweep, tmp_path, 0, Composer(sweep.config_name))
    assert len(cells) >= 32
    assert len({signature(plain(cell.config)) for cell in cells if cell.config is not None}) == 1
