"""One member of a stack as an ordinary module: no member axis in parameters, inputs or outputs."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor, nn
from torch.func import functional_call

from grokplane.models.base import StackedModel, Tap
from grokplane.models.functional import StackedModule, owner


class Single(nn.Module):
    """A network [B, ...] -> [B, C] with a plain state dict; outputs equal those of its stack of one member to the bit.

    Parameters and buffers are copies and carry the names of the stacked network; those of a user's own module carry
    the module's names. Gradients, `torch.func` and changes of the weights work as for any module.

    Args:
        stacked: a stack of one member; it gives the forward pass and belongs to this module from now on.
    """

    def __init__(self, stacked: StackedModel) -> None:
        super().__init__()
        self._held = (stacked,)  # in a tuple, so that its parameters are not registered
        self._prefix = "weights." if isinstance(stacked, StackedModule) else ""
        for name, value in stacked.named_parameters():
            module, leaf = owner(self, name.removeprefix(self._prefix))
            module.register_parameter(leaf, nn.Parameter(value.detach()[0].clone()))
        saved = stacked.state_dict().keys()  # other buffers are constants without a member axis
        for name, value in ((name, value) for name, value in stacked.named_buffers() if name in saved):
            module, leaf = owner(self, name.removeprefix(self._prefix))
            module.register_buffer(leaf, value[0].clone())
        self.train(stacked.training)

    def forward(self, inputs: Tensor, tap: Tap | None = None) -> Tensor:
        """Outputs [B, C] of tokens [B, L] or features [B, ...].

        Args:
            inputs: as in the task's table; features are converted to the dtype of the parameters.
            tap: sees every named layer, with a member axis of length 1.
        """
        named = [*self.named_parameters(), *self.named_buffers()]
        if inputs.is_floating_point():
            inputs = inputs.to(named[0][1].dtype)
        state = {f"{self._prefix}{name}": value[None] for name, value in named}
        return functional_call(self._held[0], state, (self._held[0].encode(inputs[None]), tap))[0]

    def activations(self, inputs: Tensor) -> dict[str, Tensor]:
        """Activations [B, ..., F] of every named layer, without noise, in the order of the forward pass."""
        found: dict[str, Tensor] = {}

        def tap(name: str, preactivations: Tensor, activations: Tensor, *_: Any) -> None:  # noqa: ARG001 (a tap's)
            found[name] = activations[0]

        self(inputs, tap)
        return found

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation mode, dropout included."""
        self._held[0].train(mode)
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._held[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)
