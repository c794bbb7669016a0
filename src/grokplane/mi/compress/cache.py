"""Trained weights kept in a folder, under the hash of what they were trained on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


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
    """Write a dict of tensors so that `path` is at every moment absent or whole, whoever else writes it too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=path.name, suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            torch.save({name: value.cpu() for name, value in state.items()}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The dict of tensors that `save` wrote.

    Raises:
        ValueError: if the file cannot be read, with what to do.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}): delete it, it is made again") from error
