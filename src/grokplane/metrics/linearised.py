"""Loss and accuracy of the network's linearisation at its initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.metrics.metric import LoggedSeldom
from grokplane.metrics.observation import Observation
from grokplane.metrics.reduce import masked_fraction
from grokplane.metrics.subset import Subset, joined
from grokplane.options import checked


@dataclass(frozen=True)
@checked
class Linearised(LoggedSeldom):
    """`Loss_linearised/...`, `Acc_linearised/...`: those of the first-order expansion f(w_0) + df/dw(w_0) (w - w_0).

    w_0 are the initial weights and w those of the log point. The values are those of the network if training is lazy
    (Chizat, Oyallon and Bach 2019; Kumar et al. 2024).
    """

    needs_initial: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Losses and accuracies [E] by split."""
        found = {}
        for split, subset in seen.splits.items():
            losses, scores = _values(subset, seen.initial, seen.all_parameters)
            found[f"Loss_linearised/{split}"] = subset.mean(losses)
            found |= {f"{name}_linearised/{split}": masked_fraction(one, subset) for name, one in scores.items()}
        return found


def _values(
    subset: Subset, start: Mapping[str, Tensor], end: Mapping[str, Tensor]
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Losses [E, n] and scores [E, n] by name of the linearised outputs."""
    losses, scores = [], []
    for part in subset.slices():
        outputs, targets = linearised_outputs(subset, part, start, end), subset.targets[:, part]
        losses.append(subset.source.losses(outputs, targets))
        scores.append(subset.answers.scores(outputs, targets))
    return torch.cat(losses, 1), joined(scores)


def linearised_outputs(subset: Subset, part: slice, start: Mapping[str, Tensor], end: Mapping[str, Tensor]) -> Tensor:
    """Outputs [E, b, ...] of the expansion around the parameters `start`, at the parameters `end`.

    The derivative along end - start is the derivative, by u, of the gradient of u'f in that direction: two passes in
    reverse mode, which every layer supports.
    """
    leaves = {name: value.detach().clone().requires_grad_() for name, value in start.items()}
    with torch.enable_grad():
        outputs = subset.source.run(part, leaves)
        weights = torch.zeros_like(outputs, requires_grad=True)
        slopes = torch.autograd.grad(outputs, list(leaves.values()), weights, create_graph=True, materialize_grads=True)
        along = {name: end[name] - value.detach() for name, value in leaves.items()}
        read = [(one, along[name]) for name, one in zip(leaves, slopes, strict=True) if one.requires_grad]
        (change,) = torch.autograd.grad([one for one, _ in read], weights, [one for _, one in read])
    return outputs.detach() + change


GROUP = "metrics"
CHOICES = {"linearised": Linearised}
