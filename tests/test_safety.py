"""Folders, sweep files and W&B runs of other people are data: no code in them is executed."""

from __future__ import annotations

import copy
import json
import os
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command import PRECISE, Inside, last_checkpoint, refusal
from sweeping import sweep_file

from grokplane import config
from grokplane.app import execute
from grokplane.options import ConfigError
from grokplane.predict import main as predict
from grokplane.prune import main as prune
from grokplane.record import fetch, load, overrides, summaries
from grokplane.record.sync import main as sync

TINY = ("data.p=7", "data.train_fraction=0.5", "model.hidden=[8]", "model.embedding_dim=8", "train.steps=4", *PRECISE)
MODULE = "model.module._target_"
OWN = """
from pathlib import Path
from torch import nn
Path({marker!r}).touch()

class Net(nn.Module):
    def __init__(self, vocabulary, length, outputs):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 8)
        self.out = nn.Linear(8, outputs)

    def forward(self, tokens):
        return self.out(self.embedding(tokens).sum(1))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of this program."""
    folder = tmp_path_factory.mktemp("safety") / "run"
    execute([config.compose(TINY)], [folder])
    return folder


@pytest.fixture
def hostile(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """Text about this machine that an interpolation could read."""
    monkeypatch.setenv("GROKPLANE_SECRET", "hunter2")
    return "hunter2"


def spoil(folder: Path, key: str, value: Any, *, checkpoint: bool = True) -> None:
    """Put a value into the config that the folder holds, in `.hydra/` and in the checkpoints, or those deleted."""

    def put(nested: dict[str, Any]) -> dict[str, Any]:
        changed = at = copy.deepcopy(nested)
        *path, last = key.split(".")
        for part in path:
            at = at[part]
        at[last] = value
        return changed

    file = folder / ".hydra" / "config.yaml"
    without_aliases = json.loads(json.dumps(put(yaml.safe_load(file.read_text()))))
    file.write_text(yaml.safe_dump(without_aliases))
    for path in (folder / "checkpoints").glob("*.pt"):
        stored = torch.load(path, weights_only=True)
        torch.save(stored | {"config": put(stored["config"])}, path)
    if not checkpoint:
        shutil.rmtree(folder / "checkpoints")
        summary = folder / "summary.json"
        summary.write_text(summary.read_text().replace('"finished"', '"interrupted"'))


def payloads(marker: Path) -> dict[str, Any]:
    """Nodes that would create a file if their `_target_` were called."""
    call = {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(marker)]}}
    return {
        "optimizer": call,
        "data.split": call,
        "metrics.evil": call,
        "rules.evil": call,
        "record": call,
        "optimizer.lr": call,
        "model.hidden": [call],
        "mi": {"_target_": "grokplane.metrics.compressed.Compressed", "input_estimator": call, "label_estimator": call},
    }


@pytest.mark.parametrize("key", payloads(Path()))
@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_hostile_folder_is_resumed_and_nothing_runs(
    hostile: Path, tmp_path: Path, inside: Inside, key: str, checkpoint: bool
) -> None:
    marker = tmp_path / "marker"
    spoil(hostile, key, payloads(marker)[key], checkpoint=checkpoint)
    line = refusal(inside(*(f"hydra.run.dir={hostile}", "train.resume=true", "train.steps=5"), cwd=tmp_path))
    assert line.startswith(key.split(".")[0])
    assert not marker.exists()


@pytest.mark.parametrize("key", [key for key in payloads(Path()) if key != "mi"])  # which is not read there
@pytest.mark.parametrize("command", [predict, prune])
def test_a_hostile_folder_is_asked_and_nothing_runs(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, command: Any
) -> None:
    marker = tmp_path / "marker"
    spoil(hostile, key, payloads(marker)[key])
    assert command([str(hostile), "1,2"] if command is predict else [str(hostile)]) == 2
    assert capsys.readouterr().err.startswith(key.split(".")[0])
    assert not marker.exists()


def test_a_hostile_folder_is_read_and_nothing_runs(hostile: Path, tmp_path: Path, secret: str) -> None:
    marker = tmp_path / "marker"
    spoil(hostile, "optimizer", payloads(marker)["optimizer"])
    spoil(hostile, "name", "${oc.env:GROKPLANE_SECRET}")
    (hostile / ".hydra" / "overrides.yaml").write_text("- name=${oc.env:GROKPLANE_SECRET}\n")
    told = [str(load(hostile).to_dict()), str(summaries(hostile).to_dict()), str(overrides(hostile))]
    assert all("${oc.env:GROKPLANE_SECRET}" in text for text in told)
    assert all(secret not in text for text in told)
    assert not marker.exists()


def test_tags_of_yaml_are_refused(hostile: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    call = f"!!python/object/apply:os.mkdir ['{marker}']"
    for name, text in (("config.yaml", f"name: {call}\n"), ("overrides.yaml", f"- {call}\n")):
        file = hostile / ".hydra" / name
        before = file.read_text() if file.exists() else "[]\n"
        file.write_text(text)
        with pytest.raises(ConfigError, match="is damaged"):
            (load if name == "config.yaml" else overrides)(hostile)
        file.write_text(before)
    assert not marker.exists()


@pytest.mark.parametrize("checkpoint", [True, False])
def test_what_a_hostile_folder_refers_to_is_not_looked_up(
    hostile: Path, tmp_path: Path, inside: Inside, secret: str, checkpoint: bool
) -> None:
    spoil(hostile, "record.project", "${oc.env:GROKPLANE_SECRET}", checkpoint=checkpoint)
    done = inside(f"hydra.run.dir={hostile}", "train.resume=true", "train.steps=5", cwd=tmp_path)
    assert "record.project=${oc.env:GROKPLANE_SECRET}: " in refusal(done)
    assert secret not in done.stderr


def test_sync_sends_no_secret_and_no_file_from_elsewhere(
    hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    spoil(hostile, "name", "${oc.env:GROKPLANE_SECRET}")
    (tmp_path / "private.png").write_bytes(b"private")
    (hostile / "figures").mkdir()
    (hostile / "figures" / "curves.png").symlink_to(tmp_path / "private.png")
    sent: list[Any] = []

    class Tracker:
        mode, run_id = "offline", "x"

        def __init__(self, _: Path, config: Any, *others: Any, **__: Any) -> None:
            sent.extend([config, others])

        def log(self, row: Any) -> None: ...

        def log_image(self, path: Path) -> None:
            sent.append(path)

        def finish(self, summary: Any) -> None: ...

    monkeypatch.setattr("grokplane.record.sync.Tracker", Tracker)
    assert sync([str(hostile), "--mode", "offline"]) == 0
    assert secret not in str(sent)
    assert not any(isinstance(one, Path) for one in sent)


def own_module(folder: Path, name: str, marker: Path) -> str:
    """Write a module that creates a file when it is imported; returns the name of its class."""
    (folder / f"{name}.py").write_text(OWN.format(marker=str(marker)))
    return f"{name}.Net"


def test_a_module_is_imported_where_the_call_names_it_alone(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    marker, folder = tmp_path / "marker", tmp_path / "run"
    module = own_module(tmp_path, "somebodys_net", marker)
    typed = ("model=module", f"{MODULE}={module}", *(part for part in TINY if not part.startswith("model.")))
    done = inside(*typed, f"hydra.run.dir={folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    def forget() -> None:
        del sys.modules["somebodys_net"]
        marker.unlink()

    forget()
    resume = (f"hydra.run.dir={folder}", "train.resume=true", "train.steps=5")
    assert f"{MODULE}={module}: would be imported" in refusal(inside(*resume, cwd=tmp_path))
    for command, arguments in ((predict, ["1,2"]), (prune, [])):
        assert command([str(folder), *arguments]) == 2
        assert f"{MODULE}={module}: would be imported" in capsys.readouterr().err
        assert not marker.exists()
        assert command([str(folder), *arguments, "--module", module]) == 0
        assert marker.exists()
        capsys.readouterr()
        forget()
    done = inside("model=module", f"{MODULE}={module}", *resume, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert marker.exists()


def test_a_plug_in_that_is_installed_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from grokplane.app.stored import check_module

    one = config.compose(["model=module", f"{MODULE}=somebodys_plugin.nets.Net"])
    with pytest.raises(ConfigError, match="would be imported"):
        check_module(one, ())
    about = tmp_path / "somebodys_plugin-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-plugin\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[grokplane.modules]\nnets = somebodys_plugin.nets\n")
    monkeypatch.syspath_prepend(tmp_path)
    check_module(one, ())


@pytest.mark.parametrize("place", ["parameters", "command"])
@pytest.mark.parametrize("key", [MODULE, "optimizer._target_", "metrics.evil", "+hydra.callbacks.evil"])
def test_a_hostile_sweep_file_runs_nothing(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch, place: str, key: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    marker = tmp_path / "marker"
    module = own_module(tmp_path, "swept_net", marker)
    call = f"{{_target_: pathlib.Path.touch, self: {{_target_: pathlib.Path, _args_: [{marker}]}}}}"
    value = {MODULE: module, "optimizer._target_": "swept_net.Net"}.get(key, call)
    key = f"+{key}" if key.startswith("metrics") else key
    command = ["${program}", *(["model=module"] if key == MODULE else []), *PRECISE, "train.steps=2"]
    if place == "command":
        file = sweep_file(tmp_path, command=[*command, f"{key}={value}"], parameters={"seed": {"values": [0]}})
    else:
        file = sweep_file(tmp_path, command=command, parameters={key: {"values": [value]}})
    done = inside(str(file), f"hydra.sweep.dir={tmp_path / 'sweep'}", cwd=tmp_path, program="sweep.py")
    assert refusal(done)
    assert not marker.exists()


def test_a_module_in_a_sweep_file_is_imported_where_the_call_names_it(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    marker = tmp_path / "marker"
    module = own_module(tmp_path, "named_net", marker)
    command = ["${program}", "model=module", *PRECISE, "data.p=7", "train.steps=2"]
    file = sweep_file(tmp_path, command=command, parameters={MODULE: {"values": [module]}})
    done = inside(
        str(file), f"{MODULE}={module}", f"hydra.sweep.dir={tmp_path / 'sweep'}", cwd=tmp_path, program="sweep.py"
    )
    assert done.returncode == 0, done.stderr
    assert marker.exists()


@pytest.mark.parametrize("value", ["${oc.env:GROKPLANE_SECRET}", r"$\{oc.env\:GROKPLANE_SECRET\}"])
@pytest.mark.parametrize("place", ["parameters", "command"])
def test_what_a_hostile_sweep_file_refers_to_is_not_looked_up(
    tmp_path: Path, inside: Inside, secret: str, place: str, value: str
) -> None:
    keys: dict[str, Any] = {"parameters": {"record.project": {"values": [value]}}}
    if place == "command":
        keys = {"command": ["${program}", f"record.project={value}"]}
    done = inside(str(sweep_file(tmp_path, **keys)), cwd=tmp_path, program="sweep.py")
    assert "would be looked up" in refusal(done)
    assert secret not in done.stderr


def test_a_hostile_answer_of_wandb_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    marker = tmp_path / "marker"
    settings = {
        "name": "${oc.env:GROKPLANE_SECRET}",
        "torn": "${",
        "../../escaped": "!!python/object/apply:os.mkdir ['x']",
        "optimizer": payloads(marker)["optimizer"],
    }
    run = types.SimpleNamespace(
        name="../../../escaped", state="finished", config=settings, scan_history=lambda: iter([{"_step": 0, "x": 1}])
    )
    module = types.ModuleType("wandb")
    monkeypatch.setattr(module, "Api", lambda: types.SimpleNamespace(run=lambda _: run), raising=False)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(sys.modules["grokplane.record.wandb_runs"], "base_url", lambda: "https://api.wandb.ai")
    frame = fetch("me/grok/abc123", cache=tmp_path / "cache")
    told = frame.to_dict("records")[0]
    assert (told["name"], told["torn"]) == ("${oc.env:GROKPLANE_SECRET}", "${")
    assert secret not in str(frame.to_dict())
    assert not marker.exists()
    assert os.listdir(tmp_path) == ["cache"]
    inside_cache = {str(path.relative_to(tmp_path / "cache")) for path in (tmp_path / "cache").rglob("*.*")}
    assert all(path.startswith("me/grok/abc123/") for path in inside_cache)


def test_a_pickle_in_place_of_a_checkpoint_is_not_carried_out(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "marker"),)

    torch.save({"config": Payload()}, last_checkpoint(hostile))
    assert predict([str(hostile), "1,2"]) == 2
    assert "damaged" in capsys.readouterr().err
    assert not (tmp_path / "marker").exists()
