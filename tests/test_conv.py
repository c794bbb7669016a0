"""Stacked convolutional networks compared with torch.nn: outputs, gradients, initial weights, taps, sizes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from builders import member, trained, training, weights
from torch import Tensor, nn

from grokplane.data import Digits
from grokplane.models import Conv, Signature, StackedModel, build, conv
from grokplane.options import ConfigError

MEMBERS, POINTS, CLASSES = 3, 5, 4
# Shapes of an image, with the options set.
SETTINGS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((28, 28), {}),
    ((8, 8), {"padding": 1, "channels": [3, 4], "hidden": []}),
    ((2, 9, 12), {"channels": [5], "kernel": 2, "hidden": [7, 6], "activation": "ReLU"}),
]


def stacked(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, **keys: Any) -> StackedModel:
    signature = Signature(torch.Size(shape).numel(), None, CLASSES, shape=shape)
    return build([Conv(**keys)] * MEMBERS, signature, range(MEMBERS), dtype)


def images(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(MEMBERS, POINTS, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def twin(shape: tuple[int, ...], **keys: Any) -> nn.Sequential:
    """The same network from torch.nn, for one member; a tap's layers end at its activations."""
    choice = Conv(**keys)
    activation, widths = getattr(nn, choice.activation), [1 if len(shape) == 2 else shape[0], *choice.channels]
    layers: list[nn.Module] = [nn.Unflatten(1, (1, -1)) if len(shape) == 2 else nn.Identity()]
    for a, b in itertools.pairwise(widths):
        layers += [nn.Conv2d(a, b, choice.kernel, padding=choice.padding), nn.MaxPool2d(2), activation()]
    layers.append(nn.Flatten())
    size = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1]
    for a, b in itertools.pairwise([size, *choice.hidden, CLASSES]):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1]).double()


@pytest.mark.parametrize(("shape", "keys"), SETTINGS)
def test_every_member_gives_what_an_ordinary_network_gives(shape: tuple[int, ...], keys: dict[str, Any]) -> None:
    network, x = stacked(shape, **keys), images(shape)
    outputs = network(network.encode(x))
    factor = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (outputs * factor).sum().backward()
    for number in range(MEMBERS):
        ordinary = twin(shape, **keys)
        pairs = list(zip(network.parameters(), ordinary.parameters(), strict=True))
        with torch.no_grad():
            for ours, theirs in pairs:
                theirs.copy_(ours[number])
        expected = ordinary(x[number])
        torch.testing.assert_close(outputs[number], expected, rtol=0, atol=1e-10)
        (expected * factor[number]).sum().backward()
        for ours, theirs in pairs:
            assert ours.grad is not None
            torch.testing.assert_close(ours.grad[number], theirs.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("points", [1, 2, 4])
def test_points_that_go_in_several_parts_give_the_same(points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = stacked((28, 28)), images((28, 28))
    whole = network(network.encode(x))
    monkeypatch.setattr(conv, "CHUNK", points)
    torch.testing.assert_close(network(network.encode(x)), whole, rtol=0, atol=1e-12)


def test_a_tap_sees_the_channels_of_pooled_images_and_then_units() -> None:
    network, x = stacked((28, 28), activation="ReLU"), images((28, 28))
    seen: dict[str, tuple[Tensor, Tensor, bool]] = {}

    def tap(name: str, *values: Any) -> None:
        logits, activations, exact_zeros, noisy, sigma = values
        assert sigma is None
        assert torch.equal(noisy, activations)
        seen[name] = logits, activations, exact_zeros

    outputs = network(network.encode(x), tap)
    shapes = {name: tuple(logits.shape[2:]) for name, (logits, _, _) in seen.items()}
    assert shapes == {"layer 1": (13, 13, 8), "layer 2": (5, 5, 16), "layer 3": (32,), "layer 4": (CLASSES,)}
    weight, bias = network.layers()["layer 1"].values()
    for number in range(MEMBERS):
        convolved = nn.functional.conv2d(x[number][:, None], weight[number], bias[number])
        pooled = nn.functional.max_pool2d(convolved, 2).movedim(1, -1)
        torch.testing.assert_close(seen["layer 1"][0][number], pooled, rtol=0, atol=1e-12)
    for name, (logits, activations, zeros) in seen.items():
        assert zeros == (name != "layer 4")
        assert torch.equal(activations, logits.relu() if zeros else logits)
    assert torch.equal(seen["layer 4"][0], outputs)


def test_layers_hold_every_parameter_once_and_the_hidden_matrices_are_named() -> None:
    network = stacked((28, 28), hidden=[32, 16])
    assert list(network.layers()) == [f"layer {number}" for number in range(1, 6)]
    named = [id(value) for roles in network.layers().values() for value in roles.values()]
    assert sorted(named) == sorted(map(id, network.parameters()))
    parameters = dict(network.named_parameters())
    assert [tuple(parameters[name].shape) for name in network.hidden()] == [(MEMBERS, 32, 400), (MEMBERS, 16, 32)]


def test_initial_weights_are_those_of_torch_and_differ_from_member_to_member() -> None:
    network = stacked((28, 28), torch.float32, channels=[40, 40])
    for name, fan_in in (("layer 1", 9), ("layer 2", 40 * 9), ("layer 3", 1_000)):
        for value in network.layers()[name].values():
            bound = fan_in**-0.5
            assert float(value.detach().abs().max()) <= bound
            assert float(value.detach().abs().max()) > 0.9 * bound
            assert not torch.equal(value[0], value[1])
        spread = float(network.layers()[name]["weight"].detach().std())
        assert spread == pytest.approx(fan_in**-0.5 / 3**0.5, rel=0.05)


def test_a_stacked_run_is_the_solo_run() -> None:
    scales, points = [1.0, 2.0, 0.5], [35, 41, 38]
    members = [
        member(
            seed=seed,
            data=Digits(train_points=points[seed], test_points=10),
            model=Conv(channels=[2, 3], padding=1, hidden=[5], init_scale=scales[seed], noise_sigma=0.1 * seed),
            train=training(steps=15),
        )
        for seed in range(3)
    ]
    together = trained(*members)
    for number, one in enumerate(members):
        alone = trained(one)
        torch.testing.assert_close(weights(together, number), weights(alone), rtol=0, atol=1e-9)
    assert len({float(weights(together, number).norm()) for number in range(3)}) == 3


@pytest.mark.parametrize(
    ("signature", "keys", "line"),
    [
        (Signature(64, None, 2, shape=(8, 8)), {}, "model.kernel=3: leaves nothing of 8 x 8 pixels in block 2"),
        (Signature(2, 9, 9, shape=(2,)), {}, "model=conv: reads images, and this task's input is not images"),
        (Signature(9, None, 9, shape=(9,)), {}, "model=conv: reads images"),
        (Signature(784, None, 2, shape=(28, 28)), {"kernel": 30}, "model.kernel=30: leaves nothing of 28 x 28"),
    ],
)
def test_what_leaves_no_image_is_refused(signature: Signature, keys: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Conv(**keys).network(1, signature)
    assert str(refused.value).startswith(line)
