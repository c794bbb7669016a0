"""A memory of what was computed from the same numbers before.

The input of a network does not change while it trains: its entropy is asked for at every log point and computed once.
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
    """Forget what all memories hold; whoever estimated for a network that is trained has no more use for it."""
    for memory in list(_ALL):
        memory.clear()


class Memory(Generic[T]):
    """The last results of a pure function of a tensor, found by the tensor's content. Safe to share between threads.

    Args:
        size: how many results are kept; the one unused for longest goes first.
    """

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, threading.Lock()
        self._known: OrderedDict[Hashable, T] = OrderedDict()
        _ALL.add(self)

    def recall(self, x: Tensor, settings: Hashable, compute: Callable[[], T]) -> T:
        """The result for x and these settings, computed only if it is not known.

        On another device than a CPU it is always computed: there the transfer would cost as much.
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
        """Forget everything."""
        with self._lock:
            self._known.clear()
