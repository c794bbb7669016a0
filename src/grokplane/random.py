"""Random streams: every draw is a function of the member's seed and a name only.

No stream has state to save: the same (seed, stream, counter) always gives the same numbers. So members are independent
of their stack, and a resumed run equals one that was never interrupted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# Version of the keys of all streams, stored in every checkpoint: in another version a seed gives other splits, batches,
# noise.
STREAMS = 2
# A torch CPU generator is a Mersenne Twister. Its state has this many 32-bit words.
TWISTER = 624


def generator(seed: int, stream: str, counter: int = 0) -> torch.Generator:
    """A CPU generator for one purpose of one member.

    Every word of the generator's state is derived from the key, as in numpy's `MT19937(SeedSequence)`. `manual_seed`
    uses only 32 bits of a seed, so two blocks of a long run would coincide.

    Args:
        seed: the member's seed, at least 0.
        stream: the purpose of the numbers: "weights", "split", "batches", ...
        counter: the block of the stream, for example the epoch.
    """
    words = _words(seed, stream, counter, TWISTER + 2)
    # manual_seed leaves a state that mixes all words before the first number is drawn.
    with torch._C._DisableFuncTorch():  # torch.func would wrap the state in a tensor without storage
        random = torch.Generator().manual_seed(0)
        state = random.get_state()
        fields = state.numpy().view(np.uint64)
        fields[0] = words[-2:].view(np.uint64)[0]  # the value of `initial_seed`, which is the whole key off the CPU
        fields[_BEGIN : _BEGIN + TWISTER] = words[:TWISTER]
        random.set_state(state)
    return random


_BEGIN = 3  # index of the twister's first word in torch's state, in units of 64 bits


def numpy_generator(seed: int, stream: str) -> np.random.Generator:
    """A numpy generator for one purpose of one member."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_words(seed, stream, 0, 8).tolist())))


def _words(seed: int, stream: str, counter: int, count: int) -> np.ndarray:
    """The key of a block: `count` 32-bit words of SHAKE-128 (FIPS 202) of the arguments."""
    key = hashlib.shake_128(f"{stream}/{seed}/{counter}".encode()).digest(4 * count)
    return np.frombuffer(key, np.uint32)


class Counters:
    """Random numbers within the step: each is a hash of (seed, stream, step, index), for all members at once.

    A generator would have to be called per member, on the host. The hash is two rounds of Wellons' lowbias32 (a 32-bit
    integer mixer, 2018), each with its own key from SHAKE-128.

    Args:
        seeds: one per member.
        stream: the purpose of the numbers.
    """

    BLOCK = 1024  # number of steps whose keys are made together

    def __init__(self, seeds: Sequence[int], stream: str) -> None:
        self._seeds, self._stream = list(seeds), stream
        self._block: tuple[int, torch.device] | None = None
        self._keys = torch.empty(0)
        self._step: tuple[int, torch.device] | None = None
        self._now = torch.empty(0)

    def at(self, step: int) -> None:
        """Write a step's keys to the memory of the last draw, where a captured step (CUDA graph) reads them."""
        if self._step is not None:
            self._keys_of(step, self._step[1])

    def bits(self, step: int, count: int, device: torch.device | str = "cpu") -> Tensor:
        """32 random bits for each of `count` indices, [E, count] int32."""
        first, second = self._keys_of(step, torch.device(device)).unbind(1)
        index = torch.arange(count, dtype=torch.int32, device=device)
        return _mix(_mix(index ^ first[:, None]) ^ second[:, None])

    def uniform(self, step: int, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Uniform on (0, 1), [E, *shape] float32; 23 random bits, without 0 and 1."""
        bits = self.bits(step, int(np.prod(shape)), device)
        return _unit(bits).view(len(bits), *shape)

    def normal(self, step: int, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Standard normal, [E, *shape] float32 (Box and Muller 1958); the largest magnitude is below 5.8.

        As with `uniform`, a longer first axis does not change the numbers of the earlier rows.
        """
        count = int(np.prod(shape))
        units = _unit(self.bits(step, count + count % 2, device)).unflatten(1, (-1, 2))
        radius, angle = torch.sqrt(-2 * torch.log(units[..., 0])), 2 * torch.pi * units[..., 1]
        pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], -1)
        return pairs.flatten(1)[:, :count].reshape(len(pairs), *shape)

    def _keys_of(self, step: int, device: torch.device) -> Tensor:
        """The two keys of each member in this step [E, 2] int32; the same tensor for every step on a device."""
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
    """lowbias32; the multiplications wrap around."""
    x = (x ^ _shift(x, 16)) * 0x7FEB352D
    x = (x ^ _shift(x, 15)) * (0x846CA68B - (1 << 32))
    return x ^ _shift(x, 16)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's own shift extends the sign."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)
