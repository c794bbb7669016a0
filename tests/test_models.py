"""Stacked networks compared with torch.nn: outputs, gradients, initial weights, names, and values in a tap."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokplane.models import Signature, StackedModel, build
from grokplane.models.layers import ACTIVATIONS
from grokplane.models.mlp import MLP
from grokplane.models.perceptron import perceptron
from grokplane.options import ConfigError
from grokplane.random import generator

MEMBERS, POINTS, LENGTH, CLASSES, WIDTH = 3, 20, 2, 7, 5
# By the number of token kinds the lookup is a product with a multi-hot matrix, or a gather.
VOCABULARY = {"product": 9, "gather": 150}


def stacked(signature: Signature, dtype: torch.dtype = torch.float64, **keys: Any) -> StackedModel:
    embeds = keys.get("embedding", "sum") in ("sum", "concat")
    choice = MLP(**({"hidden": [6, 4], "embedding_dim": WIDTH if embeds else None} | keys))
    return build([choice] * MEMBERS, signature, range(MEMBERS), dtype)


def tokens(vocabulary: int) -> Tensor:
    drawn = torch.randint(vocabulary, (MEMBERS, POINTS, LENGTH), generator=torch.Generator().manual_seed(1))
    drawn[:, 0] = drawn[:, 0, :1]  # a question whose tokens are equal
    return drawn


class Square(nn.Module):
    """x^2, which torch.nn does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x


class Embedded(nn.Module):
    """An ordinary embedding of tokens [B, L] -> [B, in], in all variants."""

    def __init__(self, form: str, vocabulary: int) -> None:
        super().__init__()
        self.form, self.vocabulary = form, vocabulary
        self.table = nn.Embedding(vocabulary, WIDTH) if form in ("sum", "concat") else None

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            if self.form == "none":
                return x.flatten(1)
            codes = F.one_hot(x, self.vocabulary).double()
            return codes.sum(1) if self.form == "onehot_sum" else codes.flatten(1)
        return self.table(x).sum(1) if self.form == "sum" else self.table(x).flatten(1)


def twin(
    form: str,
    vocabulary: int,
    activation: str = "ReLU",
    hidden: tuple[int, ...] = (6, 4),
    biases: tuple[bool, ...] | None = None,
) -> nn.Sequential:
    """The same perceptron from torch.nn, for one member."""
    onehot = {"onehot": vocabulary * LENGTH, "onehot_sum": vocabulary}
    fan_in = ({"sum": WIDTH, "concat": WIDTH * LENGTH, "none": LENGTH} | onehot)[form]
    widths = [fan_in, *hidden, CLASSES]
    layers: list[nn.Module] = [Embedded(form, vocabulary)]
    for (a, b), bias in zip(itertools.pairwise(widths), biases or [True] * (len(hidden) + 1), strict=True):
        layers += [nn.Linear(a, b, bias), Square() if activation == "square" else getattr(nn, activation)()]
    return nn.Sequential(*layers[:-1]).double()


def copied(network: StackedModel, member: int, ordinary: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Copy one member's weights to the twin; returns pairs of (stacked, ordinary) parameters."""
    pairs = list(zip(network.parameters(), ordinary.parameters(), strict=True))
    with torch.no_grad():
        for ours, theirs in pairs:
            theirs.copy_(ours[member])
    return pairs


def assert_equal_to_twin(network: StackedModel, inputs: Tensor, make: Callable[[], nn.Module]) -> None:
    """Outputs and gradients of every member equal its twin's."""
    outputs = network(network.encode(inputs))
    factor = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (outputs * factor).sum().backward()
    for member in range(MEMBERS):
        ordinary = make()
        pairs = copied(network, member, ordinary)
        expected = ordinary(inputs[member])
        torch.testing.assert_close(outputs[member], expected, rtol=0, atol=1e-10)
        (expected * factor[member]).sum().backward()
        for ours, theirs in pairs:
            assert ours.grad is not None
            torch.testing.assert_close(ours.grad[member], theirs.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("lookup", ["product", "gather"])
@pytest.mark.parametrize("form", ["sum", "concat", "onehot", "onehot_sum"])
def test_tokens_give_what_an_ordinary_network_gives(form: str, lookup: str) -> None:
    vocabulary = VOCABULARY[lookup]
    network = stacked(Signature(LENGTH, vocabulary, CLASSES), embedding=form)
    encoded = network.encode(tokens(vocabulary))
    assert encoded.is_floating_point() == (lookup == "product")
    assert_equal_to_twin(network, tokens(vocabulary), lambda: twin(form, vocabulary))


BIASES = [(False, False, False), (True, False, True), (False, True, False)]


@pytest.mark.parametrize("biases", BIASES, ids=str)
@pytest.mark.parametrize("activation", ["Tanh", "GELU"])  # all layers at once, and one after the other
@pytest.mark.parametrize("form", ["sum", "concat", "onehot", "none"])
def test_layers_without_biases_are_those_of_torch(form: str, activation: str, biases: tuple[bool, ...]) -> None:
    vocabulary = None if form == "none" else 9
    signature = Signature(LENGTH, vocabulary, CLASSES)
    network = stacked(signature, bias=list(biases), embedding=form, activation=activation)
    assert ["bias" in roles for name, roles in network.layers().items() if name != "embedding"] == list(biases)
    inputs = tokens(9).double() if form == "none" else tokens(9)
    assert_equal_to_twin(network, inputs, lambda: twin(form, 9, activation, biases=biases))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("vocabulary", [9, 150])
def test_no_bias_is_a_bias_of_zero_also_beside_fixed_tokens(vocabulary: int, bias: bool) -> None:
    signature = Signature(LENGTH + 1, vocabulary, CLASSES, fixed={1: 3})
    network = stacked(signature, embedding="concat", bias=[bias, False, False])
    questions = torch.cat([tokens(vocabulary), torch.full((MEMBERS, POINTS, 1), 3)], 2)[..., [0, 2, 1]]
    found = network(network.encode(questions))
    values = network.get_parameter("input.embedding.weight")[torch.arange(MEMBERS)[:, None, None], questions].flatten(2)
    for number in range(3):
        values = values @ network.get_parameter(f"linears.{number}.weight").mT
        values = values + network.get_parameter("linears.0.bias")[:, None] if bias and number == 0 else values
        values = values.relu() if number < 2 else values
    torch.testing.assert_close(found, values, rtol=0, atol=1e-12)


def test_one_bool_for_all_layers_is_a_list_of_it() -> None:
    signature = Signature(LENGTH, 9, CLASSES)
    for bias in (True, False):
        one, each = stacked(signature, bias=bias), stacked(signature, bias=[bias] * 3)
        assert [*one.state_dict()] == [*each.state_dict()]
        assert all(torch.equal(value, each.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("sigma", [None, 0.3])
def test_gaussian_weights_have_the_deviation_that_is_given_or_that_of_the_hidden_width(sigma: float | None) -> None:
    network = stacked(
        Signature(LENGTH, 90, 200), init="gaussian", hidden=[300, 150], embedding_dim=80, init_sigma=sigma
    )
    units = {"layer 1": 300, "layer 2": 150, "layer 3": 150}
    expected = {name: sigma or 0.5 / (2 * width) ** (1 / 3) for name, width in units.items()} | {"embedding": 1.0}
    for layer, roles in network.layers().items():
        weight = roles["weight"]
        relative = 5 / (2 * weight[0].numel()) ** 0.5  # five standard errors of a sample's deviation
        assert weight.flatten(1).std(1).div(expected[layer]).sub(1).abs().max() < relative
        assert weight.flatten(1).mean(1).abs().max() < 5 * expected[layer] / weight[0].numel() ** 0.5
        assert "bias" not in roles or not roles["bias"].any()


def test_init_sigma_multiplies_the_same_numbers_for_its_own_member() -> None:
    signature, sigmas = Signature(LENGTH, 9, CLASSES), [1.0, 0.5, 2.0]
    several = [MLP(hidden=[6], embedding_dim=WIDTH, init="gaussian", init_sigma=sigma) for sigma in sigmas]
    own = build(several, signature, range(MEMBERS), torch.float64)
    unit = build(several[:1] * MEMBERS, signature, range(MEMBERS), torch.float64)
    for name, value in own.named_parameters():
        factor = torch.tensor(sigmas).view(-1, *[1] * (value.dim() - 1)) if name.endswith("weight") else 1
        embeds = name.startswith("input")
        torch.testing.assert_close(value, unit.get_parameter(name) * (1 if embeds else factor), rtol=1e-12, atol=0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_features_give_what_an_ordinary_network_gives(activation: str) -> None:
    network = stacked(Signature(LENGTH, None, CLASSES), embedding="none", activation=activation)
    inputs = torch.randn(MEMBERS, POINTS, LENGTH, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert_equal_to_twin(network, inputs, lambda: twin("none", 0, activation))


def ignore(*_: object) -> None:
    """A tap that ignores its arguments."""


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("form", "hidden"), [("sum", [6, 4]), ("onehot", [6]), ("none", [6, 4]), ("none", [])])
def test_all_layers_at_once_give_what_one_after_the_other_gives(form: str, hidden: list[int], activation: str) -> None:
    vocabulary = None if form == "none" else 9
    keys: dict[str, Any] = {"embedding": form, "hidden": hidden, "activation": activation}
    network = stacked(Signature(LENGTH, vocabulary, CLASSES), dtype=torch.float32, **keys)
    encoded = network.encode(tokens(9))
    expected, found = network(encoded, ignore), network(encoded)
    assert torch.equal(found, expected)
    factor = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    parameters = list(network.parameters())
    for one, other in zip(*(torch.autograd.grad(out, parameters, factor) for out in (found, expected)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("activation", [name for name, one in ACTIVATIONS.items() if one.slope is not None])
@pytest.mark.parametrize("activated", [False, True])
def test_what_enters_a_perceptron_has_its_gradient_and_stays_as_it_is(activation: str, activated: bool) -> None:
    network = stacked(Signature(LENGTH, None, CLASSES), embedding="none")
    chosen, linears = ACTIVATIONS[activation], list(network.linears)  # type: ignore[arg-type]
    x = torch.randn(MEMBERS, POINTS, LENGTH, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x.requires_grad_()

    def outputs(x: Tensor) -> Tensor:
        return perceptron(x, linears, chosen, activated)

    before = x.detach().clone()
    assert torch.autograd.gradcheck(outputs, x)
    assert torch.equal(x.detach(), before)


def test_images_are_flattened() -> None:
    network = stacked(Signature(6, None, CLASSES), embedding="none")
    images = torch.arange(MEMBERS * 4 * 6).view(MEMBERS, 4, 2, 3)
    assert torch.equal(network.encode(images), images.view(MEMBERS, 4, 6).double())


@pytest.mark.parametrize("hidden", [(), (3,), (5, 4, 3, 2)])
def test_any_depth(hidden: tuple[int, ...]) -> None:
    network = stacked(Signature(LENGTH, 9, CLASSES), hidden=list(hidden))
    assert_equal_to_twin(network, tokens(9), lambda: twin("sum", 9, hidden=hidden))


@pytest.mark.parametrize("lookup", ["product", "gather"])
def test_tokens_that_all_members_share_may_be_an_expanded_view(lookup: str) -> None:
    network = stacked(Signature(LENGTH, VOCABULARY[lookup], CLASSES))
    shared = tokens(VOCABULARY[lookup])[:1].expand(MEMBERS, -1, -1)
    expected = network(network.encode(shared.contiguous()))
    assert torch.equal(network(network.encode(shared)), expected)


def torch_default(form: str) -> Iterator[Tensor]:
    return twin(form, 9).float().parameters()


@pytest.mark.parametrize("form", ["sum", "concat", "onehot"])
def test_torch_initialisation_is_what_torch_itself_draws(form: str) -> None:
    network = stacked(Signature(LENGTH, 9, CLASSES), torch.float32, embedding=form, init="torch")
    for member in range(MEMBERS):
        with torch.random.fork_rng():
            torch.set_rng_state(generator(member, "weights").get_state())
            drawn = list(torch_default(form))
        for ours, theirs in zip(network.parameters(), drawn, strict=True):
            torch.testing.assert_close(ours[member], theirs, rtol=1e-6, atol=0)


def test_kaiming_initialisation_is_torchs_for_relu_with_zero_biases() -> None:
    network = stacked(Signature(LENGTH, 9, CLASSES), init="kaiming")
    for member in range(MEMBERS):
        random = generator(member, "weights")
        for parameter in network.parameters():
            bias = parameter.dim() == 2
            expected = torch.zeros_like(parameter[member])
            if not bias:
                nn.init.kaiming_normal_(expected, nonlinearity="relu", generator=random)
            assert torch.equal(parameter[member], expected)


def test_normal_initialisation_has_variance_one_over_inputs() -> None:
    network = stacked(Signature(LENGTH, 400, CLASSES), init="normal", hidden=[300], embedding_dim=100)
    for layer, roles in network.layers().items():
        weight = roles["weight"]
        std = 1 if layer == "embedding" else weight.shape[2] ** -0.5
        relative = 5 / (2 * weight[0].numel()) ** 0.5  # five standard errors of a sample's deviation
        assert weight.flatten(1).std(1).div(std).sub(1).abs().max() < relative
        assert "bias" not in roles or not roles["bias"].any()


@pytest.mark.parametrize("init", ["torch", "kaiming", "normal"])
def test_init_scale_multiplies_every_parameter_of_its_member(init: str) -> None:
    signature, scales = Signature(LENGTH, 9, CLASSES), [1.0, 8.0, 0.25]
    scaled = build([MLP(init=init, init_scale=s) for s in scales], signature, range(MEMBERS), torch.float32)
    plain = build([MLP(init=init)] * MEMBERS, signature, range(MEMBERS), torch.float32)
    for ours, theirs in zip(scaled.parameters(), plain.parameters(), strict=True):
        factor = torch.tensor(scales).view(-1, *[1] * (ours.dim() - 1))
        assert torch.equal(ours, theirs * factor)


def test_a_members_weights_depend_on_its_own_seed_alone() -> None:
    signature = Signature(LENGTH, 9, CLASSES)
    together = build([MLP()] * MEMBERS, signature, range(MEMBERS), torch.float32)
    alone = build([MLP()], signature, [2], torch.float32)
    for ours, theirs in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.equal(ours[2:], theirs)
    assert not torch.equal(*next(together.parameters())[:2])


@pytest.mark.parametrize(("form", "first"), [("sum", ["embedding"]), ("concat", ["embedding"]), ("onehot", [])])
def test_layer_names_cover_every_parameter_once(form: str, first: list[str]) -> None:
    network = stacked(Signature(LENGTH, 9, CLASSES), embedding=form)
    assert list(network.layers()) == [*first, "layer 1", "layer 2", "layer 3"]
    named = [id(value) for roles in network.layers().values() for value in roles.values()]
    assert sorted(named) == sorted(map(id, network.parameters()))


@pytest.mark.parametrize(("activation", "zeros"), [("ReLU", True), ("Tanh", False), ("LeakyReLU", False)])
def test_a_tap_sees_every_layer_in_order(activation: str, zeros: bool) -> None:
    network = stacked(Signature(LENGTH, 9, CLASSES), activation=activation)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    flags: list[bool] = []
    encoded = network.encode(tokens(9))

    def tap(name: str, *values: Any) -> None:
        logits, activations, exact_zeros, noisy, sigma = values
        assert sigma is None
        assert noisy is activations  # there is no noise
        seen[name] = logits, activations
        flags.append(exact_zeros)

    outputs = network(encoded, tap)
    assert torch.equal(outputs, network(encoded))
    assert list(seen) == ["layer 1", "layer 2", "layer 3"]
    copied(network, 1, ordinary := twin("sum", 9, activation))
    values = tokens(9)[1]
    for number, layer in enumerate(ordinary):
        values = layer(values)
        if number:  # after the embedding: logits, activations, logits, ...
            ours = seen[f"layer {(number + 1) // 2}"][(number + 1) % 2]
            torch.testing.assert_close(ours[1], values, rtol=0, atol=1e-10)
    assert flags == [zeros, zeros, False]
    assert torch.equal(seen["layer 3"][0], outputs)
    assert torch.equal(seen["layer 3"][1], outputs)


@pytest.mark.parametrize(("form", "vocabulary"), [("none", 9), ("sum", None), ("concat", None), ("onehot", None)])
def test_an_input_form_that_does_not_fit_the_task_is_refused(form: str, vocabulary: int | None) -> None:
    with pytest.raises(ConfigError, match=f"model.embedding={form}: this task's input is"):
        stacked(Signature(LENGTH, vocabulary, CLASSES), embedding=form)
