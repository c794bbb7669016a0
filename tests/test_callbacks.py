"""Callbacks: early stopping by any metric, and what a callback of one's own sees."""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from builders import ALWAYS, finish, member, training
from command import PRECISE, Inside, assert_same_state, rows, state, summary

from grokplane import config
from grokplane.app import execute
from grokplane.callbacks import Callback, EarlyStop, Hook, LogPoint
from grokplane.callbacks.condition import Condition
from grokplane.metrics import WeightNorms
from grokplane.optim import AdamW
from grokplane.options import ConfigError
from grokplane.record import Checkpoints
from grokplane.train import GrokOptions, LogOptions, Member, Stack, run

VALUES = {"Acc/test": 0.5, "Loss/test": 2.0, "WN/layer 1": 3.0, "MI(X;L)/layer 1, x": 1.0, "bad": float("nan")}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("Acc/test>=0.5", True),
        ("Acc/test > 0.5", False),
        ("0.4<Acc/test", True),
        ("Acc/test < Loss/test", True),
        ("Acc/test==0.5 and Loss/test!=2", False),
        ("Acc/test>0.9 or Loss/test<=2.0 and WN/layer 1>2.5", True),
        ("Acc/test>0.9 and Loss/test<=2.0 or WN/layer 1>3.5", False),
        ("MI(X;L)/layer 1, x>=1e-3", True),
        ("bad<1 or bad>=1 or bad!=1", False),
        ("Acc/train<1", False),
    ],
)
def test_a_condition_is_what_it_says(text: str, holds: bool):
    assert Condition.parse(text).holds(VALUES) is holds


@pytest.mark.parametrize("text", ["", "Acc/test", "Acc/test>", ">1", "a<b<c", "a>1 and ", "a=>1", "a>1 or or b>1"])
def test_what_is_no_condition_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"^callbacks.early_stop.when=.* is no comparison"):
        EarlyStop(when=text)
    with pytest.raises(ConfigError, match="must name a metric"):
        EarlyStop(when="1>0")


def early(when: str = "Loss/train<1.5", after: int = 3, **parts: Any) -> Member:
    """A member of 60 steps that is logged at every third step and stops on the way."""
    tiny = {
        "callbacks": {"early_stop": EarlyStop(when, after)},
        "metrics": {"weight_norms": WeightNorms()},
        "log": LogOptions(dense_steps=0, every=3),
        "optimizer": AdamW(lr=0.02),
        "train": training(steps=60, checkpoint_every=4),
    }
    return member(**(tiny | parts))


def ends(members: list[Member]) -> list[Mapping[str, Any]]:
    """The state of each member with the step at which it ended."""
    stack = Stack(members)
    points = finish(stack)
    steps = [next(point.step for point in points if point.finished[number]) for number in range(len(members))]
    return [stack.state(number) | {"step": step} for number, step in enumerate(steps)]


def but_for(state: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in names}


def test_a_member_ends_where_grok_stop_after_ends_it():
    options = GrokOptions(threshold=0.15, stop_after=7)
    (stopped,) = ends([early("Acc/test>=0.15", 7)])
    (theirs,) = ends([early(callbacks={}, grok=options)])
    assert 10 < stopped["step"] < 60
    aside = ("callbacks", "grok", "marks")
    assert_same_state(but_for(stopped, *aside), but_for(theirs, *aside))


def test_the_first_log_point_at_which_it_holds_counts():
    stack = Stack([early(log=ALWAYS)])
    records = [point.records[0] for point in run(stack) if point.records]
    first = next(record["step"] for record in records if record["Loss/train"] < 1.5)
    assert records[-1]["step"] == stack.step == first + 3
    assert (stack.alive.tolist(), stack.state(0)["alive"]) == ([False], False)


def test_a_stacked_member_ends_as_it_ends_alone():
    members = [early(seed=seed) for seed in range(4)]
    stacked, alone = ends(members), [ends([one])[0] for one in members]
    assert len({one["step"] for one in alone}) > 1
    for ours, theirs in zip(stacked, alone, strict=True):
        assert (ours["step"], ours["callbacks"]) == (theirs["step"], theirs["callbacks"])
        for name, value in ours["model"].items():
            torch.testing.assert_close(value, theirs["model"][name])


def test_a_resumed_run_ends_at_the_same_step():
    one = early(train=training(steps=60, checkpoint_every=1))
    stack = Stack([one])
    saved = [point.state(0) for point in run(stack) if point.checkpoint]
    assert len(saved) == stack.step > 10
    for one_state in saved:
        again = Stack([one])
        again.load_states([one_state])
        finish(again)
        assert_same_state(again.state(0), stack.state(0))


def test_a_run_that_was_made_longer_forgets_its_last_row(tmp_path: Path):
    """The last step is a log point of the short run alone; what a callback saw there does not count."""
    typed = (*PRECISE, "data.p=7", "model.hidden=[8]", "log.dense_steps=0", "log.every=7", "optimizer.lr=0.01")
    execute([config.compose([*typed, "train.steps=11"])], [tmp_path / "probe"])
    losses = [row["Loss/train"] for row in rows(tmp_path / "probe")]  # of steps 0, 7 and 11
    assert losses[2] < losses[1] < losses[0]
    when = f"callbacks.early_stop.when='Loss/train<{losses[2] + 1e-9:.12f}'"
    typed += ("callbacks=[early_stop]", when, "callbacks.early_stop.after=9")
    for name, more in (("whole", ["train.steps=40"]), ("longer", ["train.steps=11"])):
        execute([config.compose([*typed, *more])], [tmp_path / name])
    execute([config.compose([*typed, "train.steps=40", "train.resume=true"])], [tmp_path / "longer"])
    assert rows(tmp_path / "longer") == rows(tmp_path / "whole")
    assert rows(tmp_path / "whole")[-1]["step"] == 28  # after the log points 14, at which it held, and 21
    assert_same_state(state(tmp_path / "longer"), state(tmp_path / "whole"))


def test_the_command_line_takes_a_condition_as_the_shell_passes_it(tmp_path: Path, inside: Inside):
    typed = ("data.p=7", "model.hidden=[8]", "train.steps=40", "log.every=4", "mi=off", "record.wandb=disabled")
    typed += ("callbacks=[early_stop]", "callbacks.early_stop.after=6", "record.figures=false", "hydra.run.dir=run")
    call = inside(*typed, "callbacks.early_stop.when=Acc/train<1 and WN/layer 1>0.1", cwd=tmp_path)
    assert call.returncode == 0, call.stderr
    told = summary(tmp_path / "run")
    assert (told["status"], told["steps"]) == ("finished", 6)
    assert Checkpoints(tmp_path / "run").latest().state["callbacks"] == {"early_stop": {"since": 0}}
    again = inside("hydra.run.dir=run", "train.resume=true", cwd=tmp_path)
    assert (again.returncode, "nothing left to do" in again.stdout) == (0, True)


@pytest.mark.parametrize(
    ("when", "line"),
    [
        ("Acc/tst>=0.99", "the run's metrics give no value Acc/tst; did you mean Acc/test"),
        ("WN/layer 7>1", "no value WN/layer 7; did you mean WN/layer "),
        ("time/step>1", "time/step is wall time"),
        ("MI(X;L)_train/layer 1>1", "is estimated beside training"),
        ("Acc/test", "'Acc/test' is no comparison of a metric with a number; allowed: "),
    ],
)
def test_what_cannot_be_watched_is_refused_before_a_folder_exists(tmp_path: Path, inside: Inside, when: str, line: str):
    typed = ("data.p=7", "model.hidden=[8]", "callbacks=[early_stop]", f"callbacks.early_stop.when={when}")
    call = inside(*typed, "mi=off", "hydra.run.dir=run", cwd=tmp_path)
    assert call.returncode == 2
    assert call.stderr.startswith(f"callbacks.early_stop.when={when}: ")
    assert line in call.stderr
    assert call.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@dataclass(frozen=True)
class Diary(Callback):
    """Keeps what it sees."""

    seen: ClassVar[list[LogPoint]] = []
    kept: ClassVar[list[Mapping[str, Any]]] = []

    def hook(self) -> Hook:
        """The hook of one member."""
        return _Writer()


class _Writer(Hook):
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, point: LogPoint) -> bool:
        """Keep the point."""
        self.count += 1
        Diary.seen.append(point)
        Diary.kept.append(point.state())
        return False


@pytest.fixture
def diary() -> Iterator[Diary]:
    yield Diary()
    Diary.seen.clear()
    Diary.kept.clear()


def test_a_callback_of_ones_own_sees_every_log_point_and_changes_nothing(diary: Diary):
    one = early(callbacks={"diary": diary}, train=training(steps=12, checkpoint_every=3))
    stack, saved, records = Stack([one]), {}, []
    for point in run(stack):
        records += [point.records[0]] if point.records else []
        if point.checkpoint:
            saved[point.step] = point.state(0)
    assert [point.values for point in Diary.seen] == records
    assert [point.step for point in Diary.seen] == [0, 3, 6, 9, 12]
    for point, kept in zip(Diary.seen[1:4], Diary.kept[1:4], strict=True):
        assert_same_state(kept, saved[point.step])
    assert [saved[step]["callbacks"]["diary"]["count"] for step in (3, 4, 6, 8, 9)] == [1, 2, 2, 3, 3]
    (silent,) = ends([replace(one, callbacks={})])
    assert_same_state(but_for(stack.state(0), "callbacks"), but_for(silent, "callbacks"))


def test_the_rows_of_a_stopped_run_are_those_of_the_longer_one(tmp_path: Path):
    typed = (*PRECISE, "data.p=7", "model.hidden=[8]", "log.every=5", "train.steps=40")
    execute([config.compose(typed)], [tmp_path / "long"])
    execute(
        [config.compose([*typed, "callbacks=[early_stop]", "callbacks.early_stop.when='Acc/train>=0'"])],
        [tmp_path / "short"],
    )
    assert rows(tmp_path / "short") == rows(tmp_path / "long")[:1]
    assert json.loads((tmp_path / "short/summary.json").read_text())["steps"] == 0


def test_the_callback_of_the_documentation_ends_a_run(monkeypatch: pytest.MonkeyPatch):
    page = Path(__file__).parents[1] / "docs/callbacks.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    module = types.ModuleType("plateau")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(code, module.__dict__)
    one = early(callbacks={"plateau": module.Plateau(patience=9)}, optimizer=AdamW(lr=0.0))
    whole = Stack([one])
    saved = [point.state(0) for point in run(whole) if point.checkpoint]
    assert (whole.step, whole.alive.tolist()) == (9, [False])
    again = Stack([one])
    again.load_states([saved[-2]])
    finish(again)
    assert again.step == 9
