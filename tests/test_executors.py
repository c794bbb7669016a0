"""Stacks on a cluster: results as they end, workers that die, time limits, and Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest
import submitit
from command import state
from stacks import LONG, at_step, job, placed, worker

from grokplane.options import ConfigError
from grokplane.record import read_summary
from grokplane.sweep.executors import remote
from grokplane.sweep.executors.remote import collect, imported, settled
from grokplane.sweep.executors.slurm import Slurm
from grokplane.sweep.stack_job import StackJob, StackResult


class Scripted:
    """A task that ends after some polls."""

    def __init__(self, result: StackResult, looks: int) -> None:
        self._result, self.looks, self.cancelled = result, looks, False

    def done(self) -> bool:
        self.looks -= 1
        return self.looks < 0 or self.cancelled

    def result(self) -> StackResult:
        return self._result

    def cancel(self) -> None:
        self.cancelled = True


def finished(members: int = 1) -> StackResult:
    """A successful result."""
    return StackResult(0, ({"status": "finished"},) * members, (None,) * members)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 0)  # for slow network folders


def test_results_come_as_the_stacks_end_and_no_more_than_asked_run_at_once(tmp_path: Path):
    looks, running, most = [9, 2, 2, 1], [0], [0]

    def start(one: StackJob) -> Scripted:
        running[0] += 1
        most[0] = max(most[0], running[0])
        return Scripted(finished(), looks[int(Path(one.folders[0]).name)])

    jobs = [StackJob(("",), (str(tmp_path / str(number)),)) for number in range(4)]
    order = []
    for position, result in collect(jobs, start, at_once=2):
        running[0] -= 1
        order.append(position)
        assert result == finished()
    assert order == [1, 2, 3, 0]
    assert most == [2]


def test_a_signal_cancels_what_runs_and_tells_the_rest_as_interrupted(tmp_path: Path):
    tasks = []

    def start(_: StackJob) -> Scripted:
        tasks.append(Scripted(finished(2), 10**6 if tasks else 0))
        return tasks[-1]

    results = collect([placed(tmp_path, 2)] * 3, start, at_once=1)
    assert next(results) == (0, finished(2))
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    nothing = StackResult(128 + signal.SIGTERM, (None, None), (None, None))
    assert list(results) == [(1, nothing), (2, nothing)]
    assert [task.cancelled for task in tasks] == [False, True]


def test_a_sweep_that_is_left_early_cancels_what_runs(tmp_path: Path):
    tasks: list[Scripted] = []

    def start(_: StackJob) -> Scripted:
        tasks.append(Scripted(finished(), 10**6 if tasks else 0))
        return tasks[-1]

    results = collect([placed(tmp_path)] * 2, start, at_once=2)
    next(results)
    del results
    assert [task.cancelled for task in tasks] == [False, True]


def test_a_worker_that_was_told_to_stop_does_not_end_the_sweep():
    done, stopped = {"status": "finished"}, {"status": "interrupted"}
    late = StackResult(143, (done, {"status": "diverged"}), (None, None))
    assert settled(late) == StackResult(3, late.summaries, late.errors)
    failed = StackResult(143, (done, None), (None, "cannot be built"))
    assert settled(failed).exit_code == 1
    early = settled(StackResult(143, (done, stopped, None), (None, None, None)))
    assert early.exit_code == 1
    line = "its worker was told to stop (signal 15); it can be resumed"
    assert early.errors == (None, line, line)
    assert settled(finished()) == finished()


def test_a_missing_package_is_told_in_one_line():
    expected = "hydra.launcher.executor=submitit: needs the package no_such: pip install -e .[slurm]"
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        imported("no_such", "submitit", "slurm")


def test_a_job_that_dies_leaves_the_others_alone(tmp_path: Path):
    jobs = [job(tmp_path / "long", *LONG), job(tmp_path / "fine", "train.steps=30", members=2)]
    at_step(5, tmp_path / "long", lambda: os.kill(worker(tmp_path / "long"), signal.SIGKILL))
    results = dict(Slurm(cluster="local", max_jobs=2).run(jobs))
    assert results[1].exit_code == 0
    assert results[1].summaries == tuple(read_summary(Path(folder)) for folder in jobs[1].folders)
    assert [summary and summary["status"] for summary in results[1].summaries] == ["finished"] * 2
    assert results[0].exit_code == 1
    assert results[0].summaries == (None,)
    (line,) = results[0].errors
    logs = re.escape(str(tmp_path / ".submitit"))
    assert re.fullmatch(rf"job \d+: no result, FINISHED; its log: {logs}/[\d_-]+/\d+_0_log\.err", line or "")


def test_ctrl_c_stops_local_jobs_with_a_checkpoint(tmp_path: Path):
    long = job(tmp_path / "long", *LONG)
    at_step(5, tmp_path / "long", lambda: os.kill(os.getpid(), signal.SIGINT))
    ((position, result),) = Slurm(cluster="local", max_jobs=1).run([long])
    assert (position, result.exit_code, result.errors) == (0, 130, (None,))
    assert result.summaries[0] is not None
    assert result.summaries[0]["status"] == "interrupted"
    assert result.summaries[0]["steps"] == state(tmp_path / "long" / "0")["step"] > 5
