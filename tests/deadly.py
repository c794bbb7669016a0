"""A function that ends its process, in a module that another process can import quickly."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from grokplane.metrics import exact

REAL = exact.exact_information


def ends_its_process(of: exact.Rows, questions: exact.Questions) -> tuple[dict[str, float], list[str]]:
    """What is measured; the first process beside the test's that is asked dies of it."""
    parent, asked = os.environ["ASKED_FIRST"].split(":")
    first = Path(asked)
    if parent != str(os.getpid()) and not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return REAL(of, questions)
