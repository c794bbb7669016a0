"""Any ordinary nn.Module as a model, named in the config; docs/adapter.md shows how."""

from __future__ import annotations

import copy
import inspect
import math
import pkgutil
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.overrides import TorchFunctionMode, resolve_name

from grokplane.models.base import Signature
from grokplane.models.functional import StackedModule, seeded
from grokplane.options import ConfigError, one_of, option
from grokplane.random import generator

TARGET = "model.module._target_"
POINTS = 3  # of the batch with which a module is tried


@dataclass(frozen=True)
class Module:
    """A torch.nn.Module of one's own: [B, L] tokens or [B, ...] features -> [B, C], stacked by torch.func."""

    makes_its_parts: ClassVar[bool] = True

    module: dict[str, Any] = option(help="its class, `_target_`, and its constructor's arguments")
    init_scale: float = option(1.0, "factor on every initial parameter", above=0, stackable=True)

    @property
    def init(self) -> str:
        """The module draws its own weights."""
        return "own"

    def network(self, members: int, signature: Signature) -> StackedModule:
        """The stack, with initial weights that are not the members' own yet.

        Raises:
            ConfigError: a class or arguments that do not fit, a module that fails on a batch of the task's shapes, or
                that cannot be stacked.
        """
        given = {key: value for key, value in self.module.items() if key != "_target_"}
        factory = _Factory(str(self.module.get("_target_", "???")), given, signature)
        _check_alone(factory, signature)
        network = StackedModule(members, factory)
        if members > 1:
            _check_stacked(network, factory, signature)
        return network


class _Factory:
    """Builds the module: (generator of its initial weights, dtype of its parameters) -> module."""

    def __init__(self, target: str, given: dict[str, Any], signature: Signature) -> None:
        self.target, self.kind = target, _module_class(target)
        self.arguments = _arguments(target, self.kind, given, signature)

    def __call__(self, random: torch.Generator, dtype: torch.dtype) -> nn.Module:
        before = torch.get_default_dtype()
        try:
            with seeded(random):
                torch.set_default_dtype(dtype)
                return self.kind(**copy.deepcopy(self.arguments))
        except Exception as error:
            raise self.refusal(f"its constructor fails: {self.told(error)}") from error
        finally:
            torch.set_default_dtype(before)

    def refusal(self, why: str) -> ConfigError:
        """The error that says why this module cannot be trained."""
        return ConfigError(TARGET, self.target, why)

    def told(self, error: Exception) -> str:
        """An error of the module's own in one line, with the last line of the module's file on its way."""
        frames = traceback.extract_tb(error.__traceback__)
        file = inspect.getsourcefile(self.kind)
        own = [f" ({Path(frame.filename).name}:{frame.lineno})" for frame in frames if frame.filename == file]
        lines = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {lines[0]}{own[-1] if own else ''}"


def _module_class(target: str) -> type[nn.Module]:
    if target == "???":
        raise ConfigError(TARGET, None, "must name a class of torch.nn.Module that can be imported: my_nets.Net")
    try:
        found = pkgutil.resolve_name(target)
    except Exception as error:  # whatever the user's module raises
        raise ConfigError(TARGET, target, f"cannot be imported ({error}); PYTHONPATH must lead to it") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ConfigError(TARGET, target, "is not a class of torch.nn.Module")
    return found


def _arguments(target: str, kind: type, given: dict[str, Any], signature: Signature) -> dict[str, Any]:
    """The constructor's arguments: those given, and the task's shapes where it asks for them by name."""
    parameters = inspect.signature(kind).parameters.values()
    named = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    if not any(one.kind is one.VAR_KEYWORD for one in parameters):
        for key in given:
            if key not in named:
                allowed = one_of(key, named) if named else "it takes none"
                raise ConfigError(f"model.module.{key}", given[key], f"{target} has no such argument; {allowed}")
    shapes = {key: getattr(signature, key) for key in ("vocabulary", "length", "outputs")}
    arguments = {key: value for key, value in shapes.items() if key in named} | given
    for one in parameters:
        if one.name in named and one.default is one.empty and one.name not in arguments:
            allowed = f"{target} needs this argument: +model.module.{one.name}=VALUE"
            raise ConfigError(f"model.module.{one.name}", None, allowed)
    return arguments


def _check_alone(factory: _Factory, signature: Signature) -> None:
    """Refuse a module that has nothing to train, or whose forward pass fails or gives something else than outputs."""
    module, inputs = factory(generator(0, "trial"), torch.get_default_dtype()).train(), _example(signature)
    parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
    if any(isinstance(value, UninitializedParameter) for value in parameters.values()):
        raise factory.refusal("has lazy parameters, whose shapes it must be told")
    if not parameters:
        raise factory.refusal("has no parameter to train")
    try:
        with seeded(generator(0, "trial")):
            outputs = module(inputs)
    except Exception as error:
        raise factory.refusal(f"fails on a batch {list(inputs.shape)}: {factory.told(error)}") from error
    wanted = [POINTS, signature.outputs]
    found = list(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    if found != wanted:
        raise factory.refusal(f"must turn a batch {list(inputs.shape)} into a tensor {wanted}, and gives {found}")
    _check_used(factory, parameters, outputs)


def _check_used(factory: _Factory, parameters: dict[str, nn.Parameter], outputs: Tensor) -> None:
    slopes: list[Tensor | None] = [None] * len(parameters)
    if outputs.requires_grad:
        slopes = list(torch.autograd.grad(outputs.sum(), list(parameters.values()), allow_unused=True))
    for name, slope in zip(parameters, slopes, strict=True):
        if slope is None:
            raise factory.refusal(f"its outputs have no gradient by its parameter {name}; allowed: requires_grad=False")


def _check_stacked(network: StackedModule, factory: _Factory, signature: Signature) -> None:
    """Refuse a module whose forward or backward pass vmap cannot do."""
    members = len(next(network.parameters()))
    inputs, operations = _example(signature), _Operations()
    try:
        with operations:
            outputs = network(network.encode(inputs.expand(members, *inputs.shape)))
        torch.autograd.grad(outputs.sum(), list(network.parameters()))
    except Exception as error:
        culprit = operations.failed or "its backward pass"
        why = f"cannot be stacked because of {culprit}: {factory.told(error)}; a single member (E = 1) works"
        raise factory.refusal(why) from error


def _example(signature: Signature) -> Tensor:
    """A batch of the task's shapes: tokens [POINTS, L], or features [POINTS, ...]."""
    shape = (POINTS, *(signature.shape or [signature.length]))
    if signature.vocabulary is None:
        return torch.linspace(-1, 1, math.prod(shape)).view(shape)
    return (torch.arange(math.prod(shape)) % signature.vocabulary).view(shape)


class _Operations(TorchFunctionMode):
    """Notes the operation of torch that an error came from."""

    failed: str | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except Exception:
            self.failed = self.failed or resolve_name(func) or str(func)
            raise


GROUP = "model"
CHOICES = {"module": Module}
