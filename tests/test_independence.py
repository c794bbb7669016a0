"""A member of a stack equals the same run trained alone, and a diverging member does not affect the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from builders import OPTIMIZERS, diverged, finish, member, task, trained, training, weights
from torch import Tensor

from grokplane.losses import MSE, CrossEntropy
from grokplane.models import lookup
from grokplane.models.mlp import MLP
from grokplane.optim import SGD
from grokplane.train import Member, Stack, check_stackable

# No two members share the value of any key.
SEEDS, SCALES, RATES = [3, 0, 11, 7], [1.0, 2.0, 0.5, 1.5], [1.0, 2.0, 0.5, 1.25]
DECAYS, FRACTIONS, NOISE = [0.1, 0.0, 1.0, 0.3], [0.3, 0.6, 0.5, 0.4], [0.0, 0.1, 3.0, 0.2]
OPERATIONS = ["add", "div", "x2_plus_y2", "random"]  # div has fewer questions than the others
LOSSES = {"cross_entropy": CrossEntropy(), "mse": MSE()}
FORMS = [("operands", "sum"), ("equation", "concat")]


def members(optimizer: str = "adamw", loss: str = "cross_entropy", form: int = 0, **train: Any) -> list[Member]:
    (layout, embedding), (kind, keys) = FORMS[form], OPTIMIZERS[optimizer]
    lr = kind().options["lr"]
    return [
        member(
            seed=SEEDS[e],
            data=task(p=11, layout=layout, train_fraction=FRACTIONS[e], operation=OPERATIONS[e], label_noise=NOISE[e]),
            model=MLP(hidden=[8, 8], embedding=embedding, embedding_dim=6, init_scale=SCALES[e]),
            optimizer=kind(lr=lr * RATES[e], weight_decay=DECAYS[e], **keys),  # type: ignore[call-arg]
            loss=LOSSES[loss],
            train=training(**train),
        )
        for e in range(4)
    ]


def assert_independent(stackable: list[Member], tolerance: float) -> None:
    """Every member ends where its solo run ends, which is not where it began."""
    together, start = trained(*stackable), Stack(stackable)
    for number, one in enumerate(stackable):
        alone = trained(one)
        assert alone.alive.all()
        assert (weights(alone) - weights(start, number)).abs().max() > 100 * tolerance
        torch.testing.assert_close(weights(together, number), weights(alone), rtol=0, atol=tolerance)


@pytest.mark.parametrize("form", range(2), ids=["operands", "equation"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_50_steps_in_float64(optimizer: str, loss: str, form: int) -> None:
    steps = 10 if optimizer.startswith("rmsprop") else 50
    assert_independent(members(optimizer, loss, form, steps=steps), 1e-8)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_3_steps_in_float32(optimizer: str, loss: str) -> None:
    assert_independent(members(optimizer, loss, steps=3, dtype="float32"), 1e-5)


@pytest.mark.parametrize("sampling", ["shuffled", "replacement"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd_nesterov", "rmsprop"])
def test_minibatches(optimizer: str, sampling: str) -> None:
    steps = 10 if optimizer == "rmsprop" else 50
    assert_independent(members(optimizer, steps=steps, batch_size=13, sampling=sampling), 1e-8)


@pytest.mark.parametrize("form", range(2), ids=["operands", "equation"])
def test_50_steps_with_gathered_embeddings(form: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "PRODUCT_COLUMNS_PER_TOKEN", 0)
    assert_independent(members(form=form, steps=50), 1e-8)


def seen(stack: Stack, number: int) -> tuple[Tensor, Tensor]:
    """The questions and answers of one member's training subset, without padding."""
    subset, count = stack.examples.train, int(stack.examples.train.count[number])
    return subset.inputs()[number, :count], subset.targets[number, :count]


def test_the_same_points_in_full_batches() -> None:
    together = Stack(members())
    for number, one in enumerate(members()):
        for ours, theirs in zip(seen(together, number), seen(Stack([one]), 0), strict=True):
            assert torch.equal(ours, theirs)
    assert len(set(together.examples.train.count.tolist())) == 4


@pytest.mark.parametrize("sampling", ["shuffled", "replacement"])
def test_the_same_indices_at_every_step(sampling: str) -> None:
    stackable = members(batch_size=13, sampling=sampling)
    together = Stack(stackable)
    positions = together.positions(0, 200)
    assert positions is not None
    for number, one in enumerate(stackable):
        alone = Stack([one])
        own = alone.positions(0, 200)
        assert own is not None
        assert torch.equal(positions[:, number], own[:, 0])
        for step in (0, 57, 199):
            ours, theirs = (s.examples.train.batch(p[step]) for s, p in [(together, positions), (alone, own)])
            assert all(torch.equal(a[number], b[0]) for a, b in zip(ours, theirs, strict=True))


def test_every_pair_of_members_differs_in_every_stackable_key() -> None:
    check_stackable(members())
    keys = [SEEDS, SCALES, RATES, DECAYS, FRACTIONS, NOISE, OPERATIONS]
    assert all(len(set(map(str, key))) == 4 for key in keys)


def with_overflow(stackable: list[Member], **model: Any) -> list[Member]:
    """The same members, but the second one will diverge."""
    bad = replace(stackable[1], optimizer=replace(stackable[1].optimizer, lr=1e100))  # type: ignore[call-arg]
    return [stackable[0], replace(bad, model=replace(bad.model, **model)), *stackable[2:]]  # type: ignore[type-var]


@pytest.mark.parametrize("batch_size", ["full", 13])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_diverging_member_changes_no_bit_of_the_others(optimizer: str, batch_size: int | str) -> None:
    healthy = members(optimizer, batch_size=batch_size, steps=10)
    ill, well = trained(*with_overflow(healthy)), trained(*healthy)
    assert ill.rows == [0, 2, 3]  # it was removed
    assert diverged(well) == [-1] * 4
    for number in (0, 2, 3):
        assert torch.equal(weights(ill, number), weights(well, number))


@pytest.mark.parametrize("batch_size", ["full", 13])
@pytest.mark.parametrize(("overflow", "first"), [({}, 1), ({"init_scale": 1e150}, 0)])
def test_a_diverged_member_is_frozen_at_its_first_bad_step(
    overflow: dict[str, float], first: int, batch_size: int | str
) -> None:
    bad = with_overflow(members(batch_size=batch_size, steps=10), **overflow)
    together, short = Stack(bad), Stack([replace(bad[1], train=replace(bad[1].train, steps=max(first, 1)))])
    start = weights(short)
    points = finish(together)
    finish(short)
    assert diverged(together) == [-1, first, -1, -1]
    assert torch.equal(weights(together, 1), weights(short) if first else start)
    assert points[-1].step == 10


def test_a_solo_run_ends_when_it_diverges() -> None:
    alone = trained(with_overflow(members(steps=50))[1])
    assert (alone.step, diverged(alone)) == (1, [1])


def test_padding_does_not_diverge_where_the_members_own_points_do_not() -> None:
    """Questions outside the training subset overflow at a lower scale than those in it."""
    for exponent in range(30):
        scale = 10 ** (4.5 + exponent / 40)
        model = MLP(hidden=[8, 8], embedding_dim=6, init_scale=scale)
        large = member(seed=3, model=model, data=task(train_fraction=0.1), loss=MSE(), optimizer=SGD(lr=1e-30))
        large = replace(large, train=training(steps=1, dtype="float32"))
        more_points = replace(large, data=task(train_fraction=0.8), model=replace(model, init_scale=1.0))
        assert diverged(trained(large, more_points))[0] == diverged(trained(large))[0]


def test_masked_updates_give_the_bits_of_unmasked_ones() -> None:
    """With a dead member every update is masked; on a CPU without one, none is."""
    stackable = members(steps=20)
    free, masked = Stack(stackable), Stack(stackable)
    masked.alive[1] = False
    start = weights(masked, 1)
    finish(free)
    finish(masked)
    assert torch.equal(weights(masked, 1), start)
    assert diverged(masked) == diverged(free) == [-1] * 4
    for number in (0, 2, 3):
        assert torch.equal(weights(masked, number), weights(free, number))
