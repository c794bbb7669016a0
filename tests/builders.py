"""Tiny members and stacks for several test modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from command import assert_same_state
from torch import Tensor

from grokplane import config, optim
from grokplane.data import Modular, RandomSplit
from grokplane.losses import CrossEntropy
from grokplane.metrics import (
    ActivationMaps,
    Embeddings,
    Fourier,
    Hessian,
    Irreps,
    Kernel,
    Linearised,
    LocalComplexity,
    LogitSlices,
    Metric,
    Spectrum,
    WeightHistograms,
)
from grokplane.models.mlp import MLP
from grokplane.optim import AdamW, Constant
from grokplane.train import LogOptions, Member, Point, Stack, TrainOptions, run

NEVER, ALWAYS = LogOptions(dense_steps=0, every=10**9), LogOptions(dense_steps=0, every=1)
# Those that give numbers alone, so that records can be compared as flat dicts, and neither the expensive ones nor those
# that not every network has. The second read sequences, the third operands of a group.
_LEFT_OUT = (Spectrum, Fourier, Irreps, Hessian, Kernel, Linearised, LocalComplexity)
_LEFT_OUT += (ActivationMaps, Embeddings, LogitSlices, WeightHistograms)
_CHOICES = [choice for group, _, choice in config.choices() if group == "metrics" and choice not in _LEFT_OUT]
_OF_SEQUENCES = [choice for choice in _CHOICES if getattr(choice, "reads", None) in ("sequences", "fed_back")]
_OF_GROUPS = [choice for choice in _CHOICES if getattr(choice, "needs_group", False)]
METRICS: dict[str, Metric] = {
    choice.__name__: choice() for choice in _CHOICES if choice not in _OF_SEQUENCES + _OF_GROUPS
}
GROUP_METRICS: dict[str, Metric] = {choice.__name__: choice() for choice in _OF_GROUPS}
SEQUENCE_METRICS: dict[str, Metric] = {choice.__name__: choice() for choice in _OF_SEQUENCES}
OPTIMIZERS: dict[str, tuple[type[optim.TorchOptimizer], dict[str, Any]]] = {
    "adamw": (optim.AdamW, {"betas": [0.9, 0.98]}),
    "adam": (optim.Adam, {}),
    "sgd": (optim.SGD, {}),
    "sgd_momentum": (optim.SGD, {"momentum": 0.9}),
    "sgd_nesterov": (optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "rmsprop": (optim.RMSprop, {}),
    "rmsprop_momentum": (optim.RMSprop, {"momentum": 0.5}),
}


def task(**keys: Any) -> Modular:
    """Addition modulo 7 with half of the pairs for training."""
    return Modular(**({"split": RandomSplit(), "p": 7, "train_fraction": 0.5} | keys))


def training(**keys: Any) -> TrainOptions:
    """20 steps in float64 on one thread."""
    return TrainOptions(**({"steps": 20, "dtype": "float64", "threads": 1} | keys))


def member(**parts: Any) -> Member:
    """A member that trains in milliseconds and logs nothing before the end."""
    tiny = {
        "data": task(),
        "model": MLP(hidden=[8, 8], embedding_dim=6),
        "optimizer": AdamW(),
        "schedule": Constant(),
        "loss": CrossEntropy(),
        "log": NEVER,
        "train": training(),
    }
    return Member(**(tiny | parts))


def trained(*members: Member, capture: bool = True) -> Stack:
    """The members' stack after its last step."""
    stack = Stack(members)
    for _ in run(stack, capture=capture):
        pass
    return stack


def assert_same_stacks(one: Stack, other: Stack, aside: Sequence[str] = ()) -> None:
    """Assert that the saved states of both are equal to the last bit, but for some entries.

    The entries `marks` and `tracked` depend on the log points.
    """
    for number in range(len(one.members)):
        states = one.state(number), other.state(number)
        assert_same_state(*({key: value for key, value in state.items() if key not in aside} for state in states))


def diverged(stack: Stack) -> list[int]:
    """The step at which each member diverged, including removed members; -1: never."""
    return [stack.state(number)["diverged"] for number in range(len(stack.members))]


def finish(stack: Stack) -> list[Point]:
    """Train to the end and return every pause."""
    return list(run(stack))


def weights(stack: Stack, number: int = 0) -> Tensor:
    """All parameters of one member in one row."""
    model = stack.state(number)["model"]
    return torch.cat([model[name].flatten() for name in stack.parameters])
