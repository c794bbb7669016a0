"""Representation quality index: the share of parallelograms that the embeddings of operands form."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.mechanism.parallelograms import parallelograms, quality
from grokplane.metrics.elements import elements
from grokplane.metrics.embedding import embedding
from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.options import ConfigError, checked, option


@dataclass(frozen=True)
@checked
class RQI(Metric):
    """`RQI/group` and `RQI/integers`: share of the relations i + j = m + n that embeddings E_i of operands fulfil.

    A relation is fulfilled if |E_i + E_j - E_m - E_n| <= tolerance * s, where s is the root mean square distance of the
    embeddings to their mean; {i, j} and {m, n} are distinct. In `group`, i + j is the sum in the group of the operands.
    In `integers`, coordinates of elements (residues, discrete logarithms) are added without a modulus: the index of Liu
    et al. 2022, arXiv 2205.10343, who add integers. Embeddings on a line fulfil all relations of integers, and of the
    group those without a carry. Embeddings on a circle fulfil hardly any of either.
    """

    needs_group: ClassVar[bool] = True

    tolerance: float = option(0.01, "largest deviation, in units of the spread of the embeddings", above=0)
    most: int = option(200_000, "number of relations from which they are drawn and not all taken", at_least=1)
    seed: int = option(0, "seed of the drawing", at_least=0)

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Shares [E] in 0..1; NaN (null) if all embeddings are equal.

        Raises:
            ConfigError: the network has no embedding, or the group is not a known product of cyclic groups.
        """
        _, weight = embedding(seen, "rqi")
        groups = [group for group in seen.operand_groups if group is not None]
        if not all(group.orders for group in groups):
            raise ConfigError("metrics", "rqi", "needs a group that is a product of cyclic groups; leave it out")
        tokens = elements(seen).tokens()
        found = {f"RQI/{kind}": weight.new_zeros(len(weight), dtype=torch.float64) for kind in ("group", "integers")}
        for orders in dict.fromkeys(group.orders for group in groups):
            members = [row for row, group in enumerate(groups) if group.orders == orders]
            rows = torch.tensor(members, device=weight.device)
            values = weight[rows[:, None], tokens[rows, : prod(orders)]]
            for name, shares in found.items():
                corners = parallelograms(orders, name == "RQI/group", self.most, self.seed).to(weight.device)
                shares[rows] = quality(values, corners, self.tolerance)
        return found


GROUP = "metrics"
CHOICES = {"rqi": RQI}
