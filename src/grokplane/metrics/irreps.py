"""Energy by irreducible representation of the operands' group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from grokplane.answers import Reads
from grokplane.mechanism import spectra
from grokplane.mechanism.irreps import irreps
from grokplane.metrics.metric import Array, Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.padded import stacked
from grokplane.metrics.token_weights import token_weights
from grokplane.operand_group import OperandGroup


class _Basis(NamedTuple):
    """The components of the members' groups, padded to the largest order n and number of components R.

    Attributes:
        functions: orthonormal functions of the token [E, n, V]; zero in padding and at symbols.
        membership: which component each function belongs to [E, R, n], 0 or 1.
        elements: element of each token [E, V], -1 for symbols.
    """

    functions: Tensor
    membership: Tensor
    elements: Tensor


@dataclass(frozen=True)
class Irreps(Metric):
    """Energy of the embedding, the read-out and the outputs by irreducible representation of the operands' group.

    The outputs of a question are a function of the class, and the class is an element. Components are those of
    `grokplane.mechanism.irreps` (Chughtai, Chan and Nanda 2023, arXiv 2302.03025). Formulas are in docs/metrics.md.
    """

    reads: ClassVar[Reads] = "labels"
    needs_group: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor | Array]:
        """Shares of energy [E, R] and the largest one without the trivial representation [E] by layer."""
        assert seen.operands is not None
        basis = _basis(tuple(group for group in seen.operand_groups if group is not None), seen.operands.device)
        weights = token_weights(seen, basis.elements)
        energy = {f"weight/{layer}": _energies(basis, values.double()) for layer, values in weights.items()}
        outputs = [torch.where(subset.mask[..., None], subset.outputs, 0).mT for subset in seen.subsets.values()]
        energy["outputs"] = torch.stack([_energies(basis, values) for values in outputs]).sum(0)
        found: dict[str, Tensor | Array] = {}
        there = basis.membership.any(2)
        for name, values in energy.items():
            share = torch.where(there, values / values.sum(1, keepdim=True), torch.nan)
            others = values[:, 1:] / values[:, 1:].sum(1, keepdim=True)
            found |= {f"irrep_power_{name}": Array(share), f"irrep_top_{name}": spectra.top(others[..., None], 1)[:, 0]}
        return found


def _energies(basis: _Basis, values: Tensor) -> Tensor:
    """Energy [E, R] in float64 of all functions of the token [E, V, columns] by component."""
    coefficients = torch.bmm(basis.functions.to(values.dtype), values)
    return torch.bmm(basis.membership, coefficients.square().sum(2, dtype=torch.float64)[..., None])[..., 0]


@lru_cache(maxsize=4)
def _basis(groups: Sequence[OperandGroup], device: torch.device) -> _Basis:
    known = {group.products.data_ptr(): irreps(group.products) for group in groups}
    functions, membership = [], []
    for group in groups:
        rows = known[group.products.data_ptr()].rows
        functions.append(torch.where(group.elements < 0, 0, rows.functions[:, group.elements]))
        membership.append(F.one_hot(rows.component).double().mT)
    elements = stacked([group.elements for group in groups], -1, device)
    return _Basis(stacked(functions, 0.0, device), stacked(membership, 0.0, device), elements)


GROUP = "metrics"
CHOICES = {"irreps": Irreps}
