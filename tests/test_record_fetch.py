"""`fetch` against a stand-in for `wandb.Api`: no server that answers queries is at hand here."""

import json
import sys
import types

import numpy as np
import pandas as pd
import pytest

from grokplane.record import load
from grokplane.record.fetch import fetch, merged

HISTORY = [
    {"_step": 0, "_runtime": 1.5, "_timestamp": 2.0, "step": 0, "Acc/test": 0.1, "MI(X;L)_eval/layer 1": 2.5},
    {"_step": 1000, "_runtime": 9.0, "step": 1000, "Acc/test": "NaN", "MI(X;L)_eval/layer 1": "Infinity"},
    {"_step": 2000, "_runtime": 9.5, "step": 2000, "Acc/test": 0.9, "MI(X;L)_eval/layer 1": None},
    {"_step": 2001, "_runtime": 9.9, "curves": {"_type": "image-file", "path": "media/curves.png"}},
]
CONFIG = {"optimizer.lr": 1e-3, "seed": 3, "model.hidden": [200, 200], "_wandb": {"t": 1}, "name": "default"}


class Server:
    """The runs that the stand-in knows, and what it was asked for."""

    def __init__(self) -> None:
        self.state, self.history, self.asked = "finished", HISTORY, []

    def run(self, path: str):
        self.asked.append(path)
        lines = self.history
        return types.SimpleNamespace(
            name="happy-run-1", state=self.state, config=CONFIG, scan_history=lambda: iter(lines)
        )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    known = Server()
    module = types.ModuleType("wandb")
    monkeypatch.setattr(module, "Api", lambda: known, raising=False)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return known


@pytest.mark.usefixtures("server")
def test_the_frame_of_a_run(tmp_path):
    frame = fetch("me/grok/abc123", cache=tmp_path)
    assert list(frame["run"]) == ["abc123"] * 3
    assert list(frame["step"]) == [0, 1000, 2000]
    np.testing.assert_array_equal(frame["Acc/test"], [0.1, np.nan, 0.9])
    np.testing.assert_array_equal(frame["MI(X;L)_eval/layer 1"].astype(float), [2.5, np.nan, np.nan])
    assert set(frame["optimizer.lr"]) == {1e-3}
    assert set(frame["model.hidden"]) == {(200, 200)}
    assert set(frame.columns) == {
        *("run", "step", "Acc/test", "MI(X;L)_eval/layer 1", "optimizer.lr", "seed", "model.hidden", "name")
    }


def test_the_second_call_needs_no_network(server, tmp_path, monkeypatch):
    first = fetch("me/grok/abc123", cache=tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", None)
    pd.testing.assert_frame_equal(fetch("https://wandb.ai/me/grok/runs/abc123?nw=x", cache=tmp_path), first)
    pd.testing.assert_frame_equal(load(tmp_path / "me" / "grok" / "abc123"), first)
    with pytest.raises(ImportError):
        fetch("me/grok/abc123", cache=tmp_path, refresh=True)
    assert server.asked == ["me/grok/abc123"]


def test_a_run_that_goes_on_is_asked_for_again(server, tmp_path):
    server.state, server.history = "running", HISTORY[:1]
    assert list(fetch("me/grok/a", cache=tmp_path)["step"]) == [0]
    server.state, server.history = "finished", HISTORY
    assert list(fetch("me/grok/a", cache=tmp_path)["step"]) == [0, 1000, 2000]
    assert list(fetch("me/grok/a", cache=tmp_path)["step"]) == [0, 1000, 2000]
    assert len(server.asked) == 2
    assert json.loads((tmp_path / "me/grok/a/wandb.json").read_text())["state"] == "finished"


def test_several_runs_and_a_failure_on_the_way(server, tmp_path, monkeypatch):
    both = fetch(["me/grok/a", "me/grok/b"], cache=tmp_path)
    assert list(both["run"].unique()) == ["a", "b"]

    def torn():
        yield HISTORY[0]
        raise OSError("gone")

    monkeypatch.setattr(server, "history", torn())
    with pytest.raises(OSError, match="gone"):
        fetch("me/grok/c", cache=tmp_path)
    assert not (tmp_path / "me/grok/c/metrics.jsonl").exists()


@pytest.mark.parametrize("path", ["abc", "grok/abc", "a/b/c/d", "me/../abc", ""])
def test_a_path_that_names_no_run(path, tmp_path):
    with pytest.raises(ValueError, match="ENTITY/PROJECT/ID"):
        fetch(path, cache=tmp_path)


def test_rows_of_one_step_are_merged_and_sorted():
    history = [{"_step": 7, "a": 1}, {"_step": 2, "b": 2.5}, {"_step": 7, "c": True}, {"_step": 9, "text": "x"}]
    assert merged(history) == [{"step": 2, "b": 2.5}, {"step": 7, "a": 1, "c": True}]
