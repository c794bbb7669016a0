"""Locks on folders, one writer each. The operating system releases a lock even if its holder is killed.

On file systems without flock (Lustre mounted without it, some NFS and FUSE) a marker file, which only one process can
create, replaces the lock. A marker of a killed process is removed by the next start on the same machine. Another
machine cannot know whether the process lives, and refuses the folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from grokplane.options import ConfigError

LOCK = ".lock"
MARKER = ".lock.held"  # exists while the folder is held, on file systems without flock
_NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
# Several attempts, because a reader's probe holds the lock for a moment.
_PATIENCE = {"timeout": 0.1, "poll_interval": 0.02, "thread_local": False}


class FolderBusy(ConfigError):  # noqa: N818 (reads as what happened)
    """Another process writes to the folder."""

    def __init__(self, folder: Path, holder: str, key: str = "hydra.run.dir") -> None:
        why = f"another process writes there ({holder}): choose another folder"
        if (folder / MARKER).exists():
            why += f", or delete {MARKER} there if that process is dead: this file system has no flock to check that"
        super().__init__(key, folder, why)


class FolderLock:
    """The lock on `DIR/.lock`, held from construction to `release`; the file stays and names the last holder."""

    def __init__(self, folder: Path, key: str = "hydra.run.dir") -> None:
        """Acquire the lock, creating the folder if needed.

        Args:
            folder: the folder of a run, a sweep or a multirun.
            key: the config key that names the folder.

        Raises:
            FolderBusy: another process holds the lock; the folder is left unchanged.
            ConfigError: the lock cannot be acquired for another reason.
        """
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = _taken(folder)
        except Timeout:
            raise FolderBusy(folder, holder(folder), key) from None
        except OSError as error:
            raise ConfigError(key, folder, f"cannot be locked ({error.strerror or error})") from error
        try:
            _sign(folder / LOCK)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the lock; a second call has no effect."""
        self._lock.release(force=True)


def _taken(folder: Path) -> BaseFileLock:
    lock: BaseFileLock = FileLock(folder / LOCK, fallback_to_soft=False, **_PATIENCE)
    try:
        lock.acquire()
    except OSError as error:
        if isinstance(error, Timeout) or error.errno not in _NO_FLOCK:
            raise
        lock = SoftFileLock(folder / MARKER, **_PATIENCE)
        lock.acquire()
    return lock


def _sign(path: Path) -> None:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    path.write_text(f"pid {os.getpid()} on {socket.gethostname()} since {now}\n", encoding="utf-8")


def is_locked(folder: Path) -> bool:
    """Whether a living process holds the folder's lock. Opens read-only and creates nothing.

    Raises:
        ConfigError: the lock file cannot be read.
    """
    try:
        file = os.open(folder / LOCK, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe would block
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(folder, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise _unreadable(folder, error) from error
        return _is_marked(folder / MARKER)
    finally:
        os.close(file)
    return False


def _unreadable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError("hydra.run.dir", folder, f"{LOCK} there cannot be read ({error.strerror or error})")


def _is_marked(path: Path) -> bool:
    """Whether the marker exists and its process is not known to be dead. A dead process's marker is removed."""
    if not path.exists():
        return False
    lock = SoftFileLock(path, **_PATIENCE)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:  # a read-only archive
        return not _is_dead(path)
    lock.release()
    return False


def _is_dead(marker: Path) -> bool:
    """Whether the marker's process ran on this machine and has ended; the marker begins with process id and machine."""
    try:
        pid, machine, *_ = marker.read_text(encoding="utf-8").split()
        if machine == socket.gethostname():
            os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):  # a process of another user, or a file that names no process
        return False
    return False


def holder(folder: Path) -> str:
    """The present or last holder of the lock: process, machine and time; `unknown` if that cannot be read."""
    try:
        return (folder / LOCK).read_text(encoding="utf-8").strip() or "unknown"
    except (OSError, ValueError):
        return "unknown"
