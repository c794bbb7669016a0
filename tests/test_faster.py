"""Lion, Muon's further keys and egalitarian gradients: closed forms, loops over one member, torch.optim, stacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from builders import member, trained, training, weights
from torch import Tensor, nn

from grokplane.models import MLP
from grokplane.models.transformer import Transformer
from grokplane.optim import SGD, AdamW, Context, Directions, Egalitarian, Lion, Muon, TorchGroups
from grokplane.optim.egalitarian import FLOOR, unit_rows, whitened
from grokplane.optim.muon import SCALES
from grokplane.options import ConfigError
from grokplane.train import Member, Stack

FIRST = "linears.0.weight"
ONE_HOT = MLP(hidden=[8], embedding="onehot", bias=[True, False])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Lion -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [TorchGroups, Directions])
def test_lion_is_that_of_a_loop(form: type[TorchGroups] | type[Directions]) -> None:
    settings = [(1e-2, 0.1), (3e-2, 2.0)]
    parameter = nn.Parameter(drawn(2, 3, 4))
    expected, momentum = parameter.detach().clone(), torch.zeros(2, 3, 4, dtype=torch.float64)
    optimizer = form([Lion(lr, decay, [0.8, 0.95]) for lr, decay in settings], {"weight": parameter})
    for step in range(20):
        gradient = drawn(2, 3, 4, seed=step + 1)
        parameter.grad = gradient.clone()
        optimizer.schedule(1 / (step + 1))
        optimizer.step()
        for number, (lr, decay) in enumerate(settings):
            sign = torch.sign(0.8 * momentum[number] + 0.2 * gradient[number])
            expected[number] -= lr / (step + 1) * (sign + decay * expected[number])
            momentum[number] = 0.95 * momentum[number] + 0.05 * gradient[number]
    torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(optimizer.state(1)["weight"]["exp_avg"], momentum[1], rtol=0, atol=1e-13)


# Muon -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "theirs"), [("spectral", "original"), ("match_rms_adamw", "match_rms_adamw")])
@pytest.mark.parametrize("shape", [(12, 5), (5, 12)], ids=str)
def test_muons_scales_are_those_of_torch_optim(scale: str, theirs: str, shape: tuple[int, int]) -> None:
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = drawn(*shape).float()
    torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, adjust_lr_fn=theirs).step()
    # torch iterates in bfloat16, so that singular values are those of ours to about a percent.
    plain = nn.Parameter(torch.zeros(shape))
    plain.grad = weight.grad
    torch.optim.Muon([plain], lr=1.0, weight_decay=0.0, adjust_lr_fn="original").step()
    unscaled = plain.detach().norm() / max(1, shape[0] / shape[1]) ** 0.5
    assert float(weight.detach().norm() / unscaled) == pytest.approx(SCALES[scale](*shape), rel=1e-4)


def test_a_muon_step_is_multiplied_by_its_scale() -> None:
    def change(scale: str) -> Tensor:
        one = member(optimizer=Muon(scale=scale, weight_decay=0.0), train=training(steps=1))
        return trained(one).parameters[FIRST].detach() - Stack([one]).parameters[FIRST].detach()

    for scale in ("spectral", "match_rms_adamw"):
        torch.testing.assert_close(change(scale), SCALES[scale](8, 6) * change("none"), rtol=1e-9, atol=1e-12)


ENDS = {"embedding": ["input.embedding.weight"], "read_out": ["linears.2.weight", "linears.2.bias"]}


@pytest.mark.parametrize("part", ENDS)
def test_an_end_of_the_network_has_a_rate_and_a_decay_of_its_own(part: str) -> None:
    """Twin: AdamW with these settings on all parameters, whose first step depends on nothing else."""
    optimizer = Muon(**{f"{part}_lr": 5e-3, f"{part}_weight_decay": 3.0})  # type: ignore[arg-type]
    parts: dict[str, Any] = {"train": training(steps=1)}
    ours, usual = trained(member(optimizer=optimizer, **parts)), trained(member(optimizer=Muon(), **parts))
    twin = trained(member(optimizer=AdamW(lr=5e-3, weight_decay=3.0), **parts))
    for name, value in ours.parameters.items():
        expected = twin if name in ENDS[part] else usual
        torch.testing.assert_close(value, expected.parameters[name], rtol=0, atol=1e-12)
    assert ours.optimizer.rates_of(ENDS[part][0]) == [5e-3]
    assert ours.optimizer.rates_of("linears.1.bias") == [1e-3]


def test_the_ends_of_a_transformer_include_its_positions() -> None:
    model = Transformer(layers=1, heads=1, width=4, mlp_width=4)
    parts = Stack([member(model=model)]).network.parts()
    assert parts["embedding"] == ["embedding.weight", "positions.weight"]
    assert parts["read_out"] == ["unembedding.weight", "unembedding.bias"]


def test_keys_of_an_embedding_need_one() -> None:
    model = MLP(hidden=[8, 8], embedding="onehot")
    with pytest.raises(ConfigError, match=r"^optimizer.embedding_lr=0.1: this network has no embedding; leave it null"):
        Stack([member(model=model, optimizer=Muon(embedding_lr=0.1))])


def test_a_stack_of_muons_with_ends_of_their_own_equals_solo_and_resumes() -> None:
    members = [
        member(seed=seed, optimizer=Muon(embedding_lr=lr, read_out_weight_decay=0.2), train=training(steps=8))
        for seed, lr in enumerate((1e-3, 4e-3))
    ]
    together = trained(*members)
    for number, one in enumerate(members):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-8)
    resumed = Stack(members)
    resumed.load_states([together.state(number) for number in range(2)])
    assert resumed.optimizer.state(1).keys() == together.optimizer.state(1).keys()


# Egalitarian gradients ------------------------------------------------------------------------------------------------


def of_rank(rank: int) -> Tensor:
    """Matrices [2, 7, 5] of a rank, with singular values from 1 to 1e-3."""
    u, _, vh = torch.linalg.svd(drawn(2, 7, 5), full_matrices=False)
    return u[..., :rank] @ torch.diag(torch.logspace(0, -3, rank, dtype=torch.float64)) @ vh[:, :rank]


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_a_whitened_matrix_has_singular_values_one_and_zero_and_the_same_singular_vectors(rank: int) -> None:
    matrix = of_rank(rank)
    values = torch.linalg.svdvals(whitened(matrix))
    expected = (torch.arange(5) < rank).double().expand(2, 5)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-9)
    # (G G^T)^(-1/2) G, and the trace of G^T U V^T is the nuclear norm only if all singular vectors are those of G
    nuclear = (matrix * whitened(matrix)).sum((1, 2))
    torch.testing.assert_close(nuclear, torch.linalg.svdvals(matrix).sum(1), rtol=1e-9, atol=0)


def test_zero_gradients_stay_zero() -> None:
    assert not whitened(torch.zeros(2, 3, 4)).any()
    assert not unit_rows(torch.zeros(2, 3, 4)).any()


def test_rows_have_norm_one_above_the_floor() -> None:
    rows = torch.tensor([[[3.0, 4.0], [0.0, 1e-3], [0.03, 0.04]]])
    torch.testing.assert_close(unit_rows(rows), torch.tensor([[[0.6, 0.8], [0.0, 1e-3 / FLOOR], [0.6, 0.8]]]))


def filtered(gradient: Tensor, *choices: Egalitarian, losses: Tensor | None = None) -> Tensor:
    """Gradients [E, out, in] after one step of the rule with these losses [E]."""
    weight = nn.Parameter(drawn(*gradient.shape, seed=9))
    context = Context({"w": weight}, range(len(gradient)), lambda _: [1.0] * len(gradient), matrices=["w"])
    rule = Egalitarian.stacked(choices or [Egalitarian()] * len(gradient), context)
    weight.grad = gradient.clone()
    rule.at(0)
    rule.around(0, lambda: torch.ones(len(gradient)) if losses is None else losses)()
    rule.before(0, 1.0)
    assert weight.grad is not None
    return weight.grad


def test_a_randomised_svd_finds_the_largest_singular_vectors() -> None:
    matrix = of_rank(5)
    whole = filtered(matrix, *[Egalitarian(method="randomised", rank=9)] * 2)
    torch.testing.assert_close(whole, whitened(matrix), rtol=0, atol=1e-8)
    two = filtered(matrix, *[Egalitarian(method="randomised", rank=2)] * 2)
    u, _, vh = torch.linalg.svd(matrix)
    torch.testing.assert_close(two, u[..., :2] @ vh[:, :2], rtol=0, atol=1e-3)


def test_decay_that_is_part_of_the_gradient_is_replaced_with_it() -> None:
    """The optimizer adds the decay afterwards, and the sum is U V^T of gradient and decay."""
    matrix, weight = of_rank(5), drawn(2, 7, 5, seed=9)
    found = filtered(matrix, *[Egalitarian(weight_decay=0.3)] * 2)
    torch.testing.assert_close(found + 0.3 * weight, whitened(matrix + 0.3 * weight), rtol=0, atol=1e-12)


def test_it_ends_for_each_member_by_its_loss_or_step_and_leaves_what_is_not_finite() -> None:
    matrix = drawn(4, 3, 3)
    matrix[3, 0, 0] = torch.nan
    choices = [Egalitarian(until_loss=0.5), Egalitarian(until_loss=0.5), Egalitarian(), Egalitarian()]
    found = filtered(matrix, *choices, losses=torch.tensor([0.4, 0.6, 0.0, torch.nan]))
    assert torch.equal(found[0], matrix[0])
    torch.testing.assert_close(found[1:3], whitened(matrix[1:3]), rtol=0, atol=1e-12)
    assert torch.equal(found[3].isnan(), matrix[3].isnan())


def descent(**keys: Any) -> list[Member]:
    """Two members with SGD on one-hot pairs."""
    return [
        member(
            seed=seed,
            model=ONE_HOT,
            optimizer=SGD(lr=0.05, weight_decay=1e-3),
            rules={"egalitarian": Egalitarian(**keys)},
            train=training(steps=12, batch_size=9),
        )
        for seed in range(2)
    ]


METHODS = ({"method": "svd"}, {"method": "randomised", "rank": 3}, {"method": "column_norm"}, {"steps": 5})


@pytest.mark.parametrize("keys", METHODS, ids=lambda keys: "-".join(map(str, keys.values())))
def test_a_stacked_member_equals_its_solo_run(keys: dict[str, Any]) -> None:
    members = descent(**keys)
    together = trained(*members)
    for number, one in enumerate(members):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-8)


def test_after_its_steps_plain_descent_goes_on() -> None:
    """Members of one stack may end at different steps; a resumed run remembers that it ended."""
    early, late = (
        replace(one, rules={"egalitarian": Egalitarian(steps=steps)}) for one in descent()[:1] for steps in (3, 99)
    )
    stack = trained(early, late)
    assert stack.rules["egalitarian"].memory["active"]["members"].tolist() == [False, True]
    assert not bool(stack.state(0)["rules"]["egalitarian"]["active"]["members"])
    plain = replace(early, rules={}, train=training(steps=3, batch_size=9))
    three = trained(replace(early, train=plain.train)), trained(replace(late, train=plain.train))
    torch.testing.assert_close(weights(three[0]), weights(three[1]), rtol=0, atol=0)
    assert not torch.equal(weights(stack, 0), weights(stack, 1))


@pytest.mark.parametrize(("matrices", "count"), [("first", 1), ("all", 2)])
def test_the_matrices_that_are_changed(matrices: str, count: int) -> None:
    one = replace(descent(matrices=matrices)[0], optimizer=SGD(lr=1.0), train=training(steps=1))
    stack, start = trained(one), Stack([one])
    moved = [stack.parameters[name] - start.parameters[name] for name in start.network.matrices()]
    values = [torch.linalg.svdvals(each[0].detach()) for each in moved]
    white = [bool(((each - 1).abs() < 1e-6).logical_or(each < 1e-6).all()) for each in values]
    assert white == [number < count for number in range(2)]


def test_a_network_without_matrices_is_refused() -> None:
    context = Context({"b": nn.Parameter(torch.zeros(1, 3))}, [0], lambda _: [1.0])
    with pytest.raises(ConfigError, match=r"^rules.egalitarian.matrices=first: needs a matrix"):
        Egalitarian.stacked([Egalitarian()], context)
