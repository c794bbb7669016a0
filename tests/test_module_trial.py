"""Checks of a user's module before training: fast paths, mixed points, state that changes without being saved."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from builders import METRICS, finish, task, training, weights
from test_adapter import Counting, Net, WithBatchNorm, net
from torch import Tensor, nn

from grokplane.models import Module, Signature
from grokplane.options import ConfigError
from grokplane.train import LogOptions, Member, Stack

SIGNATURE = Signature(4, 9, 9)
LOOKING = LogOptions(dense_steps=0, every=4)


def choice(kind: type[nn.Module], **keys: Any) -> Module:
    return Module({"_target_": f"{kind.__module__}.{kind.__qualname__}", **keys})


class Attending(nn.Module):
    """Attention between embedding and read-out; base class of the other modules."""

    def __init__(self, vocabulary: int, outputs: int) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(vocabulary, 8), nn.Linear(8, outputs)
        self.inner = self.made()

    def made(self) -> nn.Module:
        return nn.MultiheadAttention(8, 2, batch_first=True)

    def inside(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x)[0]

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.inside(self.embedding(tokens)).mean(1))


class Fused(Attending):
    def inside(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


class Layer(Attending):
    def made(self) -> nn.Module:
        return nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)

    def inside(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Encoder(Layer):
    def made(self) -> nn.Module:
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("kind", [Attending, Fused, Layer, Encoder])
def test_attention_of_torch_nn_trains_in_stacks_as_it_does_alone(kind: type[nn.Module]) -> None:
    parts: dict[str, Any] = {"steps": 8, "log": LOOKING, "metrics": METRICS}
    members = [net(model=choice(kind), seed=seed, **parts) for seed in (2, 5)]
    together, alone = Stack(members), [Stack([one]) for one in members]
    points = [finish(stack) for stack in (together, *alone)]
    assert torch.backends.mha.get_fastpath_enabled()
    for number, stack in enumerate(alone):
        torch.testing.assert_close(weights(together, number), weights(stack), rtol=0, atol=1e-10)
        for ours, theirs in zip(points[0], points[1 + number], strict=True):
            for one, other in zip(ours.records[number : number + 1], theirs.records, strict=True):
                assert one.keys() == other.keys()
                assert one["Loss/test"] == pytest.approx(other["Loss/test"], abs=1e-10)


class Stopping(Net):
    """Fails outside of training, but not only in a stack."""

    def forward(self, tokens: Tensor) -> Any:
        outputs = super().forward(tokens)
        return outputs if self.training else outputs[:, :5]


class Asking(Net):
    def forward(self, tokens: Tensor) -> Any:
        outputs = super().forward(tokens)
        return outputs if self.training else outputs * self.head.weight.abs().max().item()


class Forgetful(Net):
    """Counts its calls in a number that is in no checkpoint."""

    calls = 0

    def forward(self, tokens: Tensor) -> Any:
        self.calls += 1
        return super().forward(tokens) / self.calls


def test_what_fails_outside_of_training_alone_is_refused_too() -> None:
    line = r"must turn a batch \[3, 4\] outside of training into a tensor \[3, 9\], and gives \[3, 5\]"
    for members in (1, 2):
        with pytest.raises(ConfigError, match=line):
            choice(Stopping).network(members, SIGNATURE)
    with pytest.raises(ConfigError, match=r"cannot be stacked because of torch.Tensor.item outside of training: "):
        choice(Asking).network(2, SIGNATURE)
    choice(Asking).network(1, SIGNATURE)


@pytest.mark.parametrize("members", [1, 2])
def test_what_changes_from_call_to_call_and_is_no_buffer_is_refused(members: int) -> None:
    with pytest.raises(ConfigError, match=re.escape("must be a buffer (register_buffer)")) as refused:
        choice(Forgetful).network(members, SIGNATURE)
    assert "\n" not in str(refused.value)
    network = choice(Counting).network(members, SIGNATURE)
    assert all(not bool(buffer.any()) for buffer in network.buffers())  # the trial leaves nothing in them


class Mixing(Net):
    """Outputs that depend on the whole batch."""

    def __init__(self, vocabulary: int, length: int, outputs: int, what: str) -> None:
        super().__init__(vocabulary, length, outputs)
        self.what, self.gain = what, nn.Parameter(torch.zeros(outputs))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, tokens: Tensor) -> Any:
        h = super().forward(tokens)
        if self.what == "buffer" and self.training:
            self.seen = self.seen + h.mean().detach()
        return h + self.gain * OF_BATCH[self.what](h)


OF_BATCH: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda h: h - h.mean(0),
    "largest": lambda h: h.amax(0),
    "size": lambda h: h / len(h),
    "softmax": lambda h: h.softmax(0),
    "last": lambda h: h[-1:],
    "buffer": lambda h: h,
    "nothing": lambda h: h.softmax(-1) - h.mean(-1, keepdim=True),
}


def mixing(what: str) -> Module:
    return choice(Mixing, what=what)


def unequal(model: Module, fractions: tuple[float, float] = (0.3, 0.6), **keys: Any) -> list[Member]:
    options = training(steps=30, **keys)
    return [
        net(model=model, seed=seed, data=task(layout="equation", train_fraction=fraction), train=options)
        for seed, fraction in enumerate(fractions)
    ]


@pytest.mark.parametrize("what", OF_BATCH)
def test_a_module_that_mixes_the_points_of_a_batch_is_found_out(what: str) -> None:
    network = mixing(what).network(2, SIGNATURE)
    assert network.mixes(training=True) == (what != "nothing")
    assert network.mixes(training=False) == (what not in ("nothing", "buffer"))


class Norms(nn.Module):
    """A network of a point's features with a norm in it."""

    def __init__(self, outputs: int, norm: str) -> None:
        super().__init__()
        norms = {
            "batch": lambda: nn.BatchNorm1d(8),
            "batch, untracked": lambda: nn.BatchNorm1d(8, track_running_stats=False),
            "layer": lambda: nn.LayerNorm(8),
            "group": lambda: nn.GroupNorm(2, 8),
        }
        self.body = nn.Sequential(nn.Linear(6, 8), norms[norm](), nn.Linear(8, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("batch", (True, False)),
        ("batch, untracked", (True, True)),
        ("layer", (False, False)),
        ("group", (False, False)),
    ],
)
def test_of_norms_those_of_the_batch_mix(norm: str, expected: tuple[bool, bool]) -> None:
    network = choice(Norms, norm=norm).network(2, Signature(6, None, 3, shape=(6,)))
    assert (network.mixes(training=True), network.mixes(training=False)) == expected


@pytest.mark.parametrize("model", [mixing("mean"), mixing("buffer"), choice(WithBatchNorm)], ids=str)
def test_padding_in_batches_is_refused_beside_a_module_that_mixes(model: Module) -> None:
    with pytest.raises(ConfigError, match=r"train.batch_size=full: must be a number where members have unequal"):
        Stack(unequal(model))
    for one in unequal(model):  # alone there is no padding
        Stack([one])
    Stack(unequal(model, fractions=(0.5, 0.5)))


def test_padding_at_log_points_is_refused_beside_a_module_that_mixes_there() -> None:
    with pytest.raises(ConfigError, match=r"outside of training too.*max_members=1"):
        Stack(unequal(mixing("mean"), batch_size=5))
    Stack(unequal(mixing("buffer"), batch_size=5))


@pytest.mark.parametrize("batch_size", ["full", 5])
def test_a_module_that_does_not_mix_trains_beside_padding_as_alone(batch_size: int | str) -> None:
    members = unequal(mixing("nothing"), batch_size=batch_size)
    together = Stack(members)
    finish(together)
    for number, one in enumerate(members):
        alone = Stack([one])
        finish(alone)
        torch.testing.assert_close(weights(together, number), weights(alone), rtol=0, atol=1e-9)


def test_a_module_that_mixes_trains_in_stacks_of_equal_subsets_as_alone() -> None:
    members = unequal(mixing("mean"), fractions=(0.5, 0.5))
    together = Stack(members)
    finish(together)
    for number, one in enumerate(members):
        alone = Stack([one])
        finish(alone)
        torch.testing.assert_close(weights(together, number), weights(alone), rtol=0, atol=1e-9)
