"""How training reads its data: index streams, and a stack's data."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from grokplane.answers import Labels
from grokplane.data import (
    SAMPLERS,
    Batches,
    Examples,
    Modular,
    OrderedSplit,
    RandomSplit,
    Shuffled,
    StackedExamples,
    Table,
    WithReplacement,
    stack,
)
from grokplane.options import ConfigError

Sampler = Callable[[int, int, int], Batches]
STREAMS = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)


@pytest.mark.parametrize(("n", "batch_size"), [(12, 4), (13, 4), (7, 7), (5, 3), (9, 1)])
def test_every_epoch_is_a_permutation(n: int, batch_size: int) -> None:
    epochs = Shuffled(0, n, batch_size).indices(0, 6 * n).flatten()[: 6 * batch_size * n].reshape(-1, n)
    assert len(epochs) == 6 * batch_size
    assert torch.equal(epochs.sort(1).values, torch.arange(n).expand_as(epochs))
    assert len({tuple(epoch) for epoch in epochs.tolist()}) > 1


@STREAMS
@pytest.mark.parametrize(("n", "batch_size"), [(13, 5), (10, 10), (200, 3)])
def test_chunks_do_not_matter(sampler: Sampler, n: int, batch_size: int) -> None:
    whole = sampler(4, n, batch_size).indices(0, 150)
    assert whole.shape == (150, batch_size)
    assert whole.dtype == torch.int64
    stream = sampler(4, n, batch_size)
    cuts = [0, 1, 2, 63, 64, 64, 65, 100, 150]
    chunks = [stream.indices(start, stop) for start, stop in pairwise(cuts)]
    assert torch.equal(torch.cat(chunks), whole)


@STREAMS
def test_a_resumed_stream_goes_on_where_it_was(sampler: Sampler) -> None:
    stream = sampler(4, 13, 5)
    late = stream.indices(1000, 1010)
    assert torch.equal(sampler(4, 13, 5).indices(1005, 1010), late[5:])
    assert torch.equal(stream.indices(0, 10), sampler(4, 13, 5).indices(0, 10))


@STREAMS
def test_streams_depend_on_their_own_seed_alone(sampler: Sampler) -> None:
    alone = sampler(1, 50, 8).indices(0, 30)
    torch.manual_seed(0)
    others = [sampler(seed, 50, 8) for seed in (0, 1, 2)]
    together = [torch.cat([other.indices(0, 10), other.indices(10, 30)]) for other in others]
    assert torch.equal(together[1], alone)
    assert not torch.equal(together[0], alone)
    assert not torch.equal(together[2], alone)


@STREAMS
def test_streams_leave_the_global_generator_alone(sampler: Sampler) -> None:
    before = torch.get_rng_state()
    sampler(0, 50, 8).indices(0, 30)
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_with_replacement_are_uniform_and_independent() -> None:
    draws = WithReplacement(0, 50, 20).indices(0, 5000)
    counts = torch.bincount(draws.flatten(), minlength=50).double()
    chi_square = float(((counts - 2000) ** 2 / 2000).sum())
    assert len(counts) == 50
    assert 19 < chi_square < 92  # 49 degrees of freedom: mean 49, standard deviation 10
    repeated = torch.tensor([len(set(batch)) < 20 for batch in draws.tolist()]).double().mean()
    no_repeat = torch.arange(31.0, 51.0, dtype=torch.float64).div(50).log().sum().exp()
    assert abs(float(repeated - (1 - no_repeat))) < 0.005


@STREAMS
@pytest.mark.parametrize("batch_size", [0, 11])
def test_batches_larger_than_the_training_set_are_refused(sampler: Sampler, batch_size: int) -> None:
    with pytest.raises(ConfigError, match=rf"^train.batch_size={batch_size}: .*1 to 10, the number of training points"):
        sampler(0, 10, batch_size)


def unequal() -> list[Examples]:
    """Members with p^2 and p(p-1) rows, different fractions and noise."""
    tasks = [
        Modular(RandomSplit(), p=7, operation="mul", train_fraction=0.4),
        Modular(RandomSplit(), p=7, operation="div", train_fraction=0.7, label_noise=3),
        Modular(OrderedSplit(), p=7, operation="x2_plus_y", train_fraction=0.2),
    ]
    return [task.examples(seed) for seed, task in enumerate(tasks)]


def stacked(members: list[Examples]) -> StackedExamples:
    return stack(members, device="cpu", dtype=torch.float32)


def check_member(got: StackedExamples, place: int, one: Examples) -> None:
    """Compare a member's part of a stack with its own examples, point by point."""
    subsets = [
        (got.train, one.train, one.train_targets),
        (got.test, one.test, one.table.targets[one.test]),
    ]
    for subset, rows, targets in subsets:
        n = len(rows)
        assert int(subset.count[place]) == n == int(subset.mask[place].sum())
        assert subset.mask[place, :n].all()
        assert torch.equal(subset.targets[place, :n], targets)
        assert torch.equal(subset.inputs()[place, :n], one.table.inputs[rows].to(subset.values.dtype))
        assert subset.index[place, n:].eq(subset.index[place, 0]).all()
        assert subset.targets[place, n:].eq(targets[0]).all()


def test_stack_of_unequal_members() -> None:
    members = unequal()
    got = stacked(members)
    assert got.shape == (2,)
    assert got.train.values.dtype == torch.int64
    assert (got.vocabulary, got.answers) == (7, Labels(7))
    assert got.train.targets.shape == got.train.mask.shape == (3, 29)
    for place, one in enumerate(members):
        check_member(got, place, one)


def test_batches_are_gathered_from_each_member() -> None:
    members = unequal()
    positions = torch.tensor([[18, 0, 3], [28, 28, 1], [8, 4, 4]])
    inputs, targets = stacked(members).train.batch(positions)
    assert inputs.shape == (3, 3, 2)
    for place, one in enumerate(members):
        assert torch.equal(inputs[place], one.table.inputs[one.train[positions[place]]])
        assert torch.equal(targets[place], one.train_targets[positions[place]])


def test_one_table_is_kept_once() -> None:
    members = [Modular(RandomSplit(), p=11).examples(seed) for seed in range(4)]
    got = stacked(members)
    assert got.train.values.shape == (121, 2)
    assert got.nbytes == 121 * 2 * 8
    for place, one in enumerate(members):
        check_member(got, place, one)


def test_points_that_all_members_share_are_gathered_once() -> None:
    members = [Modular(OrderedSplit(), p=11).examples(seed) for seed in range(4)]
    got = stacked(members)
    assert got.test.inputs().untyped_storage().nbytes() == len(members[0].test) * 2 * 8
    for place, one in enumerate(members):
        check_member(got, place, one)


def test_a_member_alone_has_the_same_data_as_in_a_stack() -> None:
    members = unequal()
    together, alone = stacked(members), stacked(members[1:2])
    check_member(alone, 0, members[1])
    n = len(members[1].train)
    positions = torch.arange(5)
    assert torch.equal(together.train.inputs()[1, :n], alone.train.inputs()[0])
    for mine, theirs in zip(
        alone.train.batch(positions[None]), together.train.batch(positions.expand(3, 5)), strict=True
    ):
        assert torch.equal(mine[0], theirs[1])


def features(shape: tuple[int, ...], outputs: int = 3, dtype: torch.dtype = torch.float64) -> Examples:
    values: Tensor = torch.arange(float(torch.Size(shape).numel())).reshape(shape).to(dtype)
    rows = torch.arange(shape[0])
    return Examples(Table(values, rows % outputs, None, Labels(outputs)), rows[1:], rows[:1], rows[1:] % outputs)


def test_continuous_features_take_the_stack_dtype() -> None:
    members = [features((6, 2, 2)), features((4, 2, 2))]
    got = stacked(members)
    assert got.shape == (2, 2)
    assert got.train.values.dtype == torch.float32
    assert got.nbytes == (5 + 3 + 1) * 4 * 4  # the held-out point is the same in both
    assert got.vocabulary is None
    for place, one in enumerate(members):
        check_member(got, place, one)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (features((6, 3)), "shape"),
        (features((6, 2), outputs=4), "answers of one kind"),
        (features((6, 2), dtype=torch.int64), "dtype"),
    ],
)
def test_members_that_do_not_fit_together(other: Examples, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        stacked([features((6, 2)), other])


def test_members_of_two_vocabularies_do_not_fit_together() -> None:
    with pytest.raises(ValueError, match="one vocabulary, but have 5, 7"):
        stacked([Modular(OrderedSplit(), p=p).examples(0) for p in (5, 7)])
