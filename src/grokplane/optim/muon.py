"""Muon: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; torch.optim.Muon, batched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokplane.optim.adamw import AdamW
from grokplane.optim.base import Factor, MemberState, Parameters, StackedOptimizer, per_member
from grokplane.options import ConfigError, checked, option
from grokplane.unread import Surroundings

# Factor on the update of a matrix with so many rows and columns.
SCALES: dict[str, Callable[[int, int], float]] = {
    "none": lambda rows, columns: 1.0,  # noqa: ARG005 (one form for all)
    "spectral": lambda rows, columns: max(1, rows / columns) ** 0.5,  # Jordan et al. 2024
    "match_rms_adamw": lambda rows, columns: 0.2 * max(rows, columns) ** 0.5,  # Liu et al. 2025, arXiv 2502.16982
}
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
    scale: str = option("spectral", "factor on the update by the shape of the matrix", choices=SCALES)
    adamw_lr: float = option(1e-3, "learning rate of the other parameters", at_least=0, stackable=True)
    embedding_lr: float | None = option(None, "learning rate of embeddings; null: adamw_lr", at_least=0, stackable=True)
    embedding_weight_decay: float | None = option(
        None, "weight decay of embeddings; null: weight_decay", at_least=0, stackable=True
    )
    read_out_lr: float | None = option(
        None, "learning rate of the last layer; null: adamw_lr", at_least=0, stackable=True
    )
    read_out_weight_decay: float | None = option(
        None, "weight decay of the last layer; null: weight_decay", at_least=0, stackable=True
    )
    adamw_betas: list[float] = option([0.9, 0.999], "AdamW's decay of its moments", at_least=0, below=1, length=2)
    adamw_eps: float = option(1e-8, "AdamW's term added to the denominator", above=0)

    def unread(self, around: Surroundings) -> dict[str, str]:  # noqa: ARG002 (its own keys decide)
        """See `grokplane.unread`."""
        return {"nesterov": "optimizer.momentum=0 is no momentum"} if self.momentum == 0 else {}

    @property
    def needs_parts(self) -> bool:
        """Whether the embedding or the read-out has settings of its own."""
        own = self.embedding_lr, self.embedding_weight_decay, self.read_out_lr, self.read_out_weight_decay
        return any(one is not None for one in own)

    def adamw(self, part: str) -> AdamW:
        """The optimizer of a part of the network: embedding, read_out, or any other name for the parameters between."""
        own = [getattr(self, f"{part}_{key}", None) for key in ("lr", "weight_decay")]
        lr, decay = (
            usual if one is None else one for one, usual in zip(own, (self.adamw_lr, self.weight_decay), strict=True)
        )
        return AdamW(lr, decay, self.adamw_betas, self.adamw_eps)

    @classmethod
    def stacked(
        cls,
        choices: Sequence[Muon],
        parameters: Parameters,
        hidden: Sequence[str],
        parts: Mapping[str, Sequence[str]] | None = None,
    ) -> StackedOptimizer:
        """Build the optimizer of a stack.

        Raises:
            ConfigError: the network has no hidden matrix, or no embedding for keys of the embedding.
        """
        if not hidden:
            allowed = "needs a hidden matrix, and this network has none: give it another layer or choose adamw"
            raise ConfigError("optimizer", "muon", allowed)
        named = parts or {}
        for key in () if named.get("embedding") else ("embedding_lr", "embedding_weight_decay"):
            given = next((getattr(one, key) for one in choices if getattr(one, key) is not None), None)
            if given is not None:
                raise ConfigError(f"optimizer.{key}", given, "this network has no embedding; leave it null")
        return _StackedMuon(choices, parameters, hidden, named)


def _others(
    choices: Sequence[Muon], parameters: Parameters, named: Mapping[str, Sequence[str]]
) -> list[StackedOptimizer]:
    """The optimizers of embedding, read-out and the rest; parts with equal settings share one."""
    part_of = {name: part for part, names in named.items() for name in names}
    parts: list[tuple[list[AdamW], dict[str, nn.Parameter]]] = []
    for name, value in parameters.items():
        settings = [one.adamw(part_of.get(name, "")) for one in choices]
        same = next((own for known, own in parts if known == settings), None)
        if same is None:
            parts.append((settings, {name: value}))
        else:
            same[name] = value
    return [AdamW.stacked(settings, own, []) for settings, own in parts]


class _StackedMuon(StackedOptimizer):
    """Muon with one batched iteration over all members' hidden matrices of a shape."""

    def __init__(
        self,
        choices: Sequence[Muon],
        parameters: Parameters,
        hidden: Sequence[str],
        named: Mapping[str, Sequence[str]],
    ) -> None:
        super().__init__(parameters, [choice.lr for choice in choices])
        self._choice = choices[0]
        self._factor: Factor = 1.0
        self._hidden = {name: parameters[name] for name in hidden}
        self._momentum = {name: torch.zeros_like(value) for name, value in self._hidden.items()}
        self._rate = {name: per_member(self.rates, value) for name, value in self._hidden.items()}
        decays = [choice.lr * choice.weight_decay for choice in choices]
        self._decay = {name: per_member(decays, value) for name, value in self._hidden.items()}
        others = {name: value for name, value in parameters.items() if name not in self._hidden}
        self._others = _others(choices, others, named)

    def rates_of(self, name: str) -> Sequence[float]:
        """Learning rates of Muon or of AdamW."""
        return next((other.rates for other in self._others if name in other.parameters), self.rates)

    @property
    def capturable(self) -> bool:  # type: ignore[override]
        """Whether AdamW is capturable."""
        return all(other.capturable for other in self._others)

    def schedule(self, factor: Factor) -> None:
        """Set all learning rates to their base rates times the factor."""
        self._factor = factor
        for other in self._others:
            other.schedule(factor)

    def step(self) -> None:
        """Update the hidden matrices, then the other parameters."""
        with torch.no_grad():
            for name, weight in self._hidden.items():
                assert weight.grad is not None
                direction = self._direction(name, weight.grad)
                rows, columns = weight.shape[1:]
                weight.mul_(1 - self._factor * self._decay[name])
                rate, scale = self._factor * self._rate[name], SCALES[self._choice.scale](rows, columns)
                weight.addcmul_(orthogonalised(direction, self._choice.iterations), rate, value=-scale)
        for other in self._others:
            other.step()

    def _direction(self, name: str, gradient: Tensor) -> Tensor:
        momentum = self._momentum[name].lerp_(gradient, 1 - self._choice.momentum)
        return gradient.lerp(momentum, self._choice.momentum) if self._choice.nesterov else momentum

    def masked(self, alive: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """The momenta and AdamW's state."""
        own: list[tuple[Tensor, Tensor | None]] = [(value, alive) for value in self._momentum.values()]
        return own + [pair for other in self._others for pair in other.masked(alive)]

    def state(self, member: int) -> MemberState:
        """A copy of one member's momenta and AdamW state."""
        own = {name: {"momentum": value[member].cpu().clone()} for name, value in self._momentum.items()}
        return own | {name: state for other in self._others for name, state in other.state(member).items()}

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Restore the members' states."""
        for name, value in self._momentum.items():
            value.copy_(torch.stack([state[name]["momentum"] for state in states]))
        for other in self._others:
            other.load_states(states)


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
