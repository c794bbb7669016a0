"""A quadratic network that adds modulo p, in closed form: Gromov 2023, "Grokking modular arithmetic", arXiv 2301.02679.

Unit j has a frequency k and two phases. Its first weights are cos(2 pi k a / p + phase 1) and cos(2 pi k b / p +
phase 2), its square holds cos(2 pi k (a + b) / p + phase 1 + phase 2), and the read-out correlates it with
cos(2 pi k c / p + phase 1 + phase 2). The terms that depend on the phases average out over the units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from grokplane.models.base import Signature
from grokplane.options import ConfigError

ANALYTIC = "analytic"
# The keys of the network for which the weights are known.
NEEDED = {"embedding": "onehot", "activation": "square"}


def refused(why: str) -> ConfigError:
    """The error for a network or a task for which there is no closed form."""
    return ConfigError("model.init", ANALYTIC, why)


def check_network(keys: Mapping[str, object], bias: bool, hidden: Sequence[int]) -> None:
    """Raise ConfigError unless the network is one hidden layer of squares on one-hot tokens, without biases.

    Args:
        keys: values of the model's keys, at least those of `NEEDED`.
        bias: whether any layer has a bias.
        hidden: widths of the hidden layers.
    """
    for key, needed in NEEDED.items():
        if keys[key] != needed:
            raise refused(f"needs model.{key}={needed}, not {keys[key]}")
    if bias:
        raise refused("needs model.bias=false")
    if len(hidden) != 1:
        raise refused(f"needs one hidden layer such as model.hidden=[192], not {len(hidden)}")


def check_signature(signature: Signature) -> None:
    """Raise ConfigError unless questions are two residues modulo an odd p and answers are residues."""
    if signature.length != 2 or signature.vocabulary != signature.outputs or signature.positions is not None:
        raise refused("needs questions of two residues, such as data=modular data.layout=operands")
    if signature.outputs % 2 == 0:
        raise refused(f"needs an odd modulus, not {signature.outputs}")


def check_answers(inputs: Tensor, targets: Tensor, modulus: int) -> None:
    """Raise ConfigError unless every answer [N] is the sum of its question [N, 2] modulo p."""
    wrong = torch.nonzero(inputs.sum(1) % modulus != targets).flatten().tolist()
    if wrong:
        (a, b), answer = inputs[wrong[0]].tolist(), int(targets[wrong[0]])
        said = f"this task answers {a},{b} with {answer}"
        raise refused(f"adds modulo {modulus}, and {said}; use data.operation=add or another model.init")


def fill(first: Tensor, second: Tensor, generator: torch.Generator) -> None:
    """Fill the weights of one network; the phases are uniform.

    Frequencies are 1 to (p - 1) / 2, repeated over the units. The first weights are cosines, and the read-out has the
    factor 2 / width: the outputs are then, up to the terms that average out, 1 for the answer and -1 / (p - 1) for
    the other classes, close to the one-hot code of the answer. Accuracy does not depend on these factors.

    Args:
        first: weight [width, 2 p] on the one-hot codes of both operands.
        second: weight [p, width].
        generator: draws the phases, in float64 for any dtype of the weights.
    """
    modulus, width = second.shape
    frequencies = torch.arange(width) % ((modulus - 1) // 2) + 1
    phases = 2 * math.pi * torch.rand(2, width, 1, generator=generator, dtype=torch.float64)
    angles = 2 * math.pi / modulus * (frequencies[:, None] * torch.arange(modulus) % modulus).double()
    first.copy_(torch.cat([torch.cos(angles + phase) for phase in phases], 1))
    second.copy_(2 / width * torch.cos(angles + phases.sum(0)).mT)
