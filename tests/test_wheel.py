"""`pip install`: the wheel, installed in an environment of its own, has all commands and reads no checkout."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from grokplane.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
SOURCES = ("src", "configs", "sweeps", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
QUIET = ("record.wandb=disabled", "record.figures=false", "mi=off", "train.threads=1", "train.steps=20")
Grokplane = Callable[..., subprocess.CompletedProcess[str]]


def _run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    own = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "HOME": str(cwd), "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(words, cwd=cwd, env=kept | own, capture_output=True, text=True, timeout=120)


def _built(folder: Path) -> Path:
    """The wheel that is built from a source distribution, without a network."""
    tree = folder / "tree"
    tree.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, tree)
    (tree / "configs" / "local").mkdir()
    (tree / "configs" / "local" / "default.yaml").write_text("# @package _global_\nseed: 5\n")
    build = f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    done = _run(sys.executable, "-c", build, cwd=tree)
    assert done.returncode == 0, done.stderr
    (archive,) = folder.glob("*.tar.gz")
    offline = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    done = _run(sys.executable, "-m", "pip", "wheel", *offline, "-w", folder, archive, cwd=folder)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def grokplane(tmp_path_factory: pytest.TempPathFactory) -> Grokplane:
    """The installed console script: (*arguments, cwd) -> what came of it."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel, own = _built(folder), folder / "env"
    done = _run(sys.executable, "-m", "venv", "--without-pip", own, cwd=folder)
    assert done.returncode == 0, done.stderr
    python = own / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps")
    done = _run(*pip, wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    (site,) = own.glob("lib/python*/site-packages")
    # The dependencies are those of the tests; a path in a .pth file brings no further .pth files with it.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return lambda *words, cwd: _run(own / "bin" / "grokplane", *words, cwd=cwd)


def test_the_wheel_trains_in_an_empty_folder(grokplane: Grokplane, tmp_path: Path) -> None:
    done = grokplane("train", "name=mine", *QUIET, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs" / "mine").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("finished", 20)
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == ["outputs"]
    assert "seed: 0\n" in (run / ".hydra" / "config.yaml").read_text()  # configs/local of the source tree stays there


def test_the_wheel_runs_a_shipped_sweep_as_a_stack(grokplane: Grokplane, tmp_path: Path) -> None:
    own = ("optimizer.weight_decay=0.5", "seed=0,1", "hydra.launcher.max_members=2")
    done = grokplane("sweep", "weight_decay_x_seed", *own, *QUIET, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "outputs/sweeps/weight_decay_x_seed/sweep.csv").read_text().splitlines()) == 3


def test_the_help_names_all_commands_and_needs_no_torch(grokplane: Grokplane, tmp_path: Path) -> None:
    done = grokplane("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in ("train", "train-mnist", "sweep", "predict", "prune", "measure", "llc", "marks", "sync"):
        assert f"\n  {command} " in done.stdout
    assert grokplane("--version", cwd=tmp_path).stdout == "grokplane 0.1.0\n"
    imported = (
        "import sys; sys.argv = ['grokplane', '-h']; import grokplane.__main__ as g; g.main(); print(*sys.modules)"
    )
    named = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True)
    assert not {"torch", "hydra", "numpy"} & set(named.stdout.split())


def test_every_command_has_its_program() -> None:
    for name, command in COMMANDS.items():
        assert callable(importlib.import_module(command.module).main), name


def test_an_unknown_command_is_refused_with_the_nearest(grokplane: Grokplane, tmp_path: Path) -> None:
    for typed, line in ((("trian",), "grokplane trian: did you mean train"), ((), "grokplane COMMAND: ")):
        done = grokplane(*typed, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(line)
        assert done.stderr.count("\n") == 1
