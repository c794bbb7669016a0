"""Ross's estimate from some rows: all of them give Ross itself, some give nearly the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from grokplane.mi import Ross, ross_all


def clusters(count: int, dims: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    first, second = (torch.randint(7, (count,), generator=stream) for _ in range(2))
    x = torch.randn(count, dims, generator=stream, dtype=torch.float64)
    x[:, 0] += first
    return x, first, second


@pytest.mark.parametrize(("count", "dims"), [(60, 1), (300, 5), (400, 40)])
def test_all_rows_give_ross(count: int, dims: int) -> None:
    x, *sets = clusters(count, dims)
    sets.append(torch.arange(count) // 2)  # classes of two, fewer than k
    lone = torch.cat([torch.tensor([100, 200]), sets[0][2:]])
    for y, found in zip([*sets, lone], ross_all(x, [*sets, lone], rows=count), strict=True):
        expected = Ross()(x, y)
        assert float(found.value) == pytest.approx(float(expected.value), abs=1e-9)
        assert float(found.std_error) == pytest.approx(float(expected.std_error), abs=1e-9)


def test_some_rows_give_nearly_the_same() -> None:
    x, first, second = clusters(2_000, 6)
    some, all_rows = ross_all(x, [first, second], rows=500), ross_all(x, [first, second], rows=2_000)
    for few, many in zip(some, all_rows, strict=True):
        assert abs(float(few.value - many.value)) < 3 * float(few.std_error)
        assert 1.5 < float(few.std_error / many.std_error) < 2.5


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_scale_and_offset_do_not_matter(scale: float) -> None:
    x, first, _ = clusters(200, 4)
    (found,), (expected,) = ross_all(x * scale + 3 * scale, [first], rows=500), ross_all(x, [first], rows=500)
    assert float(found.value) == pytest.approx(float(expected.value), abs=1e-9)


def test_equal_rows_are_ties_and_rows_that_are_all_alone_are_refused() -> None:
    labels = torch.arange(40) % 4
    (same,) = ross_all(torch.zeros(40, 3), [labels], rows=500)
    assert float(same.value) == pytest.approx(float(Ross()(torch.zeros(40, 3), labels).value), abs=1e-12)
    (known,) = ross_all(torch.nn.functional.one_hot(labels).double(), [labels], rows=500)
    expected = Ross()(torch.nn.functional.one_hot(labels).double(), labels)
    assert float(known.value) == pytest.approx(float(expected.value), abs=1e-9)
    lone = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 7])
    with pytest.raises(ValueError, match="label occurs twice"):
        ross_all(clusters(9, 2)[0], [lone], rows=2)
