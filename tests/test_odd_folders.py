"""Folders with unexpected files: one line names the file, and nothing else is changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import PRECISE, Inside, digest, last_checkpoint, refusal

from grokplane import config
from grokplane.app import execute
from grokplane.predict import main as predict

TINY = ("data.p=7", "data.train_fraction=0.5", "model.hidden=[8]", "model.embedding_dim=8", "train.steps=4", *PRECISE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd") / "run"
    execute([config.compose(TINY)], [folder])
    return folder


@pytest.fixture
def odd(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def resumed(odd: Path, tmp_path: Path, inside: Inside) -> Callable[[], str]:
    """The line with which resuming there is refused."""
    typed = (f"hydra.run.dir={odd}", "train.resume=true", "train.steps=6", *PRECISE)
    return lambda: refusal(inside(*typed, cwd=tmp_path))


@pytest.mark.parametrize("name", ["checkpoints", ".hydra", "figures", "wandb", "summary.json", ".lock.held"])
def test_what_a_link_leads_to_is_left_alone(name: str, odd: Path, tmp_path: Path, resumed: Callable[[], str]) -> None:
    victim = tmp_path / "victim"
    if (odd / name).exists():
        (odd / name).rename(victim)
    else:
        victim.mkdir()
        (victim / "step_00000099.pt.tmp").touch()
    before = digest(victim) if victim.is_dir() else victim.read_bytes()
    (odd / name).symlink_to(victim)
    assert f"{name} in it is a link" in resumed()
    assert before == (digest(victim) if victim.is_dir() else victim.read_bytes())


@pytest.mark.parametrize("name", ["checkpoints", ".hydra", "figures"])
def test_a_file_in_a_folders_place_is_told_of_in_the_check(name: str, odd: Path, resumed: Callable[[], str]) -> None:
    if (odd / name).exists():
        shutil.rmtree(odd / name)
    (odd / name).write_text("x")
    assert f"{name} in it is not a folder" in resumed()


@pytest.mark.parametrize("name", ["metrics.jsonl", "train.log", "summary.json", ".lock", ".hydra/config.yaml"])
def test_a_folder_in_a_files_place_is_told_of_in_the_check(name: str, odd: Path, resumed: Callable[[], str]) -> None:
    (odd / name).unlink(missing_ok=True)
    (odd / name).mkdir()
    assert f"{name} in it is not a file" in resumed()


STATES: dict[str, dict[str, Any]] = {
    "negative step": {"step": -5},
    "other step": {"step": 2},
    "step in words": {"step": "4"},
    "no model": {"model": None},
    "marks": {"grok": {"train_step": "x", "test_step": None}},
    "lasting marks": {"marks": {"step": 4, "now": {"train": {}, "test": {}}, "before": {}}},
    "alive": {"alive": "x"},
    "a million threads": {"threads": 10**6},
    "threads in words": {"threads": "2"},
}


@pytest.mark.parametrize("name", STATES)
def test_a_checkpoint_of_odd_content_is_refused(name: str, odd: Path, resumed: Callable[[], str]) -> None:
    file, rows = last_checkpoint(odd), (odd / "metrics.jsonl").read_bytes()
    torch.save(torch.load(file, weights_only=True) | STATES[name], file)
    line = resumed()
    assert "threads" in line if "threads" in name else "holds no state of a run" in line
    assert (odd / "metrics.jsonl").read_bytes() == rows
    if "threads" not in name:
        assert predict([str(odd), "1", "2"]) == 2


def test_damage_anywhere_in_a_checkpoint_is_damage(odd: Path, inside: Inside, tmp_path: Path) -> None:
    """Near the end of the file is the zip directory; damage there makes reading fail as if the disk did."""
    file = last_checkpoint(odd)
    whole = file.read_bytes()
    for back in range(1, 60, 8):
        spoilt = bytearray(whole)
        spoilt[-back] ^= 0xFF
        file.write_bytes(spoilt)
        done = inside(f"hydra.run.dir={odd}", "train.resume=true", "train.steps=4", *PRECISE, cwd=tmp_path)
        assert done.returncode in (0, 2), done.stderr
        assert "try again" not in done.stderr
        file.write_bytes(whole)


CONFIGS = {
    "a list": "- a\n",
    "a date": "name: 2020-13-45\n",
    "an int": "name: !!int x\n",
    "a bool": "name: !!bool x\n",
    "a cycle": "a: &a {b: *a}\n",
    "aliases": "".join(f"k{n}: &k{n} [{','.join([f'*k{n - 1}'] * 9) if n else '1'}]\n" for n in range(9)),
    "brackets": "[" * 5000,
    "latin": "name: \xe9\n",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_of_odd_content_is_refused(name: str, odd: Path, resumed: Callable[[], str]) -> None:
    shutil.rmtree(odd / "checkpoints")
    rows = (odd / "metrics.jsonl").read_bytes()
    (odd / ".hydra" / "config.yaml").write_bytes(CONFIGS[name].encode("latin-1"))
    line = resumed()
    assert "is damaged" in line or "holds no config" in line
    assert (odd / "metrics.jsonl").read_bytes() == rows


SUMMARIES = ["[]", "5", "null", '{"status": "weird"}', '{"status": ["finished"]}', '{"status": "diverged"}', "[" * 9999]


@pytest.mark.parametrize("text", [*SUMMARIES, '{"status": "finished", "steps": "x"}'], ids=lambda text: text[:30])
def test_a_summary_of_odd_content_is_refused(text: str, odd: Path, resumed: Callable[[], str]) -> None:
    (odd / "summary.json").write_text(text)
    assert "summary.json there is damaged" in resumed()


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_lock_that_is_no_file_is_refused(kind: str, odd: Path, resumed: Callable[[], str]) -> None:
    (odd / ".lock").unlink()
    (odd / ".lock").mkdir() if kind == "folder" else os.mkfifo(odd / ".lock")
    if kind == "folder":
        assert "lock" in resumed()
    else:
        assert json.loads((odd / "summary.json").read_text())["status"] == "finished"
        from grokplane.record.lock import is_locked

        assert not is_locked(odd)  # at once
