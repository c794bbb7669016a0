"""Calls in worker processes: the same results, errors, deaths, and no process that is left behind."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from grokplane.processes import DEAD, DiedError, Processes, worker


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def beside() -> Iterator[Processes]:
    """One process, started at the first call."""
    processes = Processes(1, os.getpid, calls=9, patience=0)
    try:
        wait_for(lambda: processes.call(os.getpid) != os.getpid())
        yield processes
    finally:
        processes.close()


def test_nothing_is_started_before_it_is_worth_it() -> None:
    for calls, patience in ((50, 0.5), (10**9, math.inf), (0, 1e-9)):
        processes = Processes(1, os.getpid, calls=calls, patience=patience)
        processes.call(time.sleep, 0.1)  # the longest call does not count
        assert {processes.call(os.getpid) for _ in range(9)} == {os.getpid()}
        assert processes._starter is None
        processes.close()
    processes = Processes(1, os.getpid, calls=100, patience=0.5)
    for _ in range(3):
        processes.call(time.sleep, 0.01)
    assert processes._starter is not None
    processes.close()


def test_tensors_are_sent_and_errors_raised(beside: Processes) -> None:
    x = torch.randn(50, 7, dtype=torch.float64)
    assert torch.equal(beside.call(torch.linalg.qr, x).R, torch.linalg.qr(x).R)
    with pytest.raises(ValueError, match="invalid literal"):
        beside.call(int, "seven")
    beside.call(print, "does not disturb the results")
    assert beside.call(int, "7") == 7
    assert beside.call(os.getpid) != os.getpid()


def test_one_that_dies_while_it_waits_does_no_harm_and_another_comes(
    beside: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    there = beside.call(os.getpid)
    os.kill(there, signal.SIGKILL)
    wait_for(lambda: not beside._idle[0].lives())
    assert [beside.call(abs, -3), beside.call(os.getpid)] == [3, os.getpid()]
    wait_for(lambda: beside.call(os.getpid) not in (there, os.getpid()))
    assert caplog.text.count("has died, another is started (killed, possibly for lack of memory)") == 1


def test_work_that_ends_its_process_is_told_and_never_done_here(beside: Processes) -> None:
    """A call that the system killed for lack of memory would end the run itself."""
    there = beside.call(os.getpid)
    with pytest.raises(DiedError, match=r"has died \(exit code 3\)"):
        beside.call(os._exit, 3)
    assert beside.call(os.getpid) not in (there, os.getpid())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="told by Linux alone")
def test_one_that_hangs_at_work_is_noticed_and_replaced(beside: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LOOK", 0.05)
    monkeypatch.setattr(worker, "HUNG", 30)
    first = beside.call(os.getpid)
    with pytest.raises(DiedError, match="no longer answers"):
        beside.call(time.sleep, 600)
    assert beside.call(os.getpid) not in (first, os.getpid())
    assert beside.call(_busy, 1.0) == 1.0  # takes longer, but computes


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="told by Linux alone")
def test_one_that_was_stopped_while_it_waits_is_replaced(beside: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process reads nothing, so that a call larger than a pipe could never be written."""
    monkeypatch.setattr(worker, "LOOK", 0.05)
    monkeypatch.setattr(worker, "HUNG", 10)
    os.kill(beside.call(os.getpid), signal.SIGSTOP)
    with pytest.raises(DiedError, match="no longer answers"):
        beside.call(torch.sum, torch.zeros(10**5))
    assert beside.call(torch.sum, torch.ones(10**5)) == 10**5


def test_one_that_was_stopped_does_not_keep_the_end(beside: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "END", 0.1)
    os.kill(beside.call(os.getpid), signal.SIGSTOP)
    beside.close()
    assert beside._all == []


def _busy(seconds: float) -> float:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return seconds


def test_where_none_can_take_the_place_of_the_dead_every_call_is_told(
    beside: Processes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DiedError, match="has died"):
        beside.call(os._exit, 1)
    for _ in range(2):
        with pytest.raises(DiedError, match="no other can be started"):
            beside.call(abs, -3)
    assert caplog.text.count("no worker process can be started") == 1


def test_what_cannot_be_sent_is_done_here_and_costs_no_process(
    beside: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert beside.call(lambda: "here") == "here"
    assert caplog.text.count("in this process") == 1
    assert beside.call(os.getpid) != os.getpid()


class FussyError(Exception):
    """An object that can be pickled but not unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fussy() -> None:
    raise FussyError(1, 2)


def locked() -> object:
    return threading.Lock()


def raises_locked() -> None:
    raise ValueError(threading.Lock())


def test_answers_and_errors_that_cannot_be_sent_cost_no_process(beside: Processes) -> None:
    there = beside.call(os.getpid)
    with pytest.raises(RuntimeError, match="FussyError: 1 and 2"):
        beside.call(fussy)
    with pytest.raises(RuntimeError, match="ValueError: <unlocked"):
        beside.call(raises_locked)
    assert isinstance(beside.call(locked), type(threading.Lock()))
    assert beside.call(os.getpid) == there


def test_an_interrupted_call_does_not_answer_the_next(beside: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("pickle.load", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            beside.call(abs, -3)
    assert beside.call(abs, -4) == 4
    wait_for(lambda: beside.call(os.getpid) != os.getpid())


def _interrupt(_: object) -> None:
    raise KeyboardInterrupt


def test_what_a_process_cannot_read_is_done_here(
    beside: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "come_later.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from come_later import answer  # type: ignore[import-not-found]

    assert beside.call(answer) == 42
    assert beside.call(os.getpid) != os.getpid()


def test_signals_to_stop_are_for_the_parent(beside: Processes) -> None:
    there = beside.call(os.getpid)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(there, number)
    assert beside.call(os.getpid) == there


def test_closing_ends_what_is_still_starting() -> None:
    processes = Processes(2, os.getpid, calls=9, patience=0)
    processes.call(abs, -1)
    wait_for(lambda: bool(processes._all))
    (begun, *_) = processes._all
    processes.close()
    assert begun._process.returncode is not None


def begun(count: int = 1) -> Processes:
    """Processes that are starting."""
    processes = Processes(count, os.getpid, calls=9, patience=0)
    for _ in range(2):
        processes.call(abs, -1)
    assert processes._starter is not None
    return processes


def test_a_patient_call_waits_for_the_first_process() -> None:
    processes = begun()
    assert processes.call(os.getpid) == os.getpid()
    assert processes.call(os.getpid, patient=True) != os.getpid()
    processes.close()


def test_closing_wakes_who_waits() -> None:
    processes = begun()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(processes.call, os.getpid, patient=True)
        processes.close()
        with pytest.raises(DEAD):
            waiting.result(30)


def test_who_waits_for_a_start_that_fails_works_here(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    processes = begun()
    assert processes.call(os.getpid, patient=True) == os.getpid()
    assert "no worker process can be started" in caplog.text
    processes.close()


def test_who_waits_too_long_works_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grokplane.processes.calls.LONGEST_START", 0.01)
    processes = begun()
    assert processes.call(os.getpid, patient=True) == os.getpid()
    processes.close()


def test_a_thread_that_cannot_be_started_costs_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    processes = Processes(1, os.getpid, calls=9, patience=0)
    assert [processes.call(abs, -1, patient=True) for _ in range(5)] == [1] * 5
    assert caplog.text.count("can't start new thread") == 1
    processes.close()


def test_a_killed_parent_leaves_none_behind() -> None:
    script = (
        "import os, time; from grokplane.processes import Processes\n"
        "beside = Processes(1, os.getpid, 9, 0)\n"
        "while (there := beside.call(os.getpid)) == os.getpid(): time.sleep(.02)\n"
        "print(there, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        there = int(parent.stdout.readline())
        parent.kill()
    wait_for(lambda: not _runs(there))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_after_closing_every_call_is_told(beside: Processes) -> None:
    beside.close()
    for patient in (False, True):
        with pytest.raises(EOFError, match="closed"):
            beside.call(math.sqrt, 4.0, patient=patient)


def test_a_file_of_the_current_folder_is_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a folder with files of other people."""
    (tmp_path / "torch.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with contextlib.closing(begun()) as processes:
        assert processes.call(os.getpid, patient=True) != os.getpid()
    assert not (tmp_path / "ran").exists()


def test_work_finds_nothing_to_read(beside: Processes) -> None:
    assert beside.call(sys_stdin) == ""
    assert beside.call(max, 1, 2) == 2


def sys_stdin() -> str:
    """The input of a function that reads from standard input."""
    return sys.stdin.read()


def test_a_process_that_dies_beside_its_own_child_is_found_dead(beside: Processes) -> None:
    """The child process keeps the pipe of the answers open."""
    begin = time.monotonic()
    with pytest.raises(DiedError):
        beside.call(forks_and_dies)
    assert time.monotonic() - begin < 10


def forks_and_dies() -> None:
    """Start a child process that lives long."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_numpy_has_no_type_for_is_sent(beside: Processes) -> None:
    assert torch.equal(
        beside.call(torch.neg, torch.ones(2, dtype=torch.bfloat16)), -torch.ones(2, dtype=torch.bfloat16)
    )
