"""`fetch` with a stand-in for `wandb.Api`, because no server that answers queries is available."""

import json
import sys
import types

import numpy as np
import pandas as pd
import pytest

from grokplane.options import ConfigError
from grokplane.record import load, summaries
from grokplane.record.wandb_runs import fetch, merged

fetching = sys.modules["grokplane.record.wandb_runs"]  # the package has the function under that name

HISTORY = [
    {"_step": 0, "_runtime": 1.5, "_timestamp": 2.0, "step": 0, "Acc/test": 0.1, "MI(X;L)_eval/layer 1": 2.5},
    {"_step": 1000, "_runtime": 9.0, "step": 1000, "Acc/test": "NaN", "MI(X;L)_eval/layer 1": "Infinity"},
    {"_step": 2000, "_runtime": 9.5, "step": 2000, "Acc/test": 0.9, "MI(X;L)_eval/layer 1": None},
    {"_step": 2001, "_runtime": 9.9, "curves": {"_type": "image-file", "path": "media/curves.png"}},
]
CONFIG = {"optimizer.lr": 1e-3, "seed": 3, "model.hidden": [200, 200], "_wandb": {"t": 1}, "name": "default"}


class Server:
    """The runs of the stand-in server, and the queries it received."""

    def __init__(self) -> None:
        self.state, self.history, self.config, self.asked = "finished", HISTORY, CONFIG, []

    def run(self, path: str):
        self.asked.append(path)
        lines = self.history
        return types.SimpleNamespace(
            name="happy-run-1", state=self.state, config=self.config, scan_history=lambda: iter(lines)
        )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    known = Server()
    module = types.ModuleType("wandb")
    monkeypatch.setattr(module, "Api", lambda: known, raising=False)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(fetching, "base_url", lambda: "https://api.wandb.ai")
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
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


@pytest.mark.parametrize("state", ["crashed", "preempted", "preempting", "pending"])
def test_a_run_that_may_go_on_is_not_taken_as_over(server, tmp_path, state):
    server.state, server.history = state, HISTORY[:1]
    fetch("me/grok/a", cache=tmp_path)
    server.state, server.history = "finished", HISTORY
    assert list(fetch("me/grok/a", cache=tmp_path)["step"]) == [0, 1000, 2000]


def test_a_fetch_that_is_killed_while_it_writes_is_done_again(server, tmp_path, monkeypatch):
    server.state, server.history = "running", HISTORY[:1]
    fetch("me/grok/a", cache=tmp_path)
    server.state, server.history = "finished", HISTORY

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "atomic_file", killed)
    with pytest.raises(KeyboardInterrupt):
        fetch("me/grok/a", cache=tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(fetching, "_store", lambda *_: server.asked.append("again"))
    fetch("me/grok/a", cache=tmp_path)
    assert server.asked[-1] == "again"


def test_text_in_a_config_stays_text(server, tmp_path):
    odd = {"seed": 3, "a": "${seed}", "b": "${", "c": "${oc.env:HOME}", "d": "\ud800\x1b", "e": [["${seed}"]]}
    server.config = odd
    frame = fetch("me/grok/a", cache=tmp_path)
    told = frame.to_dict("records")[0]
    assert {name: told[name] for name in odd} == odd | {"e": (["${seed}"],)}


def test_odd_configs_cost_a_warning_at_most(server, tmp_path, caplog):
    deep: dict = {}
    for _ in range(3000):
        deep = {"k": deep}
    for config in (None, [1], {1: 2, None: 3, "deep": deep}):
        server.config = config
        assert list(fetch("me/grok/a", cache=tmp_path, refresh=True)["step"]) == [0, 1000, 2000]
    assert set(fetch("me/grok/a", cache=tmp_path)["1"]) == {2}
    assert [record.getMessage() for record in caplog.records] == [
        "keys of the run's config that YAML cannot represent are left out: deep"
    ]


def test_a_key_or_a_metric_called_run_does_not_take_the_runs_place(server, tmp_path):
    server.config = {"run": "from the config", "step": 7}
    server.history = [{"_step": 0, "run": 5, "a": 1}]
    assert fetch("me/grok/a", cache=tmp_path).to_dict("list") == {"run": ["a"], "step": [0], "a": [1]}
    assert list(summaries(tmp_path)["run"]) == ["me/grok/a"]


def test_an_address_at_another_server_is_refused_also_with_a_cache(server, tmp_path, monkeypatch):
    fetch("me/grok/a", cache=tmp_path)
    fetch("https://wandb.ai/me/grok/runs/a/overview?nw=x", cache=tmp_path)
    assert len(server.asked) == 1
    for path in ("https://wandb.lab.org:8080/me/grok/runs/a", "https://wandb.ai.evil.org/me/grok/a"):
        with pytest.raises(ValueError, match=r"is not at wandb.ai, .* set WANDB_BASE_URL=https://wandb"):
            fetch(path, cache=tmp_path)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.lab.org:8080")
    monkeypatch.setattr(fetching, "base_url", lambda: "https://wandb.lab.org:8080")
    for path in ("me/grok/a", "https://wandb.lab.org:8080/me/grok/runs/a"):
        fetch(path, cache=tmp_path)
    assert len(server.asked) == 2  # not the run of the same name at wandb.ai


@pytest.mark.usefixtures("server")
def test_a_cache_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=f"^cache={tmp_path}/file: cannot be written"):
        fetch("me/grok/a", cache=tmp_path / "file")


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


@pytest.mark.parametrize(
    "path", ["abc", "grok/abc", "a/b/c/d", "me/../abc", "me/g/..", "https://wandb.ai/me/%2e%2e/abc", "me/g\0/a", ""]
)
def test_a_path_that_names_no_run(path, tmp_path):
    with pytest.raises(ValueError, match="ENTITY/PROJECT/ID"):
        fetch(path, cache=tmp_path)


def test_rows_of_one_step_are_merged_and_sorted():
    history = [{"_step": 7, "a": 1}, {"_step": 2, "b": 2.5}, {"_step": 7, "c": True}, {"_step": 9, "text": "x"}]
    assert merged(history) == [{"step": 2, "b": 2.5}, {"step": 7, "a": 1, "c": True}]


def test_steps_that_are_not_whole_stay_apart_and_those_that_are_no_numbers_are_wandbs_own(caplog):
    history = [
        {"_step": 0, "step": 0.5, "a": 1},
        {"_step": 1, "step": 0.7, "a": 2, "": 3},
        {"_step": 2, "step": 1.0, "a": 3},
        {"_step": 3, "step": "NaN", "a": 4},
        {"_step": 4, "step": None, "a": 5},
        {"_step": 5, "step": "five", "a": 6},
        {"_step": None, "a": 7},
        {"a": 8},
    ]
    steps = [(0.5, 1), (0.7, 2), (1, 3), (3, 4), (4, 5), (5, 6)]
    assert [(row["step"], row["a"]) for row in merged(history)] == steps
    assert [record.getMessage() for record in caplog.records] == [
        "2 rows of the run's history have no step and are left out"
    ]


def test_steps_that_are_not_whole_come_in_the_frame_and_a_huge_one_is_a_number(server, tmp_path):
    server.history = [{"_step": 0, "step": 0.5, "a": 1}, {"_step": 1, "step": 1.5, "a": 2}]
    assert fetch("me/grok/a", cache=tmp_path)[["step", "a"]].to_numpy().tolist() == [[0.5, 1], [1.5, 2]]
    assert merged([{"_step": 0, "step": 10**400, "a": 1}]) == [{"step": 10**400, "a": 1}]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("me/my project/a", "me/my project/a"),
        ("https://wandb.ai/me/my%20project/runs/a/logs?x#y", "me/my project/a"),
        ("HTTPS://wandb.ai/me/grok/runs/run.v1", "me/grok/run.v1"),
        ("me/grok/lr=0.1,seed=0", "me/grok/lr=0.1,seed=0"),
    ],
)
def test_names_that_wandb_allows(server, tmp_path, path, asked):
    fetch(path, cache=tmp_path)
    assert server.asked == [asked]


def test_what_became_of_a_run_is_told_in_wandbs_word(server, tmp_path):
    for state in ("crashed", "finished"):
        server.state = state
        fetch("me/grok/a", cache=tmp_path)
        assert list(summaries(tmp_path)["status"]) == [state]
