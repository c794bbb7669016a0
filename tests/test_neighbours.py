"""A member ends as it would have ended alone, whatever others in its stack do: diverge, stop, take longer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from stacks import job
from test_session import rows, session, told

from grokplane.record import Checkpoints, Recorder
from grokplane.sweep.stack_job import run_stack

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


def test_the_last_row_of_a_lost_member_has_the_noise_of_its_own_step(tmp_path: Path) -> None:
    noise = ["model.noise_sigma=0.5", "model.noise_scale=relative", "model.noise_in=eval", "train.dtype=float32"]
    noisy = [*COMMON, *noise, "log.every=100", "train.steps=300", "mi=off"]
    lost = [*noisy, "optimizer.lr=1e-10", "optimizer.weight_decay=2.2e10"]  # as LOST, while noise is finite in float32
    (alone,) = session(tmp_path / "alone", lost)
    _, stacked = session(tmp_path / "stack", [*noisy, "optimizer.lr=0.01"], lost)
    assert told(alone)["status"] == "diverged"
    assert told(alone)["steps"] % 100
    assert told(stacked) == told(alone)
    for one, other in zip(rows(stacked), rows(alone), strict=True):
        assert numbers(one) == pytest.approx(numbers(other), rel=1e-3, nan_ok=True)
    assert rows(alone)[-1]["logits_mean_train/layer 2"] is not None


def test_a_member_beside_one_that_fails_ends_as_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the second is full once it has 100 rows; the first goes on from its checkpoint."""
    original = Recorder.log

    def log(self: Recorder, record: Mapping[str, Any]) -> None:
        if self.folder.name == "1" and record["step"] == 100:
            raise OSError(28, "No space left on device")
        original(self, record)

    keys = ("log.every=1", "train.steps=150", "train.dtype=float64", "train.checkpoint_every=40")
    alone = tmp_path / "alone" / "0"
    assert run_stack(job(tmp_path / "alone", *keys)).exit_code == 0
    monkeypatch.setattr(Recorder, "log", log)
    result = run_stack(job(tmp_path / "stack", *keys, members=2))
    assert result.errors[0] is None
    assert str(result.errors[1]).startswith("the disk is full (No space left on device)")
    survivor = tmp_path / "stack" / "0"
    assert told(survivor) == told(alone)
    assert Checkpoints(survivor).steps() == Checkpoints(alone).steps()
    for one, other in zip(rows(survivor), rows(alone), strict=True):
        assert numbers(one) == pytest.approx(numbers(other), rel=1e-6, abs=1e-12, nan_ok=True)


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """A row with NaN for null, which is close to itself."""
    return {name: math.nan if value is None else value for name, value in row.items()}
