"""The true values behind the tables of docs/estimators.md, the tables, and the reference of benchmarks/mi.py."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from grokplane.random import generator

ROOT = Path(__file__).parents[1]


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of benchmarks/."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module(name)


def test_closed_forms(monkeypatch: pytest.MonkeyPatch):
    cases = benchmark("mi_cases", monkeypatch)
    assert cases.uniform_truth(1, 0.1) == pytest.approx(1.709438, abs=1e-6)
    assert cases.uniform_truth(1, 0.75) == pytest.approx(1 / 3, abs=1e-12)
    assert cases.student_truth(2, 1e7, 0.5) == pytest.approx(0.5, abs=1e-5)
    assert cases.clusters_truth(0.0, [0.5, 0.5]) == pytest.approx(math.log(10) + 1, abs=1e-12)
    assert cases.clusters_truth(1.0, []) == pytest.approx(0, abs=1e-12)
    x, y = cases.correlated(generator(0, "test"), 50_000, [0.3, 1.0])
    rho = np.corrcoef(np.hstack([x, y]).T)[[0, 1], [2, 3]]
    np.testing.assert_allclose(-np.log(1 - rho**2) / 2, [0.3, 1.0], atol=0.02)


def test_the_truth_of_student_pairs_by_their_densities(monkeypatch: pytest.MonkeyPatch):
    """Sample mean of the log ratio of the joint density to the product of the marginal densities."""
    cases = benchmark("mi_cases", monkeypatch)
    rho = math.sqrt(1 - math.exp(-2 * 0.6))
    shape = np.array([[1, rho], [rho, 1]])
    scipy: Any = importlib.import_module("scipy.stats")  # its type stubs accept only scalars
    rows = scipy.multivariate_t(shape=shape, df=3, seed=0).rvs(100_000)
    found = scipy.multivariate_t(shape=shape, df=3).logpdf(rows) - scipy.t(3).logpdf(rows).sum(1)
    assert cases.student_truth(1, 3, 0.6) == pytest.approx(found.mean(), abs=4 * found.std() / 100_000**0.5)


def test_the_truth_of_classes_by_integration(monkeypatch: pytest.MonkeyPatch):
    cases = benchmark("mi_label_cases", monkeypatch)
    monkeypatch.setattr(cases, "MONTE_CARLO", 20_000)
    centre, spread = torch.tensor([[0.0], [1.0], [3.0]]).double(), torch.tensor([[1.0], [0.5], [0.3]]).double()
    share = torch.tensor([0.5, 0.2, 0.3]).double()
    found = cases.Classes(centre, spread, torch.tensor([0, 1, 0]), share).truth()
    grid = np.linspace(-8, 9, 20001)[:, None]
    each = share.numpy() * np.exp(-((grid - centre.numpy().T) ** 2) / 2 / spread.numpy().T ** 2) / spread.numpy().T
    each = each / math.sqrt(2 * math.pi)
    joint = np.stack([each[:, 0] + each[:, 2], each[:, 1]], 1)
    weight = joint / (joint.sum(1, keepdims=True) * np.array([0.8, 0.2]))
    truth = np.trapezoid((joint * np.log(weight, where=joint > 0, out=np.zeros_like(joint))).sum(1), grid[:, 0])
    assert found == pytest.approx(truth, abs=0.02)


def test_the_quick_tables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(benchmark("mi_label_cases", monkeypatch), "MONTE_CARLO", 5_000)
    accuracy = benchmark("mi_accuracy", monkeypatch)
    tables = accuracy.quick()
    for text in tables.values():
        rows = [line.strip("|").split("|") for line in text.splitlines()]
        assert len({len(row) for row in rows}) == 1
        assert all(math.isfinite(float(cell)) for row in rows[2:] for cell in row[1:-1])
    default = next(row for row in tables["pairs 200"].splitlines() if "mi=compressed" in row)
    assert float(default.split("|")[2]) < 0.4


def test_tables_go_where_the_page_has_a_place_for_them(monkeypatch: pytest.MonkeyPatch):
    accuracy = benchmark("mi_accuracy", monkeypatch)
    page = "a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\n<!-- end -->\n"
    expected = "a\n<!-- one -->\nnew\n<!-- end -->\nb\n<!-- two -->\nlast\n<!-- end -->\n"
    assert accuracy.written(page, {"one": "new", "two": "last"}) == expected
    assert accuracy.written(expected, {"one": "new", "two": "last"}) == expected
    with pytest.raises(ValueError, match="no line <!-- three -->"):
        accuracy.written(page, {"three": ""})


def test_the_timed_rival_gives_the_same_values(monkeypatch: pytest.MonkeyPatch):
    speed = benchmark("mi", monkeypatch)
    monkeypatch.setattr(speed, "SIZES", (400,))  # every class has more points than neighbours
    seconds, difference = speed.timed(1)
    assert difference < 1e-9
    assert set(seconds) >= {"BallTree", "infoplane, first log point", "infoplane", "compressed"}
