"""Operations, layouts, splits and label noise of the algorithmic tasks."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from grokplane.answers import Labels
from grokplane.data import OPERATIONS, LabelHoldout, Modular, OrderedSplit, RandomSplit
from grokplane.options import ConfigError


def quotient(x: int, y: int, p: int) -> int:
    return next(z for z in range(p) if z * y % p == x)


TWINS = {
    "add": lambda x, y, p: (x + y) % p,
    "sub": lambda x, y, p: (x - y) % p,
    "mul": lambda x, y, p: (x * y) % p,
    "div": quotient,
    "x2_plus_y2": lambda x, y, p: (x * x + y * y) % p,
    "x2_plus_y2_plus_xy": lambda x, y, p: (x * x + y * y + x * y) % p,
    "x2_plus_y2_plus_xy_plus_x": lambda x, y, p: (x * x + y * y + x * y + x) % p,
    "x3_plus_xy": lambda x, y, p: (x * x * x + x * y) % p,
    "x3_plus_xy2_plus_y": lambda x, y, p: (x * x * x + x * y * y + y) % p,
    "x2_plus_y": lambda x, y, p: (x * x + y) % p,
    "x3_plus_y": lambda x, y, p: (x * x * x + y) % p,
    "div_odd_sub_even": lambda x, y, p: quotient(x, y, p) if y % 2 else (x - y) % p,
    "add_even_mul_odd": lambda x, y, p: (x * y if x % 2 else x + y) % p,
    "add_even_sub_odd": lambda x, y, p: (x - y if x % 2 else x + y) % p,
}
DIVISIONS = ("div", "div_odd_sub_even")
CASES = [(name, p) for name in TWINS for p in (2, 3, 5, 7, 12) if p != 12 or name not in DIVISIONS]


def test_every_operation_has_a_twin() -> None:
    assert set(OPERATIONS) == {*TWINS, "random"}


@pytest.mark.parametrize(("name", "p"), CASES)
def test_operation_agrees_with_its_slow_twin(name: str, p: int) -> None:
    pairs = [(x, y) for x in range(p) for y in range(p) if name != "div" or y != 0]
    table = Modular(RandomSplit(), p=p, operation=name).table(0)
    assert table.inputs.tolist() == [list(pair) for pair in pairs]
    assert table.targets.tolist() == [TWINS[name](x, y, p) for x, y in pairs]
    assert table.targets.dtype == table.inputs.dtype == torch.int64


def test_division_undoes_multiplication() -> None:
    p = 97
    table = Modular(RandomSplit(), p=p, operation="div").table(0)
    x, y = table.inputs.unbind(1)
    assert len(x) == p * (p - 1)
    assert torch.equal(table.targets * y % p, x)


@pytest.mark.parametrize("name", sorted(set(TWINS) - set(DIVISIONS)))
def test_large_moduli_do_not_overflow(name: str) -> None:
    p, x = 99_991, torch.tensor([99_990, 99_989, 54_321])
    y = x.flip(0)
    expected = [TWINS[name](a, b, p) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert OPERATIONS[name].answer(x, y, p, 0).tolist() == expected


def test_random_operation_is_a_table_of_its_seed() -> None:
    task = Modular(RandomSplit(), p=31, operation="random")
    first, again, other = task.table(0).targets, task.table(0).targets, task.table(1).targets
    assert torch.equal(first, again)
    assert (first != other).float().mean() > 0.9
    assert set(first.tolist()) == set(range(31))


@pytest.mark.parametrize("name", DIVISIONS)
@pytest.mark.parametrize("p", [4, 9, 12])
def test_division_needs_a_prime(name: str, p: int) -> None:
    with pytest.raises(ConfigError, match=rf"^data.operation={name}: needs a prime data.p, not {p}$"):
        Modular(RandomSplit(), p=p, operation=name).examples(0)


def test_layouts() -> None:
    operands = Modular(RandomSplit(), p=5).table(0)
    equation = Modular(RandomSplit(), p=5, layout="equation").table(0)
    assert (operands.vocabulary, operands.answers) == (5, Labels(5))
    assert (equation.vocabulary, equation.answers) == (7, Labels(7))
    assert operands.inputs[13].tolist() == [2, 3]
    assert equation.inputs[13].tolist() == [2, 5, 3, 6]
    assert torch.equal(operands.targets, equation.targets)


def test_declared_bounds() -> None:
    broken = {"p": 1, "operation": "plus", "layout": "a", "train_fraction": 1.0, "label_noise": -0.5}
    for key, value in broken.items():
        with pytest.raises(ConfigError, match=f"^data.{key}="):
            Modular(**{"split": RandomSplit(), key: value})
    Modular(LabelHoldout(), train_fraction=None)


def test_random_split_partitions_and_has_the_published_size() -> None:
    one, again, other = (Modular(RandomSplit(), train_fraction=0.3).examples(seed) for seed in (0, 0, 1))
    assert len(one.train) == 842
    assert sorted(torch.cat([one.train, one.test]).tolist()) == list(range(53 * 53))
    assert torch.equal(one.train, again.train)
    assert torch.equal(one.test, again.test)
    assert set(one.train.tolist()) != set(other.train.tolist())


def test_a_smaller_random_split_is_part_of_a_larger_one() -> None:
    small, large = (set(Modular(RandomSplit(), train_fraction=f).examples(3).train.tolist()) for f in (0.2, 0.6))
    assert small < large


def test_ordered_split_trains_on_the_first_operands() -> None:
    task = Modular(OrderedSplit(), p=7, train_fraction=0.5)
    one, other = task.examples(0), task.examples(1)
    assert one.train.tolist() == list(range(24))
    assert one.test.tolist() == list(range(24, 49))
    assert torch.equal(one.train, other.train)


def test_label_holdout_never_trains_on_the_held_out_answers() -> None:
    one = Modular(LabelHoldout(labels=[40, 96]), p=97, train_fraction=None).examples(0)
    assert set(one.table.targets[one.test].tolist()) == {*range(20), 40, 96}
    assert set(one.train_targets.tolist()) == set(range(20, 96)) - {40}
    assert len(one.train) + len(one.test) == 97 * 97


def test_label_holdout_can_train_on_a_fraction_of_the_rest() -> None:
    every, one, other = (
        Modular(LabelHoldout(labels=[1], below=None), p=7, train_fraction=f).examples(seed)
        for f, seed in ((None, 0), (0.5, 0), (0.5, 1))
    )
    assert (len(every.train), len(one.train), len(one.test)) == (42, 21, 7)
    assert set(one.train.tolist()) < set(every.train.tolist())
    assert set(one.train.tolist()) != set(other.train.tolist())
    assert torch.equal(one.test, other.test)


REFUSED = {
    "no fraction, random": (Modular(RandomSplit(), train_fraction=None), "data.train_fraction=null: .*above 0"),
    "no fraction, ordered": (Modular(OrderedSplit(), train_fraction=None), "data.train_fraction=null: .*above 0"),
    "empty training": (Modular(RandomSplit(), p=3, train_fraction=0.1), "data.train_fraction=0.1: .*training.* 9 "),
    "empty holdout": (Modular(LabelHoldout(below=1), p=3, train_fraction=0.1), "data.train_fraction=0.1: .* 6 "),
    "all held out": (Modular(LabelHoldout(), p=7), r"data.split.below=20: .*0 to 6"),
    "all labels": (Modular(LabelHoldout([0, 1], below=None), p=2), r"data.split.labels=\[0,1\]: .*0 to 1"),
    "no such label": (Modular(LabelHoldout([3, 60])), r"data.split.labels=\[3,60\]: .*answer 60; .*0 to 52"),
    "nothing held out": (Modular(LabelHoldout(below=None)), "data.split.below=null: .*0 to 52"),
    "noise in halves": (Modular(RandomSplit(), label_noise=1.5), "data.label_noise=1.5: .*whole number"),
    "too much noise": (Modular(RandomSplit(), train_fraction=0.3, label_noise=843), "data.label_noise=843: .*842"),
    "noise of none": (Modular(RandomSplit(), train_fraction=0.3, label_noise=0.001), "data.label_noise=0.001: .*842"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_data_are_refused_in_one_line(case: str) -> None:
    task, message = REFUSED[case]
    with pytest.raises(ConfigError, match=f"^{message}") as caught:
        task.examples(0)
    assert "\n" not in str(caught.value)


def test_a_fraction_that_holds_nothing_out_is_refused() -> None:
    table = Modular(RandomSplit(), p=3).table(0)
    with pytest.raises(ConfigError, match=r"^data.train_fraction=1.0: leaves the held-out subset of 9 questions empty"):
        RandomSplit()(table, 1.0, 0)


@pytest.mark.parametrize(("amount", "count"), [(0.0, 0), (0.25, 210), (1.0, 1), (7.0, 7), (842.0, 842)])
def test_label_noise_replaces_exactly_so_many_answers(amount: float, count: int) -> None:
    one = Modular(RandomSplit(), layout="equation", train_fraction=0.3, label_noise=amount).examples(5)
    clean = one.table.targets[one.train]
    assert int((one.train_targets != clean).sum()) == count
    assert one.train_targets.max() < 53
    assert torch.equal(one.table.targets, Modular(RandomSplit()).table(5).targets)


def test_label_noise_is_uniform_over_the_other_labels() -> None:
    one = Modular(RandomSplit(), p=97, train_fraction=0.99, label_noise=9000).examples(0)
    shift = (one.train_targets - one.table.targets[one.train]) % 97
    counts = torch.bincount(shift[shift > 0], minlength=97)[1:].double()
    chi_square = float(((counts - 9000 / 96) ** 2 / (9000 / 96)).sum())
    assert 45 < chi_square < 162  # 95 degrees of freedom: mean 95, standard deviation 14


def test_label_noise_comes_from_the_seed_and_grows_from_less_to_more() -> None:
    less, more, other = (
        Modular(OrderedSplit(), label_noise=noise).examples(seed) for noise, seed in ((50, 0), (99, 0), (50, 1))
    )
    wrong = less.train_targets != less.table.targets[less.train]
    assert torch.equal(less.train_targets[wrong], more.train_targets[wrong])
    assert not torch.equal(less.train_targets, other.train_targets)


def test_fractions_round_down() -> None:
    for fraction in (0.3, 0.45, 0.8):
        one = Modular(RandomSplit(), p=97, train_fraction=fraction).examples(0)
        assert len(one.train) == Fraction(str(fraction)) * 97**2 // 1
