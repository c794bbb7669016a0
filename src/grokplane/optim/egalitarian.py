"""Egalitarian gradient descent: Pasand and Dohmatob 2025 (arXiv 2510.04930)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.optim.base import Factor, broadcast_members, per_member
from grokplane.optim.rules import Backward, Context, Rule
from grokplane.options import ConfigError, checked, option
from grokplane.random import Counters
from grokplane.unread import Surroundings

FLOOR = 0.01  # smallest norm by which the weights of a unit are divided, as in the source
POWER_ITERATIONS = 2  # of the randomised SVD, as in the source
METHODS = ("svd", "randomised", "column_norm")
MATRICES = ("first", "all")
FOREVER = 2**62


@dataclass(frozen=True)
@checked
class Egalitarian:
    """Replace the gradient U S V^T of a matrix by U V^T, so that all its singular values are 1.

    `column_norm` divides the gradient of the incoming weights of each unit, a row of [out, in], by its norm. The source
    stores matrices as [in, out], so that these are columns. Its gradients include weight decay: `weight_decay` must be
    that of `optimizer=sgd` for the same update. All methods include decay only if this key is set.
    """

    method: str = option("svd", "exact SVD, randomised SVD, or unit norm of the gradient of each unit", choices=METHODS)
    matrices: str = option("first", "the first matrix of the forward pass, or all of them", choices=MATRICES)
    rank: int = option(64, "rank of the randomised SVD", at_least=1)
    weight_decay: float = option(
        0.0, "the optimizer's L2 penalty, if it is part of the replaced gradient", at_least=0, stackable=True
    )
    until_loss: float | None = option(
        None, "ends when the loss of a batch is below this; null: never", above=0, stackable=True
    )
    steps: int | None = option(None, "ends after this many steps; null: never", at_least=1, stackable=True)

    def unread(self, around: Surroundings) -> dict[str, str]:  # noqa: ARG002 (its own keys decide)
        """See `grokplane.unread`."""
        return {} if self.method == "randomised" else {"rank": f"rules.egalitarian.method={self.method} has no rank"}

    @classmethod
    def stacked(cls, choices: Sequence[Egalitarian], context: Context) -> Rule:
        """The rule of a stack.

        Raises:
            ConfigError: the network has no matrix.
        """
        if not context.matrices:
            allowed = "needs a matrix, and this network has none: leave the rule out"
            raise ConfigError("rules.egalitarian.matrices", choices[0].matrices, allowed)
        return _Egalitarian(choices, context)


class _Egalitarian(Rule):
    """`memory` holds whether each member's gradients are still replaced, [E] bool."""

    def __init__(self, choices: Sequence[Egalitarian], context: Context) -> None:
        super().__init__(context)
        first = choices[0]
        names = context.matrices[:1] if first.matrices == "first" else context.matrices
        self._matrices = {name: self.parameters[name] for name in names}
        device = self._matrices[names[0]].device
        losses = [-torch.inf if one.until_loss is None else one.until_loss for one in choices]
        self._until = torch.tensor(losses, dtype=torch.float64, device=device)
        steps = [FOREVER if one.steps is None else one.steps for one in choices]
        self._steps = torch.tensor(steps, device=device)
        decays = [one.weight_decay for one in choices]
        self._decay = {name: per_member(decays, value) for name, value in self._matrices.items()}
        self._now = torch.zeros((), dtype=torch.int64, device=device)
        self.memory = {"active": {"members": torch.ones(len(choices), dtype=torch.bool, device=device)}}
        # Factorisations of matrices synchronise with a GPU.
        self.capturable = first.method == "column_norm"
        random = {name: Counters(context.seeds, f"egalitarian {name}") for name in names}
        self._change = {name: _method(first, random[name]) for name in names}

    def at(self, step: int) -> None:
        """Write the step to the device."""
        self._now.fill_(step)

    def around(self, step: int, backward: Backward) -> Backward:  # noqa: ARG002 (the rule's arguments)
        """Look at the losses."""

        def looked_at() -> Tensor:
            losses = backward()
            self.memory["active"]["members"].logical_and_(~(losses < self._until) & (self._now < self._steps))
            return losses

        return looked_at

    def before(self, step: int, factor: Factor) -> None:  # noqa: ARG002 (the rule's arguments)
        """Replace the gradients of the members that are active."""
        active = self.memory["active"]["members"]
        if not self.capturable and not bool(active.any()):
            return
        for name, weight in self._matrices.items():
            gradient = weight.grad
            assert gradient is not None
            decay = self._decay[name] * weight
            whole = gradient + decay
            # A factorisation of values that are not finite raises an error for the whole stack.
            finite = torch.isfinite(whole).flatten(1).all(1)
            changed = self._change[name](step, torch.where(broadcast_members(finite, whole), whole, 0))
            # The optimizer adds the decay again.
            gradient.copy_(torch.where(broadcast_members(active & finite, whole), changed - decay, gradient))


def _method(choice: Egalitarian, random: Counters) -> Callable[[int, Tensor], Tensor]:
    """A function of step and gradients [E, out, in]."""
    if choice.method == "randomised":
        return lambda step, gradient: low_rank_whitened(gradient, choice.rank, random, step)
    exact = whitened if choice.method == "svd" else unit_rows
    return lambda _, gradient: exact(gradient)


def whitened(matrices: Tensor) -> Tensor:
    """U V^T of each matrix U S V^T [E, out, in]; singular values that are round-off stay zero."""
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    round_off = s[:, :1] * torch.finfo(s.dtype).eps * max(matrices.shape[1:])
    return (u * (s > round_off)[:, None]) @ vh


def low_rank_whitened(matrices: Tensor, rank: int, random: Counters, step: int) -> Tensor:
    """`whitened` of a projection to about the largest singular vectors (Halko, Martinsson and Tropp 2011)."""
    rows, columns = matrices.shape[1:]
    rank = min(rank, rows, columns)
    right = random.normal(step, (columns, rank), matrices.device).to(matrices.dtype)
    for _ in range(POWER_ITERATIONS):
        right = torch.linalg.qr(matrices.mT @ torch.linalg.qr(matrices @ right).Q).Q
    left = torch.linalg.qr(matrices @ right).Q
    return left @ whitened(left.mT @ matrices)


def unit_rows(matrices: Tensor) -> Tensor:
    """Each row [E, out, :] divided by its norm, or by FLOOR if that is larger."""
    return matrices / matrices.norm(dim=2, keepdim=True).clamp_min(FLOOR)


GROUP = "rules"
CHOICES = {"egalitarian": Egalitarian}
