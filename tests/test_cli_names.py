"""Folder names as a shell passes them, and printed commands that can be pasted."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import QUIET, TINY, TRAIN, Inside, digest, refusal, rows, summary
from omegaconf import OmegaConf

from grokplane import config
from grokplane.app.errors import Refused
from grokplane.app.runs import load_trained
from grokplane.app.typed import NULLABLE, as_typed
from grokplane.pasting import folder_override
from grokplane.sweep.call import parse_call

NAMES = ["a,b", "a=1,seed=0", "[x]", "{x:1}", "'q'", '"q"', "it's", "~", "~/x", "~x", "null", "true", "1e3", "1_000"]
NAMES += [
    " a",
    "a ",
    "a:b",
    "a\\,b",
    "a\\",
    "${now:%H}",
    "\\${x}",
    "x${",
    "???",
    "choice(a,b)",
    "ü é",
    "x;y",
    "-x",
    "#x",
]
PIECES = [*"a1,=[]{}'\"\\$~: ()é%#\t\n+@?*|;&!/`<.-", "${", "e3", "null"]
SHORT = (*TINY, *QUIET, "mi=off", "train.steps=4")
SWEEP = """program: train.py
method: grid
parameters:
  optimizer.weight_decay: {values: [0.1, 0.2]}
  seed: {values: [0]}
"""


def value(line: str) -> object:
    """What a key gets from an override."""
    return OmegaConf.create({"x": config.parse([line])[0].value()}).x


@pytest.mark.parametrize("key", ["hydra.run.dir", "data.root"])
def test_a_pasted_folder_is_that_folder_whatever_its_name(key: str) -> None:
    drawn = random.Random(0)
    names = [*NAMES, *("".join(drawn.choices(PIECES, k=drawn.randint(1, 7))) for _ in range(150))]
    words = [shlex.split(folder_override(key, Path(name))) for name in names]
    assert all(len(word) == 1 for word in words)
    lines = as_typed([line for (line,) in words])
    parsed = [OmegaConf.create({"x": one.value()}).x for one in config.parse(lines)]
    assert [Path(folder) for folder in parsed] == [Path(name) for name in names]


@pytest.mark.parametrize("key", sorted(config.folder_keys() | config.file_keys()))
@pytest.mark.parametrize("name", ["a,b", "optimizer.weight_decay=0.1,seed=0", "a [b] {c} ü", "null", "1e3", "it's"])
def test_a_name_is_taken_unquoted_by_every_key_of_a_folder(key: str, name: str) -> None:
    expected = None if name == "null" and key in NULLABLE else name
    assert value(*as_typed([f"{key}={name}"])) == expected


def test_quotes_interpolations_and_home_mean_what_they_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of,mine")
    monkeypatch.setenv("WHERE", "there")
    told = ["'a,b'", '"a=b"', r"a\,b", "${oc.env:WHERE}/x", "${oc.env:WHERE},x=1", "~/x,y", "'~/x'"]
    meant = ["a,b", "a=b", "a,b", "there/x", "there,x=1", "/home/of,mine/x,y", "~/x"]
    assert [value(*as_typed([f"hydra.run.dir={one}"])) for one in told] == meant


def test_commas_are_values_in_a_multirun_but_for_hydras_own_folders() -> None:
    lines = ["data.root=a,b", "data.root='a,b'", "hydra.sweep.dir=a,b", "data.root=a=1,b"]
    assert as_typed(lines, sweeps=True) == [*lines[:2], "hydra.sweep.dir='a,b'", "data.root='a=1,b'"]


def test_the_sweep_program_reads_its_folder_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "there")
    told = {"a, b=1": "a, b=1", "'a,b'": "a,b", "${oc.env:WHERE}/x": "there/x"}
    calls = [parse_call(["x.yaml", f"hydra.sweep.dir={one}", "data.root=a=1"]) for one in told]
    assert [str(one.folder) for one in calls if one] == list(told.values())
    assert all(one.typed == ("data.root='a=1'",) for one in calls if one)


def test_the_command_that_gets_images_can_be_pasted(inside: Inside, tmp_path: Path) -> None:
    line = refusal(inside("data=mnist", "data.root=my data, [raw]", cwd=tmp_path))
    assert line.startswith("data.root=my data, [raw]: no file my data, [raw]/MNIST/raw/")
    (command,) = [part for part in line.split("`") if part.startswith("python ")]
    assert shlex.split(command)[-1] == "data.root=my data, [raw]"
    assert digest(tmp_path) == {}


def test_a_cell_goes_on_in_place_with_the_printed_command(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(SWEEP)
    place = "it's [mine], $HOME"
    assert inside("grid.yaml", *SHORT, f"hydra.sweep.dir={place}", program="sweep.py", cwd=tmp_path).returncode == 0
    cell = tmp_path / place / "optimizer.weight_decay=0.1,seed=0"
    whole = rows(cell)
    (cell / "summary.json").unlink()
    for path in (cell / "checkpoints").glob("step_00000004.pt"):
        path.unlink()
    with pytest.raises(Refused) as told:
        load_trained(cell.relative_to(tmp_path))
    _, _, command = str(told.value).partition("go on with: ")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    shutil.copy(TRAIN, tmp_path)
    paths = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=os.environ | {"PATH": paths, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (command, done.stderr)
    assert summary(cell)["status"] == "finished"
    assert rows(cell) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([place, "bin", "grid.yaml", "train.py"])
