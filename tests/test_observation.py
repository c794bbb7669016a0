"""Looking at a stack changes nothing in it, and what is seen is what the network does."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from builders import ALWAYS, METRICS, NEVER, finish, member, task, trained, training, weights

from grokplane.losses import MSE
from grokplane.metrics import LearningRate
from grokplane.models import lookup
from grokplane.models.mlp import MLP
from grokplane.optim import SGD, AdamW, Cosine
from grokplane.train import Member, Stack, run
from grokplane.train.observe import measure, observe

SPLITS = ("train", "test", "unseen")
# The last number of each: from how many columns a token on rows are gathered; 0 is always, 56 not for these.
SETTINGS: dict[str, tuple[dict[str, Any], int]] = {
    "full": ({"train": training(steps=40, dtype="float32")}, 56),
    "full, gathered": ({"train": training(steps=40, dtype="float32")}, 0),
    "minibatches": ({"train": training(steps=110, dtype="float32", batch_size=5)}, 56),
    "minibatches, gathered": ({"train": training(steps=40, batch_size=5)}, 0),
    "replacement": ({"train": training(steps=70, batch_size=5, sampling="replacement")}, 56),
    "sgd": ({"optimizer": SGD(momentum=0.9), "loss": MSE(), "schedule": Cosine(warmup_steps=5)}, 56),
}


def pair(**parts: Any) -> list[Member]:
    """Two members with unequal training subsets."""
    other = task(train_fraction=0.3, operation="div")
    return [member(**parts), member(**parts | {"seed": 1, "data": other, "model": MLP(hidden=[8, 8], embedding_dim=6)})]


@pytest.mark.parametrize("setting", SETTINGS)
def test_how_often_one_looks_changes_no_bit(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, columns = SETTINGS[setting]
    monkeypatch.setattr(lookup, "PRODUCT_COLUMNS_PER_TOKEN", columns)
    never = trained(*pair(log=NEVER, **parts))
    always = trained(*pair(log=ALWAYS, metrics=METRICS, **parts))
    for number in range(2):
        assert torch.equal(weights(never, number), weights(always, number))


def test_checkpoints_change_no_bit() -> None:
    often = trained(member(train=training(checkpoint_every=1)))
    assert torch.equal(weights(often), weights(trained(member(train=training(checkpoint_every=1000)))))


def test_a_look_leaves_gradients_optimizer_and_global_generators_as_they_are() -> None:
    stack = Stack(pair(metrics=METRICS, train=training(steps=9)))
    finish(stack)
    for parameter in stack.parameters.values():
        parameter.grad = torch.ones_like(parameter)
    before = [stack.state(number) for number in range(2)]
    streams = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    measure(stack, observe(stack, None))
    assert torch.equal(streams[0], torch.get_rng_state())
    assert streams[1:] == (random.getstate(), repr(np.random.get_state()))
    assert repr(before) == repr([stack.state(number) for number in range(2)])
    assert all(bool((parameter.grad == 1).all()) for parameter in stack.parameters.values())


def test_every_value_is_that_of_the_step_before_its_update() -> None:
    stack = Stack([member(log=ALWAYS, metrics=METRICS)])
    for point in run(stack):
        record = point.records[0]
        assert record["WN/global"] == pytest.approx(float(weights(stack).norm()), rel=1e-12)
        assert point.step == stack.step


def test_losses_accuracies_and_gradients_are_those_of_the_whole_training_subset() -> None:
    stack = Stack(pair(metrics=METRICS, train=training(batch_size=4)))
    records = measure(stack, observe(stack, None))
    for number, one in enumerate(stack.members):
        examples = one.data.examples(one.seed)
        table = stack.parameters["input.embedding.weight"][number]
        layers = [[v[number] for v in stack.network.layers()[f"layer {k}"].values()] for k in (1, 2, 3)]
        outputs = table[examples.table.inputs[examples.train]].sum(1)
        for depth, (weight, bias) in enumerate(layers):
            outputs = F.linear(outputs if depth == 0 else outputs.relu(), weight, bias)
        loss = F.cross_entropy(outputs, examples.train_targets)
        (gradient,) = torch.autograd.grad(loss, [layers[1][0]])
        accuracy = (outputs.argmax(1) == examples.train_targets).double().mean()
        assert records[number]["Loss/train"] == pytest.approx(loss.item(), rel=1e-10)
        assert records[number]["Acc/train"] == pytest.approx(accuracy.item(), rel=1e-12)
        assert records[number]["grad_norm_weight/layer 2"] == pytest.approx(gradient.norm().item(), rel=1e-9)


def test_records_of_a_stack_are_those_of_its_members_alone() -> None:
    members = pair(metrics={name: m for name, m in METRICS.items() if name != "StepTime"}, log=ALWAYS)
    together = [point.records for point in run(Stack(members)) if point.records]
    for number, one in enumerate(members):
        alone = [point.records[0] for point in run(Stack([one])) if point.records]
        assert len(alone) == len(together) == 21
        for ours, theirs in zip(together, alone, strict=True):
            assert ours[number] == pytest.approx(theirs, rel=1e-7, abs=1e-9, nan_ok=True)


def test_the_learning_rate_seen_is_the_one_used() -> None:
    sgd = SGD(lr=0.5)
    schedule = Cosine(warmup_steps=4)
    one = member(optimizer=sgd, schedule=schedule, metrics={"lr": LearningRate()}, log=ALWAYS)
    stack, before = Stack([one, replace(one, seed=1, optimizer=replace(sgd, lr=0.25))]), torch.empty(0)
    rates: list[float] = []
    for point in run(stack):
        if point.step:
            gradient = torch.cat([p.grad[1].flatten() for p in stack.parameters.values() if p.grad is not None])
            torch.testing.assert_close(weights(stack, 1), before - rates[-1] * gradient, rtol=0, atol=1e-12)
        before = weights(stack, 1).clone()
        rates.append(point.records[1]["lr"])
    assert rates == pytest.approx([0.25 * schedule(step, 20) for step in range(21)])


def test_metrics_that_are_not_asked_for_are_not_recorded() -> None:
    record = measure(stack := Stack([member(optimizer=AdamW())]), observe(stack, None))[0]
    assert record.keys() == {"step", *(f"{name}/{split}" for name in ("Acc", "Loss") for split in SPLITS)}
