"""Clock or pizza: gradient symmetricity and distance irrelevance of Zhong et al. 2023, arXiv 2306.17844."""

from __future__ import annotations

import torch
from torch import Tensor


def distinct_pairs(tokens: int, count: int, outputs: int, most: int, seed: int) -> list[Tensor]:
    """Draw triples (a, b, c) in rounds [r, 3]: in a round no two operands are the same token.

    Then the derivative of the sum of all logits c by the embedding of a token is that of one logit.

    Args:
        tokens: number of tokens, from which a and b are drawn.
        count: number of triples.
        outputs: number of outputs, from which c is drawn.
        most: largest number of triples of a round.
        seed: of the drawing.
    """
    generator = torch.Generator().manual_seed(seed)
    found, left, size = [], count, min(most, tokens // 2)
    while left > 0 and size > 0:
        pairs = torch.randperm(tokens, generator=generator)[: 2 * min(size, left)].view(-1, 2)
        answers = torch.randint(outputs, (len(pairs), 1), generator=generator)
        found.append(torch.cat([pairs, answers], 1))
        left -= len(pairs)
    return found


def cosines(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines [E, r] of vectors [E, r, D] in float64, and whether they are defined: neither vector is 0."""
    first, second = first.double(), second.double()
    norms = torch.linalg.vector_norm(first, dim=2) * torch.linalg.vector_norm(second, dim=2)
    return (first * second).sum(2) / norms, norms != 0


def distance_irrelevance(logits: Tensor, differences: Tensor, known: Tensor, count: int) -> Tensor:
    """Mean over differences d of the standard deviation of the logits with d, over that of all logits [E].

    Args:
        logits: logit of the right answer of each question [E, N].
        differences: difference of its operands [E, N], from 0 to count - 1.
        known: the questions that count [E, N].
        count: number of differences; those without questions do not count.
    """
    logits, weights = torch.where(known, logits.double(), 0), known.double()
    empty = logits.new_zeros(len(logits), count)
    sizes = empty.scatter_add(1, differences, weights)
    means = empty.scatter_add(1, differences, logits) / sizes.clamp_min(1)
    squares = torch.where(known, logits - means.gather(1, differences), 0).square()
    deviations = (empty.scatter_add(1, differences, squares) / sizes.clamp_min(1)).sqrt()
    mean = deviations.sum(1) / (sizes > 0).sum(1)
    return mean / _deviation(logits, known)


def _deviation(values: Tensor, known: Tensor) -> Tensor:
    """Population standard deviation [E] of values [E, N] that are known; the others are 0."""
    count = known.sum(1)
    mean = values.sum(1) / count
    return (torch.where(known, values - mean[:, None], 0).square().sum(1) / count).sqrt()
