"""Python refuses the values that the command line refuses, with the same message: every choice, every key."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from builders import member

from grokplane import config, data, losses, optim
from grokplane.app.errors import REFUSALS, one_line
from grokplane.models.mlp import MLP
from grokplane.models.transformer import Transformer
from grokplane.options import LISTS, ConfigError, checked, option, shown
from grokplane.record.options import Record
from grokplane.sweep.options import StackOptions
from grokplane.train import GrokOptions, LogOptions, TrainOptions

CHOICES = {f"{group}={name}": (group, name, choice) for group, name, choice in config.choices()}


def wrong(spec: Field[Any], hint: Any) -> Iterator[Any]:
    """Values that a key must refuse: beyond each bound, not finite, of another type, not among the choices."""
    allowed = get_args(hint) if get_origin(hint) in (types.UnionType, Union) else (hint,)
    found, listed = spec.metadata, any(get_origin(one) is list for one in allowed)
    (kind,) = get_args(next(one for one in allowed if get_origin(one) is list)) if listed else (allowed[0],)
    beyond = {"above": (0, 0), "below": (0, 0), "at_least": (-1, 0), "at_most": (1, 0)}
    bad = [bound + beyond[name][0] for name, bound in found["bounds"].items()]
    bad += [math.nan, math.inf] if kind is float else []
    bad += [2.5] if kind is int else []
    bad += ["x"] if kind in (int, float, bool) and str not in allowed else []
    bad += ["no such name", 3] if found["choices"] is not None else []
    bad += [True] if kind in (int, float) else []
    yield from ([one] * (found["length"] or 1) if listed else one for one in bad)
    if found["length"] is not None:
        yield [0.5] * (found["length"] + 1)
    if hint is not Any and type(None) not in allowed:
        yield None


def cases() -> Iterator[Any]:
    for label, (group, name, choice) in CHOICES.items():
        hints = get_type_hints(choice)
        for spec in fields(choice):
            if "bounds" in spec.metadata:
                for value in wrong(spec, hints[spec.name]):
                    yield pytest.param(group, name, choice, spec.name, value, id=f"{label} {spec.name}={shown(value)}")


@pytest.mark.parametrize(("group", "name", "choice", "key", "value"), [*cases()])
def test_a_wrong_value_is_refused_by_its_key(group: str, name: str, choice: type, key: str, value: Any) -> None:
    hints = get_type_hints(choice)
    given = [spec.name for spec in fields(choice) if spec.default is spec.default_factory is MISSING]
    needed: dict[str, Any] = {one: [1] if get_origin(hints[one]) is list else {} for one in given}
    with pytest.raises(ConfigError) as refused:
        choice(**(needed | {key: value}))
    if not group.startswith("mi/"):  # estimators are also used alone, so their keys have no prefix
        listed = f"{group}.{name}." if group in LISTS else f"{group.replace('/', '.')}."
        assert str(refused.value).startswith(f"{listed}{key}={shown(value)}: ")
    assert refused.value.key.rpartition(".")[2] == key


def test_every_choice_with_keys_was_tried() -> None:
    tried = {case.values[2] for case in cases()}
    assert len(tried) > 40
    assert tried == {
        choice
        for *_, choice in CHOICES.values()
        if any("bounds" in one.metadata for one in fields(choice)) and choice is not optim.ByGroup  # of choices alone
    }


def later(kind: Any, **keys: Any) -> Callable[[], object]:
    """Constructors with arguments of types that a type checker would refuse."""
    return lambda: kind(**keys)


# From Python, and the same from the command line.
SAME = [
    (later(optim.AdamW, lr=-1.0), ["optimizer.lr=-1"], "optimizer.lr=-1.0: must be at least 0"),
    (later(optim.AdamW, betas=[0.9, 1.0]), ["optimizer.betas=[0.9,1.0]"], "must be below 1 and at least 0"),
    (later(optim.AdamW, betas=(0.9,)), ["optimizer.betas=[0.9]"], "optimizer.betas=[0.9]: must be a list of 2"),
    (later(TrainOptions, steps=-1), ["train.steps=-1"], "train.steps=-1: must be at least 0"),
    (later(TrainOptions, steps=2.5), ["train.steps=2.5"], "train.steps=2.5: must be a whole number"),
    (later(TrainOptions, steps=None), ["train.steps=null"], "train.steps=null: must not be null"),
    (later(TrainOptions, resume="maybe"), ["train.resume=maybe"], "train.resume=maybe: must be true or false"),
    (later(TrainOptions, batch_size="half"), ["train.batch_size=half"], "must be full or a whole number"),
    (later(LogOptions, every=0), ["log.every=0"], "log.every=0: must be at least 1"),
    (later(MLP, activation="ReLu"), ["model.activation=ReLu"], "model.activation=ReLu: did you mean ReLU"),
    (later(MLP, hidden=32), ["model.hidden=32"], "model.hidden=32: must be a list such as [32,32]"),
    (later(MLP, noise_sigma=-1.0), ["model.noise_sigma=-1"], "model.noise_sigma=-1.0: must be at least 0"),
    (later(Transformer, heads=3), ["model=transformer", "model.heads=3"], "model.heads=3: must divide model.width"),
    (later(optim.SAM, rho=-1.0), ["rules=[sam]", "rules.sam.rho=-1"], "rules.sam.rho=-1.0: must be at least 0"),
    (later(losses.CrossEntropy, dtype="half"), ["loss.dtype=half"], "loss.dtype=half: "),
    (later(data.LabelHoldout, below=-1), ["data/split=label_holdout", "data.split.below=-1"], "data.split.below=-1: "),
    (later(GrokOptions, threshold=2.0), ["grok.threshold=2"], "grok.threshold=2.0: "),
    (later(Record, figure_format=["jpg"]), ["record.figure_format=[jpg]"], "record.figure_format=[jpg]: "),
    (later(member, seed=-1), ["seed=-1"], "seed=-1: must be at least 0"),
]


@pytest.mark.parametrize(("make", "typed", "line"), SAME, ids=[typed[-1] for _, typed, _ in SAME])
def test_python_and_the_command_line_refuse_by_the_same_line(
    make: Callable[[], object], typed: list[str], line: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        make()
    with pytest.raises(REFUSALS) as there:
        config.member(config.compose(typed))
    assert isinstance(there.value, Exception)
    assert str(refused.value) == one_line(there.value, typed, [])
    assert line in str(refused.value)


def test_what_means_a_number_or_a_list_is_taken() -> None:
    for number in (np.float32(0.5), np.float64(0.5), np.int64(1), 1):
        assert vars(later(optim.AdamW, lr=number)())["lr"] == number
    later(optim.AdamW, betas=(0.9, 0.98))()
    later(TrainOptions, steps=np.int64(3), batch_size=np.int64(5))()
    later(TrainOptions, batch_size="full")()
    later(MLP, embedding_dim=None)()


def test_options_that_no_config_group_has_are_checked_by_their_bare_keys() -> None:
    with pytest.raises(ConfigError, match=r"^max_members=0: must be at least 1"):
        StackOptions(max_members=0)


def test_a_choice_of_ones_own_is_checked_without_a_word_in_the_config() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer.lr=-1: must be at least 0"):
        Own(lr=-1)
    with pytest.raises(ConfigError, match=r"^own=0: must be above 0"):
        Alone(own=0)


@dataclass(frozen=True)
class Own(optim.AdamW):
    """A subclass of a choice, in a file without a group."""


@dataclass(frozen=True)
@checked
class Alone:
    """A choice without a group."""

    own: float = option(1.0, "a key", above=0)


RULES = [
    (
        {"a": optim.GrokfastEMA(), "b": optim.GrokfastMA()},
        r"rules=\[a,b\]: only one Grokfast filter is allowed, not a and b",
    ),
    ({"a": optim.ConstantNorm(), "x": optim.SAM(), "b": optim.UpdateNoise()}, "constant_norm must come after"),
]


@pytest.mark.parametrize(("rules", "why"), RULES, ids=["grokfast", "norm"])
def test_rules_are_told_by_what_they_are_whatever_they_are_called(rules: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        member(rules=rules)
    member(
        rules=dict(reversed(rules.items())) if "x" in rules else {"grokfast_a": optim.SAM(), "grokfast_b": optim.SAM()}
    )
