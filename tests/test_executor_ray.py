"""Stacks on a Ray cluster of this machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import ray
from stacks import LONG, at_step, job, placed, worker

from grokplane.options import ConfigError
from grokplane.record import read_summary
from grokplane.sweep.executors.ray_cluster import RayCluster


def test_a_cluster_trains_stacks_outlives_a_worker_and_ends_with_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray keeps a cluster's token there
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    executor = RayCluster(num_cpus=0.5)
    jobs = [job(tmp_path / "long", *LONG), job(tmp_path / "fine", "train.steps=30", members=2)]
    results = executor.run(jobs)  # starts the cluster

    stopped = job(tmp_path / "stopped", *LONG)
    at_step(5, tmp_path / "stopped", lambda: os.kill(os.getpid(), signal.SIGTERM))
    ((_, result),) = executor.run([stopped])
    assert result.exit_code == 143
    assert result.summaries[0] is not None
    assert result.summaries[0]["status"] == "interrupted"
    assert ray.is_initialized()  # it was there before

    at_step(5, tmp_path / "long", lambda: os.kill(worker(tmp_path / "long"), signal.SIGKILL))
    ended = dict(results)
    assert ended[1].exit_code == 0
    assert ended[1].summaries == tuple(read_summary(Path(folder)) for folder in jobs[1].folders)
    assert [summary and summary["status"] for summary in ended[1].summaries] == ["finished"] * 2
    assert ended[0].exit_code == 1
    assert ended[0].summaries == (None,)
    assert (ended[0].errors[0] or "").startswith("WorkerCrashedError: The worker died unexpectedly")
    assert not ray.is_initialized()


def test_more_than_this_machine_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stopped = []
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0})
    monkeypatch.setattr(ray, "shutdown", lambda: stopped.append(True))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    expected = r"^hydra\.launcher\.ray\.num_gpus=0\.5: must be at most 0, what this machine has$"
    with pytest.raises(ConfigError, match=expected):
        RayCluster(num_cpus=4, num_gpus=0.5).run([placed(tmp_path)])
    assert stopped == [True]


def test_a_cluster_that_is_not_there_is_told_in_one_line(tmp_path: Path):
    with pytest.raises(
        ConfigError, match=r"^hydra\.launcher\.ray\.address=127\.0\.0\.1:1: no Ray cluster there: [^\n]*$"
    ):
        RayCluster(address="127.0.0.1:1").run([placed(tmp_path)])
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.ray\.address=nowhere: no Ray cluster there: [^\n]*$"):
        RayCluster(address="nowhere").run([placed(tmp_path)])
    assert list(RayCluster(address="nowhere").run([])) == []
