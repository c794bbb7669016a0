"""Support for hand-written backward passes: second derivatives, torch.func and forward-mode differentiation.

A hand-written backward pass works in place on tensors that the forward pass saved. Its first derivatives are right, but
they cannot be differentiated again. So every such autograd function has a twin made of plain operations. The twin
replaces the function when `transformed` returns True. When higher derivatives are required, the function's backward
pass is that of the twin (`of_twin`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad


def transformed() -> bool:
    """Whether torch.func (grad, vmap, jvp, ...) or forward-mode differentiation is active.

    torch makes the same two checks before it calls a function with a custom backward pass. torch's public form of such
    functions supports these transforms, but its overhead per call exceeds the cost of some functions here.
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def beyond_the_first(gradient: Tensor) -> bool:
    """Whether a backward pass that receives this gradient must give more than plain first derivatives.

    That is so with `create_graph`, where the result is differentiated again, and with `is_grads_batched`.
    """
    return torch.is_grad_enabled() or is_legacy_batchedtensor(gradient) or transformed()


def of_twin(
    twin: Callable[..., Tensor], inputs: Sequence[Tensor | None], gradient: Tensor
) -> tuple[Tensor | None, ...]:
    """The derivatives of `twin(*inputs)` times `gradient`, as a backward pass returns them; differentiable if needed.

    Args:
        twin: a function made of plain operations.
        inputs: its arguments, as saved; None for a bias that does not exist.
        gradient: the gradient of its result.

    Returns:
        One derivative per input; None for inputs that need none.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views, so that a tensor that occurs twice gets a derivative for each place.
        own = [value.view_as(value) if value is not None and value.requires_grad else value for value in inputs]
        wanted = [value for value in own if value is not None and value.requires_grad]
        found = iter(torch.autograd.grad(twin(*own), wanted, gradient, create_graph=create_graph))
    return tuple(next(found) if value is not None and value.requires_grad else None for value in own)
