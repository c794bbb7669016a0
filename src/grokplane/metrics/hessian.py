"""The Hessian of the training loss: its largest eigenvalue and its trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.mechanism.curvature import Product, largest_eigenvalue, trace
from grokplane.mechanism.vectors import joined_vector, split_vector
from grokplane.metrics.metric import LoggedSeldom
from grokplane.metrics.observation import Observation
from grokplane.metrics.subset import Subset
from grokplane.options import checked, option
from grokplane.random import generator


@dataclass(frozen=True)
@checked
class Hessian(LoggedSeldom):
    """`Hessian/{top,trace}`: largest eigenvalue and trace of the Hessian of `Loss/train` in all parameters.

    Products with vectors are exact and over the whole training subset. The eigenvalue is found by the Lanczos method
    with full reorthogonalisation, the trace by Hutchinson's estimator; `Hessian/top_residual` and
    `Hessian/trace_Errors` say how far each may be off. The first vector and the probes depend on `seed` alone, so that
    all members and log points share them.
    """

    iterations: int = option(20, "products for the largest eigenvalue", at_least=1)
    probes: int = option(10, "products for the trace", at_least=2)
    seed: int = option(0, "seed of the first vector and of the probes", at_least=0)

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Eigenvalue, residual, trace and standard error [E] in float64."""
        parameters = seen.all_parameters
        product, point = hessian_product(seen.train, parameters), joined_vector(parameters.values())
        members, size = point.shape
        start = torch.randn(size, generator=generator(self.seed, "hessian start")).to(point)
        signs = torch.randint(2, (self.probes, size), generator=generator(self.seed, "hessian probes")).to(point)
        top, estimate = (
            largest_eigenvalue(product, start.expand(members, -1), self.iterations),
            trace(product, 2 * signs - 1, members),
        )
        return {
            "Hessian/top": top.value,
            "Hessian/top_residual": top.residual,
            "Hessian/trace": estimate.value,
            "Hessian/trace_Errors": estimate.std_error,
        }


def hessian_product(subset: Subset, parameters: Mapping[str, Tensor]) -> Product:
    """A function that multiplies the Hessian of the subset's loss by vectors [E, D].

    The gradient of a subset in one part is computed once and kept with its graph; a large subset is processed in parts
    for every product.

    Args:
        subset: the points.
        parameters: all parameters [E, ...] by full name, in the order of the vectors' entries.
    """
    slices = subset.slices()
    kept = _Gradient(subset, parameters, slices[0]) if len(slices) == 1 else None

    def product(vectors: Tensor) -> Tensor:
        of_parts = (kept or _Gradient(subset, parameters, part) for part in slices)
        return torch.stack([one.product(vectors) for one in of_parts]).sum(0)

    return product


class _Gradient:
    """The gradient of a part of a subset's loss, with its graph."""

    def __init__(self, subset: Subset, parameters: Mapping[str, Tensor], part: slice) -> None:
        with torch.enable_grad():
            self._point = {name: value.detach().clone().requires_grad_() for name, value in parameters.items()}
            loss, leaves = subset.loss(self._point, part).sum(), list(self._point.values())
            found = torch.autograd.grad(loss, leaves, create_graph=True, materialize_grads=True)
        self._gradient = dict(zip(self._point, found, strict=True))

    def product(self, vectors: Tensor) -> Tensor:
        """The derivative [E, D] of the gradient along vectors [E, D]."""
        # The gradient is constant in parameters in which the loss is linear.
        curved = {name: gradient for name, gradient in self._gradient.items() if gradient.requires_grad}
        if not curved:
            return torch.zeros_like(vectors)
        along, leaves = split_vector(vectors, self._point), list(self._point.values())
        found = torch.autograd.grad(
            list(curved.values()), leaves, [along[name] for name in curved], retain_graph=True, materialize_grads=True
        )
        return joined_vector(found)


GROUP = "metrics"
CHOICES = {"hessian": Hessian}
