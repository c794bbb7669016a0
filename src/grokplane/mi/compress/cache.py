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
    """Write a dict of tensors so that `path` is at every moment absent or whole, whoever else writes it too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, shared=True) as file:
        torch.save({name: value.cpu() for name, value in state.items()}, file)


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor] | None:
    """The dict of tensors that `save` wrote.

    Returns:
        None where there is no such file, or a damaged one, of which a warning tells: `save` replaces it.
    """
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except OSError:  # it may be whole, and not readable just now
        raise
    except Exception as error:
        log.warning("%s is damaged (%s): it is made again", path, type(error).__name__)
        return None
