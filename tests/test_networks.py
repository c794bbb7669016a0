"""Properties of all models with dropout: observation changes nothing, a resumed run equals the whole run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from builders import METRICS, NEVER, finish, member, task, trained, training, weights

from grokplane.models import LSTM, MLP, Transformer
from grokplane.train import LogOptions, Member, Stack, run

ALWAYS = LogOptions(dense_steps=100, every=1)
MODELS: dict[str, Any] = {
    "transformer": lambda p: Transformer(layers=2, heads=2, width=8, mlp_width=12, dropout=p),
    "lstm": lambda p: LSTM(layers=2, width=8, dropout=p),
    "mlp": lambda p: MLP(hidden=[8, 8], embedding_dim=6, dropout=p),
    "mlp, GELU": lambda p: MLP(hidden=[8], embedding_dim=6, dropout=p, activation="GELU"),
}
EVERY = pytest.mark.parametrize("name", MODELS)


def members(name: str, **parts: Any) -> list[Member]:
    """Two members with dropout and training subsets of their own."""
    return [
        member(
            seed=seed,
            model=MODELS[name](dropout),
            data=task(layout="equation", train_fraction=fraction),
            train=training(steps=20),
            **parts,
        )
        for seed, dropout, fraction in [(3, 0.2, 0.3), (5, 0.5, 0.6)]
    ]


@EVERY
def test_how_often_one_looks_changes_no_bit(name: str) -> None:
    never, always = (trained(*members(name, log=log, metrics=METRICS)) for log in (NEVER, ALWAYS))
    for key, value in never.parameters.items():
        assert torch.equal(always.parameters[key], value), key


@EVERY
def test_a_resumed_run_is_the_run_never_stopped(name: str) -> None:
    whole, first, second = trained(*members(name)), Stack(members(name)), Stack(members(name))
    for _ in run(first, stop=lambda: first.step == 7):
        pass
    second.load_states([first.state(number) for number in range(2)])
    finish(second)
    for key, value in whole.parameters.items():
        assert torch.equal(second.parameters[key], value), key


@EVERY
def test_a_member_drops_the_same_in_a_stack_and_alone(name: str) -> None:
    together = trained(*members(name))
    for number, one in enumerate(members(name)):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-10)


@EVERY
def test_dropout_matters(name: str) -> None:
    one = members(name)[0]
    with_it, without = trained(one), trained(replace(one, model=MODELS[name](0.0)))
    assert not torch.equal(weights(with_it), weights(without))
