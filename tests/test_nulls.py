"""A null that an agent of W&B's hands over is null."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from command import QUIET, TINY, Inside, refusal
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

SHORT = (*TINY, *QUIET, "mi=off", "train.steps=1")


def of_agent(**cell: object) -> list[str]:
    """A cell as an agent hands it to a program."""
    told = create_sweep_command_args({"args": {name: {"value": value} for name, value in cell.items()}})
    return told["args_no_hyphens"]


def test_a_null_of_an_agent_is_null_and_not_a_text(tmp_path: Path, inside: Inside) -> None:
    typed = of_agent(**{"record.group": None, "grok.stop_after": None, "hydra.run.dir": "run"})
    assert typed[0] == "record.group=None"
    done = inside(*SHORT, *typed, "record.name='None'", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stored = yaml.safe_load((tmp_path / "run" / ".hydra" / "config.yaml").read_text())
    assert (stored["record"]["group"], stored["record"]["name"]) == (None, "None")
    assert stored["grok"]["stop_after"] is None


@pytest.mark.parametrize("key", ["optimizer.lr", "seed", "record.wandb"])
def test_where_none_is_allowed_the_refusal_says_null(tmp_path: Path, inside: Inside, key: str) -> None:
    assert refusal(inside(*SHORT, *of_agent(**{key: None}), cwd=tmp_path)) == f"{key}=null: must not be null"
    assert list(tmp_path.iterdir()) == []
