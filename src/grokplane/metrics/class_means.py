"""Means of values over the points of each class."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.metrics.subset import Subset, parts


def class_means(values: Tensor, subset: Subset) -> Tensor:
    """Class means [E, C, F] of values [E, n, F] over unpadded points; zero for an empty class."""
    real, (wanted, classes) = subset.mask.to(values.dtype), subset.classes
    members, points = wanted.shape
    count = values.new_zeros(members, classes).scatter_add_(1, wanted, real).clamp_min_(1)
    means = values.new_zeros(members, classes, values.shape[-1])
    for part in parts(points, members * classes * values.element_size()):
        member = values.new_zeros(members, wanted[:, part].shape[1], classes)
        member.scatter_(2, wanted[:, part, None], real[:, part, None])
        means.baddbmm_((member / count[:, None]).mT, values[:, part])
    return means


def own_means(means: Tensor, labels: Tensor) -> Tensor:
    """The mean of each point's class [E, n, F], of class means [E, C, F] and labels [E, n]."""
    return means[torch.arange(len(labels), device=labels.device)[:, None], labels]


def occupied(subset: Subset) -> Tensor:
    """Whether each class has points [E, C], bool."""
    count = torch.zeros(len(subset.mask), subset.classes.number, dtype=torch.int64, device=subset.mask.device)
    return count.scatter_add_(1, subset.classes.labels, subset.mask.long()) > 0
