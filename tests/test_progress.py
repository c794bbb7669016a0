"""What is said while one waits: values with their own step, waiting by its name, silence that does not last."""

from __future__ import annotations

import re
import sys
import threading
import time
from pathlib import Path

import pytest
from command import QUIET, TINY, finished

from grokplane import waiting
from grokplane.app.progress import Progress
from grokplane.waiting import BEAT, Doing

LATE = 1.0  # seconds that another busy process may cost


def record(step: int) -> dict[str, float]:
    return {"step": step, "Loss/train": float(step), "Loss/test": 0.5, "Acc/train": 0.25, "Acc/test": 0.0}


def test_a_line_has_the_values_of_the_step_it_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", BEAT)  # a line at every look
    monkeypatch.setattr(waiting, "_SHARE", 0.0)
    with Progress(0, 1000) as progress:
        for step, records in ((0, [record(0)]), (300, ()), (500, [record(7)]), (1000, [record(90)])):
            progress.show(step, records)
        for late in (400, 1000):  # estimates that come after the last step
            progress.show(1000, [record(late)])
        progress.show(1000, ())
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(", accuracy")[0] for line in lines] == [
        f"step {step:,}/1,000: loss train {step:.3g} test 0.5" for step in (0, 0, 7, 90, 400, 1000)
    ]
    assert ["; trained to step " in line for line in lines] == [False, True, True, False, False, False]
    assert [line.endswith("all steps are done, waiting for estimates (0 s)") for line in lines] == [
        *[False] * 3,
        *[True] * 2,
        False,
    ]


def test_whoever_waits_is_told_so_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(0, 10) as progress:
        progress.show(0, [record(0)])
        progress.show(10, [record(5)])
        time.sleep(waiting.PATIENCE + LATE)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert re.search(r"^step 5/10: .*waiting for estimates \([1-3] s\)$", lines[-1])


def test_what_takes_long_is_named_and_what_is_over_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with Doing("building"), Doing("reading"):
        time.sleep(waiting.PATIENCE + LATE)
    with Doing("closing"):
        pass
    assert re.fullmatch(r"(reading \([1-3] s\)\n)+", capsys.readouterr().err)
    time.sleep(2 * BEAT)
    assert "waiting" not in [thread.name for thread in threading.enumerate()]


def test_on_a_terminal_one_line_is_renewed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Doing("building"):
        time.sleep(waiting.PATIENCE + LATE)
    shown = capsys.readouterr().err
    assert "\n" not in shown.strip("\r\n ")
    assert shown.count("\rbuilding 00:0") >= 2
    assert shown.endswith("\r")  # the line is taken away


def test_a_run_says_at_once_where_it_lands(tmp_path: Path) -> None:
    done = finished(*TINY, *QUIET, "mi=off", "train.steps=3", "hydra.run.dir=here", cwd=tmp_path)
    assert done.stderr.splitlines()[0] == "folder       here"
