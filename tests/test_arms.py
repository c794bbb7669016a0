"""Rules for interventions: a norm held from any step, frozen layers, ablated frequencies of the embedding."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from builders import finish, member, task, trained, training, weights
from torch import Tensor

from grokplane import optim
from grokplane.data import Group, RandomSplit
from grokplane.models import MLP
from grokplane.operand_group import OperandGroup
from grokplane.optim import Ablation, Adam, AdamW, ByGroup, ConstantNorm, Freeze, HoldNorm
from grokplane.optim.ablation import over_elements, projection
from grokplane.optim.constant_norm import scale_to
from grokplane.options import ConfigError
from grokplane.train import Member, Stack, check_stackable, run

EMBEDDING, LAST = "input.embedding.weight", ["linears.2.weight", "linears.2.bias"]
# Two strengths of each rule, for two members.
RULES: dict[str, tuple[Any, Any]] = {
    "hold_norm": (HoldNorm(scale=0.8), HoldNorm(norm=9.0)),
    "hold_norm of a layer": (HoldNorm(scale=1.2, layers=["layer 3"]), HoldNorm(norm=2.0, layers=["layer 3"])),
    "freeze": (Freeze(), Freeze(["layer 2", "bias"])),
    "ablation": (Ablation([0, 2]), Ablation([1], keep=True)),
}
EVERY = pytest.mark.parametrize("name", RULES)


def pair(name: str, **parts: Any) -> list[Member]:
    """Two members with different seeds and strengths of a rule."""
    rules = [{name.partition(" ")[0]: strength} for strength in RULES[name]]
    return [member(**({"seed": seed, "rules": rule} | parts)) for seed, rule in zip((3, 5), rules, strict=True)]


def norm(stack: Stack, names: list[str] | None = None, number: int = 0) -> float:
    chosen = [stack.parameters[name][number].detach() for name in names or stack.parameters]
    return math.sqrt(sum(float(value.square().sum()) for value in chosen))


# All rules -----------------------------------------------------------------------------------------------------------


@EVERY
def test_a_stacked_member_equals_its_solo_run(name: str) -> None:
    members = pair(name, train=training(batch_size=9))
    check_stackable(members)
    together = trained(*members)
    for number, one in enumerate(members):
        alone = trained(one)
        torch.testing.assert_close(weights(together, number), weights(alone), rtol=0, atol=1e-9)
        assert (weights(alone) - weights(trained(member(seed=one.seed, train=one.train)))).abs().max() > 1e-4


@EVERY
@pytest.mark.parametrize("at", [0, 7])
def test_a_state_goes_on_bit_identically(name: str, at: int) -> None:
    members = pair(name)
    whole, first, second = trained(*members), Stack(members), Stack(members)
    if at:
        assert [point.interrupted for point in run(first, stop=lambda: first.step == at)][-1]
    second.load_states([first.state(number) for number in range(2)])
    assert second.step == at
    finish(second)
    assert all(torch.equal(second.parameters[key], value) for key, value in whole.parameters.items())


# The held norm -------------------------------------------------------------------------------------------------------


def test_a_norm_held_from_step_0_is_the_constant_norm_to_the_last_bit() -> None:
    held, constant = (
        trained(*[member(seed=seed, rules={name: kind(value)}) for seed, value in enumerate((0.8, 1.3))])
        for name, kind in (("hold_norm", HoldNorm), ("constant_norm", ConstantNorm))
    )
    assert all(torch.equal(weights(held, number), weights(constant, number)) for number in range(2))


def test_a_given_norm_and_that_of_a_layer_are_held_and_other_layers_are_not_scaled() -> None:
    stack = trained(*pair("hold_norm"))
    assert norm(stack, number=1) == pytest.approx(9.0, rel=1e-12)
    members = pair("hold_norm of a layer", train=training(steps=1))
    start, one, free = (
        Stack(members),
        trained(*members),
        trained(*[member(seed=s, train=training(steps=1)) for s in (3, 5)]),
    )
    assert norm(one, LAST) == pytest.approx(1.2 * norm(start, LAST), rel=1e-12)
    assert norm(one, LAST, 1) == pytest.approx(2.0, rel=1e-12)
    for name, value in one.parameters.items():
        assert torch.equal(value, free.parameters[name]) == (name not in LAST)


def test_zeros_stay_zeros_where_a_norm_is_held() -> None:
    values = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    scale_to(torch.tensor([2.0, 10.0]), [values])
    assert values.tolist() == [[0.0, 0.0], [6.0, 8.0]]


def started(start_with: str, scale: float = 1.0) -> Member:
    options = training(start_from="other", start_with=start_with, steps=6)
    return member(rules={"hold_norm": HoldNorm(scale=scale)}, train=options)


def source(scale: float = 1.0) -> Stack:
    """A run that holds its norm, of 5 steps."""
    return trained(member(seed=9, rules={"hold_norm": HoldNorm(scale=scale)}, train=training(steps=5)))


def test_a_rule_that_begins_with_the_weights_of_another_run_holds_their_norm() -> None:
    other = trained(member(seed=9, train=training(steps=5)))
    stack = Stack([started("weights", 0.85)])
    stack.start([other.state(0)])
    finish(stack)
    assert norm(stack) == pytest.approx(0.85 * norm(other), rel=1e-12)


def test_the_memory_of_another_run_keeps_its_reference() -> None:
    """Another scale refers to the same norm; the same scale goes on as the source does."""
    other = source(0.5)
    reference = norm(other) / 0.5
    stack = Stack([started("weights_and_optimizer", 0.7)])
    stack.start([other.state(0)])
    for _ in run(stack, stop=lambda: stack.step == 2):
        pass
    assert norm(stack) == pytest.approx(0.7 * reference, rel=1e-12)
    again = Stack([started("weights_and_optimizer", 0.7)])
    again.load_states([stack.state(0)])
    finish(again)
    finish(stack)
    assert torch.equal(weights(again), weights(stack))


def test_either_a_scale_or_a_norm_is_given() -> None:
    with pytest.raises(ConfigError, match=r"rules.hold_norm.scale=2: needs rules.hold_norm.norm=null"):
        HoldNorm(scale=2, norm=3.0)
    with pytest.raises(ConfigError, match=r"rules.hold_norm.layers=\[layer 9\]: no layer 9 here; did you mean layer"):
        Stack([member(rules={"hold_norm": HoldNorm(layers=["layer 9"])})])


# Frozen layers -------------------------------------------------------------------------------------------------------


def test_a_frozen_embedding_is_an_embedding_with_learning_rate_0_to_the_last_bit() -> None:
    """AdamW treats every weight on its own."""
    one, still = AdamW(lr=0.01), AdamW(lr=0.0)
    frozen = trained(member(optimizer=one, rules={"freeze": Freeze()}))
    by_group = ByGroup(embedding=still, hidden=one, read_out=one)
    assert torch.equal(weights(frozen), weights(trained(member(optimizer=by_group))))


def test_frozen_layers_keep_their_bits_whatever_else_changes_weights() -> None:
    first = {"initial_decay": optim.InitialDecay(), "update_noise": optim.UpdateNoise(0.1), "sam": optim.SAM()}
    of_layer = {"hold_norm": HoldNorm(scale=2.0, layers=["layer 1"])}
    members = [
        member(seed=seed, optimizer=Adam(weight_decay=0.1), rules=first | of_layer | {"freeze": Freeze(layers)})
        for seed, layers in ((3, ["embedding", "layer 3"]), (5, ["bias"]))
    ]
    start, end = Stack(members), trained(*members)
    for name, value in end.parameters.items():
        same = [torch.equal(value[number], start.parameters[name][number]) for number in range(2)]
        assert same == [name in (EMBEDDING, *LAST), name.endswith("bias")]


def test_frozen_layers_are_those_of_the_run_that_is_started_from() -> None:
    other = trained(member(seed=9, train=training(steps=5)))
    stack = Stack([member(rules={"freeze": Freeze()}, train=training(start_from="other", steps=6))])
    stack.start([other.state(0)])
    assert [point.interrupted for point in run(stack, stop=lambda: stack.step == 2)][-1]
    again = Stack(stack.members)
    again.load_states([stack.state(0)])
    finish(again)
    finish(stack)
    assert torch.equal(weights(again), weights(stack))
    assert torch.equal(stack.parameters[EMBEDDING], other.parameters[EMBEDDING])
    assert not torch.equal(stack.parameters["linears.0.weight"], other.parameters["linears.0.weight"])


def test_a_layer_that_the_network_does_not_have_is_refused() -> None:
    for layers, said in ((["layer 7"], "no layer 7 here; did you mean layer"), ([], "must contain at least one name")):
        with pytest.raises(ConfigError, match=said) as refused:
            Stack([member(rules={"freeze": Freeze(layers)})])
        assert refused.value.key == "rules.freeze.layers"
        assert refused.value.allowed.endswith("allowed: embedding, layer 1, layer 2, layer 3, weight, bias")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"freeze": Freeze(), "update_noise": optim.UpdateNoise()}, "freeze must come after update_noise, or the weig"),
        ({"hold_norm": HoldNorm(), "ablation": Ablation([1])}, "hold_norm must come after ablation, or the norm is n"),
        ({"ablation": Ablation([1]), "update_noise": optim.UpdateNoise()}, "ablation must come after update_noise, or"),
        ({"hold_norm": HoldNorm(), "constant_norm": ConstantNorm()}, "only one rule that holds a norm is allowed"),
        ({"constant_norm": ConstantNorm(), "freeze": Freeze()}, "constant_norm scales all weights, and freeze keeps"),
        ({"hold_norm": HoldNorm(layers=["embedding"]), "freeze": Freeze()}, "hold_norm scales embedding, and freeze"),
        ({"ablation": Ablation([1]), "freeze": Freeze()}, "ablation changes the embedding, and freeze keeps it"),
    ],
)
def test_rules_that_undo_each_other_are_refused(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        member(rules=rules)
    assert said in str(refused.value)


# Ablated frequencies -------------------------------------------------------------------------------------------------


def waves(orders: tuple[int, ...], number: int) -> Tensor:
    """The cosine and the sine of a frequency over all elements [2, n], from the digits of both, in plain loops."""

    def digits(one: int) -> list[int]:
        found = []
        for order in reversed(orders):
            found.append(one % order)
            one //= order
        return found[::-1]

    angles = []
    for element in range(math.prod(orders)):
        pairs = zip(digits(number), digits(element), orders, strict=True)
        angles.append(2 * math.pi * sum(k * e / n for k, e, n in pairs))
    return torch.tensor([[math.cos(one) for one in angles], [math.sin(one) for one in angles]], dtype=torch.float64)


@pytest.mark.parametrize("orders", [(7,), (8,), (2, 3), (4, 2, 2)])
@pytest.mark.parametrize("keep", [False, True])
def test_frequencies_are_removed_and_the_others_are_kept(orders: tuple[int, ...], keep: bool) -> None:
    named = [0, 3]
    matrix = over_elements(Ablation(named, keep), orders)
    of_named = torch.cat([waves(orders, number) for number in named])
    for number in range(math.prod(orders)):
        wave = waves(orders, number)
        same = bool((of_named @ wave.mT).abs().max() > 1e-9)  # other frequencies are orthogonal to the named ones
        torch.testing.assert_close(wave @ matrix.mT, wave * float(same == keep), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("operation", "elements"), [("add", 7), ("mul", 6)])
def test_the_spectrum_of_a_trained_embedding_has_no_energy_there(operation: str, elements: int) -> None:
    """3 generates the nonzero residues modulo 7, so the rows of 3^0, 3^1, ... are a signal over Z6."""
    ablated = Ablation([1, 2])
    one = member(data=task(operation=operation, layout="equals"), model=MLP(hidden=[8], embedding="concat"))
    stack = trained(member(data=one.data, model=one.model, rules={"ablation": ablated}))
    rows = list(range(7)) if operation == "add" else [pow(3, power, 7) for power in range(6)]
    table = stack.parameters[EMBEDDING][0].detach()
    energy = torch.fft.rfft(table[rows], dim=0).abs().square().sum(1)
    assert len(rows) == elements
    assert float(energy[1:3].max()) < 1e-24 * float(energy.sum())
    assert float(energy[[0, 3]].min()) > 0.01 * float(energy.sum())


@pytest.mark.parametrize("operation", ["add", "mul"])
def test_tokens_outside_the_group_and_other_frequencies_stay(operation: str) -> None:
    group = task(operation=operation, layout="equals").table(0).group
    assert isinstance(group, OperandGroup)
    matrix = projection(Ablation([1]), group)
    outside = torch.nonzero(group.elements < 0).flatten().tolist()
    assert outside == ([7] if operation == "add" else [0, 7])
    for token in outside:
        assert torch.equal(matrix[token], torch.eye(8, dtype=torch.float64)[token])
    torch.testing.assert_close(matrix @ matrix, matrix, rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix.trace(), torch.tensor(8.0 - 2, dtype=torch.float64))


def test_members_of_a_stack_may_have_different_groups() -> None:
    rules = {"ablation": Ablation([1])}
    members = [member(data=task(operation=name), rules=rules) for name in ("add", "mul")]
    together = trained(*members)
    for number, one in enumerate(members):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"data": Group(RandomSplit(), group="S3")}, "rules=ablation: needs operands of an abelian group"),
        ({"model": MLP(hidden=[4], embedding="onehot")}, "rules=ablation: needs a network with an embedding"),
        ({"rules": {"ablation": Ablation([7])}}, "rules.ablation.frequencies=[7]: must be a list of at least one num"),
        ({"rules": {"ablation": Ablation([])}}, "rules.ablation.frequencies=[]: must be a list of at least one num"),
    ],
)
def test_what_has_no_such_frequencies_is_refused(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Stack([member(**({"rules": {"ablation": Ablation([1])}} | parts))])
    assert str(refused.value).startswith(said)
