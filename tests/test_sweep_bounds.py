"""Endless sweeps and numbers that no type can represent: refused in one line, without delay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command import Inside, refusal
from sweeping import sweep_file

from grokplane.app.composing import Composer
from grokplane.app.errors import Refused
from grokplane.options import ConfigError
from grokplane.sweep.cells import changed, make_cells
from grokplane.sweep.parsing import FileContent
from grokplane.sweep.sweepfile import read_sweep


def test_a_file_of_a_billion_parts_is_refused_in_no_time(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(Refused, match="not YAML: it contains itself, or is too large"):
        read_sweep(path)


MANY = {"min": 0, "max": 10**9}


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"parameters": {"seed": MANY}}, "the grid: makes more than 100,000 runs; allowed: fewer values"),
        ({"parameters": {f"data.k{n}": {"min": 1, "max": 20} for n in range(12)}}, "the grid: makes more than 100,000"),
        ({"parameters": {"seed": MANY}, "run_cap": 10**9}, "the grid: makes more than 100,000 runs"),
        (
            {"parameters": {"optimizer.lr": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 1e-12}}},
            "the grid: makes more than 100,000 runs",
        ),
        (
            {"parameters": {"optimizer.lr": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 1e-320}}},
            "parameters.optimizer.lr: cannot be listed: limits or q are too large or too small",
        ),
        (
            {"parameters": {"optimizer.lr": {"distribution": "q_uniform", "min": 0.1, "max": 0.2, "q": 0.5}}},
            "parameters.optimizer.lr: no multiple of q=0.5 lies between min and max",
        ),
        *(
            (
                {"parameters": {"optimizer.lr": spec}, "method": "random", "run_cap": 3},
                "parameters.optimizer.lr: draws numbers that are not finite; allowed: narrower limits",
            )
            for spec in (
                {"distribution": "log_normal", "sigma": 1e5},
                {"min": -1.7e308, "max": 1.7e308},
                {"distribution": "q_uniform", "min": 0, "max": 1, "q": 1e-320},
            )
        ),
    ],
)
def test_grids_and_draws_without_an_end_are_refused_in_no_time(keys: dict[str, Any], line: str, tmp_path: Path) -> None:
    path = sweep_file(tmp_path, command=None, **keys)
    with pytest.raises(Refused) as found:
        read_sweep(path).cells()
    assert str(found.value).startswith(f"{path}: {line}")


def test_a_run_cap_takes_the_first_cells_of_however_large_a_grid(tmp_path: Path) -> None:
    axes = {f"data.k{n}": MANY for n in range(12)}
    cells = read_sweep(sweep_file(tmp_path, parameters=axes, run_cap=3, command=None)).cells()
    assert [list(cell.values()) for cell in cells] == [[0] * 11 + [last] for last in range(3)]
    with pytest.raises(Refused, match="run_cap=1000000000: at most 100,000"):
        read_sweep(sweep_file(tmp_path, parameters=axes, method="random", run_cap=10**9))


def test_many_values_are_compared_in_no_time(tmp_path: Path) -> None:
    file = FileContent(tmp_path, {})
    assert len(file.parameter("seed", {"values": list(range(200_000))}, "grid").keys["values"]) == 200_000
    for values in ([1, 1.0], [[1, 2], [1, 2]], [True, 1]):
        with pytest.raises(Refused, match="each value only once"):
            file.parameter("seed", {"values": values}, "grid")


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("seed=range(1,1000000000)", "makes more than 100,000 runs; allowed: fewer values"),
        ("seed=shuffle(range(1,1000000000))", "makes more than 100,000 runs; allowed: fewer values"),
        ("optimizer.lr=range(0,1,1e-10)", "makes more than 100,000 runs; allowed: fewer values"),
        ("optimizer.lr=range(0,1e400)", "makes more than 100,000 runs; allowed: fewer values"),
        ("seed=range(1,5,0)", "cannot be swept (range() arg 3 must not be zero)"),
        ("seed=range(1,1)", "matches nothing"),
        ("seed=interval(0,1)", "cannot be swept; allowed: values with commas, choice(), range(), glob()"),
    ],
)
def test_typed_values_without_an_end_are_refused_by_sweeps_and_multiruns(
    typed: str, line: str, tmp_path: Path, inside: Inside
) -> None:
    composer, file = Composer("train"), read_sweep(sweep_file(tmp_path))
    with pytest.raises(Refused) as found:
        changed(file, [typed], composer)
    assert str(found.value) == f"{typed}: {line}"
    assert refusal(inside("-m", typed, cwd=tmp_path)) == f"{typed}: {line}"


@pytest.mark.parametrize(
    "typed", ["seed={}", "optimizer.lr={}", "model.hidden=[8,{}]", "seed=1,{}", "seed=range(1,{})"]
)
@pytest.mark.parametrize("digits", [309, 5000])
def test_a_number_that_no_float_can_hold_is_refused_wherever_it_is_typed(
    typed: str, digits: int, tmp_path: Path, inside: Inside
) -> None:
    long = typed.format("1" + "0" * (digits - 1))
    line = f"{typed.partition('=')[0]}=1000000000...: a number has at most 308 digits"
    assert refusal(inside(long, cwd=tmp_path)) == line
    with pytest.raises(ConfigError) as found:
        changed(read_sweep(sweep_file(tmp_path)), [long], Composer("train"))
    assert str(found.value) == line
    if "," not in typed:
        file = read_sweep(sweep_file(tmp_path, command=["${program}", "${args}", f"data.p={'9' * digits}"]))
        with pytest.raises(Refused, match=r"data.p=9999999999...: a number has at most 308 digits"):
            make_cells(file, tmp_path, 0, Composer("train"))
