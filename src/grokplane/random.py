"""Random streams: every draw is a function of the member's seed and a name, and of nothing else.

No stream has state that must be saved: the same (seed, stream, counter) always gives the same numbers, whoever
asks and whenever. That is what makes members independent of their stack, and a resumed run equal to one never killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# How streams are keyed, in every checkpoint: under another number a seed means other splits, batches and noise.
STREAMS = 2
# A CPU generator of torch is a Mersenne Twister, whose state are so many 32-bit words.
TWISTER = 624


def generator(seed: int, stream: str, counter: int = 0) -> torch.Generator:
    """A CPU generator for one purpose of one member.

    Every word of its state is keyed, as in numpy's `MT19937(SeedSequence)`: `manual_seed` reads 32 bits of a seed and
    drops the rest, and among the blocks of one long run two would be the same.

    Args:
        seed: the member's seed, at least 0.
        stream: what the numbers are for: "weights", "split", "batches", ...
        counter: which block of the stream, for example the epoch.
    """
    words = _words(seed, stream, counter, TWISTER + 2)
    # manual_seed leaves a state in which all words are to be mixed before the first number is drawn.
    with torch._C._DisableFuncTorch():  # torch.func would hand out the state in a wrapping that has no memory
        random = torch.Generator().manual_seed(0)
        state = random.get_state()
        fields = state.numpy().view(np.uint64)
        fields[0] = words[-2:].view(np.uint64)[0]  # what `initial_seed` tells, and off the CPU the whole key
        fields[_BEGIN : _BEGIN + TWISTER] = words[:TWISTER]
        random.set_state(state)
    return random


_BEGIN = 3  # of the twister's words in torch's state, each in 64 bits


def numpy_generator(seed: int, stream: str) -> np.random.Generator:
    """The same for numpy."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_words(seed, stream, 0, 8).tolist())))


def _words(seed: int, stream: str, counter: int, count: int) -> np.ndarray:
    """The key of a block, as many 32-bit words as are asked for: SHAKE-128 (FIPS 202) of all that it depends on."""
    key = hashlib.shake_128(f"{stream}/{seed}/{counter}".encode()).digest(4 * count)
    return np.frombuffer(key, np.uint32)


class Counters:
    """Random numbers inside the step: each is a hash of (seed, stream, step, index), for all members at once.

    A generator would have to be asked member by member, on the host. The hash is two rounds of Wellons' lowbias32 (a
    32-bit integer mixer, 2018) with a key of its own before each, keys from SHAKE-128.

    Args:
        seeds: one a member.
        stream: what the numbers are for.
    """

    BLOCK = 1024  # steps whose keys are made together

    def __init__(self, seeds: Sequence[int], stream: str) -> None:
        self._seeds, self._stream = list(seeds), stream
        self._block: tuple[int, torch.device] | None = None
        self._keys = torch.empty(0)
        self._step: tuple[int, torch.device] | None = None
        self._now = torch.empty(0)

    def at(self, step: int) -> None:
        """Have a step's keys ready, where numbers were drawn last: a captured step (CUDA graph) reads them there."""
        if self._step is not None:
            self._keys_of(step, self._step[1])

    def bits(self, step: int, count: int, device: torch.device | str = "cpu") -> Tensor:
        """32 random bits for each of `count` indices, [E, count] int32."""
        first, second = self._keys_of(step, torch.device(device)).unbind(1)
        index = torch.arange(count, dtype=torch.int32, device=device)
        return _mix(_mix(index ^ first[:, None]) ^ second[:, None])

    def uniform(self, step: int, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Uniform on (0, 1), [E, *shape] float32; 23 random bits, neither 0 nor 1 among the values."""
        bits = self.bits(step, int(np.prod(shape)), device)
        return _unit(bits).view(len(bits), *shape)

    def normal(self, step: int, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Standard normal, [E, *shape] float32 (Box and Muller 1958); none is beyond 5.8.

        As with `uniform`, a longer first axis leaves the numbers of the rows before its end as they are.
        """
        count = int(np.prod(shape))
        units = _unit(self.bits(step, count + count % 2, device)).unflatten(1, (-1, 2))
        radius, angle = torch.sqrt(-2 * torch.log(units[..., 0])), 2 * torch.pi * units[..., 1]
        pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], -1)
        return pairs.flatten(1)[:, :count].reshape(len(pairs), *shape)

    def _keys_of(self, step: int, device: torch.device) -> Tensor:
        """The two keys of each member in this step [E, 2] int32; the same tensor for every step on one device."""
        if self._step == (step, device):
            return self._now
        block, row = divmod(step, self.BLOCK)
        if self._block != (block, device):
            words = [_words(seed, self._stream, block, 2 * self.BLOCK).view(np.int32) for seed in self._seeds]
            self._keys = torch.from_numpy(np.stack(words).reshape(-1, self.BLOCK, 2)).to(device)
            self._block = block, device
        if self._step is not None and self._step[1] == device:
            self._now.copy_(self._keys[:, row])
        else:
            self._now = self._keys[:, row].clone()
        self._step = step, device
        return self._now


def _unit(bits: Tensor) -> Tensor:
    return (_shift(bits, 9).to(torch.float32) + 0.5) * 2.0**-23


def _mix(x: Tensor) -> Tensor:
    """lowbias32; the multiplications wrap."""
    x = (x ^ _shift(x, 16)) * 0x7FEB352D
    x = (x ^ _shift(x, 15)) * (0x846CA68B - (1 << 32))
    return x ^ _shift(x, 16)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; torch's own copies the sign."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)
