"""Cross-entropy that keeps its relative precision near zero loss."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from grokplane.answers import Reads
from grokplane.derivatives import beyond_the_first, of_twin, transformed
from grokplane.options import checked, option


class _CrossEntropy(torch.autograd.Function):
    """-log softmax(z)_y for each point, with full relative precision near zero loss.

    Near zero loss, the gradient p_y - 1 of the label's logit and the loss -log p_y round to 0 in float32 long before
    the other probabilities do. With q, the sum of the *other* probabilities, they equal -q and -log1p(-q), which keep
    their relative precision.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        label = labels[..., None]
        log_probability = torch.log_softmax(logits, -1)
        direct = -log_probability.gather(-1, label)
        gradient = log_probability.exp_().scatter_(-1, label, 0)
        others = gradient.sum(-1, keepdim=True)
        gradient.scatter_(-1, label, -others)
        ctx.save_for_backward(gradient, logits, labels)
        # For q above 1/2 the direct form is more precise, and log1p(-q) is infinite at q = 1.
        return torch.where(others < 0.5, -torch.log1p(-others), direct).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        gradient, *inputs = ctx.saved_tensors
        if beyond_the_first(grad_outputs[0]):
            return of_twin(_plain, inputs, grad_outputs[0])
        return gradient * grad_outputs[0][..., None], None


def _plain(logits: Tensor, labels: Tensor) -> Tensor:
    """The same loss from differentiable operations, with equally precise first derivatives."""
    label = labels[..., None]
    direct = -torch.log_softmax(logits, -1).gather(-1, label)
    others = torch.softmax(logits, -1).scatter(-1, label, 0).sum(-1, keepdim=True)
    # Clamp, because an infinite derivative of the unused branch would give NaN.
    return torch.where(others < 0.5, -torch.log1p(-others.clamp(max=0.5)), direct).squeeze(-1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each point in nats, for logits [..., C] and int64 labels [...] -> [...]."""
    if transformed():
        return _plain(logits, labels)
    loss: Any = _CrossEntropy.apply(logits, labels)
    return loss


@dataclass(frozen=True)
@checked
class CrossEntropy:
    """Cross-entropy of logits and labels, in nats."""

    reads: ClassVar[Reads] = "labels"

    dtype: str = option(
        "same",
        "precision of the loss; same as the network, or float64 (doubles the step)",
        choices=["same", "float64"],
    )

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Loss of each point: outputs [E, B, C], labels [E, B] -> [E, B]."""
        return cross_entropy(outputs.double() if self.dtype == "float64" else outputs, labels)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """softmax(z) in float64: outputs [..., C] -> [..., C]."""
        return outputs.double().softmax(-1)


GROUP = "loss"
CHOICES = {"cross_entropy": CrossEntropy}
