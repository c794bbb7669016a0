"""A cache of results by the content of a tensor.

The input of a network does not change during training, so its entropy, which every log point uses, is computed once.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from torch import Tensor

T = TypeVar("T")
_ALL: WeakSet[Memory[Any]] = WeakSet()


def forget() -> None:
    """Clear all caches of this module, for example after a training run whose estimates are complete."""
    for memory in list(_ALL):
        memory.clear()


class Memory(Generic[T]):
    """A thread-safe LRU cache of a pure function of a tensor; the key is the content of the tensor.

    Args:
        size: largest number of results; the least recently used one is dropped first.
    """

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, threading.Lock()
        self._known: OrderedDict[Hashable, T] = OrderedDict()
        _ALL.add(self)

    def recall(self, x: Tensor, settings: Hashable, compute: Callable[[], T]) -> T:
        """Return the result for x and these settings; call `compute` only if it is not in the cache.

        For a tensor that is not on a CPU `compute` is always called, because the transfer would cost as much.
        """
        if x.device.type != "cpu":
            return compute()
        content = hashlib.blake2b(x.contiguous().numpy().data, digest_size=16).digest()
        key = content, tuple(x.shape), settings
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        result = compute()
        with self._lock:
            self._known[key] = result
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return result

    def clear(self) -> None:
        """Remove all results."""
        with self._lock:
            self._known.clear()
