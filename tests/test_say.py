"""Output: nothing is lost to an encoding or a closed stream, and no text controls the terminal."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from command import QUIET, TINY, TRAIN, rows

from grokplane.app.errors import Refused
from grokplane.say import printable
from grokplane.sweep.files import logs_in

SHORT = (*TINY, *QUIET, "mi=off", "train.steps=2")
NONE: dict[str, str] = {}
NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
SWEEP = """
program: train.py
method: grid
parameters: {seed: {values: [0]}}  # \u00fc
command: ["${env}", python, "${program}", "${args_no_hyphens}"]
"""


def python(
    *arguments: str, cwd: Path, before: Callable[[], object] | None = None, environment: Mapping[str, str] = NONE
):
    """`python ARGUMENTS`: its exit code, and what it wrote, as bytes."""
    own = os.environ | {"WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"} | dict(environment)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=own, capture_output=True, timeout=120, preexec_fn=before
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("environment", "shown"),
    [({"PYTHONIOENCODING": "ascii"}, rb"r\xfcn"), (NO_UTF8, rb"r\udcc3\udcbcn")],
    ids=["ascii", "C locale"],
)
def test_what_an_encoding_cannot_hold_is_escaped(tmp_path, environment, shown):
    train = str(TRAIN)
    code, out, err = python(train, *SHORT, "hydra.run.dir='r\u00fcn'", cwd=tmp_path, environment=environment)
    assert (code, b"Traceback" in err) == (0, False), err
    assert out.splitlines()[0] == b"run          " + shown + b" (finished at step 2)"
    assert out.splitlines()[1].startswith(b"fitted       never")
    if environment == NO_UTF8:  # once is enough
        return
    code, out, err = python("-m", "grokplane.predict", "r\u00fcn", "3,4", cwd=tmp_path, environment=environment)
    assert (code, err) == (0, b"")
    assert out.startswith(shown + b": finished at step 2; probabilities")


def test_a_file_in_utf8_is_read_where_the_locale_is_not(tmp_path):
    (tmp_path / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    sweep = str(TRAIN.with_name("sweep.py"))
    code, out, err = python(sweep, "sweep.yaml", "--status", cwd=tmp_path, environment=NO_UTF8)
    assert (code, err) == (0, b"")
    assert b"1 cells: 1 pending" in out


def close_all() -> None:
    for descriptor in range(3):
        os.close(descriptor)


def test_a_run_without_standard_streams_writes_none_of_its_files_into_another(tmp_path):
    code, out, err = python(str(TRAIN), *SHORT, "hydra.run.dir=run", cwd=tmp_path, before=close_all)
    assert (code, out, err) == (0, b"", b"")
    assert [row["step"] for row in rows(tmp_path / "run")] == [0, 1, 2]
    assert " finished at step 2" in (tmp_path / "run" / "train.log").read_text()
    predict = f"{sys.executable} -m grokplane.predict run 3,4"
    lost = subprocess.run(f"{predict} > /dev/full", shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert lost.stderr.splitlines() == [
        "standard output cannot be written (No space left on device)",
        "the answers are lost",
    ]
    assert lost.returncode == 2


def test_nothing_said_steers_a_terminal(capsys):
    hostile = "\x1b]0;title\x07 \x1b[2J \x9b31m \r over \u202e kcab \x00"
    assert printable(hostile) == r"\x1b]0;title\x07 \x1b[2J \x9b31m \r over \u202e kcab \x00"
    assert printable("lines\n\tof text, \u00e9 \u2713") == "lines\n\tof text, \u00e9 \u2713"
    from grokplane.predict import main

    assert main(["no\x1b[31m such", "1,2"]) == 2
    assert capsys.readouterr().err == "RUN=no\\x1b[31m such: no such folder\n"


def test_a_log_line_steers_no_terminal_either(tmp_path, inside, monkeypatch):
    from grokplane.app import entry

    def loud(*_: object, **__: object) -> None:
        logging.getLogger("grokplane").warning("read \x1b[31m%s", "red")
        raise Refused("no")

    monkeypatch.setattr(entry, "execute", loud)
    done = inside(*SHORT, "hydra.run.dir=run", cwd=tmp_path)
    assert "WARNING read \\x1b[31mred\n" in done.stderr
    assert "\x1b" not in done.stderr + (tmp_path / "run" / "train.log").read_text()
    with logs_in([tmp_path]):
        logging.getLogger("grokplane").warning("read \x1b[31m%s", "red \u2713")
    assert (tmp_path / "train.log").read_text(encoding="utf-8").endswith("WARNING read \\x1b[31mred \u2713\n")


def test_windows_is_told_at_once():
    code, _, err = python("-c", "import sys; sys.platform = 'win32'; import grokplane", cwd=Path.cwd())
    assert code == 1
    assert err.splitlines()[-1].startswith(b"ImportError: grokplane runs on Linux and macOS, not on Windows")
