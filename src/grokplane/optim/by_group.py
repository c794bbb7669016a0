"""Optimizers by group of parameters: embeddings, hidden layers and read-out, as in Liu et al. 2022 (arXiv 2205.10343).

The four phases of representation learning are a map over the decoder's learning rate and weight decay, at other values
for the embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor

from grokplane.optim.base import Factor, MemberState, Parameters, StackedOptimizer
from grokplane.options import ConfigError, checked, option
from grokplane.unread import Surroundings


@dataclass(frozen=True)
@checked
class ByGroup:
    """An optimizer of its own for the embeddings, the hidden layers and the read-out."""

    needs_parts: ClassVar[bool] = True

    embedding: Any = option(help="of token embeddings and positions: optimizer@optimizer.embedding=NAME")
    hidden: Any = option(help="of all other parameters: optimizer@optimizer.hidden=NAME")
    read_out: Any = option(help="of the last layer: optimizer@optimizer.read_out=NAME")

    def __post_init__(self) -> None:
        for name, choice in self._groups.items():
            if isinstance(choice, ByGroup) or not hasattr(choice, "stacked"):
                value = "by_group" if isinstance(choice, ByGroup) else choice
                allowed = f"must be another optimizer: optimizer@optimizer.{name}=adamw"
                raise ConfigError(f"optimizer.{name}", value, allowed)

    @property
    def _groups(self) -> dict[str, Any]:
        return {spec.name: getattr(self, spec.name) for spec in fields(self)}

    @property
    def lr(self) -> float:
        """Learning rate of the hidden layers."""
        return self.hidden.lr

    def unread(self, around: Surroundings) -> dict[str, str]:
        """See `grokplane.unread`."""
        empty = [name for name in self._groups if name not in around.parts]
        return {name: f"the network has no parameters in the group {name}" for name in empty}

    @classmethod
    def stacked(
        cls,
        choices: Sequence[ByGroup],
        parameters: Parameters,
        hidden: Sequence[str],
        parts: Mapping[str, Sequence[str]],
    ) -> StackedOptimizer:
        """Build the optimizer of a stack; see `OptimizerChoice`.

        Raises:
            ConfigError: an optimizer that cannot train its group.
        """
        optimizers = {name: _of_group(name, choices, parameters, hidden, own) for name, own in parts.items() if own}
        return _StackedByGroup(parameters, optimizers)


def _of_group(
    name: str, choices: Sequence[ByGroup], parameters: Parameters, hidden: Sequence[str], own: Sequence[str]
) -> StackedOptimizer:
    of_group = [getattr(choice, name) for choice in choices]
    try:
        found = {one: parameters[one] for one in own}
        return type(of_group[0]).stacked(of_group, found, [one for one in hidden if one in found])
    except ConfigError as error:
        raise ConfigError(f"optimizer.{name}", error.value, f"for this group alone: {error.allowed}") from error


class _StackedByGroup(StackedOptimizer):
    """The groups' optimizers one after the other; the states are those of each parameter's own optimizer.

    The rates are those of the hidden layers, or of the read-out if there are none.
    """

    def __init__(self, parameters: Parameters, optimizers: Mapping[str, StackedOptimizer]) -> None:
        self._optimizers = list(optimizers.values())
        super().__init__(parameters, optimizers.get("hidden", optimizers["read_out"]).rates)

    def rates_of(self, name: str) -> Sequence[float]:
        """Learning rates of the parameter's own optimizer."""
        return next(one for one in self._optimizers if name in one.parameters).rates_of(name)

    @property
    def capturable(self) -> bool:  # type: ignore[override]
        """Whether all of them are."""
        return all(one.capturable for one in self._optimizers)

    def schedule(self, factor: Factor) -> None:
        """Set all learning rates to their base rates times the factor."""
        for one in self._optimizers:
            one.schedule(factor)

    def step(self) -> None:
        """Update every group."""
        for one in self._optimizers:
            one.step()

    def masked(self, alive: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """The states of all groups."""
        return [pair for one in self._optimizers for pair in one.masked(alive)]

    def state(self, member: int) -> MemberState:
        """A copy of one member's states."""
        return {name: value for one in self._optimizers for name, value in one.state(member).items()}

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Restore the states of all groups."""
        for one in self._optimizers:
            one.load_states(states)


GROUP = "optimizer"
CHOICES = {"by_group": ByGroup}
