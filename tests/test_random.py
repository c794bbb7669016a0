"""Counter-based random numbers: distributions, independence of index, step, stream and member, no global state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from grokplane.random import TWISTER, Counters, generator, numpy_generator

COUNT = 200_001
# Blocks of seed 0 whose keys agreed in the 32 bits that `manual_seed` reads, where it was given the key.
COLLISIONS = [("noises.1", 13071, 25148), ("batches", 6095, 9106), ("module", 20917, 35620)]


def one(step: int = 0, seed: int = 0, stream: str = "here") -> Tensor:
    return Counters([seed], stream).uniform(step, [COUNT])[0]


def test_uniform_numbers_are_uniform_and_never_0_or_1() -> None:
    values = one()
    assert 0 < float(values.min()) < 1e-4
    assert 1 - 1e-4 < float(values.max()) < 1
    assert stats.kstest(values.numpy(), "uniform").pvalue > 1e-3


def test_every_bit_is_set_half_of_the_time_and_flips_independently_of_its_neighbour() -> None:
    bits = Counters([5], "here").bits(7, COUNT)[0]
    for bit in range(32):
        set_ = ((bits >> bit) & 1).double()
        assert abs(float(set_.mean()) - 0.5) < 5 * 0.5 / COUNT**0.5
        assert abs(float((set_[1:] == set_[:-1]).double().mean()) - 0.5) < 5 * 0.5 / COUNT**0.5


def test_normal_numbers_are_normal() -> None:
    values = Counters([0], "here").normal(0, [COUNT])[0]
    assert stats.kstest(values.numpy(), "norm").pvalue > 1e-3
    one, other = values[:-1].double().view(-1, 2).unbind(1)  # made from one radius and one angle
    assert abs(float((one * other).mean())) < 5 / len(one) ** 0.5
    assert abs(float((one**2 * other**2).mean()) - 1) < 0.1


def test_more_points_leave_the_numbers_of_the_others_as_they_are() -> None:
    counters = Counters([3, 8], "here")
    for draw in (counters.uniform, counters.normal):
        assert torch.equal(draw(17, [9, 3])[:, :4], draw(17, [4, 3]))


def test_another_step_seed_or_stream_gives_unrelated_numbers() -> None:
    for other in (one(step=1), one(step=1024), one(seed=1), one(stream="there")):
        assert abs(float(torch.corrcoef(torch.stack([one(), other]))[0, 1])) < 5 / COUNT**0.5


def test_a_members_numbers_are_a_function_of_its_own_seed_whatever_was_asked_before() -> None:
    together = Counters([3, 8, 5], "here")
    together.normal(5000, [4])
    assert torch.equal(together.uniform(17, [6, 2])[1], Counters([8], "here").uniform(17, [6, 2])[0])
    assert torch.equal(together.normal(17, [5])[2], Counters([5], "here").normal(17, [5])[0])


def test_a_numpy_generator_is_a_function_of_seed_and_stream() -> None:
    assert numpy_generator(3, "a").integers(1 << 30) == numpy_generator(3, "a").integers(1 << 30)
    drawn = {int(numpy_generator(seed, name).integers(1 << 60)) for seed in (0, 1) for name in ("a", "b")}
    assert len(drawn) == 4


@pytest.mark.parametrize(("stream", "one", "other"), COLLISIONS)
def test_blocks_whose_keys_agree_in_32_bits_have_numbers_of_their_own(stream: str, one: int, other: int) -> None:
    drawn = [torch.randn(1000, generator=generator(0, stream, block)) for block in (one, other)]
    assert abs(float(torch.corrcoef(torch.stack(drawn))[0, 1])) < 5 / 1000**0.5


def test_a_cpu_generator_is_numpys_twister_with_every_word_of_its_key() -> None:
    random = generator(3, "here", 7)
    words = random.get_state().numpy().view(np.uint64)[3 : 3 + TWISTER].astype(np.uint32)
    twin = np.random.MT19937()
    twin.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": TWISTER}}
    drawn = torch.empty(5000, dtype=torch.int32).random_(generator=random)  # of each word 31 bits
    assert drawn.tolist() == (twin.random_raw(5000) % 2**31).tolist()


def test_every_word_of_the_state_and_all_of_the_initial_seed_depend_on_seed_stream_and_block() -> None:
    keys = [(3, "a", 7), (4, "a", 7), (3, "b", 7), (3, "a", 8)]
    states = [generator(*key).get_state().view(torch.int64) for key in keys]
    words = torch.stack(states)[:, [0, *range(3, 3 + TWISTER)]]
    for other in words[1:]:
        assert int((words[0] == other).sum()) == 0
    assert all(generator(seed, "a").initial_seed() >> 32 > 0 for seed in range(3))


def test_seeds_of_more_than_32_bits_are_read_to_the_end() -> None:
    drawn = {int(torch.randint(1 << 60, (), generator=generator(seed, "a"))) for seed in (5, 5 + 2**32, 5 + 2**64)}
    assert len(drawn) == 3
