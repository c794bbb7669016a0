"""Cache of trained weights in a folder, keyed by a hash of the training data and the settings."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grokplane.files import atomic_file

log = logging.getLogger(__name__)


def content_key(data: Tensor, settings: Mapping[str, Any]) -> str:
    """SHA-256 in hex of the data, its shape and dtype, and the settings.

    Args:
        data: any tensor; the key does not depend on its device.
        settings: values that JSON can represent; the order of the keys does not matter.
    """
    described = {"shape": list(data.shape), "dtype": str(data.dtype), "settings": dict(settings)}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    digest.update(data.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def save(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a dict of tensors atomically: `path` is absent or complete at all times, also with concurrent writers.

    A failure (a read-only folder, a full disk, a path that is not a folder) is logged as a warning.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, shared=True) as file:
            kept = {name: value.detach().cpu() for name, value in state.items()}
            torch.save({"tensors": kept, "sha256": _digest(kept)}, file)
    except Exception as error:  # torch.save can raise any exception
        log.warning("%s cannot be written (%s): the weights will be trained again in every run", path, _word(error))


def load_weights(
    path: Path, like: Mapping[str, Tensor], device: torch.device | str = "cpu"
) -> dict[str, Tensor] | None:
    """Read the dict of tensors that `save` wrote.

    Args:
        path: path of the file.
        like: tensors with the expected names, shapes and dtypes, of any values.
        device: device of the returned tensors.

    Returns:
        The tensors. None if the file does not exist, cannot be read or is damaged; the last two are logged as warnings.
    """
    try:
        if not path.exists():
            return None
        if not path.is_file():  # opening a pipe waits for its other end
            raise OSError("not a regular file")
        found = torch.load(path, map_location="cpu", weights_only=True)
        state = found["tensors"]
        if _kinds(state) != _kinds(like) or found["sha256"] != _digest(state):
            raise ValueError("unexpected tensors")
    except OSError as error:
        log.warning("%s cannot be read (%s): the weights are trained again", path, _word(error))
    except Exception as error:  # torch.load can raise any exception
        log.warning("%s is damaged (%s): it is replaced", path, type(error).__name__)
    else:
        return {name: value.to(device) for name, value in state.items()}
    return None


def _digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors' contents; torch.load does not detect a changed byte."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _kinds(state: Mapping[str, Tensor]) -> dict[str, object]:
    return {name: (value.shape, value.dtype, value.layout, value.is_meta) for name, value in state.items()}


def _word(error: Exception) -> str:
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]
    return words or type(error).__name__
