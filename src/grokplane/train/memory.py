"""Refuse updates and log points that do not fit into the free memory."""

from __future__ import annotations

import torch

from grokplane.models import StackedModel
from grokplane.options import ConfigError
from grokplane.resources import available_bytes, human
from grokplane.train.stack import Stack

# During an update every value has a gradient too, and the loss allocates tensors of the outputs' size.
COPIES = 3


def check_memory(stack: Stack) -> None:
    """Refuse a full batch, or observations of whole subsets, that would take more than half of the free memory.

    Raises:
        ConfigError: gives the required bytes.
    """
    point, one, half = stack.point, stack.shared, free_bytes(stack.device) // 2
    train, points = stack.examples.train.mask.shape[1], stack.examples.points
    room = f"more than half of the {human(2 * half)} available"
    step, look = COPIES * point.both, point.both * points
    if stack.batches is None and train * step > half:
        allowed = f"an update on {train:,} points would take {human(train * step)}, {room}; must be a number"
        raise ConfigError("train.batch_size", "full", f"{allowed}, at most {max(1, half // step)}")
    if look <= half:
        return
    takes = f"layers and outputs of all {points:,} points would take {human(look)}, {room}"
    readers = [name for name, metric in one.metrics.items() if getattr(metric, "needs_layers", False)]
    if stack.gauge is not None:
        raise ConfigError("mi", type(one.mi).__name__.lower(), f"{takes}; use off, or a smaller task")
    if readers:
        rest = ",".join(name for name in one.metrics if name not in readers)
        raise ConfigError("metrics", f"[{','.join(readers)}]", f"{takes}; write metrics=[{rest}]")
    if bound_together(stack.network):
        why = "noise, or a module that mixes points, needs all of them at once; use none"
        raise ConfigError("model", type(one.model).__name__.lower(), f"{takes}: {why}")


def bound_together(network: StackedModel) -> bool:
    """Whether a point's outputs outside of training depend on the other points. Noise does: it is numbered by point."""
    return bool(network.noisy) or network.mixes(training=False)


def free_bytes(device: torch.device | str) -> int:
    """Memory that is still free on a device."""
    return torch.cuda.mem_get_info(device)[0] if torch.device(device).type == "cuda" else available_bytes()
