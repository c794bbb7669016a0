"""A member ends as it would have ended alone, whatever others in its stack do: diverge, stop, take longer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from test_session import rows, session, told

from grokplane.record import Checkpoints

COMMON = [
    "data.train_fraction=0.8",
    "data/split=random",
    "optimizer=sgd",
    "loss=mse",
    "model.activation=LeakyReLU",
    "grok.threshold=0.3",
    "grok.stop_after=100",
    "train.checkpoint_every=120",
]
# Its decay makes its weights twice as large at every step, so that it overflows late, between log points.
LOST = ["seed=9", "optimizer.lr=1e-200", "optimizer.weight_decay=3e200"]
MEMBERS = {
    "stops": ["seed=1", "optimizer.lr=0.4"],
    "lost": LOST,
    "slower": ["seed=0", "optimizer.lr=0.1"],
    "late": ["seed=3", "optimizer.lr=0.4"],
}
LOGS = {
    "every step": ["log.every=1", "train.steps=300", "mi=off"],
    "100 steps": ["log.every=100", "train.steps=500", "mi.draws=8", "mi.ladder=[0.2]"],
    "2500 steps": ["log.every=2500", "train.steps=3000", "mi=off"],
    "geometric": ["log.points_per_decade=7", "train.steps=500", "mi.draws=8", "mi.ladder=[0.2]"],
}


@pytest.fixture(scope="module", params=LOGS)
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """By what a member does: its folder of a run alone, and of a stack with all the others."""
    place = tmp_path_factory.mktemp("runs")
    calls = {name: [*COMMON, *LOGS[request.param], *own] for name, own in MEMBERS.items()}
    together = session(place / "stack", *calls.values())
    alone = {name: session(place / name, call)[0] for name, call in calls.items()}
    return {name: (alone[name], folder) for name, folder in zip(calls, together, strict=True)}


def test_the_members_do_what_they_are_called(folders: dict[str, tuple[Path, Path]]) -> None:
    ends = {name: told(alone) for name, (alone, _) in folders.items()}
    last = ends["slower"]["steps"]
    assert {name: end["status"] == "diverged" for name, end in ends.items()} == {name: name == "lost" for name in ends}
    assert 130 < ends["lost"]["steps"] < 240
    assert ends["stops"]["steps"] < ends["late"]["steps"] <= last
    assert ends["lost"]["steps"] not in (128, 256, 240)  # nor at a pause


@pytest.mark.parametrize("name", MEMBERS)
def test_marks_rows_checkpoints_and_end_are_those_of_a_run_alone(
    folders: dict[str, tuple[Path, Path]], name: str
) -> None:
    alone, stacked = folders[name]
    assert told(stacked) == told(alone)
    assert Checkpoints(stacked).steps() == Checkpoints(alone).steps()
    assert [row["step"] for row in rows(stacked)] == [row["step"] for row in rows(alone)]
    for one, other in zip(rows(stacked), rows(alone), strict=True):
        assert numbers(one) == pytest.approx(numbers(other), rel=1e-6, abs=1e-12, nan_ok=True)


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """A row with NaN for null, which is close to itself."""
    return {name: math.nan if value is None else value for name, value in row.items()}
