"""The commit of a run is that of the source, not of a surrounding repository."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from grokplane import config
from grokplane.app.plan import plan
from grokplane.record import Record, Recorder, read_summary
from grokplane.record.code import code

NOTHING = {"commit": None, "clean": None}


def git(folder: Path, *arguments: str) -> str:
    told = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *told, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package in a repository of its own, with one commit."""
    place = tmp_path / "repository" / "src" / "grokplane"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text("")
    git(tmp_path / "repository", "init", "-q")
    git(tmp_path / "repository", "add", ".")
    git(tmp_path / "repository", "commit", "-qm", "first")
    return place


def test_the_commit_and_whether_anything_was_changed(package: Path) -> None:
    root, ask = package.parents[1], code.__wrapped__
    commit = git(root, "rev-parse", "HEAD")
    assert ask(package) == {"commit": commit, "clean": True}
    (root / "notes.txt").write_text("of the user's own, no code")
    assert ask(package) == {"commit": commit, "clean": True}
    (package / "new.py").write_text("")
    assert ask(package) == {"commit": commit, "clean": False}
    (package / "new.py").unlink()
    (package / "__init__.py").write_text("changed = True")
    assert ask(package) == {"commit": commit, "clean": False}


def test_another_repository_around_the_package_is_not_asked(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = package.parents[1] / ".venv" / "grokplane"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert code.__wrapped__(installed) == NOTHING
    monkeypatch.setenv("GIT_DIR", str(package.parents[1] / ".git"))  # as in a hook
    monkeypatch.setenv("GIT_WORK_TREE", str(package))
    assert code.__wrapped__(installed) == NOTHING


def test_without_git_or_an_answer_nothing_is_known(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grokplane.record.code.SECONDS", 0.2)
    monkeypatch.setenv("PATH", str(package.parent))
    assert code.__wrapped__(package) == NOTHING
    slow = package.parent / "git"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    slow.chmod(0o755)
    begun = time.monotonic()
    assert code.__wrapped__(package) == NOTHING
    assert time.monotonic() - begun < 5


def test_a_summary_names_the_commit(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", {"seed": 0}, Record(wandb="disabled")) as recorder:
        recorder.finish("finished")
    assert read_summary(tmp_path / "run")["code"] == code()
    if (Path(__file__).parents[1] / ".git").exists():
        assert code()["commit"] == git(Path(__file__).parent, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("program", "typed", "name"),
    [
        ("train", (), "default"),
        ("train", ("data=permutations", "data/split=random"), "permutations"),
        ("train", ("experiment=nanda",), "nanda"),
        ("train", ("data=sums", "name=mine"), "mine"),
        ("train_mnist", (), "infoplane_mnist"),
        ("train_mnist", ("data=digits",), "infoplane_digits"),
        ("train_mnist", ("data=fashion_mnist",), "infoplane_fashion_mnist"),
    ],
)
def test_other_data_lie_in_another_folder(program: str, typed: tuple[str, ...], name: str) -> None:
    job = plan(typed, program, multirun=False).jobs[0]
    assert job.folder.parent == Path("outputs", name)
    assert config.flat(job.asked)["name"] == name
