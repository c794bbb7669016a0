"""The empirical neural tangent kernel: its change since initialisation, and its alignment with the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.mechanism.kernels import alignment, centred, label_kernel, norm
from grokplane.metrics.chosen import Chosen, chosen
from grokplane.metrics.metric import LoggedSeldom
from grokplane.metrics.observation import Observation
from grokplane.options import checked, option
from grokplane.random import generator


@dataclass(frozen=True)
@checked
class Kernel(LoggedSeldom):
    """`NTK_change`, `NTK_alignment`, `cka_label_train/NTK`: how far training is from the lazy regime.

    The kernel is K_ij = sum_c <df_c(x_i)/dw, df_c(x_j)/dw> over all parameters w and all outputs c, on random training
    points. With `projections` R the outputs f are replaced by R random sums v'f with entries 1 and -1 in v, whose
    kernel has the mean R K. `NTK_change` is norm(K_t - K_0) / norm(K_0) in the Frobenius norm and `NTK_alignment` the
    cosine of K_t and K_0 (Fort et al. 2020). `cka_label_train/NTK` is the centred alignment of K_t and the labels
    (Baratin et al. 2021); it is missing if answers are numbers.
    """

    needs_initial: ClassVar[bool] = True

    points: int = option(64, "the largest number of training points, drawn at random", at_least=2)
    projections: int | None = option(8, "random sums of outputs; null: all outputs", at_least=1)
    seed: int = option(0, "seed of the drawn points and of the random sums", at_least=0)

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Values [E] in float64."""
        some = chosen(seen.train, self.points, self.seed)
        directions = self._directions(prod(seen.train.answers.shape)).to(seen.train.losses)
        now, start = (tangent_kernel(some, one, directions) for one in (seen.all_parameters, seen.initial))
        found = {"NTK_change": norm(now - start) / norm(start), "NTK_alignment": alignment(now, start)}
        classes = seen.train.answers.as_classes(seen.train.real_targets)
        if classes is not None:
            labels = label_kernel(some.of(classes.labels), some.mask, now.dtype)
            found["cka_label_train/NTK"] = alignment(centred(now, some.mask), labels)
        return found

    def _directions(self, outputs: int) -> Tensor:
        """Sums of outputs [R, outputs]."""
        if self.projections is None:
            return torch.eye(outputs)
        signs = torch.randint(2, (self.projections, outputs), generator=generator(self.seed, "kernel projections"))
        return 2 * signs - 1


def tangent_kernel(some: Chosen, parameters: Mapping[str, Tensor], directions: Tensor) -> Tensor:
    """The empirical neural tangent kernel [E, P, P] of sums of outputs; zero for padding.

    Args:
        some: the points.
        parameters: all parameters [E, ...] by full name.
        directions: weights of the outputs in every sum [R, C], of answers with T tokens [R, T * C].
    """
    leaves = {name: value.detach().clone().requires_grad_() for name, value in parameters.items()}
    with torch.enable_grad():
        outputs = some.subset.source.run(some.part, leaves, some.inputs).flatten(2)
    members, points = outputs.shape[:2]
    each = torch.eye(points, dtype=outputs.dtype, device=outputs.device)[:, None, :, None]
    kernel = outputs.new_zeros(members, points, points)
    for direction in directions:
        found = torch.autograd.grad(
            outputs,
            list(leaves.values()),
            (each * direction).expand(-1, members, -1, -1),
            retain_graph=True,
            is_grads_batched=True,
            allow_unused=True,
        )
        for one in found:
            if one is not None:
                gradients = one.reshape(points, members, -1).transpose(0, 1)
                kernel += torch.bmm(gradients, gradients.mT)
    return kernel * (some.mask[:, :, None] & some.mask[:, None, :])


GROUP = "metrics"
CHOICES = {"kernel": Kernel}
