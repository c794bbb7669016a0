"""Training without some frequencies of the embedding, in the Fourier basis of the operands' group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.operand_group import OperandGroup
from grokplane.optim.rules import Context, Rule
from grokplane.options import ConfigError, checked, option

KEY = "rules.ablation.frequencies"


@dataclass(frozen=True)
@checked
class Ablation:
    """After every update, remove some frequencies from the embedding of the operands, or all others.

    A frequency k of the cyclic group of n elements is the pair cos, sin of 2 pi k e / n over the elements e; n - k is
    the same one, and 0 is the mean. For a product of cyclic groups, k is a number in the mixed radix of their orders.
    """

    frequencies: list[int] = option(help="frequencies that are removed; 0 is the mean", at_least=0, stackable=True)
    keep: bool = option(False, "keep only these frequencies and remove all others", stackable=True)

    @classmethod
    def stacked(cls, choices: Sequence[Ablation], context: Context) -> Rule:
        """The rule of a stack.

        Raises:
            ConfigError: a task whose operands are in no abelian group, a network without an embedding, or a frequency
                that the group does not have.
        """
        return _Ablation(choices, context)


class _Ablation(Rule):
    """A projection of each member's embedding, a matrix [V, V] over the tokens."""

    capturable = True

    def __init__(self, choices: Sequence[Ablation], context: Context) -> None:
        super().__init__(context)
        layers = context.layers()
        name = layers.get("embedding", {}).get("weight")
        if name is None:
            allowed = f"needs a network with an embedding; its layers are {', '.join(layers)}"
            raise ConfigError("rules", "ablation", allowed)
        self._weight = self.parameters[name]
        groups = [_abelian(group) for group in context.groups]
        found = [projection(choice, group) for choice, group in zip(choices, groups, strict=True)]
        self._projection = torch.stack(found).to(self._weight)

    def after(self, step: int) -> None:  # noqa: ARG002 (the rule's arguments)
        """Project the embedding."""
        self._weight.copy_(torch.bmm(self._projection, self._weight))


def _abelian(group: OperandGroup | None) -> OperandGroup:
    if group is None or not group.orders:
        why = "the task has none" if group is None else "its group is not known to be abelian"
        allowed = f"needs operands of an abelian group, as modular, sums and data=group have ({why})"
        raise ConfigError("rules", "ablation", allowed)
    return group


def projection(choice: Ablation, group: OperandGroup) -> Tensor:
    """The matrix [V, V] float64 that leaves tokens outside the group as they are and removes frequencies of the others.

    Raises:
        ConfigError: a frequency that the group does not have.
    """
    order = math.prod(group.orders)
    if not choice.frequencies or max(choice.frequencies) >= order:
        allowed = f"must be a list of at least one number from 0 to {order - 1}: the group has {order} elements"
        raise ConfigError(KEY, choice.frequencies, allowed)
    tokens = torch.nonzero(group.elements >= 0).flatten()
    elements = group.elements[tokens]
    result = torch.eye(len(group.elements), dtype=torch.float64)
    result[tokens[:, None], tokens] = over_elements(choice, group.orders)[elements[:, None], elements]
    return result


def over_elements(choice: Ablation, orders: Sequence[int]) -> Tensor:
    """The projection [n, n] float64 over the elements of the product of cyclic groups of these orders."""
    order, axes = math.prod(orders), tuple(range(len(orders)))
    named = torch.zeros(order, dtype=torch.bool)
    named[torch.tensor(choice.frequencies)] = True
    named = named.view(*orders)
    negative = named.flip(axes).roll([1] * len(axes), axes)  # the frequency -k at every k
    kept = (named | negative) == choice.keep
    units = torch.eye(order, dtype=torch.float64).view(*orders, order)
    spectra = torch.fft.fftn(units, dim=axes) * kept[..., None]
    return torch.fft.ifftn(spectra, dim=axes).real.reshape(order, order)


GROUP = "rules"
CHOICES = {"ablation": Ablation}
