"""Where a backward pass written by hand does not do: second derivatives, torch.func and forward-mode differentiation.

Such a backward pass works in place, on tensors that the forward pass left: it gives the right first derivatives, and
nothing that could be differentiated once more. So every node of that kind has a twin of plain operations beside it.
The twin is gone through wherever `transformed` says so; and where derivatives of derivatives are wanted, the node's
backward pass is that of the twin (`of_twin`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad


def transformed() -> bool:
    """Whether torch.func (grad, vmap, jvp, ...) or forward-mode differentiation is at work.

    torch asks the same two questions before it calls a function with a backward pass of its own. It has a public form
    of such functions that these can go through, which costs every call more than some of our nodes take.
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def beyond_the_first(gradient: Tensor) -> bool:
    """Whether more than plain first derivatives are wanted of a backward pass that is handed this gradient.

    So it is where they are to be differentiated (`create_graph`), or many are made at once (`is_grads_batched`).
    """
    return torch.is_grad_enabled() or is_legacy_batchedtensor(gradient) or transformed()


def of_twin(twin: Callable[..., Tensor], inputs: Sequence[Tensor], gradient: Tensor) -> tuple[Tensor | None, ...]:
    """The derivatives of `twin(*inputs)` times `gradient`, as a backward pass hands them on; differentiable if asked.

    Args:
        twin: made of plain operations.
        inputs: what it was called with, as saved.
        gradient: of its result.

    Returns:
        One an input; None for those that need none.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views: of a tensor that is there twice, each place has its own derivative.
        own = [value.view_as(value) if value.requires_grad else value for value in inputs]
        wanted = [value for value in own if value.requires_grad]
        found = iter(torch.autograd.grad(twin(*own), wanted, gradient, create_graph=create_graph))
    return tuple(next(found) if value.requires_grad else None for value in own)
