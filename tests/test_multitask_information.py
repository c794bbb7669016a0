"""Information of the tasks of a mixture: at the noise of the whole subset, so that the chain rule holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from builders import member, training
from looking import looked_at, records
from torch import Tensor

from grokplane.data import Examples, Modular, Multitask, RandomSplit
from grokplane.metrics import Information
from grokplane.mi import label_entropy, mixture
from grokplane.models.mlp import MLP
from grokplane.options import option
from grokplane.plot import curves
from grokplane.plot.words import metric_words
from grokplane.train import LogOptions, Stack
from grokplane.train.observe import observe

LADDER = (0.1, 0.2, 0.5)
MODEL = MLP(hidden=[16], embedding_dim=8, embedding="concat")


def modular(operation: str, **keys: Any) -> Modular:
    return Modular(
        **({"split": RandomSplit(), "p": 7, "operation": operation, "layout": "equals", "train_fraction": 0.6} | keys)
    )


def mixed(**keys: Any) -> Any:
    tasks = {"add": modular("add"), "mul": modular("mul", p=5)}
    options = {"data": Multitask(tasks), "model": MODEL, "mi": Information(ladder=list(LADDER), draws=200, workers=0)}
    return member(**(options | keys))


def rows(seed: int, count: int) -> Tensor:
    """Two clouds [count, 3] of unequal size, spread and place."""
    numbers = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    near = torch.arange(count) < count // 3
    return torch.where(near[:, None], 0.3 * numbers + 1, numbers)


def power(x: Tensor) -> float:
    """The mean squared distance from the mean, in a plain loop."""
    mean = [math.fsum(column) / len(column) for column in x.T.tolist()]
    return math.fsum((value - m) ** 2 for row in x.tolist() for value, m in zip(row, mean, strict=True)) / len(x)


@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-6])
def test_a_part_at_the_power_of_the_whole_is_the_part_at_another_resolution(scale: float) -> None:
    whole = rows(0, 90)
    part, labels = whole[:30], torch.arange(30) % 4
    settings: dict[str, Any] = {"draws": 40, "seed": 3, "stream": "x"}
    found = mixture(scale * part, {"Y": labels}, ladder=LADDER, power=power(scale * whole), **settings)
    finer = [level * (power(whole) / power(part)) ** 0.5 for level in LADDER]
    slow = mixture(part, {"Y": labels}, ladder=finer, **settings)
    for one, other in (
        (found.input, slow.input),
        (found.labels["Y"], slow.labels["Y"]),
        (found.given["Y"], slow.given["Y"]),
    ):
        torch.testing.assert_close(one.value, other.value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one.std_error, other.std_error, rtol=1e-4, atol=1e-6)
    same = mixture(part, ladder=LADDER, power=power(part), **settings)
    torch.testing.assert_close(
        same.input.value, mixture(part, ladder=LADDER, **settings).input.value, rtol=1e-6, atol=0
    )


def test_the_chain_rule_over_parts_holds_at_equal_noise() -> None:
    """I(X;T) = I(part;T) + sum_k w_k I(X;T|part = k), and the last term is what the parts measure."""
    whole = rows(1, 120)
    part = (torch.arange(120) >= 40).long()
    settings: dict[str, Any] = {"ladder": LADDER, "draws": 4000}
    found = mixture(whole, {"part": part}, **settings)
    total = torch.zeros(3, dtype=torch.float64)
    for number in range(2):
        own = whole[part == number]
        total += len(own) / 120 * mixture(own, power=power(whole), **settings).input.value
    torch.testing.assert_close(total, found.given["part"].value, rtol=0, atol=0.02)
    own_noise = sum(len(whole[part == n]) / 120 * mixture(whole[part == n], **settings).input.value for n in range(2))
    assert float((own_noise - found.given["part"].value).abs().max()) > 0.1  # at the parts' own noise it does not hold


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_a_power_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="must be finite and above 0"):
        mixture(rows(0, 9), power=wrong)


def test_parts_are_measured_as_their_rows_alone_at_the_noise_of_the_subset() -> None:
    other = Multitask({"add": modular("add", train_fraction=0.3), "mul": modular("mul", p=5)})
    stack = Stack([mixed(), mixed(seed=1, data=other)])
    found, seen = looked_at(stack), observe(stack)
    for number, one in enumerate(stack.members):
        examples = one.examples()
        for subset, split in (("train", examples.train), ("eval", examples.test)):
            for part, flags in examples.table.groups.items():
                own = flags[split]
                targets = examples.table.targets[split][own]
                assert found[number][f"ln n_{subset}.{part}"] == math.log(int(own.sum()))
                assert found[number][f"H(Y)_{subset}.{part}"] == float(label_entropy(targets).value)
                for layer, output in seen.subsets[subset].layers.items():
                    values = output.activations[number, : len(split)]
                    settings: dict[str, Any] = {"seed": one.seed, "stream": f"mi/{subset}.{part}/{layer}"}
                    slow = mixture(values[own], {"Y": targets}, ladder=LADDER, power=power(values), **settings)
                    quantities = {"MI(X;L)": slow.input, "MI(L;Y)": slow.labels["Y"], "MI(X;L|Y)": slow.given["Y"]}
                    for quantity, estimate in quantities.items():
                        for at, value, error in zip(
                            ("@0.1", "", "@0.5"), estimate.value, estimate.std_error, strict=True
                        ):
                            name = f"{quantity}{at}"
                            assert found[number][f"{name}_{subset}.{part}/{layer}"] == pytest.approx(
                                float(value), abs=1e-6
                            )
                            told = found[number][f"{name}_Errors_{subset}.{part}/{layer}"]
                            assert told == pytest.approx(float(error), abs=1e-6)


def test_the_whole_has_the_mean_of_its_parts_and_at_most_their_entropy_more() -> None:
    log = LogOptions(dense_steps=0, every=40)
    ((*points, last),) = records([mixed(log=log, train=training(steps=80), mi=Information(draws=1000, workers=0))])
    checked = 0
    for record in (*points, last):
        names = [
            name
            for name in record
            if name.startswith("MI(X;L)") and "_Errors" not in name and "." not in name.partition("_")[2]
        ]
        for name in names:
            quantity, _, place = name.partition("_")
            subset, _, layer = place.partition("/")
            sizes = [math.exp(record[f"ln n_{subset}.{part}"]) for part in ("add", "mul")]
            weights = [size / sum(sizes) for size in sizes]
            entropy = -sum(weight * math.log(weight) for weight in weights)
            parts = [record[f"{quantity}_{subset}.{part}/{layer}"] for part in ("add", "mul")]
            errors = [record[f"{quantity}_Errors_{subset}.{part}/{layer}"] for part in ("add", "mul")]
            mean = sum(weight * value for weight, value in zip(weights, parts, strict=True))
            slack = 4 * (record[f"{quantity}_Errors_{place}"] + sum(errors)) + 0.01
            assert mean - slack <= record[name] <= mean + entropy + slack
            checked += 1
    assert checked == 3 * 2 * 2 * 5  # log points, subsets, layers, levels


@dataclass(frozen=True)
class Far(Modular):
    """The task with its last held-out question as an out-of-domain subset, if it is told to have one."""

    far: bool = option(True, stackable=True)

    def examples(self, seed: int) -> Examples:
        found = super().examples(seed)
        return replace(found, test=found.test[:-1], ood=found.test[-1:]) if self.far else found


def test_a_subset_without_questions_of_a_part_has_no_values_of_it() -> None:
    keys: dict[str, Any] = {"split": RandomSplit(), "p": 5, "layout": "equals"}
    task = Multitask({"add": Far(**keys), "mul": Modular(**keys, operation="mul")})
    (found,) = looked_at(Stack([mixed(data=task)]))
    assert {"MI(X;L)_ood/layer 1", "MI(X;L)_ood.add/layer 1", "MI(X;L)_eval.mul/layer 1"} <= found.keys()
    assert not [name for name in found if "ood.mul" in name]
    own = Far(**keys).examples(0)
    assert task.examples(0).subsets["ood"].tolist() == own.subsets["ood"].tolist()


def test_a_member_without_questions_of_a_part_has_no_values_of_it_beside_one_that_has() -> None:
    keys: dict[str, Any] = {"split": RandomSplit(), "p": 5, "layout": "equals"}
    tasks = [Multitask({"add": Far(**keys), "mul": Far(**keys, operation="mul", far=far)}) for far in (True, False)]
    with_it, without = looked_at(Stack([mixed(data=task) for task in tasks]))
    assert {"MI(X;L)_ood.mul/layer 1", "ln n_ood.mul"} <= with_it.keys()
    assert not [name for name in without if "ood.mul" in name]
    assert "MI(X;L)_ood.add/layer 1" in without


def test_estimates_beside_training_are_the_same() -> None:
    log = LogOptions(dense_steps=2, every=10)
    one, other = (records([mixed(log=log, mi=Information(draws=20, workers=workers))]) for workers in (0, 1))
    assert one == other


def test_a_task_without_parts_has_no_names_of_parts() -> None:
    (found,) = looked_at(Stack([mixed(data=modular("add"))]))
    assert not [name for name in found if "train." in name or "eval." in name]


# In words and figures


def test_names_of_parts_in_words() -> None:
    words = ("I(X;L) at r = 0.5 (nats)", "layer 1, task add, held-out subset")
    assert metric_words("MI(X;L)@0.5_eval.add/layer 1") == words
    assert metric_words("H(Y)_train.add") == ("H(Y) (nats)", "task add, training subset")


def columns(names: Sequence[str]) -> pandas.DataFrame:
    return pandas.DataFrame({"step": [0, 1, 2]} | {name: [0.0, 0.5, 1.0 - 0.1 * i] for i, name in enumerate(names)})


def test_curves_have_a_panel_of_the_groups() -> None:
    names = [
        "Acc/train",
        "Acc/test",
        "Acc/train/add",
        "Acc/test/add",
        "Acc/test/combinations",
        "Acc/test/add.combinations",
    ]
    figure = curves(columns(names), threshold=0.9)
    first, second = figure.axes
    drawn = {
        line.get_label(): np.asarray(line.get_ydata()).tolist()
        for line in second.lines
        if not str(line.get_label()).startswith("_")
    }
    assert second.get_ylabel() == "accuracy of groups"
    assert drawn.keys() == {"train/add", "test/add", "test/combinations", "threshold 0.9"}
    assert drawn["test/add"] == [0.0, 0.5, 0.7]
    colors = {line.get_label(): line.get_color() for line in second.lines}
    assert colors["train/add"] == colors["test/add"] != colors["test/combinations"]
    assert first.get_ylabel() == "accuracy"
    assert len(curves(columns(names[:2])).axes) == 1
