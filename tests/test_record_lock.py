import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from command import TINY, digest, finished, refusal, rows, struck, summary
from filelock import SoftFileLock

from grokplane.options import ConfigError
from grokplane.predict import main as predict
from grokplane.record import Record, Recorder, check_folder, load, status, summaries
from grokplane.record.lock import FolderBusy, FolderLock, is_locked
from grokplane.record.summary import write_summary

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


LATE = """
import sys, time
from pathlib import Path
from grokplane.record import Record, Recorder
from grokplane.record import folder as place
folder, late = Path(sys.argv[1]), sys.argv[2] == "late"
Lock = place.FolderLock

def slow(folder):
    print("checked", flush=True)
    if late:  # as on a slow file system: the other one has come and gone
        while "finished" not in (folder / "summary.json").read_text():
            time.sleep(0.01)
    else:
        input()
    return Lock(folder)

place.FolderLock = slow
with Recorder(folder, {}, Record(wandb="disabled")) as own:
    own.log({"step": 0, "late": late})
    own.finish("finished")
"""


def test_of_two_starts_at_once_one_alone_writes(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    both = [
        subprocess.Popen(
            [sys.executable, "-c", LATE, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("early", "late")
    ]
    for process in both:  # neither check has failed
        assert process.stdout is not None
        assert process.stdout.readline() == "checked\n"
    ends = [process.communicate("\n", timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 1]
    assert "holds a run already" in ends[1][1]
    assert [json.loads(line)["late"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [False]


@pytest.fixture(params=["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def no_flock(tmp_path_factory, request):
    """The environment of a Python process whose file systems have no flock."""
    folder = tmp_path_factory.mktemp("site")
    number = getattr(errno, request.param)
    raising = f"raise OSError({number}, {os.strerror(number)!r})"
    (folder / "sitecustomize.py").write_text(
        f"import fcntl\ndef flock(file, flags):\n    {raising}\nfcntl.flock = flock\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def test_where_there_is_no_flock_one_process_alone_holds_a_folder(tmp_path, no_flock):
    environment = os.environ | no_flock

    def run(script: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-W", "error", "-c", script, str(tmp_path)]
        return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)

    ask = HOLD.replace("time.sleep(60)", "lock.release()")
    look = HOLD.split("lock = ")[0] + "from grokplane.record.lock import is_locked\nprint(is_locked(Path(sys.argv[1])))"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert run(look).stdout == "True\n"
    refused = run(ask)
    assert "FolderBusy" in refused.stderr
    assert f"pid {process.pid} on " in refused.stderr
    process.kill()
    process.wait()
    process.stdout.close()
    assert run(look).stdout == "False\n"
    assert run(ask).stdout == "held\n"
    assert run(ask).stdout == "held\n"
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("no_flock", ["ENOLCK"], indirect=True)
def test_a_run_is_recorded_killed_and_gone_on_with_where_there_is_no_flock(tmp_path, no_flock, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", no_flock["PYTHONPATH"])
    typed = [*TINY, "record.wandb=disabled", "record.figures=false", "mi=off", "log.every=10", "train.steps=1000"]
    folder = tmp_path / "run"
    struck(signal.SIGKILL, 20, folder, *typed, "train.checkpoint_every=10", cwd=tmp_path)
    finished(f"hydra.run.dir={folder}", "train.resume=true", "train.checkpoint_every=1000", cwd=tmp_path)
    assert (summary(folder)["status"], rows(folder)[-1]["step"]) == ("finished", 1000)


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "train.log"])
def test_a_link_in_the_place_of_a_file_is_not_written_through(tmp_path, inside, name):
    folder, elsewhere = tmp_path / "run", tmp_path / "private"
    folder.mkdir()
    elsewhere.write_text("private")
    (folder / name).symlink_to(elsewhere)
    for option in ("train.overwrite=true", "train.resume=true"):
        done = inside(*TINY, "mi=off", "train.steps=1", f"hydra.run.dir={folder}", option, cwd=tmp_path)
        assert f"{name} in it is a link" in refusal(done)
    assert elsewhere.read_text() == "private"


def archive(folder: Path) -> Path:
    """A finished run's folder."""
    with Recorder(folder, {}, Record(wandb="disabled")) as recorder:
        recorder.log({"step": 0, "Acc/test": 0.5})
        recorder.finish("finished")
    return folder


def test_reading_needs_no_access_to_the_lock(tmp_path, monkeypatch):
    folder = archive(tmp_path / "run")
    opened = os.open

    def closed(path, *arguments, **options):
        if Path(path).name == ".lock":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", closed)
    assert status(folder) == "finished"
    assert list(summaries(tmp_path)["status"]) == ["finished"]
    assert len(load(tmp_path)) == 1
    with pytest.raises(ConfigError, match=r"\.lock there cannot be read \(Permission denied\)"):  # a writer needs it
        check_folder(folder, overwrite=True)
    write_summary(folder, {"status": "running"})
    assert status(folder) == "running"  # nobody here can tell whether it is dead


@pytest.mark.parametrize("content", [b"\xff\x9c", None])
def test_a_holder_that_cannot_be_read_is_unknown(tmp_path, content, capsys):
    """The status in the summary is returned if the lock cannot be read."""
    folder = archive(tmp_path / "run")
    write_summary(folder, {"status": "running"})
    (folder / ".lock").unlink()
    (folder / ".lock").symlink_to(".lock") if content is None else (folder / ".lock").write_bytes(content)
    with open(folder / ".lock") if content else contextlib.nullcontext() as file:
        if file:
            fcntl.flock(file, fcntl.LOCK_EX)
        assert predict([str(folder), "3,4"]) == 2
    assert "the run is still running (unknown): wait" in capsys.readouterr().err


@pytest.mark.parametrize(("pid", "found"), [("dead", "finished"), ("alive", "running"), ("elsewhere", "running")])
def test_a_read_only_archive_without_flock_is_read(tmp_path, monkeypatch, pid, found):
    folder = archive(tmp_path / "run")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    machine = "another" if pid == "elsewhere" else socket.gethostname()
    (folder / ".lock.held").write_text(f"{os.getpid() if pid == 'alive' else ended.pid}\n{machine}\n")
    before = digest(folder)

    def no_flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def read_only(_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(fcntl, "flock", no_flock)
    monkeypatch.setattr(SoftFileLock, "_acquire", read_only)
    assert status(folder) == found
    assert digest(folder) == before


def test_a_summary_that_cannot_be_read_is_not_called_damaged(tmp_path, capsys, monkeypatch):
    folder = archive(tmp_path / "run")

    def closed(path: Path, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", closed)
    assert predict([str(folder), "1,2"]) == 2
    assert capsys.readouterr().err == f"RUN={folder}: summary.json there cannot be read (Permission denied)\n"
