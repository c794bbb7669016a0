"""Equal values are spread apart, repeated observations left out, and values above an upper bound reported."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from scipy.special import digamma
from test_mi_labels import classes, normal
from torch import Tensor

from grokplane.mi import KDE, KSG, ClassKL, InfoNCE, JointKL, LocalKL, Sliced, WeightedKL
from grokplane.mi.ceiling import heard, value_entropy
from grokplane.mi.ties import observations, on_lattice, settled, spread, values


def order_kept(x: Tensor, found: Tensor) -> bool:
    """Whether x can be recovered from the result: the order is preserved and no two values are equal."""
    for before, after in zip(x.T, found.T, strict=True):
        after = after[before.argsort(stable=True)]
        for value in before.unique()[1:]:
            lower, upper = after[before.sort().values < value], after[before.sort().values >= value]
            if not lower.max() < upper.min():
                return False
        if len(after.unique()) < len(after):
            return False
    return True


@pytest.mark.parametrize("kind", ["lattice", "binary", "uneven", "relu", "pairs of equals", "ranks", "far out"])
def test_values_are_drawn_apart_and_keep_their_order(kind: str) -> None:
    x = normal(200, 2)
    x = {
        "lattice": x.round(decimals=1),
        "binary": (x > 0).double(),
        "uneven": (x.round(decimals=0) * 1.3).exp(),
        "relu": x.relu(),
        "pairs of equals": torch.cat([x[:150], x[:50]]),
        "ranks": x.argsort(0).argsort(0).double(),
        "far out": torch.cat([x[:1] * 1e12, x[1:].relu()]),
    }[kind]
    found = spread(x, "x")
    assert order_kept(x, found)
    assert torch.equal(found, spread(x, "x"))
    assert not torch.equal(found, spread(x, "y"))
    for scale in (1e-12, 1e12):
        torch.testing.assert_close(spread(scale * x, "x") / scale, found, rtol=1e-9, atol=1e-9)


def test_a_lattice_is_filled_evenly() -> None:
    x = torch.arange(4.0, dtype=torch.float64).repeat(500)[:, None] / 10
    off = (spread(x, "x") - x) * 10
    assert off.abs().max() <= 0.5
    assert off.square().mean().item() == pytest.approx(1 / 12, rel=0.05)


def test_what_has_no_equal_values_stays_as_it_is() -> None:
    for x in (normal(50, 3), normal(50, 3).float().double(), torch.ones(50, 2), normal(50, 1).round(decimals=6)):
        assert spread(x, "x") is x or torch.equal(spread(x, "x"), x)
    assert on_lattice(normal(50, 1).round(decimals=2))
    assert not on_lattice(normal(50, 1))


def test_few_repeats_move_within_their_room_and_nothing_else_does() -> None:
    x = torch.cat([normal(100, 1), normal(100, 1)[:5]])
    found = spread(x, "x")
    assert torch.equal(found[5:100], x[5:100])
    gap = x.unique().diff().max()
    assert 0 < (found - x).abs().max() < gap


def test_repeated_observations_are_left_out_and_chance_repeats_are_not() -> None:
    x, y = normal(100, 2), normal(100, 1, seed=1)
    left, right = observations(torch.cat([x, x[:40]]), torch.cat([y, y[:40]]))
    assert torch.equal(left, x)
    assert torch.equal(right, y)
    three = (torch.cat([x] * 3), torch.cat([y] * 3))
    assert len(observations(*three)[0]) == 100
    binary = classes(300, of=2)[:, None].double()
    for pair in ((binary, binary.flip(0)), (binary, binary), (x.round(), y.round())):
        assert len(observations(*pair)[0]) == len(pair[0])


def test_rows_of_indicators_become_the_number_of_their_value() -> None:
    y = classes(300, of=7)
    named = torch.nn.functional.one_hot(y).double()
    found = values(named)
    assert found.shape == (300, 1)
    assert len(torch.unique(torch.cat([found, y[:, None]], 1), dim=0)) == 7
    for x in (normal(300, 2), normal(300, 2).round(), y[:, None].double()):
        assert values(x) is x


def test_the_entropy_of_what_has_equal_rows() -> None:
    y = torch.tensor([0] * 30 + [1] * 10)
    expected = digamma(40) - (30 * digamma(30) + 10 * digamma(10)) / 40
    assert value_entropy(y) == pytest.approx(expected, abs=1e-12)
    assert value_entropy(torch.stack([y, -y], 1).double()) == pytest.approx(expected, abs=1e-12)
    assert value_entropy(normal(40, 2)) is None


def test_heard_collects_the_warnings_of_this_thread(caplog: pytest.LogCaptureFixture) -> None:
    def too_high() -> None:
        KDE(1e-3, "upper")(normal(60, 2), classes(60, of=2))

    with caplog.at_level(logging.WARNING), heard() as words:
        too_high()
        too_high()
        assert caplog.text == ""
        other = threading.Thread(target=too_high)
        other.start()
        other.join()
    assert [word.split(":")[0] for word in words] == ["KDE exceeds the entropy of y, which has duplicate rows"]
    assert caplog.text.count("too high") == 1
    assert math.isfinite(KSG()(normal(60, 1), normal(60, 1, seed=1)).value)


def test_a_mass_point_beside_a_continuous_part_is_kept() -> None:
    """A neuron that is dead for one of two classes, so that half of the pairs are (0, 0)."""
    x = (normal(1000, 1) > 0).double()
    y = torch.where(x > 0, normal(1000, 1, seed=3).abs() + 1, 0.0)
    for estimator in (KSG(), WeightedKL(), JointKL(), LocalKL(), Sliced(projections=4)):
        assert float(estimator(x, y).value) == pytest.approx(math.log(2), abs=0.15)
    assert float(ClassKL()(y, x[:, 0].long()).value) == pytest.approx(math.log(2), abs=0.01)


def test_values_that_differ_by_round_off_are_equal() -> None:
    """Means of rounded values are on a lattice up to round-off."""
    x, y = (torch.stack([normal(1000, 1, seed=s + k).round(decimals=1) for k in range(3)]).mean(0) for s in (1, 10))
    assert len(x.unique()) > len(settled(x).unique())
    assert (settled(x) - x).abs().max() < 1e-14
    for estimator in (KSG(), KSG(variant=2), WeightedKL(), LocalKL(), Sliced(projections=4)):
        assert abs(float(estimator(x, y).value)) < 0.25
    smooth = normal(1000, 1) + 1e8
    assert settled(smooth) is smooth


def test_a_copied_discrete_column_is_finite_information() -> None:
    bit = (normal(1000, 1) > 0).double()
    x, y = (torch.cat([bit, normal(1000, 1, seed=seed)], 1) for seed in (5, 6))
    for estimator in (KSG(), WeightedKL(), JointKL(), LocalKL()):
        assert float(estimator(x, y).value) == pytest.approx(math.log(2), abs=0.3)
    with pytest.raises(ValueError, match="infinite"):
        LocalKL()(x, torch.cat([x[:, 1:], y[:, 1:]], 1))


def test_the_smallest_numbers_have_a_scale_too() -> None:
    x, y = normal(500, 1), normal(500, 1, seed=4)
    for estimator in (JointKL(), WeightedKL()):
        assert float(estimator(x * 1e-200, y).value) == pytest.approx(float(estimator(x, y).value), abs=1e-6)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_critic_is_trained_where_gradients_are_off(mode: Callable[[], AbstractContextManager[object]]) -> None:
    x = normal(200, 1)
    with mode():
        inside = InfoNCE(steps=5)(x * 1, x * 2)
    assert float(inside.value) == float(InfoNCE(steps=5)(x, x * 2).value)
