"""Trained weights kept in a folder, under the hash of what they were trained on."""

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
    """SHA-256 in hex of the numbers, their shape and type, and the settings.

    Args:
        data: any tensor; the same numbers on another device have the same key.
        settings: what JSON can hold; the order of the keys does not matter.
    """
    described = {"shape": list(data.shape), "dtype": str(data.dtype), "settings": dict(settings)}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    digest.update(data.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def save(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a dict of tensors so that `path` is at every moment absent or whole, whoever else writes it too.

    Where that cannot be done (a read-only folder, a full disk, a device in the folder's place) a warning says so.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, shared=True) as file:
            kept = {name: value.detach().cpu() for name, value in state.items()}
            torch.save({"tensors": kept, "sha256": _digest(kept)}, file)
    except Exception as error:  # torch's writer raises what it likes
        log.warning("%s cannot be written (%s): its weights are trained anew each time", path, _word(error))


def load_weights(
    path: Path, like: Mapping[str, Tensor], device: torch.device | str = "cpu"
) -> dict[str, Tensor] | None:
    """The dict of tensors that `save` wrote.

    Args:
        path: of the file.
        like: tensors of the same names, shapes and types, of any values.
        device: where the tensors are to be.

    Returns:
        None where there is no such file, or a warning tells of one that cannot be read or is damaged, which `save`
        replaces.
    """
    try:
        if not path.exists():
            return None
        if not path.is_file():  # opening a pipe waits for its other end
            raise OSError("it is no file")
        found = torch.load(path, map_location="cpu", weights_only=True)
        state = found["tensors"]
        if _kinds(state) != _kinds(like) or found["sha256"] != _digest(state):
            raise ValueError("it holds other tensors")
    except OSError as error:
        log.warning("%s cannot be read (%s): its weights are trained anew", path, _word(error))
    except Exception as error:  # torch's reader raises what it likes
        log.warning("%s is damaged (%s): it is made again", path, type(error).__name__)
    else:
        return {name: value.to(device) for name, value in state.items()}
    return None


def _digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the numbers: torch reads a file of which a byte has changed without a word."""
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
