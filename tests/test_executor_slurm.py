"""Slurm jobs: requested resources, cancelling, time limits, and restarts."""

from __future__ import annotations

import os
import pickle
import signal
import textwrap
from pathlib import Path

import pytest
import submitit
from command import assert_same_state, rows, state
from omegaconf import OmegaConf
from stacks import LONG, at_step, job, placed, worker

from grokplane.options import ConfigError
from grokplane.sweep.executors import slurm as slurm_executor
from grokplane.sweep.executors.slurm import Resumable, Slurm, Submitted, notice_signal, resumed
from grokplane.sweep.stack_job import StackResult, run_stack

# Slurm's commands, as far as submitit uses them: a job is a process in the background, its number the process's.
COMMANDS = {
    "sbatch": """
        bash -c 'export SLURM_JOB_ID=$$; exec bash "$0"' "$1" > /dev/null 2>&1 < /dev/null &
        echo "Submitted batch job $!"
        """,
    "srun": """
        while [[ $1 != *python* ]]; do shift; done
        export SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=1 SLURM_NODEID=0 SLURM_JOB_NUM_NODES=1
        exec "$@"
        """,
    "sacct": """
        echo "JobID|State|NodeList"
        for job in "$@"; do
            [[ $job == [0-9]* ]] || continue
            if kill -0 "$job" 2> /dev/null; then echo "$job|RUNNING|n1"; else echo "$job|CANCELLED|n1"; fi
        done
        """,
    "scancel": """
        echo "$1" >> "$(dirname "$0")/cancelled"
        pkill -TERM -P "$1"
        """,
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with these commands, first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in COMMANDS.items():
        (folder / name).write_text(f"#!/bin/bash\n{textwrap.dedent(text)}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_a_machine_without_slurm_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        ConfigError,
        match=r"^hydra\.launcher\.submitit\.cluster=slurm: needs Slurm's srun on the PATH; allowed here: local$",
    ):
        Slurm().run([placed(tmp_path)])


def test_a_job_at_its_time_limit_goes_on_where_it_was(tmp_path: Path):
    keys = ("train.steps=2_000", "log.every=500")
    run_stack(job(tmp_path / "alone", *keys))
    limited = job(tmp_path / "limited", *keys)
    at_step(5, tmp_path / "limited", lambda: os.kill(worker(tmp_path / "limited"), notice_signal()))
    ((_, result),) = Slurm(cluster="local").run([limited])
    assert result.exit_code == 0
    assert "Requeued" in next((tmp_path / "limited" / ".submitit").glob("*/*.out")).read_text()
    assert_same_state(state(tmp_path / "limited" / "0"), state(tmp_path / "alone" / "0"))
    assert rows(tmp_path / "limited" / "0") == rows(tmp_path / "alone" / "0")


def test_slurm_jobs_ask_for_what_the_options_say_and_ctrl_c_cancels_them(slurm: Path, tmp_path: Path):
    jobs = [job(tmp_path / "fine", "train.steps=30"), job(tmp_path / "long", *LONG), placed(tmp_path / "never")]
    options = Slurm(
        partition="gpu", account="us", gpus_per_node=1, mem_gb=2, cpus_per_task=3, timeout_min=9, max_jobs=1
    )
    at_step(5, tmp_path / "long", lambda: os.kill(os.getpid(), signal.SIGTERM))
    results = list(options.run(jobs))
    assert [(position, result.exit_code) for position, result in results] == [(0, 0), (1, 143), (2, 143)]
    statuses = [[summary and summary["status"] for summary in result.summaries] for _, result in results]
    assert statuses == [["finished"], ["interrupted"], [None]]
    asked = sorted(path.read_text() for path in (tmp_path / ".submitit").glob("*/*_submission.sh"))
    assert len(asked) == 2
    wanted = ("partition=gpu", "account=us", "gpus-per-node=1", "mem=2GB", "cpus-per-task=3", "time=9")
    assert all(f"#SBATCH --{line}\n" in text for text in asked for line in wanted)
    assert len((slurm / "cancelled").read_text().split()) == 1


def test_a_job_that_is_pre_empted_for_good_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Gone(submitit.SlurmJob[StackResult]):
        @property
        def state(self) -> str:
            return "PREEMPTED"

        def done(self, force_check: bool = False) -> bool:  # noqa: ARG002 (submitit's signature)
            return False

    watched = Submitted(placed(tmp_path), Gone(tmp_path, "7"))
    assert not watched.done()
    monkeypatch.setattr(slurm_executor, "PREEMPTED_SECONDS", 0)
    assert watched.done()
    (line,) = watched.result().errors
    assert line == f"job 7: pre-empted and not requeued; its log: {tmp_path}/7_0_log.err"


def test_a_job_that_slurm_does_not_take_is_told(slurm: Path, tmp_path: Path):
    (slurm / "sbatch").write_text("#!/bin/bash\necho 'sbatch: error: invalid partition specified: x' >&2\nexit 1\n")
    results = list(Slurm(partition="x").run([placed(tmp_path, 2)]))
    line = "could not be submitted: sbatch: error: invalid partition specified: x"
    assert results == [(0, StackResult(1, (None, None), (line, line)))]


def test_a_job_that_raises_is_told_with_its_error(tmp_path: Path):
    handle = submitit.LocalJob[StackResult](tmp_path, "7")
    trace = "Traceback (most recent call last):\n  File ...\nUncompletedJobError: timed-out too many times"
    handle.paths.result_pickle.write_bytes(pickle.dumps(("error", trace)))
    (line,) = Submitted(placed(tmp_path), handle).result().errors
    assert line == f"job 7: UncompletedJobError: timed-out too many times; its log: {tmp_path}/7_0_log.err"


def test_a_job_that_slurm_starts_again_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    again = job(tmp_path, "train.steps=30")
    run_stack(again)
    before = rows(tmp_path / "0")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, notice_signal())}
    try:
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        result = Resumable()(again)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert result.exit_code == 0
    assert rows(tmp_path / "0") == before


def test_a_job_that_goes_on_resumes_and_overwrites_nothing(tmp_path: Path):
    going = resumed(job(tmp_path, "train.overwrite=true", members=2))
    for text in going.configs:
        options = OmegaConf.create(text).train
        assert (options.resume, options.overwrite) == (True, False)
    assert resumed(going) == going
