"""Gradient symmetricity: whether a logit depends in the same direction on the embeddings of both operands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.answers import Reads
from grokplane.mechanism.clock import cosines, distinct_pairs
from grokplane.mechanism.operands import rows_of_pairs
from grokplane.metrics.embedding import embedding, two_operands
from grokplane.metrics.metric import LoggedSeldom
from grokplane.metrics.observation import Observation
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class GradientSymmetry(LoggedSeldom):
    """`gradient_symmetry`: mean over (a, b, c) of the cosine between dQ_abc / dE_a and dQ_abc / dE_b.

    Q_abc is output c for the question (a, b), E_a and E_b are the embeddings of its operands. The triples are drawn
    from a != b, for which the rows of the embedding differ, and all outputs c; pairs without a question, and those with
    a derivative that is 0, do not count. 1 for a network that sums the embeddings of its operands. Zhong et al. 2023,
    "The clock and the pizza", arXiv 2306.17844, find 0.99 for pizzas and 0.33 for clocks.
    """

    reads: ClassVar[Reads] = "labels"
    needs_group: ClassVar[bool] = True

    triples: int = option(256, "number of triples (a, b, c) that are drawn", at_least=1)
    seed: int = option(0, "seed of the drawing", at_least=0)

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Mean cosines [E] in float64.

        Raises:
            ConfigError: the network has no embedding, or questions have more than two operands.
        """
        name, weight = embedding(seen, "gradient_symmetry")
        operands, _ = two_operands(seen, "gradient_symmetry")
        tokens, outputs = weight.shape[1], seen.train.outputs.shape[2]
        rows, questions = rows_of_pairs(operands, tokens), seen.over_table(lambda subset: subset.inputs)
        asked = seen.over_table(lambda subset: subset.mask.long()) > 0
        source, most = max(
            ((subset.source, subset.mask.shape[1]) for subset in seen.subsets.values()), key=lambda one: one[1]
        )
        total, count = torch.zeros(2, len(weight), dtype=torch.float64, device=weight.device)
        for drawn in distinct_pairs(tokens, self.triples, outputs, most, self.seed):
            a, b, c = drawn.to(weight.device).unbind(1)
            row = rows[:, a * tokens + b]
            known = (row >= 0) & asked.gather(1, row.clamp_min(0))
            inputs = questions[torch.arange(len(row), device=row.device)[:, None], row.clamp_min(0)]
            with torch.enable_grad():
                own = weight.detach().clone().requires_grad_()
                made = source.run(slice(0, len(drawn)), {name: own}, inputs)
                logits = made.gather(2, c.expand_as(row)[..., None]).squeeze(2)
                (gradient,) = torch.autograd.grad(torch.where(known, logits, 0).sum(), own)
            values, defined = cosines(gradient[:, a], gradient[:, b])
            total = total + torch.where(known & defined, values, 0).sum(1)
            count = count + (known & defined).sum(1)
        return {"gradient_symmetry": total / count}


GROUP = "metrics"
CHOICES = {"gradient_symmetry": GradientSymmetry}
