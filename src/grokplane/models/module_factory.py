"""Ordinary modules built from a config: class, arguments, seed, dtype."""

from __future__ import annotations

import copy
import inspect
import pkgutil
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import nn

from grokplane.models.base import Signature
from grokplane.models.functional import seeded
from grokplane.options import ConfigError, one_of

TARGET = "model.module._target_"


class Factory:
    """Builds the module: (generator of its initial weights, dtype of its parameters) -> module."""

    def __init__(self, target: str, given: dict[str, Any], signature: Signature) -> None:
        self.target, self.kind = target, _module_class(target)
        self.arguments = _arguments(target, self.kind, given, signature)

    def __call__(self, random: torch.Generator, dtype: torch.dtype) -> nn.Module:
        """A module with initial weights from this generator."""
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
        """The error that explains why this module cannot be trained."""
        return ConfigError(TARGET, self.target, why)

    def told(self, error: Exception) -> str:
        """An error raised in the module as one line, with the last line of the module's file in its traceback."""
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
    except Exception as error:  # a user's module may raise anything
        raise ConfigError(TARGET, target, f"cannot be imported ({error}); its folder must be on PYTHONPATH") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ConfigError(TARGET, target, "is not a class of torch.nn.Module")
    return found


def _arguments(target: str, kind: type, given: dict[str, Any], signature: Signature) -> dict[str, Any]:
    """The constructor's arguments: those of the config, and the task's shapes if it has parameters of these names."""
    parameters = inspect.signature(kind).parameters.values()
    named = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    if not any(one.kind is one.VAR_KEYWORD for one in parameters):
        for key in given:
            if key not in named:
                allowed = one_of(key, named) if named else "it takes none"
                raise ConfigError(f"model.module.{key}", given[key], f"{target} has no such argument; {allowed}")
    shapes = {key: getattr(signature, key) for key in ("vocabulary", "length", "outputs")}
    shapes |= {} if signature.positions is None else {"positions": signature.positions}
    arguments = {key: value for key, value in shapes.items() if key in named} | given
    for one in parameters:
        if one.name in named and one.default is one.empty and one.name not in arguments:
            allowed = f"{target} needs this argument: +model.module.{one.name}=VALUE"
            raise ConfigError(f"model.module.{one.name}", None, allowed)
    return arguments
