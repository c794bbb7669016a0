"""Stacked optimizers compared with one plain torch.optim optimizer per member; schedules with closed forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from builders import OPTIMIZERS
from torch import Tensor, nn

from grokplane import optim
from grokplane.optim import (
    Constant,
    Cosine,
    Directions,
    Kept,
    LinearWarmup,
    StackedOptimizer,
    TorchGroups,
    TorchOptimizer,
)
from grokplane.options import ConfigError

SHAPES = {"embedding": (9, 4), "weight": (5, 4), "bias": (5,)}
# (lr, weight decay): equal neighbours share a param group.
MEMBERS = [(1e-3, 0.1), (1e-3, 0.1), (2e-3, 0.0), (1e-3, 0.1), (1e-3, 1.0)]
PLAIN: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {"betas": (0.9, 0.98), "eps": 1e-8}),
    "adam": (torch.optim.Adam, {"betas": (0.9, 0.999), "eps": 1e-8}),
    "sgd": (torch.optim.SGD, {}),
    "sgd_momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "sgd_nesterov": (torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.99, "eps": 1e-8}),
    "rmsprop_momentum": (torch.optim.RMSprop, {"alpha": 0.99, "eps": 1e-8, "momentum": 0.5}),
}
Form = type[TorchGroups] | type[Directions]
FORM = pytest.mark.parametrize("form", [TorchGroups, Directions])
EVERY = pytest.mark.parametrize("name", OPTIMIZERS)


def choices(name: str) -> list[TorchOptimizer]:
    kind, keys = OPTIMIZERS[name]
    return [kind(lr=lr, weight_decay=decay, **keys) for lr, decay in MEMBERS]  # type: ignore[call-arg]


def drawn(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(len(MEMBERS), *shape, generator=generator, dtype=torch.float64)
        for name, shape in SHAPES.items()
    }


def stacked(name: str, form: Form = TorchGroups) -> StackedOptimizer:
    return form(choices(name), {key: nn.Parameter(value) for key, value in drawn(0).items()})


def advance(optimizer: StackedOptimizer, steps: range, alive: Tensor | None = None) -> None:
    """Steps with random gradients, each with its own factor of the schedule."""
    for step in steps:
        for key, gradient in drawn(1 + step).items():
            optimizer.parameters[key].grad = gradient
        optimizer.schedule(factor(step))
        if alive is None:
            optimizer.step()
        else:
            masked_step(optimizer, alive)


def masked_step(optimizer: StackedOptimizer, alive: Tensor) -> None:
    parameters = [(value.detach(), alive) for value in optimizer.parameters.values()]
    kept = Kept([*parameters, *optimizer.masked(alive)])
    optimizer.step()
    kept.put_back()


def factor(step: int) -> float:
    return 1 / (1 + step % 7)


def plain_result(name: str, member: int, steps: int) -> dict[str, Tensor]:
    """One member's parameters under plain torch.optim, not fused, one tensor after the other."""
    algorithm, keys = PLAIN[name]
    lr, decay = MEMBERS[member]
    parameters = {key: nn.Parameter(value[member]) for key, value in drawn(0).items()}
    optimizer = algorithm(parameters.values(), lr=lr, weight_decay=decay, foreach=False, **keys)  # type: ignore[call-arg]
    for step in range(steps):
        gradients = drawn(1 + step)
        optimizer.param_groups[0]["lr"] = lr * factor(step)
        for key, parameter in parameters.items():
            parameter.grad = gradients[key][member]
        optimizer.step()
    return {key: parameter.detach() for key, parameter in parameters.items()}


def assert_same(ours: StackedOptimizer, theirs: StackedOptimizer, members: Sequence[int]) -> None:
    """Parameters and states of these members are equal to the last bit."""
    for member in members:
        for key, value in ours.parameters.items():
            assert torch.equal(value[member], theirs.parameters[key][member])
        assert_same_state(ours, theirs, member)


def assert_same_state(ours: StackedOptimizer, theirs: StackedOptimizer, member: int, but: str = "") -> None:
    one, other = ours.state(member), theirs.state(member)
    assert one.keys() == other.keys()
    for name, state in one.items():
        assert state.keys() == other[name].keys()
        assert all(torch.equal(value, other[name][key]) for key, value in state.items() if key != but)


@FORM
@EVERY
def test_each_member_is_updated_as_by_plain_torch_optim(form: Form, name: str) -> None:
    optimizer = stacked(name, form)
    advance(optimizer, range(100))
    for member in range(len(MEMBERS)):
        for key, expected in plain_result(name, member, 100).items():
            torch.testing.assert_close(optimizer.parameters[key][member].detach(), expected, rtol=1e-10, atol=1e-12)


@FORM
@EVERY
def test_a_state_taken_mid_way_goes_on_bit_identically(form: Form, name: str) -> None:
    optimizer = stacked(name, form)
    advance(optimizer, range(40))
    states = [optimizer.state(member) for member in range(len(MEMBERS))]
    parameters = {key: nn.Parameter(value.detach().clone()) for key, value in optimizer.parameters.items()}
    copy = form(choices(name), parameters)
    copy.load_states(states)
    advance(optimizer, range(40, 60))
    advance(copy, range(40, 60))
    assert_same(copy, optimizer, range(len(MEMBERS)))


@FORM
@EVERY
def test_a_members_state_fits_an_optimizer_of_its_own(form: Form, name: str) -> None:
    optimizer, member = stacked(name, form), 2
    advance(optimizer, range(30))
    alone = {key: nn.Parameter(value[member].detach().clone()[None]) for key, value in optimizer.parameters.items()}
    solo = form(choices(name)[member : member + 1], alone)
    solo.load_states([optimizer.state(member)])
    for step in range(30, 40):
        for key, gradient in drawn(1 + step).items():
            alone[key].grad = gradient[member][None]
        solo.schedule(factor(step))
        solo.step()
    for key, expected in plain_result(name, member, 40).items():
        torch.testing.assert_close(alone[key].detach()[0], expected, rtol=1e-10, atol=1e-12)


@FORM
@EVERY
def test_a_state_is_a_copy(form: Form, name: str) -> None:
    optimizer = stacked(name, form)
    advance(optimizer, range(3))
    state = optimizer.state(1)
    kept = {key: {role: value.clone() for role, value in roles.items()} for key, roles in state.items()}
    advance(optimizer, range(3, 6))
    assert all(torch.equal(value, kept[key][role]) for key, roles in state.items() for role, value in roles.items())


@FORM
@EVERY
@pytest.mark.parametrize("steps", [0, 5])
def test_members_that_are_not_alive_stay_as_they_are(form: Form, name: str, steps: int) -> None:
    optimizer, free, before = stacked(name, form), stacked(name, form), stacked(name, form)
    for each in (optimizer, free, before):
        advance(each, range(steps))
    alive = torch.tensor([True, False, True, False, True])
    for key, gradient in drawn(100).items():
        free.parameters[key].grad = gradient
        optimizer.parameters[key].grad = gradient.masked_fill(~alive.view(-1, *[1] * len(SHAPES[key])), torch.nan)
    free.step()
    masked_step(optimizer, alive)
    assert_same(optimizer, free, [0, 2, 4])
    for member in (1, 3):
        for key, value in before.parameters.items():
            assert torch.equal(optimizer.parameters[key][member], value[member])
        if steps:
            assert_same_state(optimizer, before, member, but="step")  # "step" counts the stack's updates


def test_a_mask_that_lets_all_pass_changes_nothing() -> None:
    masked, free = stacked("adamw"), stacked("adamw")
    advance(masked, range(5), torch.ones(len(MEMBERS), dtype=torch.bool))
    advance(free, range(5))
    assert_same(masked, free, range(len(MEMBERS)))


def test_the_schedule_scales_each_members_own_rate() -> None:
    optimizer = stacked("sgd")
    assert optimizer.learning_rates([0.5] * len(MEMBERS)) == pytest.approx([lr / 2 for lr, _ in MEMBERS])
    before = {key: value.detach().clone() for key, value in optimizer.parameters.items()}
    for parameter in optimizer.parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.schedule(0.5)
    optimizer.step()
    for key, value in optimizer.parameters.items():
        for member, (lr, decay) in enumerate(MEMBERS):
            expected = before[key][member] - lr / 2 * (1 + decay * before[key][member])
            torch.testing.assert_close(value[member].detach(), expected, rtol=0, atol=1e-14)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer.nesterov=true: needs optimizer.momentum above 0$"):
        optim.SGD(nesterov=True)


def test_constant_and_warm_up() -> None:
    assert [Constant()(step, 100) for step in (0, 50, 99)] == [1, 1, 1]
    warmup = LinearWarmup(warmup_steps=4)
    assert [warmup(step, 100) for step in (0, 1, 2, 3, 4, 99)] == [0.25, 0.5, 0.75, 1, 1, 1]


def test_cosine_runs_from_one_to_its_final_fraction() -> None:
    cosine = Cosine(final_fraction=0.2)
    for step in range(101):
        assert cosine(step, 100) == pytest.approx(0.2 + 0.8 * math.cos(math.pi * step / 200) ** 2)
    assert cosine(150, 100) == pytest.approx(0.2)


def test_cosine_warms_up_first_and_ends_at_its_total() -> None:
    cosine = Cosine(warmup_steps=10, total_steps=50)
    assert [cosine(step, 1000) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1, 1])
    assert [cosine(step, 1000) for step in (30, 50, 999)] == pytest.approx([0.5, 0, 0])


def test_only_a_cosine_without_a_total_depends_on_the_length_of_the_run() -> None:
    schedules = [Constant(), LinearWarmup(), Cosine(), Cosine(total_steps=9)]
    assert [schedule.follows_train_steps for schedule in schedules] == [False, False, True, False]
    for schedule in schedules:
        changes = any(schedule(step, 20) != schedule(step, 40) for step in range(20))
        assert changes == schedule.follows_train_steps
