"""Optimizers by group of parameters, compared with plain optimizers of torch and with a single optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from builders import finish, member, trained, training, weights
from command import QUIET, TINY, Inside, ended_well, refusal, rows
from omegaconf import DictConfig
from torch import Tensor, nn

from grokplane import config
from grokplane.models import LSTM, MLP, Conv, Module, Signature, Transformer, build
from grokplane.optim import SGD, Adam, AdamW, ByGroup, LinearWarmup, Muon, with_rates_times
from grokplane.options import ConfigError
from grokplane.schemas import path
from grokplane.sweep.groups import _fixed
from grokplane.train import Member, Stack, check_stackable, run

TOKENS = Signature(2, 7, 7)
ALL = (AdamW(lr=2e-3, weight_decay=0.5), AdamW(lr=1e-3, weight_decay=0.1))  # of two members


def by_group(embedding: Any, hidden: Any, read_out: Any, **parts: Any) -> Member:
    optimizer = ByGroup(embedding=embedding, hidden=hidden, read_out=read_out)
    return member(**({"optimizer": optimizer, "schedule": LinearWarmup(5)} | parts))


def different(**parts: Any) -> list[Member]:
    """Two members with another class of optimizer for each group and different values of all stackable keys."""
    return [
        by_group(Adam(lr=e), AdamW(lr=h, weight_decay=d), SGD(lr=r, momentum=0.9), seed=seed, **parts)
        for seed, e, h, d, r in [(3, 1e-2, 1e-3, 0.5, 0.1), (5, 2e-3, 4e-3, 2.0, 0.05)]
    ]


def muons(**parts: Any) -> list[Member]:
    return [by_group(one, Muon(lr=0.01), replace(one, lr=3e-4), seed=seed, **parts) for seed, one in enumerate(ALL)]


def test_one_optimizer_in_all_groups_is_that_optimizer_to_the_last_bit() -> None:
    together = trained(*[by_group(one, one, one, seed=seed) for seed, one in enumerate(ALL)])
    single = [member(optimizer=one, seed=seed, schedule=LinearWarmup(5)) for seed, one in enumerate(ALL)]
    expected = trained(*single)
    for number in range(2):
        ours, theirs = together.state(number)["optimizer"], expected.state(number)["optimizer"]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name][key], value) for name in ours for key, value in theirs[name].items())
        assert torch.equal(weights(together, number), weights(expected, number))


def test_muon_for_hidden_matrices_and_adamw_for_the_rest_is_muon() -> None:
    """Muon uses AdamW for biases, embeddings and the read-out itself."""
    muon = Muon(lr=0.01, adamw_lr=2e-3, weight_decay=0.3)
    rest = AdamW(lr=2e-3, weight_decay=0.3)
    assert torch.equal(
        weights(trained(by_group(rest, muon, rest))), weights(trained(member(optimizer=muon, schedule=LinearWarmup(5))))
    )


def plain_loop(one: Member) -> dict[str, Tensor]:
    """The weights after training by torch's own optimizers, one for each group."""
    stack = Stack([one])
    params = {name: value[0].detach().clone().requires_grad_() for name, value in stack.parameters.items()}
    tokens, labels = stack.examples.train.inputs()[0], stack.examples.train.targets[0]
    groups = [["input.embedding.weight"], [], ["linears.2.weight", "linears.2.bias"]]
    groups[1] = [name for name in params if name not in (*groups[0], *groups[2])]
    of, kinds = one.optimizer, (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
    assert isinstance(of, ByGroup)
    choices = [of.embedding, of.hidden, of.read_out]
    optimizers = [
        kind([params[name] for name in names], lr=choice.lr, weight_decay=choice.weight_decay)
        for kind, names, choice in zip(kinds, groups, choices, strict=True)
    ]
    optimizers[2].param_groups[0]["momentum"] = 0.9
    for step in range(one.train.steps):
        x = params["input.embedding.weight"][tokens].sum(1)
        for number in range(3):
            x = x @ params[f"linears.{number}.weight"].T + params[f"linears.{number}.bias"]
            x = F.relu(x) if number < 2 else x
        for optimizer, choice in zip(optimizers, choices, strict=True):
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = choice.lr * min(1, (step + 1) / 5)
        F.cross_entropy(x, labels).backward()
        for optimizer in optimizers:
            optimizer.step()
    return params


def test_three_optimizers_end_where_those_of_torch_end() -> None:
    members = different()
    together = trained(*members)
    for number, one in enumerate(members):
        for name, expected in plain_loop(one).items():
            ours = together.parameters[name][number].detach()
            torch.testing.assert_close(ours, expected.detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("build_members", [different, muons])
def test_a_stacked_member_equals_its_solo_run(build_members: Any) -> None:
    members = build_members(train=training(batch_size=9))
    check_stackable(members)
    together = trained(*members)
    for number, one in enumerate(members):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-8)


@pytest.mark.parametrize("build_members", [different, muons])
def test_a_state_taken_mid_way_goes_on_bit_identically_and_a_stopped_member_keeps_its_state(build_members: Any) -> None:
    members = build_members()
    whole, first, second = trained(*members), Stack(members), Stack(members)
    assert [point.interrupted for point in run(first, stop=lambda: first.step == 7)][-1]
    second.load_states([first.state(number) for number in range(2)])
    first.alive[1] = False
    stopped = first.state(1)
    finish(second)
    assert all(torch.equal(second.parameters[name], value) for name, value in whole.parameters.items())
    finish(first)
    after = first.state(1)["optimizer"]
    for name, values in stopped["optimizer"].items():
        assert all(torch.equal(after[name][key], one) for key, one in values.items() if key != "step")


class Named(nn.Module):
    """A module whose attributes name its parts."""

    def __init__(self, vocabulary: int, length: int, outputs: int, last: str = "read_out"):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 4)
        self.positions = nn.Parameter(torch.zeros(length, 4))
        self.body = nn.Sequential(nn.Linear(4 * length, 5), nn.ReLU())
        self.last = last
        setattr(self, last, nn.Linear(5, outputs))

    def forward(self, tokens: Tensor) -> Any:
        """Outputs [B, C]."""
        return getattr(self, self.last)(self.body((self.embedding(tokens) + self.positions).flatten(1)))


def module(**keys: Any) -> Module:
    return Module({"_target_": f"{__name__}.Named"} | keys)


@pytest.mark.parametrize(
    ("model", "signature", "embedding", "read_out"),
    [
        (MLP(hidden=[5, 5], embedding_dim=4), TOKENS, ["input.embedding.weight"], "linears.2"),
        (MLP(hidden=[5], embedding="onehot"), TOKENS, [], "linears.1"),
        (MLP(hidden=[]), TOKENS, ["input.embedding.weight"], "linears.0"),
        (
            Transformer(layers=1, heads=1, width=4, mlp_width=4),
            TOKENS,
            ["embedding.weight", "positions.weight"],
            "unembedding",
        ),
        (LSTM(width=4), TOKENS, ["embedding.weight"], "read_out"),
        (Conv(channels=[2], hidden=[3]), Signature(64, None, 3, shape=(8, 8)), [], "linears.1"),
        (module(), TOKENS, ["weights.positions", "weights.embedding.weight"], "weights.read_out"),
    ],
)
def test_every_parameter_of_a_network_is_in_one_part(
    model: Any, signature: Signature, embedding: Sequence[str], read_out: str
) -> None:
    network = build([model, model], signature, [0, 1], torch.float32)
    names, parts = [name for name, _ in network.named_parameters()], network.parts()
    assert sorted(name for own in parts.values() for name in own) == sorted(names)
    assert parts["embedding"] == embedding
    assert parts["read_out"] == [name for name in names if name.startswith(f"{read_out}.")]


def test_a_module_that_does_not_name_its_last_layer_is_refused() -> None:
    one = by_group(*ALL[:1] * 3, model=module(last="head"))
    with pytest.raises(
        ConfigError, match=r"optimizer=by_group: needs a module whose .* has positions, embedding, body, h"
    ):
        Stack([one])
    assert len(Stack([replace(one, model=module())]).parameters) == 6


def test_muon_trains_a_group_of_matrices_alone() -> None:
    no_bias = MLP(hidden=[5], embedding_dim=4, bias=False)
    one = by_group(AdamW(), Muon(lr=0.01), AdamW(), model=no_bias)
    start, end = Stack([one]).parameters, trained(one).parameters
    assert list(start) == ["input.embedding.weight", "linears.0.weight", "linears.1.weight"]
    assert not any(torch.equal(start[name], value) for name, value in end.items())
    with pytest.raises(ConfigError, match=r"optimizer.read_out=muon: for this group alone: needs a hidden matrix"):
        Stack([by_group(AdamW(), AdamW(), Muon())])


def test_rates_are_those_of_the_groups_and_scale_together() -> None:
    stack = Stack(different())
    rates = {name: stack.optimizer.rates_of(name) for name in stack.parameters}
    assert rates["input.embedding.weight"] == [1e-2, 2e-3]
    assert rates["linears.0.weight"] == rates["linears.1.bias"] == [1e-3, 4e-3]
    assert rates["linears.2.weight"] == rates["linears.2.bias"] == [0.1, 0.05]
    assert stack.optimizer.learning_rates([1.0, 0.5]) == [1e-3, 2e-3]
    scaled: Any = with_rates_times(different()[0].optimizer, 10)
    assert (scaled.embedding.lr, scaled.hidden.lr, scaled.read_out.lr) == pytest.approx((0.1, 1e-2, 1.0))
    linear = Stack([by_group(*ALL[:1], *ALL, model=MLP(hidden=[]))])
    assert linear.optimizer.rates == [1e-3]  # there are no hidden layers


def test_keys_of_a_group_without_parameters_are_not_read() -> None:
    one = by_group(*ALL[:1] * 3, model=MLP(hidden=[5], embedding="onehot"))
    assert Stack([one]).unread["optimizer.embedding"] == "the network has no parameters in the group embedding"
    assert not any(key.startswith("optimizer") for key in Stack(different()).unread)


def test_a_group_has_an_optimizer_of_its_own() -> None:
    with pytest.raises(ConfigError, match=r"optimizer.hidden=by_group: must be another optimizer"):
        by_group(ALL[0], ByGroup(embedding=ALL[0], hidden=ALL[0], read_out=ALL[0]), ALL[0])
    with pytest.raises(ConfigError, match=r"optimizer.read_out=3: must be another optimizer"):
        by_group(ALL[0], ALL[0], 3)
    one = different()[0]
    other = by_group(Adam(lr=1e-2, betas=[0.9, 0.98]), AdamW(), SGD(momentum=0.9))
    with pytest.raises(ConfigError, match=r"optimizer.embedding.betas=\[0.9,0.98\]: members of one stack cannot"):
        check_stackable([one, other])


def node(**keys: Any) -> Any:
    """The config of an optimizer by group, with keys of the optimizer of the hidden layers."""
    adam, sgd = ({"_target_": path(choice)} for choice in (Adam, SGD))
    return {"_target_": path(ByGroup), "embedding": adam, "hidden": sgd | keys, "read_out": adam}


def test_an_error_names_the_key_of_the_group() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer.hidden.nesterov=true: needs optimizer.momentum above 0"):
        config.made("optimizer", DictConfig(node(nesterov=True)))


def test_the_keys_of_the_groups_are_stackable_in_configs() -> None:
    targets = {path(choice): choice for choice in (Adam, SGD, ByGroup)}
    one, lr, momentum = (_fixed(node(**keys), targets) for keys in ({}, {"lr": 3.0}, {"momentum": 0.9}))
    assert one == _fixed(node(), targets)
    assert lr == _fixed(node(lr=4.0), targets)
    assert momentum != _fixed(node(momentum=0.5), targets)


def test_the_command_line_nests_optimizers_and_resumes(inside: Inside, tmp_path: Path) -> None:
    keys = (*TINY, *QUIET, "mi=off", "log.every=1", "train.checkpoint_every=5", "optimizer=by_group")
    nested = ("optimizer@optimizer.embedding=adam", "optimizer.embedding.lr=0.1", "hydra.run.dir=run")
    ended_well(inside, *keys, *nested, "train.steps=10", cwd=tmp_path)
    ended_well(inside, *keys, *nested, "train.steps=12", "train.resume=true", cwd=tmp_path)
    assert [row["step"] for row in rows(tmp_path / "run")][-1] == 12
    onward = ("train.start_from=run", "train.start_with=weights_and_optimizer", "hydra.run.dir=next")
    said = refusal(inside(*keys, *onward, "optimizer@optimizer.embedding=sgd", cwd=tmp_path))
    assert "optimizer.embedding=sgd: the run run has adam; allowed with train.start_with=weights" in said
    assert not (tmp_path / "next").exists()
