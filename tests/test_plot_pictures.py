"""The table of a run's figures, and the files that a run writes."""

import json
from pathlib import Path

import pandas as pd
import pytest
from command import TINY, Inside, finished
from information_rows import information_rows
from PIL import Image

from grokplane import plot
from grokplane.record import load, overrides

STILLS = [
    "curves",
    "information_plane",
    "information_map",
    "information_map_ood",
    "information_accuracy",
    "weight_norms",
]
FORMATS = ("png", "pdf", "svg")


def drawn(rows: pd.DataFrame) -> list[str]:
    return [picture.name for picture in plot.pictures(rows)]


def test_the_table():
    every = [*STILLS, "information_plane"]
    assert drawn(information_rows(ood=True)) == every
    assert drawn(information_rows()) == [name for name in every if "ood" not in name]
    assert drawn(information_rows(exact=False, ood=True)) == [name for name in every if "map" not in name]


@pytest.mark.parametrize("number", range(len(plot.PICTURES)))
def test_a_picture_reads_what_it_says(number, tmp_path):
    picture = plot.PICTURES[number]
    rows = information_rows(ood=True)
    rows = rows[["run", "step", *(name for name in rows if str(name).startswith(picture.reads))]]
    (path,) = picture.write(rows, plot.About(), tmp_path, ("png",))
    assert list(tmp_path.iterdir()) == [path]
    assert path.stem == picture.name
    without = pd.DataFrame({name: rows[name] for name in rows if not str(name).startswith(picture.reads[0])})
    assert picture not in list(plot.pictures(without))


@pytest.mark.parametrize("number", range(len(plot.PICTURES) - 1), ids=STILLS)
def test_a_picture_comes_in_each_format_once(number, tmp_path):
    paths = plot.PICTURES[number].write(information_rows(ood=True), plot.About("$a_b$"), tmp_path, (*FORMATS, "png"))
    assert [path.name for path in paths] == [f"{STILLS[number]}.{one}" for one in FORMATS]
    with Image.open(paths[0]) as png:
        assert png.format == "PNG"
    assert paths[1].read_bytes().startswith(b"%PDF")
    assert b"<svg" in paths[2].read_bytes()


def test_the_animation_is_a_gif_for_any_formats(tmp_path):
    (path,) = plot.PICTURES[-1].write(information_rows(), plot.About(), tmp_path, ("pdf",))
    assert path.name == "information_plane.gif"


def test_pictures_of_values_that_are_all_null_are_left_out():
    rows = information_rows()
    held_out = {name: None for name in rows if str(name).startswith("MI(") and "_eval/" in str(name)}
    assert drawn(rows.assign(**held_out)) == ["curves", "information_plane", "weight_norms"]
    null = {name: None for name in rows if str(name).startswith("MI(")}
    assert drawn(rows.assign(**null)) == ["curves", "weight_norms"]


def test_a_run_leaves_its_figures_in_each_format_and_they_say_what_it_is(tmp_path: Path, inside: Inside) -> None:
    """Text in an SVG is stored as outlines, preceded by a comment with the text."""
    typed = ("optimizer.weight_decay=0.3", "seed=4", "record.figure_format=[svg,pdf]", "record.wandb=disabled")
    done = inside(*TINY, *typed, "train.steps=3", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    stills = {name.partition(".")[0] for name in names} - {"information_map"}
    assert stills == set(STILLS) - {"information_map", "information_map_ood"}
    assert names >= {f"{name}.{one}" for name in stills for one in ("svg", "pdf")} | {"information_plane.gif"}
    assert not [name for name in names if name.endswith("png")]
    assert f"figures: {', '.join(sorted(names))}" in done.stdout
    curves = (tmp_path / "run" / "figures" / "curves.svg").read_text()
    assert "data.p=7, data.train_fraction=0.5, model.hidden=[8], model.embedding_dim=8," in curves
    assert "optimizer.weight_decay=0.3, train.steps=3, seed 4" in curves
    words = plot.measured(load(tmp_path / "run").iloc[0].to_dict())
    assert len(words) > 20
    assert words[:20] in (tmp_path / "run" / "figures" / "information_plane.svg").read_text()


def test_overrides_are_those_that_all_runs_share(tmp_path: Path) -> None:
    finished(
        "-m", "seed=0,1", "train.steps=1", *TINY, "mi=off", "record.figures=false", "hydra.sweep.dir=many", cwd=tmp_path
    )
    assert set(overrides(tmp_path / "many")) >= {"train.steps=1", *TINY, "mi=off"}
    assert not [one for one in overrides(tmp_path / "many") if one.startswith("seed=")]
    assert "seed=1" in overrides(tmp_path / "many" / "1")
    (tmp_path / "many" / "0" / ".hydra" / "overrides.yaml").unlink()
    assert overrides(tmp_path / "many") == []
    assert json.loads((tmp_path / "many" / "0" / "summary.json").read_text())["status"] == "finished"
