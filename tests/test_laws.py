"""What `benchmarks/laws.py` finds in rows that break a law between informations."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

# Values of one layer at r = 0.2 and 0.5 that break nothing, in nats.
SOUND = {
    "MI(X;L)": 5.0,
    "MI(L;Y)": 2.0,
    "MI(X;L|Y)": 3.0,
    "MI(X;L)@0.5": 1.9,
    "MI(L;Y)@0.5": 1.0,
    "MI(X;L|Y)@0.5": 0.9,
}
KNOWN = {"ln n_eval": 6.0, "H(X)_eval": 5.5, "H(Y)_eval": 2.3, "mi.resolution": 0.2}
BREAKING = {
    "0 <= I(X;L) ": {"MI(X;L)@0.5": -0.1},
    "I(X;L) <= ln n": {"MI(X;L)": 6.1},
    "I(X;L) <= H(X)": {"MI(X;L)": 5.6},
    "I(X;L) <= 1 / 2 r^2": {"MI(X;L)@0.5": 2.1},
    "0 <= I(L;Y)": {"MI(L;Y)@0.5": -0.1},
    "I(L;Y) <= H ": {"MI(L;Y)": 2.4},
    "I(L;Y) <= I(X;L)": {"MI(X;L)@0.5": 0.9},
    "I(L;Y) >= H - (ln n - I(X;L))": {"MI(X;L)": 5.9},
    "0 <= I(X;L|Y)": {"MI(X;L|Y)@0.5": -0.1},
    "I(X;L|Y) = I(X;L) - I(L;Y)": {"MI(X;L|Y)": 3.1},
    "MI(X;L) falls as r grows": {"MI(X;L)": 1.8},
    "MI(L;Y) falls as r grows": {"MI(L;Y)": 0.9},
}


@pytest.fixture
def laws(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("laws")


def rows(error: float, **changed: float) -> pd.DataFrame:
    """Two log points, the second with changed values."""
    points = []
    for step, more in enumerate(({}, changed)):
        values = {f"{name}_eval/layer 1": value for name, value in (SOUND | more).items()}
        points.append({"step": step} | KNOWN | values | {f"{name}_Errors_eval/layer 1": error for name in SOUND})
    return pd.DataFrame(points)


def test_rows_that_obey_break_nothing(laws: ModuleType) -> None:
    checked, lines = laws.broken(rows(0.0))
    assert lines == []
    assert checked == 2 * (2 * 10 + 3)


@pytest.mark.parametrize("law", BREAKING)
def test_what_is_broken_is_told_by_law_and_step(law: str, laws: ModuleType) -> None:
    _, lines = laws.broken(rows(0.0, **BREAKING[law]))
    assert any(line.startswith(law) and "most at step 1" in line for line in lines)


def test_three_standard_errors_excuse_a_law_but_not_an_identity(laws: ModuleType) -> None:
    of_input = {"MI(X;L)": 6.1, "MI(X;L|Y)": 4.1}
    assert laws.broken(rows(0.3, **of_input))[1] == []
    assert len(laws.broken(rows(0.01, **of_input))[1]) >= 2
    assert len(laws.broken(rows(9.0, **{"MI(X;L|Y)": 3.1}))[1]) == 1


def test_what_is_not_known_is_not_checked(laws: ModuleType) -> None:
    assert laws.broken(rows(float("nan")))[0] < laws.broken(rows(0.0))[0]
