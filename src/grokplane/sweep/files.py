"""Support for many open folders in one process: the limit on open files, and log files of all folders."""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grokplane.record.folder import LOG
from grokplane.say import Lines

_OWN = 200  # files that the process opens for other purposes


def allow_files(count: int) -> None:
    """Raise the limit on open files to `count` plus a reserve, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OWN if hard == resource.RLIM_INFINITY else min(count + _OWN, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def logs_in(folders: Sequence[Path]) -> Iterator[None]:
    """A block in which grokplane's log goes into every folder's `train.log`, and warnings also to standard error."""
    logger = logging.getLogger("grokplane")
    level, propagate = logger.level, logger.propagate
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.WARNING)
    handlers = (console, _FolderLogs(folders))
    for handler in handlers:
        handler.setFormatter(Lines("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        for handler in handlers:
            logger.removeHandler(handler)


class _FolderLogs(logging.Handler):
    """Append each record to a file in every folder, or only in the record's own folder; opened for each line.

    A stack may have a thousand folders. A record about one member names that member's `folder` in its `extra`.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__()
        self._folders = list(folders)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            own = getattr(record, "folder", None)
            for folder in self._folders if own is None else [own]:
                folder.mkdir(parents=True, exist_ok=True)
                with open(folder / LOG, "a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(f"{line}\n")
        except OSError:
            self.handleError(record)
