"""Outputs alpha * (f - f_0): values, learning rate, stacks, checkpoints, and the work that is saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import METRICS, assert_same_stacks, finish, member, task, trained, training, weights
from command import PRECISE, Inside, ended_well, rows, state
from torch import Tensor
from torch.func import functional_call, jvp

from grokplane import open_run
from grokplane.data import Parity, RandomSplit
from grokplane.losses import MSE
from grokplane.metrics import LearningRate
from grokplane.models import MLP, Signature, StackedMLP, StackedModel, build
from grokplane.models.output_scale import OutputScale
from grokplane.optim import SGD, AdamW, Muon, with_rates_times
from grokplane.train import LogOptions, Member, Stack, run

ALPHAS, SEEDS = [0.25, 1.0, 30.0], [3, 0, 8]
SIGNATURE = Signature(2, 9, 7)
WAYS = pytest.mark.parametrize("activation", ["ReLU", "GELU"])  # all layers at once, and one after the other


def model(alpha: float = 1.0, **keys: Any) -> MLP:
    return MLP(**({"hidden": [8, 8], "embedding_dim": 6, "output_scale": alpha, "centred": True} | keys))


def members(batch_size: int | str = "full", **keys: Any) -> list[Member]:
    return [
        member(
            seed=seed,
            data=task(train_fraction=fraction),
            model=model(alpha, scale_lr=True, **keys),
            optimizer=SGD(lr=0.1),
            loss=MSE(),
            train=training(steps=30, batch_size=batch_size),
        )
        for seed, alpha, fraction in zip(SEEDS, ALPHAS, (0.3, 0.5, 0.6), strict=True)
    ]


def tokens(count: int = 20) -> Tensor:
    return torch.randint(9, (len(ALPHAS), count, 2), generator=torch.Generator().manual_seed(1))


def ignore(*_: object) -> None:
    """A tap that ignores its arguments."""


@WAYS
@pytest.mark.parametrize("alone", [True, False])
def test_outputs_are_exactly_zero_at_the_start(activation: str, alone: bool) -> None:
    count = 1 if alone else 3
    choices = [model(alpha, activation=activation, init_scale=3.0) for alpha in ALPHAS][:count]
    network = build(choices, SIGNATURE, SEEDS[:count], torch.float32)
    encoded = network.encode(tokens()[:count])
    for _ in range(2):
        assert not network(encoded).any()
        assert not network(encoded, ignore).any()
        network.eval()


@pytest.mark.parametrize("points", [1, 3])
def test_outputs_are_exactly_zero_where_a_tap_changes_the_last_bits(points: int) -> None:
    choice = model(hidden=[8], embedding="none", embedding_dim=None)
    network = build([choice], Signature(784, None, 10), [0], torch.float32)
    values = torch.randn(1, points, 784, generator=torch.Generator().manual_seed(2))
    encoded = network.encode(values)
    assert not network(encoded).any()
    assert not network(encoded, ignore).any()
    assert not network(encoded).any()


@WAYS
@pytest.mark.parametrize("centred", [True, False])
def test_outputs_are_scaled_differences_and_taps_see_what_the_loss_sees(activation: str, centred: bool) -> None:
    keys = {"activation": activation, "init_scale": 2.0}
    choices = [model(alpha, centred=centred, **keys) for alpha in ALPHAS]
    network = build(choices, SIGNATURE, SEEDS, torch.float64)
    plain = build([model(centred=False, **keys)] * 3, SIGNATURE, SEEDS, torch.float64)
    start = plain(plain.encode(tokens()))
    with torch.no_grad():
        for value, other in zip(network.parameters(), plain.parameters(), strict=True):
            assert torch.equal(value, other)
            value += 0.1
            other += 0.1
    seen: dict[str, list[Tensor]] = {}
    unscaled: dict[str, list[Tensor]] = {}
    found = network(network.encode(tokens()), lambda name, *values: seen.update({name: [*values[:2]]}))
    now = plain(plain.encode(tokens()), lambda name, *values: unscaled.update({name: [*values[:2]]}))
    expected = torch.tensor(ALPHAS).view(3, 1, 1) * (now - (start if centred else 0))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(network(network.encode(tokens())), expected, rtol=1e-12, atol=1e-12)
    for name in ("layer 1", "layer 2"):
        assert all(torch.equal(a, b) for a, b in zip(seen[name], unscaled[name], strict=True))
    assert all(torch.equal(value, found) for value in seen["layer 3"])


@pytest.mark.parametrize("batch_size", ["full", 5])
@WAYS
def test_a_stack_of_different_scales_equals_its_members(activation: str, batch_size: int | str) -> None:
    several = members(batch_size, activation=activation)
    stack, start = trained(*several), Stack(several)
    for number, one in enumerate(several):
        alone = trained(one)
        assert (weights(alone) - weights(start, number)).abs().max() > 1e-5
        torch.testing.assert_close(weights(stack, number), weights(alone), rtol=0, atol=1e-10)


@pytest.mark.parametrize("embedding", ["none", "onehot"])
@pytest.mark.parametrize("batch_size", ["full", 5])
def test_what_is_remembered_of_the_start_is_that_of_the_batch(
    embedding: str, batch_size: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With f_0 computed anew in every step nothing changes; the batches of features lie in one buffer."""
    keys = {"embedding": embedding, "embedding_dim": None}
    several = members(batch_size, **keys)
    if embedding == "none":
        several = [replace(one, data=Parity(split=RandomSplit(), train_fraction=0.4)) for one in several]
    once = trained(*several)
    monkeypatch.setattr(OutputScale, "_at_start", lambda self, encoded, _tap: self.start(encoded).detach())
    assert_same_stacks(once, trained(*several))


def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a network in training is asked for outputs, the networks f_0 included."""
    calls, forward = [0], StackedMLP.forward

    def counting(self: StackedMLP, *given: Any) -> Tensor:
        calls[0] += self.training
        return forward(self, *given)

    monkeypatch.setattr(StackedMLP, "forward", counting)
    return lambda: calls[0]


@pytest.mark.parametrize(("batch_size", "passes"), [("full", 30 + 1), (5, 30 + 30)])
def test_a_full_batch_is_sent_through_the_initial_network_once(
    batch_size: int | str, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch)
    trained(*members(batch_size))
    assert calls() == passes


def test_resumed_to_the_last_bit_from_a_checkpoint_without_the_start() -> None:
    whole, first, second = trained(*members()), Stack(members()), Stack(members())
    for _ in run(first, stop=lambda: first.step == 11):
        pass
    saved = [first.state(number) for number in range(3)]
    assert [*saved[0]["model"]] == [name for name, _ in first.network.named_parameters()]
    second.load_states(saved)
    finish(second)
    assert_same_stacks(second, whole)


def test_how_often_one_looks_changes_no_bit() -> None:
    always = LogOptions(dense_steps=100, every=1)
    looked = trained(*(replace(one, log=always, metrics=METRICS) for one in members()))
    assert_same_stacks(trained(*members()), looked, aside=["marks", "tracked"])


def outputs_of(network: StackedModel, parameters: dict[str, Tensor], encoded: Tensor) -> Tensor:
    return functional_call(network, parameters, (encoded,))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("alpha", [1e3, 1e5])
def test_a_step_changes_the_outputs_as_the_linearised_network_whatever_alpha(alpha: float) -> None:
    """One step of SGD with rate lr / alpha^2: to first order outputs change by the step of alpha = 1, linearised."""
    lr = 0.3
    one = member(
        model=model(alpha, activation="Tanh", scale_lr=True),
        optimizer=SGD(lr=lr),
        loss=MSE(),
        train=training(steps=1),
    )
    stack = Stack([one])
    subset = stack.examples.train
    encoded = stack.network.encode(subset.inputs())
    plain = build([model(centred=False, activation="Tanh")], Signature(2, 7, 7), [0], torch.float64)
    parameters: dict[str, Tensor] = {name: value.detach() for name, value in plain.named_parameters()}

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        centred = outputs_of(plain, parameters, encoded) - outputs_of(plain, dict(plain.named_parameters()), encoded)
        return stack.loss(centred, subset.targets).mean()

    slopes = torch.func.grad(loss)(parameters)
    change = {name: -lr * slope for name, slope in slopes.items()}
    expected = jvp(lambda values: outputs_of(plain, values, encoded), (parameters,), (change,))[1]
    finish(stack)
    with torch.no_grad():
        found = stack.network(encoded)
    assert expected.abs().max() > 1e-3
    assert ((found - expected).norm() / expected.norm()).item() < 100 / alpha


def test_the_logged_learning_rate_is_the_scaled_one() -> None:
    several = [
        member(model=model(alpha, scale_lr=scaled), optimizer=AdamW(lr=0.5), metrics={"learning_rate": LearningRate()})
        for alpha, scaled in [(2.0, True), (2.0, True), (0.5, True)]
    ]
    *_, last = finish(Stack(several))
    assert [record["lr"] for record in last.records] == [0.125, 0.125, 2.0]


def test_all_rates_of_an_optimizer_are_scaled_and_nothing_else() -> None:
    assert with_rates_times(Muon(lr=0.5, adamw_lr=0.25), 4.0) == Muon(lr=2.0, adamw_lr=1.0)
    assert with_rates_times(SGD(lr=0.5, momentum=0.5), 0.5) == SGD(lr=0.25, momentum=0.5)
    plain = SGD()
    assert with_rates_times(plain, 1.0) is plain


def test_a_stored_run_gives_the_centred_network(tmp_path: Path, inside: Inside) -> None:
    typed = ("data.p=7", "model.hidden=[8]", "model.centred=true", "model.output_scale=3", "train.steps=9", *PRECISE)
    ended_well(inside, *typed, "optimizer=sgd", "model.scale_lr=true", "hydra.run.dir=run", cwd=tmp_path)
    trained_run = open_run(tmp_path / "run").at()
    with torch.no_grad():
        outputs = trained_run.network(trained_run.table.inputs[trained_run.test])
        at_start = open_run(tmp_path / "run").at(1)
    targets = trained_run.table.targets[trained_run.test]
    right = (outputs.argmax(-1) == targets).double().mean().item()
    assert right == pytest.approx(rows(tmp_path / "run")[-1]["Acc/test"])
    loss = torch.nn.functional.cross_entropy(outputs.double(), targets).item()
    assert loss == pytest.approx(rows(tmp_path / "run")[-1]["Loss/test"], rel=1e-9)
    assert rows(tmp_path / "run")[0]["Loss/test"] == pytest.approx(torch.tensor(7.0).log().item(), rel=1e-6)
    assert "start" not in " ".join(state(tmp_path / "run")["model"])
    assert at_start.step == 1
