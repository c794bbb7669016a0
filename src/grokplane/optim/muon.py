"""Muon: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; torch.optim.Muon, batched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.optim.adamw import AdamW
from grokplane.optim.base import Factor, MemberState, Parameters, StackedOptimizer, per_member
from grokplane.options import ConfigError, checked, option
from grokplane.unread import Surroundings

# The quintic iteration of the source: it brings singular values close to 1 quickly, but not exactly.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
TINY = 1e-7


@dataclass(frozen=True)
@checked
class Muon:
    """Orthogonalised momentum for hidden matrices; AdamW for embeddings, first and last layers, and vectors."""

    lr: float = option(0.02, "learning rate of the hidden matrices", at_least=0, stackable=True)
    weight_decay: float = option(0.1, "decoupled weight decay of all parameters", at_least=0, stackable=True)
    momentum: float = option(0.95, "decay of the momentum", at_least=0, below=1)
    nesterov: bool = option(True, "Nesterov's momentum")
    iterations: int = option(5, "Newton-Schulz iterations", at_least=1, at_most=100)
    adamw_lr: float = option(1e-3, "learning rate of the other parameters", at_least=0, stackable=True)
    adamw_betas: list[float] = option([0.9, 0.999], "AdamW's decay of its moments", at_least=0, below=1, length=2)
    adamw_eps: float = option(1e-8, "AdamW's term added to the denominator", above=0)

    def unread(self, around: Surroundings) -> dict[str, str]:  # noqa: ARG002 (its own keys decide)
        """See `grokplane.unread`."""
        return {"nesterov": "optimizer.momentum=0 is no momentum"} if self.momentum == 0 else {}

    @classmethod
    def stacked(cls, choices: Sequence[Muon], parameters: Parameters, hidden: Sequence[str]) -> StackedOptimizer:
        """Build the optimizer of a stack.

        Raises:
            ConfigError: the network has no hidden matrix.
        """
        if not hidden:
            allowed = "needs a hidden matrix, and this network has none: give it another layer or choose adamw"
            raise ConfigError("optimizer", "muon", allowed)
        return _StackedMuon(choices, parameters, hidden)


class _StackedMuon(StackedOptimizer):
    """Muon with one batched iteration over all members' hidden matrices of a shape."""

    def __init__(self, choices: Sequence[Muon], parameters: Parameters, hidden: Sequence[str]) -> None:
        super().__init__(parameters, [choice.lr for choice in choices])
        self._choice = choices[0]
        self._factor: Factor = 1.0
        self._hidden = {name: parameters[name] for name in hidden}
        self._momentum = {name: torch.zeros_like(value) for name, value in self._hidden.items()}
        self._rate = {name: per_member(self.rates, value) for name, value in self._hidden.items()}
        decays = [choice.lr * choice.weight_decay for choice in choices]
        self._decay = {name: per_member(decays, value) for name, value in self._hidden.items()}
        others = {name: value for name, value in parameters.items() if name not in self._hidden}
        adamw = [AdamW(one.adamw_lr, one.weight_decay, one.adamw_betas, one.adamw_eps) for one in choices]
        self._others = AdamW.stacked(adamw, others, [])

    def rates_of(self, name: str) -> Sequence[float]:
        """Learning rates of Muon or of AdamW."""
        return self.rates if name in self._hidden else self._others.rates

    @property
    def capturable(self) -> bool:  # type: ignore[override]
        """Whether AdamW is capturable."""
        return self._others.capturable

    def schedule(self, factor: Factor) -> None:
        """Set both learning rates to their base rates times the factor."""
        self._factor = factor
        self._others.schedule(factor)

    def step(self) -> None:
        """Update the hidden matrices, then the other parameters."""
        with torch.no_grad():
            for name, weight in self._hidden.items():
                assert weight.grad is not None
                direction = self._direction(name, weight.grad)
                rows, columns = weight.shape[1:]
                weight.mul_(1 - self._factor * self._decay[name])
                rate, longest = self._factor * self._rate[name], max(1, rows / columns) ** 0.5
                weight.addcmul_(orthogonalised(direction, self._choice.iterations), rate, value=-longest)
        self._others.step()

    def _direction(self, name: str, gradient: Tensor) -> Tensor:
        momentum = self._momentum[name].lerp_(gradient, 1 - self._choice.momentum)
        return gradient.lerp(momentum, self._choice.momentum) if self._choice.nesterov else momentum

    def masked(self, alive: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """The momenta and AdamW's state."""
        return [*((value, alive) for value in self._momentum.values()), *self._others.masked(alive)]

    def state(self, member: int) -> MemberState:
        """A copy of one member's momenta and AdamW state."""
        own = {name: {"momentum": value[member].cpu().clone()} for name, value in self._momentum.items()}
        return own | self._others.state(member)

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Restore the members' states."""
        for name, value in self._momentum.items():
            value.copy_(torch.stack([state[name]["momentum"] for state in states]))
        self._others.load_states(states)


def orthogonalised(matrices: Tensor, iterations: int) -> Tensor:
    """About U V^T of each matrix U S V^T, [E, rows, columns]; 5 iterations give singular values of 0.7 to 1.2."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + TINY)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


GROUP = "optimizer"
CHOICES = {"muon": Muon}
