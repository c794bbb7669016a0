"""Noise after layers: size, independence, where it is added, and no effect on training when only measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from builders import METRICS, NEVER, member, task, trained, training, weights
from torch import Tensor

from grokplane.data import Digits
from grokplane.metrics import LayerOutput, Observation
from grokplane.models import Conv, Signature, StackedModel, build
from grokplane.models.mlp import MLP
from grokplane.models.noise import Noise
from grokplane.options import ConfigError
from grokplane.random import Counters, generator
from grokplane.train import LogOptions, Member, Stack, run
from grokplane.train.observe import measure, observe

ALWAYS = LogOptions(dense_steps=0, every=1)
SIGMAS, SEEDS = [0.0, 0.5, 0.1], [4, 0, 9]


def network(*sigmas: float, **keys: Any) -> StackedModel:
    """MLPs 6-50-40-3 with noise, one for each sigma, seeds 0, 1, ..."""
    choices = [MLP(hidden=[50, 40], embedding="none", noise_sigma=sigma, **keys) for sigma in sigmas]
    return build(choices, Signature(6, None, 3), range(len(sigmas)), torch.float64)


def points(count: int = 30, members: int = 1) -> Tensor:
    one = torch.randn(count, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return one.expand(members, -1, -1)


def tapped(model: StackedModel, x: Tensor) -> tuple[Tensor, dict[str, LayerOutput]]:
    seen: dict[str, LayerOutput] = {}

    def tap(name: str, *values: Any) -> None:
        seen[name] = LayerOutput(*values)

    with torch.no_grad():
        return model(x, tap), seen


def added(output: LayerOutput) -> Tensor:
    return output.noisy - output.activations


def runs(**parts: Any) -> list[Member]:
    """Three members that differ in seed, sigma and number of training points."""
    model = parts.pop("model", MLP(hidden=[9, 7], embedding_dim=5))
    return [
        member(
            seed=seed,
            data=task(train_fraction=0.3 + 0.1 * number),
            model=replace(model, noise_sigma=sigma),
            **({"train": training(batch_size=13)} | parts),
        )
        for number, (seed, sigma) in enumerate(zip(SEEDS, SIGMAS, strict=True))
    ]


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("sigma", [1e-3, 2.0])
def test_noise_is_normal_of_the_given_size(sigma: float, mode: bool) -> None:
    _, seen = tapped(network(sigma).train(mode), points(2_000))
    for output in seen.values():
        scaled = added(output).flatten() / sigma
        n = len(scaled)
        assert output.sigma is not None
        assert output.sigma.tolist() == [pytest.approx(sigma, rel=1e-6)]
        assert abs(float(scaled.mean())) < 5 / n**0.5
        assert abs(float(scaled.square().mean()) - 1) < 5 * (2 / n) ** 0.5
        assert abs(float(scaled.pow(4).mean()) - 3) < 5 * (96 / n) ** 0.5


def test_noise_goes_through_the_network() -> None:
    model, x = network(0.3), points()
    outputs, seen = tapped(model, x)
    layers = [[value[0] for value in roles.values()] for roles in model.layers().values()]
    values = x[0]
    for number, (weight, bias) in enumerate(layers, start=1):
        logits = F.linear(values, weight, bias)
        output = seen[f"layer {number}"]
        torch.testing.assert_close(output.preactivations[0], logits, rtol=0, atol=1e-12)
        expected = logits.relu() if number < len(layers) else logits
        torch.testing.assert_close(output.activations[0], expected, rtol=0, atol=1e-12)
        assert float(added(output).std()) == pytest.approx(0.3, rel=0.2)
        values = output.noisy[0]
    assert torch.equal(outputs[0], values)


def test_measured_noise_stands_in_the_measured_layer_alone() -> None:
    model, x = network(0.3, noise_flow="measured").eval(), points()
    outputs, seen = tapped(model, x)
    quiet, quiet_seen = tapped(network(0.0).eval(), x)
    assert torch.equal(outputs, quiet)
    for name, output in seen.items():
        assert torch.equal(output.activations, quiet_seen[name].activations)
        assert float(added(output).std()) == pytest.approx(0.3, rel=0.2)


def test_noise_differs_between_members_layers_steps_and_between_training_and_log_points() -> None:
    model, x = network(1.0, 1.0), points(members=2)
    drawn = []
    for mode in (True, False):
        for step in (0, 1):
            model.train(mode).at(step)
            _, seen = tapped(model, x)
            assert torch.equal(added(seen["layer 1"]), added(tapped(model, x)[1]["layer 1"]))
            drawn += [
                added(seen[name])[number, :, :40].flatten() for name in ("layer 1", "layer 2") for number in (0, 1)
            ]
    correlation = torch.corrcoef(torch.stack(drawn)) - torch.eye(len(drawn))
    assert float(correlation.abs().max()) < 5 / 1_200**0.5


@pytest.mark.parametrize("way", ["_drawn", "_hashed"])
@pytest.mark.parametrize("units", [1, 3, 16, 50])
def test_a_points_noise_does_not_depend_on_how_many_points_there_are(way: str, units: int) -> None:
    """`_drawn` is used on a CPU, `_hashed` on other devices."""
    noise = Noise(MLP(noise_sigma=1.0))
    noise.attach("x", SEEDS, SIGMAS)
    stream, x = noise._streams[True], torch.empty(0)
    draw = {"_drawn": lambda count: stream._drawn(7, count), "_hashed": lambda count: stream._hashed(7, count, x)}[way]
    longest = draw(41 * units)
    for count in range(1, 41):
        assert torch.equal(draw(count * units), longest[:, : count * units])
    many = draw(20_000)
    assert many.shape == (3, 20_000)
    assert float(many.mean(1).abs().max()) < 5 / 20_000**0.5
    assert float((many.square().mean(1) - 1).abs().max()) < 5 * (2 / 20_000) ** 0.5
    assert float((torch.corrcoef(many) - torch.eye(3)).abs().max()) < 5 / 20_000**0.5


def test_a_layers_noise_is_that_of_torchs_generator_on_a_cpu_and_of_the_hash_elsewhere() -> None:
    noise = Noise(MLP(noise_sigma=1.0))
    noise.attach("x", SEEDS, SIGMAS)
    noise.at(7)
    added, _, sigma = noise(torch.zeros(3, 4, 4), measured=False)
    assert sigma is not None
    for number, seed in enumerate(SEEDS):
        drawn = torch.empty(16).normal_(generator=generator(seed, "x", 7))
        torch.testing.assert_close(added[number].flatten(), SIGMAS[number] * drawn)
    hashed = noise._streams[True]._hashed(7, 16, torch.empty(0))
    assert torch.equal(hashed, Counters(SEEDS, "x").normal(7, [16]))


def test_relative_noise_has_the_size_of_the_layers_own_spread() -> None:
    model, x = network(0.1, 0.4, noise_scale="relative"), points(500, 2) * torch.tensor([1.0, 7.0])[:, None, None]
    _, seen = tapped(model, x)
    for output in seen.values():
        spread = output.activations.flatten(1).std(1, correction=0)
        expected = torch.tensor([0.1, 0.4]).double()
        torch.testing.assert_close(added(output).flatten(1).std(1) / spread, expected, rtol=0.1, atol=0)
        assert output.sigma is not None
        torch.testing.assert_close(output.sigma.double(), spread * expected, rtol=1e-6, atol=0)


def test_relative_noise_leaves_padding_out() -> None:
    model, x = network(0.4, noise_scale="relative", noise_flow="measured"), points(20)
    real = torch.arange(20)[None] < 12
    padded = torch.where(real[..., None], x, 1e6)
    _, alone = tapped(model, x[:, :12])
    model.pad(real, training=True)
    _, among = tapped(model, padded)
    for name in alone:
        torch.testing.assert_close(added(among[name])[:, :12], added(alone[name]), rtol=1e-6, atol=0)


def test_relative_noise_is_a_constant_in_the_backward_pass() -> None:
    model, x = network(0.4, noise_scale="relative"), points()
    _, seen = tapped(model, x)
    model(x).square().sum().backward()
    first, *others = [[value.detach()[0] for value in roles.values()] for roles in model.layers().values()]
    leaves = [first[0].requires_grad_(), first[1]]
    values = x[0]
    for number, (weight, bias) in enumerate([leaves, *others], start=1):
        logits = F.linear(values, weight, bias)
        values = (logits.relu() if number < 3 else logits) + added(seen[f"layer {number}"])[0]
    values.square().sum().backward()
    torch.testing.assert_close(model.layers()["layer 1"]["weight"].grad[0], leaves[0].grad, rtol=1e-10, atol=1e-12)  # type: ignore[index]


@pytest.mark.parametrize(("when", "noisy"), [("train", [True, False]), ("eval", [False, True]), ("both", [True, True])])
def test_noise_is_on_when_it_is_to_be(when: str, noisy: list[bool]) -> None:
    model = network(0.3, noise_in=when)
    for mode, expected in zip((True, False), noisy, strict=True):
        _, seen = tapped(model.train(mode), points())
        assert all(bool(added(output).any()) == expected for output in seen.values())


def test_without_noise_nothing_is_drawn_or_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Noise, "_deviations")
    _, seen = tapped(network(0.0, 0.0), points(members=2))
    assert all(output.noisy is output.activations for output in seen.values())
    network(0.3, noise_flow="measured")(points())  # no tap


MODELS = {
    "mlp": MLP(hidden=[9, 7], embedding_dim=5),
    "relative": MLP(hidden=[9, 7], embedding_dim=5, noise_scale="relative"),
    "measured": MLP(hidden=[9, 7], embedding_dim=5, noise_scale="relative", noise_flow="measured"),
}


@pytest.mark.parametrize("size", ["full", 13])
@pytest.mark.parametrize("model", MODELS)
def test_a_stacked_member_follows_its_solo_run_and_records_the_same(model: str, size: int | str) -> None:
    timeless = {name: metric for name, metric in METRICS.items() if name != "StepTime"}
    options = {"log": ALWAYS, "metrics": timeless, "train": training(steps=8, batch_size=size)}
    members = runs(model=MODELS[model], **options)
    stack = Stack(members)
    together = [point.records for point in run(stack) if point.records]
    for number, one in enumerate(members):
        alone = Stack([one])
        records = [point.records[0] for point in run(alone) if point.records]
        torch.testing.assert_close(weights(stack, number), weights(alone), rtol=0, atol=1e-8)
        for ours, theirs in zip(together, records, strict=True):
            assert ours[number] == pytest.approx(theirs, rel=1e-7, abs=1e-9, nan_ok=True)


def noisy_layers(seen: Observation) -> list[Tensor]:
    return [output.noisy for subset in seen.subsets.values() for output in subset.layers.values()]


@pytest.mark.parametrize("model", MODELS)
def test_what_is_measured_of_a_member_is_what_is_measured_of_it_alone(model: str) -> None:
    members = runs(model=MODELS[model], train=training())
    together = noisy_layers(observe(Stack(members), None))
    for number, one in enumerate(members):
        for ours, theirs in zip(together, noisy_layers(observe(Stack([one]), None)), strict=True):
            torch.testing.assert_close(ours[number, : theirs.shape[1]], theirs[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_how_often_one_looks_changes_no_bit_and_two_looks_see_the_same(model: str) -> None:
    never, always = (Stack(runs(model=MODELS[model], log=log, metrics=METRICS)) for log in (NEVER, ALWAYS))
    for stack in (never, always):
        for _ in run(stack):
            pass
    assert all(torch.equal(weights(never, number), weights(always, number)) for number in range(3))
    first, second = (observe(never, None) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(noisy_layers(first), noisy_layers(second), strict=True))
    assert repr(measure(never, first)) == repr(measure(never, second))


def test_a_run_that_goes_on_from_a_checkpoint_draws_what_one_that_was_never_stopped_draws() -> None:
    whole, first = Stack(runs()), Stack([replace(one, train=replace(one.train, steps=9)) for one in runs()])
    again = Stack(runs())
    for stack in (whole, first):
        for _ in run(stack):
            pass
    again.load_states([first.state(number) for number in range(3)])
    for _ in run(again):
        pass
    assert all(torch.equal(weights(whole, number), weights(again, number)) for number in range(3))
    assert all(
        torch.equal(a, b) for a, b in zip(*(noisy_layers(observe(s, None)) for s in (whole, again)), strict=True)
    )


def test_noise_changes_the_weights_where_it_is_propagated_in_training_and_only_there() -> None:
    model = MLP(hidden=[9], embedding_dim=5)
    plain = weights(trained(member(model=model)))
    for keys, same in (
        ({"noise_in": "eval"}, True),
        ({"noise_flow": "measured"}, True),
        ({"noise_in": "train"}, False),
        ({}, False),
    ):
        assert torch.equal(weights(trained(member(model=replace(model, noise_sigma=0.1, **keys)))), plain) == same


def test_a_member_without_noise_among_noisy_ones_has_the_weights_of_one_that_knows_of_none() -> None:
    quiet = replace(runs()[0], model=MLP(hidden=[9, 7], embedding_dim=5))
    torch.testing.assert_close(weights(trained(*runs()), 0), weights(trained(quiet)), rtol=0, atol=1e-12)


def test_dead_neurons_are_counted_before_the_noise() -> None:
    stack = Stack([member(model=MLP(hidden=[8], embedding_dim=5, noise_sigma=0.1), metrics=METRICS)])
    with torch.no_grad():
        stack.network.layers()["layer 1"]["bias"].fill_(-1e9)
    seen = observe(stack, None)
    assert measure(stack, seen)[0]["num_dead_nrns_train/layer 1"] == 8
    assert bool((seen.train.layers["layer 1"].noisy != 0).all())


def test_noise_of_a_convolution_is_added_to_pooled_images() -> None:
    keys = {"channels": [4], "hidden": [6], "noise_sigma": 0.2}
    model = Conv(**keys)  # type: ignore[arg-type]
    one = member(data=Digits(train_points=300, test_points=5), model=model, train=training(batch_size=10))
    layers = observe(Stack([one]), None).train.layers
    assert layers["layer 1"].noisy.shape == (1, 300, 3, 3, 4)
    for output in layers.values():
        assert float(added(output).std()) == pytest.approx(0.2, rel=0.1)
    alone = replace(one, model=replace(model, noise_scale="relative"), seed=3)
    together = Stack([one, replace(one, seed=3)]), Stack([replace(alone, seed=1), alone])
    for stack, solo in zip(together, (replace(one, seed=3), alone), strict=True):
        for ours, theirs in zip(
            noisy_layers(observe(stack, None)), noisy_layers(observe(Stack([solo]), None)), strict=True
        ):
            torch.testing.assert_close(ours[1], theirs[0], rtol=0, atol=1e-6)


def test_noise_in_training_alone_that_is_measured_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.noise_in=train: needs model.noise_flow=propagated"):
        MLP(noise_in="train", noise_flow="measured")
