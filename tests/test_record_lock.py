import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from grokplane.record.lock import FolderBusy, FolderLock, is_locked

HOLD = """
import sys, time
from pathlib import Path
from grokplane.record.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other_process(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_folder_held_elsewhere_is_refused_and_left_as_it_was(tmp_path, other_process):
    before = contents(tmp_path)
    assert is_locked(tmp_path)
    with pytest.raises(FolderBusy) as refusal:
        FolderLock(tmp_path)
    assert contents(tmp_path) == before
    message = str(refusal.value)
    assert str(tmp_path) in message
    assert f"pid {other_process.pid}" in message
    assert "\n" not in message


def test_kill_9_gives_the_lock_back(tmp_path, other_process):
    os.kill(other_process.pid, signal.SIGKILL)
    other_process.wait()
    assert not is_locked(tmp_path)
    lock = FolderLock(tmp_path)
    assert is_locked(tmp_path)
    assert f"pid {os.getpid()}" in (tmp_path / ".lock").read_text()
    lock.release()
    assert not is_locked(tmp_path)


def test_probing_creates_nothing(tmp_path):
    assert not is_locked(tmp_path)
    assert not is_locked(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_two_locks_in_one_process_exclude_each_other(tmp_path):
    lock = FolderLock(tmp_path)
    with pytest.raises(FolderBusy):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()
