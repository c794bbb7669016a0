"""Values of the layers of an ordinary module in a forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

Layers = dict[str, tuple[Tensor, ...]]
"""A layer's values [E, B, ..., F] by its name; for a ReLU the values before and after it."""


class Watch:
    """Records the values of a module's layers in a forward pass.

    Attributes:
        seen: values by the layer's path; further calls of the same layer are stored as "PATH (2)" and so on.
        exact_zeros: names of the layers that are ReLUs.
    """

    def __init__(self, batch: int) -> None:
        self.seen: Layers = {}
        self.exact_zeros: set[str] = set()
        self._batch = batch

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        """A block in which the module's layers are watched: layers with parameters of their own, and ReLUs."""
        watched = [
            layer.register_forward_hook(partial(self._note, path or type(module).__name__))
            for path, layer in module.named_modules()
            if isinstance(layer, nn.ReLU) or any(True for _ in layer.parameters(recurse=False))
        ]
        try:
            yield
        finally:
            for handle in watched:
                handle.remove()

    def _note(self, name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        values = output[0] if isinstance(output, tuple) else output  # torch.nn.LSTM also returns its states
        if not isinstance(values, Tensor) or values.dim() < 2 or len(values) != self._batch:
            return  # not one row per point
        calls = 1 + sum(seen.partition(" (")[0] == name for seen in self.seen)
        name = name if calls == 1 else f"{name} ({calls})"
        # Copies, because later operations may work in place.
        self.seen[name] = (inputs[0].clone(), values.clone()) if isinstance(layer, nn.ReLU) else (values.clone(),)
        if isinstance(layer, nn.ReLU):
            self.exact_zeros.add(name)
