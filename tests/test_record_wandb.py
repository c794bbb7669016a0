"""The real W&B library, in processes of its own, because it keeps state and reads the environment once per process."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import grokplane
from grokplane.record import Record
from grokplane.record import wandb_mode as modes
from grokplane.record.tracking import Tracker

KEY = "0123456789" * 4
RUN = """
import logging, sys
from pathlib import Path
from grokplane.record import Record, Recorder
logging.basicConfig(format="LOG %(name)s %(message)s", level=logging.INFO)
config = {"optimizer": {"lr": 0.001}, "model": {"widths": [32, 32]}}
opened = [Recorder(Path(folder), config, Record(wandb=sys.argv[1])) for folder in sys.argv[2:]]
for recorder in opened:
    for step in range(5):
        recorder.log({"step": step, "Loss/train": 1.0, "Acc/test": float("nan")})
    recorder.finish("finished", grok={"train_step": 1, "test_step": None, "delay": None, "threshold": 0.99})
print([recorder._tracker.mode for recorder in opened], "wandb" in sys.modules)
"""


def environment(home: Path, **extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB") and name != "NETRC"}
    source = str(Path(grokplane.__path__[0]).parent)
    return kept | {"HOME": str(home), "PYTHONPATH": source, "NO_PROXY": "127.0.0.1"} | extra


def record(tmp_path: Path, wandb: str, *folders: str, **extra: str) -> tuple[str, list[str]]:
    """The output of a process that records runs, and its log lines."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-c", RUN, wandb, *(str(tmp_path / folder) for folder in folders)]
    done = subprocess.run(command, env=environment(home, **extra), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


def wandb_file(folder: Path) -> bytes:
    """The transaction log of the folder's one offline run, whose id the summary has."""
    run_id = json.loads((folder / "summary.json").read_text())["wandb_id"]
    (file,) = (folder / "wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb")
    return file.read_bytes()


def test_without_a_key_auto_is_offline_with_one_run_a_member(tmp_path):
    printed, logged = record(tmp_path, "auto", "a", "b")
    assert printed == "['offline', 'offline'] True\n"
    assert logged == []
    for folder in (tmp_path / "a", tmp_path / "b"):
        content = wandb_file(folder)
        assert content.startswith(b":W&B")
        assert b"optimizer.lr" in content
        assert b"Loss/train" in content
        assert b"Acc/test" not in content  # null is absent
        assert b"grok/train_step" in content


def test_disabled_does_not_even_import_wandb(tmp_path):
    assert record(tmp_path, "auto", "a", WANDB_MODE="disabled") == ("['disabled'] False\n", [])
    assert not (tmp_path / "a" / "wandb").exists()


@pytest.mark.parametrize(("place", "mode"), [(".config/wandb", "offline"), ("wandb", "offline"), ("wandb", "disabled")])
def test_auto_takes_the_mode_that_wandb_offline_wrote_before_it_looks_for_a_key(tmp_path, monkeypatch, place, mode):
    home = tmp_path / "home"
    (home / place).mkdir(parents=True)
    (home / place / "settings").write_text(f"[default]\nmode = {mode}\n")
    monkeypatch.chdir(home)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.01)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert record(tmp_path, "auto", "a", WANDB_API_KEY=KEY, WANDB_BASE_URL=url) == (f"['{mode}'] True\n", [])
        with pytest.raises(TimeoutError):  # nobody asked the server
            silent.accept()
    assert (tmp_path / "a" / "wandb").exists() == (mode == "offline")


def test_the_settings_file_that_counts_is_where_the_call_was_typed(tmp_path, monkeypatch):
    from hydra.core.hydra_config import HydraConfig

    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: SimpleNamespace(runtime=SimpleNamespace(cwd=str(tmp_path))))
    assert modes._started_in() == str(tmp_path)  # although hydra.job.chdir=true has left it


def test_an_unreachable_server_costs_one_warning_and_no_time(tmp_path):
    start = time.monotonic()
    printed, logged = record(tmp_path, "auto", "a", "b", WANDB_API_KEY=KEY, WANDB_BASE_URL="http://127.0.0.1:9")
    assert time.monotonic() - start < 20
    assert printed == "['offline', 'offline'] True\n"
    assert len(logged) == 1
    assert "http://127.0.0.1:9 cannot be used" in logged[0]
    assert wandb_file(tmp_path / "b").startswith(b":W&B")


def test_online_without_a_key_costs_one_warning(tmp_path):
    printed, logged = record(tmp_path, "online", "a")
    assert printed == "['offline'] True\n"
    assert len(logged) == 1
    assert "no API key is configured" in logged[0]


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "wandb").write_text("in the way")
    printed, logged = record(tmp_path, "offline", "a")
    assert printed == "['broken'] False\n"
    assert len(logged) == 1
    assert "W&B failed" in logged[0]
    assert len((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()) == 5
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["status"] == "finished"


def test_a_folder_whose_name_the_locale_cannot_read_costs_one_warning(tmp_path):
    printed, logged = record(tmp_path, "offline", "ü", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert printed == "['broken'] False\n"
    assert len(logged) == 1
    assert "set LC_ALL=C.UTF-8" in logged[0]


def test_an_unknown_wandb_mode_costs_one_warning(tmp_path):
    printed, logged = record(tmp_path, "auto", "a", WANDB_MODE="sometimes")
    assert printed == "['broken'] True\n"
    assert len(logged) == 1
    assert "sometimes" in logged[0]
    assert "http" not in logged[0]


def test_a_settings_file_of_which_wandb_takes_nothing_is_told(tmp_path):
    file = tmp_path / "home" / ".config" / "wandb" / "settings"
    file.parent.mkdir(parents=True)
    file.write_text("[default]\nmode = disabled\nfoo = bar\n")
    printed, logged = record(tmp_path, "auto", "a")
    assert printed == "['offline'] True\n"
    assert len(logged) == 1
    assert "ignores its settings files: 1 validation error for Settings foo Extra inputs" in logged[0]


class BrokenRun:
    id, step = "x", 0

    def log(self, *_: object, **__: object) -> None:
        raise ConnectionError("gone\naway")


def test_a_failure_while_logging_costs_one_warning(tmp_path, caplog):
    tracker = Tracker(tmp_path, {}, Record(wandb="disabled"), "x")
    tracker._run = BrokenRun()  # pyright: ignore[reportAttributeAccessIssue]
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            tracker.log({"step": step})
        tracker.finish({})
    assert len(caplog.records) == 1
    assert "gone away" in caplog.records[0].getMessage()
    assert tracker.mode == "broken"


@pytest.fixture
def setup(monkeypatch, tmp_path):
    """W&B's own settings as the test wants them; the environment clean."""
    for name in [name for name in os.environ if name.startswith("WANDB") or name == "NETRC"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    known = SimpleNamespace(
        base_url="https://api.forge.coreweave.com", api_key=None, identity_token_file=None, mode="online"
    )
    monkeypatch.setattr(modes, "settings", lambda: known)
    return known


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "online"}, "online"),
        ({"WANDB_SWEEP_ID": "s"}, "online"),
        ({"WANDB_SWEEP_ID": "s", "WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_SWEEP_ID": "s", "stored": "offline"}, "offline"),
        ({"stored": "disabled"}, "disabled"),
        ({"stored": "dryrun"}, "offline"),
        ({"stored": "disabled", "WANDB_MODE": "offline"}, "offline"),
    ],
)
def test_auto_follows_the_environment(setup, monkeypatch, environment, mode):
    setup.mode = environment.get("stored", "online")
    for name in environment.keys() - {"stored"}:
        monkeypatch.setenv(name, environment[name])
    assert modes._automatic() == mode


@pytest.mark.parametrize("key", ["api_key", "identity_token_file"])
def test_a_configured_key_means_online(setup, key):
    setattr(setup, key, KEY)
    assert modes._automatic() == "online"


@pytest.mark.parametrize(
    ("machine", "found"), [("api.wandb.ai", True), ("api.forge.coreweave.com", True), ("github.com", False)]
)
@pytest.mark.usefixtures("setup")
def test_a_key_in_netrc_is_found(tmp_path, machine, found):
    (tmp_path / ".netrc").write_text(f"machine {machine}\n  login user\n  password {KEY}\n")
    assert modes.has_key() == found


@pytest.mark.usefixtures("setup")
@pytest.mark.parametrize("content", [b"machine\n nonsense here", b"\xff\xfe machine", None])
def test_a_broken_netrc_has_no_key(tmp_path, caplog, content):
    (tmp_path / ".netrc").mkdir() if content is None else (tmp_path / ".netrc").write_bytes(content)
    assert not modes.has_key()
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("setup")
def test_a_netrc_below_the_home_is_found(tmp_path, monkeypatch):
    (tmp_path / "keys").write_text(f"machine api.wandb.ai login user password {KEY}")
    monkeypatch.setenv("NETRC", "~/keys")
    assert modes.has_key()


def test_a_server_that_never_answers_is_given_up_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        assert modes._no_answer(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.3) is not None
        assert time.monotonic() - start < 3
