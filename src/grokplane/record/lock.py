"""One writer a folder: a lock that the operating system gives back even when its holder is killed."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from datetime import datetime
from pathlib import Path
from typing import IO

from grokplane.options import ConfigError

LOCK = ".lock"


class FolderBusy(ConfigError):  # noqa: N818 (reads as what happened)
    """Another process writes in the folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__("hydra.run.dir", folder, f"another process writes there ({holder}): choose another folder")


class FolderLock:
    """The lock on `DIR/.lock`, held from construction to `release`; the file stays and names the last holder."""

    def __init__(self, folder: Path) -> None:
        """Take the lock, creating the folder if needed.

        Raises:
            FolderBusy: if it is taken; the folder is left as it was.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(folder / LOCK, "a+")  # noqa: SIM115 (open for as long as the lock is held)
        try:
            _take(self._file, folder)
            self._sign()
        except BaseException:
            self._file.close()
            raise

    def release(self) -> None:
        """Give the lock back; releasing twice does nothing."""
        self._file.close()

    def _sign(self) -> None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        self._file.truncate(0)
        self._file.write(f"pid {os.getpid()} on {socket.gethostname()} since {now}\n")
        self._file.flush()


def _take(file: IO[str], folder: Path, attempts: int = 5) -> None:
    """Take the lock; several attempts, as a reader's probe holds it for a moment."""
    for attempt in range(attempts):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt == attempts - 1:
                raise FolderBusy(folder, holder(folder)) from None
            time.sleep(0.02)


def is_locked(folder: Path) -> bool:
    """Whether a living process holds the folder's lock; opens read-only and creates nothing."""
    try:
        with open(folder / LOCK) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    return False


def holder(folder: Path) -> str:
    """Who holds the lock, or held it last: process, machine and since when."""
    return (folder / LOCK).read_text().strip() or "unknown"
