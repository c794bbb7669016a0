"""A run of an older version goes on, though its stored config has keys under their former names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from command import QUIET, Inside, rows
from omegaconf import OmegaConf

from grokplane.app.stored import RENAMED

TASK = ("data=teacher_student", "model.embedding=none", "loss=mse", "metrics=[loss]")
RUN = (*TASK, "mi=compressed", "mi.workers=0", "log.dense_steps=1")


def test_a_run_with_former_names_resumes(inside: Inside, tmp_path: Path) -> None:
    done = inside(*RUN, *QUIET, "train.steps=4", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        state: Any = torch.load(path, weights_only=True)
        for (group, old), new in RENAMED.items():
            state["config"][group][old] = state["config"][group].pop(new)
        torch.save(state, path)
    done = inside(*RUN, *QUIET, "train.steps=6", "train.resume=true", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in rows(tmp_path / "run")] == [0, 6]
    kept: Any = OmegaConf.load(tmp_path / "run" / ".hydra" / "config.yaml")
    assert all(new in kept[group] and old not in kept[group] for (group, old), new in RENAMED.items())
