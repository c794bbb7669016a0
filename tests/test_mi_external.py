"""The adapter to the mutinfo package, tested with a small module that has the same interface."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from test_mi_neighbours import normal

from grokplane.mi.external import Mutinfo
from grokplane.mi.external_labels import MutinfoLabels
from grokplane.mi.scale import at_one_scale
from grokplane.options import ConfigError

LIKE_IT = """
    import numpy

    class KSG:
        def __init__(self, k_neighbors=1):
            self.k_neighbors = k_neighbors

        def __call__(self, x, y, std=False):
            assert isinstance(x, numpy.ndarray) and x.dtype == numpy.float64 and len(x) == len(y)
            value = 100 * self.k_neighbors + 10 * x.shape[1] + y.shape[1]
            return (value, 0.25) if std else value

    class WKL(KSG):
        def __call__(self, x, y, std=False):
            return (float(x[0, 0]), 0.5) if std else float(x[0, 0])

        def entropy(self, x, std=False):
            value = numpy.log(len(x)) + x[:, 0].sum() + 1000 * self.k_neighbors
            return (value, 1 / len(x)) if std else value
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package mutinfo with the estimators above, on the path."""
    folder = tmp_path / "mutinfo" / "estimators"
    folder.mkdir(parents=True)
    (folder / "knn.py").write_text(textwrap.dedent(LIKE_IT))
    for name in [name for name in sys.modules if name.split(".")[0] == "mutinfo"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "mutinfo"]:
        del sys.modules[name]


@pytest.mark.usefixtures("package")
def test_pairs_are_handed_over_as_arrays():
    x, y = normal(2, 20, 3), normal(20, 2)
    found = Mutinfo("KSG", k=4)(x.float(), y)
    assert found.value.tolist() == [432, 432]
    assert found.std_error.tolist() == [0.25, 0.25]
    assert found.value.dtype == torch.float64
    firsts = [at_one_scale(one)[0, 0].item() for one in x]
    assert Mutinfo("WKL")(x, y).value.tolist() == firsts
    assert Mutinfo("WKL")(x * 1e9, y).value.tolist() == pytest.approx(firsts)
    assert Mutinfo("KSG")(x * 0, y).value.tolist() == [0, 0]


@pytest.mark.usefixtures("package")
def test_labels_are_a_difference_of_entropies():
    x = normal(12, 1)
    y = torch.tensor([0] * 7 + [5] * 4 + [9])
    rows = x[:11, 0].numpy()  # the class of one is left out

    def entropy(part: np.ndarray, k: int) -> float:
        return np.log(len(part)) + part.sum() + 1000 * k

    expected = entropy(rows, 5) - 7 / 11 * entropy(rows[:7], 5) - 4 / 11 * entropy(rows[7:], 3)
    value, error = MutinfoLabels(k=5)(x, y)
    assert value.item() == pytest.approx(expected, abs=1e-9)
    assert error.item() == pytest.approx((1 / 11**2 + 2 / 11**2) ** 0.5, abs=1e-12)


def test_what_is_not_finite_is_an_error(package: Path):
    (package / "knn.py").write_text(textwrap.dedent(LIKE_IT).replace("0.25", "float('nan')"))
    with pytest.raises(ValueError, match="duplicate rows"):
        Mutinfo("KSG")(normal(20, 3), normal(20, 2))


def test_an_older_package_is_refused(package: Path):
    (package / "knn.py").write_text("class KSG:\n    pass\n")
    with pytest.raises(ConfigError, match="has no WKL"):
        Mutinfo()


def test_a_missing_package_is_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mutinfo", None)
    for choice in (Mutinfo, MutinfoLabels):
        with pytest.raises(ConfigError, match=r"mi=mutinfo: needs the package mutinfo: pip install git\+https"):
            choice()


@pytest.mark.usefixtures("package")
def test_refusals():
    with pytest.raises(ValueError, match="must have at least 6"):
        Mutinfo(k=5)(normal(5, 2), normal(5, 2))
    with pytest.raises(ValueError, match="estimator=KL"):
        Mutinfo("KL")
