"""Random streams: every draw comes from a generator of its own, made from the member's seed and a name.

No stream has state that must be saved: the same (seed, stream, counter) always gives the same numbers, whoever
asks and whenever. That is what makes members independent of their stack, and a resumed run equal to one never killed.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def generator(seed: int, stream: str, counter: int = 0) -> torch.Generator:
    """A CPU generator for one purpose of one member.

    Args:
        seed: the member's seed, at least 0.
        stream: what the numbers are for: "weights", "split", "batches", ...
        counter: which block of the stream, for example the epoch.
    """
    words = np.random.SeedSequence([seed, zlib.crc32(stream.encode()), counter]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
