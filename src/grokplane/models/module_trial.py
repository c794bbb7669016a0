"""Trying a user's module on a few points, in training and in evaluation, before a run's folder is created."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.overrides import TorchFunctionMode, resolve_name

from grokplane.models.base import Signature
from grokplane.models.functional import StackedModule, seeded
from grokplane.models.looking_ahead import looks_ahead
from grokplane.models.module_factory import Factory
from grokplane.random import generator

POINTS = 3  # batch size of the trial


def example(signature: Signature) -> Tensor:
    """A batch of the task's shapes: tokens [POINTS, L], or features [POINTS, ...]."""
    shape = (POINTS, *(signature.shape or [signature.length]))
    if signature.vocabulary is None:
        return torch.linspace(-1, 1, math.prod(shape)).view(shape)
    return (torch.arange(math.prod(shape)) % signature.vocabulary).view(shape)


def check_alone(factory: Factory, inputs: Tensor, outputs: tuple[int, ...]) -> None:
    """Refuse a module without trainable parameters, with a failing forward pass, or with outputs of the wrong shape.

    Args:
        factory: builds the module.
        inputs: a batch of points.
        outputs: required shape of the outputs of a point.

    Raises:
        ConfigError: see above.
    """
    module = factory(generator(0, "trial"), torch.get_default_dtype()).train()
    parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
    if any(isinstance(value, UninitializedParameter) for value in parameters.values()):
        raise factory.refusal("has lazy parameters, whose shapes must be given")
    if not parameters:
        raise factory.refusal("has no parameter to train")
    _check_used(factory, parameters, _outputs(factory, module, inputs, outputs))
    _outputs(factory, module.eval(), inputs, outputs)


def check_causal(factory: Factory, inputs: Tensor, positions: int) -> None:
    """Refuse a module with an output that depends on a later input, for inputs that contain the answer.

    Raises:
        ConfigError: see above.
    """
    found = looks_ahead(factory, inputs, positions)
    if found is not None:
        where = f"the later input {found.place + 1} of {inputs.shape[1]}{' in training' if found.training else ''}"
        why = f"changes with {where}, and the inputs contain the answer (teacher forcing)"
        raise factory.refusal(f"output {found.output + 1} of {positions} {why}")


def _outputs(factory: Factory, module: nn.Module, inputs: Tensor, outputs: tuple[int, ...]) -> Tensor:
    batch = f"a batch {list(inputs.shape)}{'' if module.training else ' outside of training'}"
    try:
        with seeded(generator(0, "trial")):
            found = module(inputs)
    except Exception as error:
        raise factory.refusal(f"fails on {batch}: {factory.told(error)}") from error
    wanted = [POINTS, *outputs]
    shape = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
    if shape != wanted:
        raise factory.refusal(f"must turn {batch} into a tensor {wanted}, and gives {shape}")
    return found


def _check_used(factory: Factory, parameters: dict[str, nn.Parameter], outputs: Tensor) -> None:
    slopes: list[Tensor | None] = [None] * len(parameters)
    if outputs.requires_grad:
        slopes = list(torch.autograd.grad(outputs.sum(), list(parameters.values()), allow_unused=True))
    for name, slope in zip(parameters, slopes, strict=True):
        if slope is None:
            raise factory.refusal(f"its outputs have no gradient by its parameter {name}; allowed: requires_grad=False")


def check_stacked(network: StackedModule, factory: Factory, inputs: Tensor) -> None:
    """Refuse a stack whose forward or backward pass fails, in training or with a tap in evaluation.

    Raises:
        ConfigError: see above; or a module whose results differ between two equal calls.
    """
    members = len(next(network.parameters()))
    batch = network.encode(inputs.expand(members, *inputs.shape))
    first, again = (_pass(network, factory, batch) for _ in range(2))
    if not torch.allclose(first, again, rtol=1e-5, atol=1e-6, equal_nan=True):
        why = "two calls with the same inputs, parameters, buffers and seed of torch's generators differ"
        raise factory.refusal(f"{why}; what changes from call to call must be a buffer (register_buffer)")
    _pass(network.eval(), factory, batch)
    network.train()


def _pass(network: StackedModule, factory: Factory, batch: Tensor) -> Tensor:
    """Outputs after one forward and backward pass; the buffers are left unchanged."""
    operations, where = _Operations(), "" if network.training else " outside of training"
    buffers = [(value, value.clone()) for value in network.buffers()]
    try:
        with operations:
            outputs = network(batch, None if network.training else _unseen)
        torch.autograd.grad(outputs.sum(), list(network.parameters()), allow_unused=not network.training)
    except Exception as error:
        culprit = operations.failed or "its backward pass"
        stacked = len(batch) > 1
        why = f"cannot be stacked because of {culprit}{where}" if stacked else f"fails in {culprit}{where}"
        rest = "; a single member (E = 1) works" if stacked else ""
        raise factory.refusal(f"{why}: {factory.told(error)}{rest}") from error
    with torch.no_grad():
        for value, old in buffers:
            value.copy_(old)
    return outputs.detach()


def _unseen(*_: Any) -> None:
    """A tap that ignores its arguments."""


class _Operations(TorchFunctionMode):
    """Records the torch operation that raised an error."""

    failed: str | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except Exception:
            self.failed = self.failed or resolve_name(func) or str(func)
            raise
