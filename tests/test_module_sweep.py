"""A sweep over a user's module, some of whose cells fail unexpectedly: the other cells continue."""

from __future__ import annotations

import os
from pathlib import Path

from command import call
from sweeping import COMMAND, SWEEP, sweep_file, table

PATH = os.pathsep.join([".", *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
# Fails with more points than the trial uses.
MODULE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, vocabulary: int, outputs: int, fails: str = "never") -> None:
        super().__init__()
        self.embedding, self.out, self.fails = nn.Embedding(vocabulary, 4), nn.Linear(4, outputs), fails

    def forward(self, tokens):
        if self.fails == "large" and len(tokens) > 5:
            raise ValueError("more than five points")
        return self.out(self.embedding(tokens).sum(1))
"""


def test_a_cell_that_cannot_be_measured_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "my_nets.py").write_text(MODULE)
    parts = [part for part in COMMAND if not part.startswith("model.")]
    model = ("model=module", "model.module._target_=my_nets.Net", "+model.module.fails=never")
    parameters = {"model.module.fails": {"values": ["large", "never"]}, "seed": {"values": [0, 1]}}
    sweep_file(tmp_path, parameters=parameters, command=[*parts[:-1], *model, parts[-1]])
    trusted = model[:2]  # the file alone does not allow importing it
    timed = call("tiny.yaml", *trusted, "--dry-run", cwd=tmp_path, program=SWEEP, PYTHONPATH=PATH)
    assert timed.returncode == 0, timed.stderr
    assert "cannot be timed: ValueError: more than five points" in timed.stdout
    done = call("tiny.yaml", *trusted, cwd=tmp_path, program=SWEEP, PYTHONPATH=PATH)
    assert "a cell's memory cannot be measured: ValueError: more than five points" in done.stderr
    assert done.returncode == 1, done.stderr
    rows = table(tmp_path / "outputs/sweeps/tiny")
    assert {row["status"] for name, row in rows.items() if "large" in name} == {"failed"}
    assert {row["error"] for name, row in rows.items() if "large" in name} == {"ValueError: more than five points"}
    assert [row["status"] for name, row in rows.items() if "never" in name] == ["finished"] * 2
