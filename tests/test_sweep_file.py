"""Sweep files: grids, random draws, the command, and a line for everything that cannot be run."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweeping import sweep_file

from grokplane.app.composing import Composer
from grokplane.app.errors import Refused
from grokplane.sweep.cells import cell_name, changed, make_cells, text_of
from grokplane.sweep.distributions import DISTRIBUTIONS, listed
from grokplane.sweep.sweepfile import read_sweep

DRAWS = 4000
# Per distribution: its keys, the same as a uniform or normal number, and the resulting median.
RANDOM: dict[str, tuple[dict[str, Any], float]] = {
    "uniform": ({"min": 2, "max": 4}, 3.0),
    "q_uniform": ({"min": 0, "max": 1, "q": 0.25}, 0.5),
    "int_uniform": ({"min": 1, "max": 9}, 5),
    "log_uniform": ({"min": -2, "max": 0}, math.exp(-1)),
    "log_uniform_values": ({"min": 0.0001, "max": 0.01}, 0.001),
    "inv_log_uniform": ({"min": -2, "max": 0}, math.e),
    "inv_log_uniform_values": ({"min": 0.0001, "max": 0.01}, 0.001),
    "q_log_uniform": ({"min": 0, "max": 4, "q": 0.5}, 7.5),
    "q_log_uniform_values": ({"min": 1, "max": 10_000, "q": 10}, 100),
    "normal": ({"mu": 3, "sigma": 0.5}, 3.0),
    "q_normal": ({"mu": 3, "sigma": 0.5, "q": 0.5}, 3.0),
    "log_normal": ({"mu": 1}, math.e),
    "q_log_normal": ({"mu": 3, "q": 1}, 20),
    "beta": ({"a": 2, "b": 2}, 0.5),
    "q_beta": ({"a": 2, "b": 2, "q": 0.1}, 0.5),
    "categorical": ({"values": [1, 5, 9]}, 5),
    "categorical_w_probabilities": ({"values": [1, 5, 9], "probabilities": [0.1, 0.8, 0.1]}, 5),
    "constant": ({"value": 7}, 7),
}


def refused(folder: Path, **keys: Any) -> str:
    """The line with which a file with these keys is refused, without the file's name."""
    path = sweep_file(folder, **keys)
    with pytest.raises(Refused) as found:
        read_sweep(path)
    name, _, line = str(found.value).partition(": ")
    assert name == str(path)
    assert "\n" not in line
    return line


def parameter(folder: Path, method: str = "grid", **spec: Any) -> str:
    """The line with which this form of optimizer.lr is refused, without the key."""
    line = refused(folder, method=method, run_cap=3, parameters={"optimizer.lr": spec})
    assert line.startswith("parameters.optimizer.lr")
    return line.removeprefix("parameters.optimizer.lr")


def test_a_grid_is_every_combination_the_last_key_fastest(tmp_path: Path) -> None:
    forms: Mapping[str, Any] = {
        "model.layers": {"distribution": "int_uniform", "min": 1, "max": 3},
        "seed": {"value": 4},
        "optimizer.weight_decay": {"distribution": "q_uniform", "min": 0.1, "max": 0.5, "q": 0.2},
    }
    sweep = read_sweep(sweep_file(tmp_path, parameters=forms))
    cells = [tuple(cell.values()) for cell in sweep.cells()]
    assert cells == [(layers, 4, share) for layers in (1, 2, 3) for share in (0.2, 0.4)]
    assert read_sweep(sweep_file(tmp_path, parameters=forms, run_cap=2)).cells() == sweep.cells()[:2]


def test_random_cells_are_those_of_the_seed_and_more_are_more_of_them(tmp_path: Path) -> None:
    forms = {"optimizer.lr": {"min": 0.001, "max": 0.1}, "seed": {"min": 0, "max": 99}}

    def drawn(cap: int, seed: int) -> list[dict[str, Any]]:
        return read_sweep(sweep_file(tmp_path, method="random", run_cap=cap, parameters=forms)).cells(seed)

    assert drawn(10, 0)[:6] == drawn(6, 0)
    assert drawn(6, 0) != drawn(6, 1)
    assert all(type(cell["seed"]) is int and 0.001 <= cell["optimizer.lr"] <= 0.1 for cell in drawn(10, 0))
    twice = read_sweep(sweep_file(tmp_path, method="random", run_cap=50, parameters={"seed": {"values": [0, 1]}}))
    assert sorted(cell["seed"] for cell in twice.cells()) == [0, 1]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_have_the_median_of_their_distribution(name: str) -> None:
    keys, median = RANDOM[name]
    generator = np.random.default_rng(0)
    drawn = [DISTRIBUTIONS[name](generator, keys) for _ in range(DRAWS)]
    spread = np.quantile(drawn, 0.75) - np.quantile(drawn, 0.25)
    assert abs(np.median(drawn) - median) <= 0.12 * spread + 1e-9
    low, high = keys.get("min"), keys.get("max")
    if low is not None and not name.removeprefix("q_").removeprefix("inv_").endswith("log_uniform"):
        rounding = keys.get("q", 0) / 2
        assert low - rounding <= min(drawn) < np.quantile(drawn, 0.25)
        assert np.quantile(drawn, 0.75) < max(drawn) <= high + rounding
    if "q" in keys:
        assert max(abs(value / keys["q"] - round(value / keys["q"])) for value in drawn) < 1e-9


@pytest.mark.parametrize("decimals", [3, 4, 7, 17])
@pytest.mark.parametrize("count", [3, 6, 7])
def test_rounded_probabilities_are_shares_of_their_sum(decimals: int, count: int, tmp_path: Path) -> None:
    chances, values = [round(1 / count, decimals)] * count, list(range(count))
    forms = {"data.p": {"values": values, "probabilities": chances}, "seed": {"min": 0, "max": 10**9}}
    file = sweep_file(tmp_path, method="random", run_cap=500, parameters=forms, command=None)
    drawn = [cell["data.p"] for cell in read_sweep(file).cells()]
    assert abs(np.bincount(drawn, minlength=count) / 500 - 1 / count).max() < 0.08


def test_quantised_values_are_the_decimals_that_are_meant() -> None:
    assert listed("q_uniform", {"min": 0.1, "max": 0.35, "q": 0.05}, 9) == [0.1, 0.15, 0.2, 0.25, 0.3, 0.35]
    assert listed("int_uniform", {"min": -1, "max": 2}, 9) == [-1, 0, 1, 2]
    assert listed("int_uniform", {"min": 10**15 + 1, "max": 10**15 + 3}, 2) == [10**15 + 1, 10**15 + 2]


@pytest.mark.parametrize(
    "start",
    [
        ["${env}", "${interpreter}", "${program}"],
        ["${env}", "python", "train.py"],
        ["/usr/bin/env", "python3", "-u", "./train.py"],
        ["python", "/some/where=else/train.py"],
        ["python", "-m", "train"],
        ["grokplane", "train"],
        ["python", "-m", "grokplane", "train"],
    ],
    ids=" ".join,
)
def test_the_command_gives_fixed_keys_however_the_program_is_named(start: list[str], tmp_path: Path) -> None:
    fixed = ["data.p=11", "optimizer=sgd", "data.train_fraction=${optimizer.lr}"]
    for arguments in ("${args}", "${args_no_hyphens}"):
        sweep = read_sweep(sweep_file(tmp_path, command=[*start, fixed[0], arguments, *fixed[1:]]))
        assert sweep.config_name == "train"
        assert list(sweep.fixed.values()) == fixed
        assert list(sweep.fixed) == ["data.p", "optimizer", "data.train_fraction"]


def test_the_program_is_the_one_that_the_agent_starts(tmp_path: Path) -> None:
    literal = ["python", "bin/train_mnist.py", "${args}"]
    assert read_sweep(sweep_file(tmp_path, program=None, command=literal)).config_name == "train_mnist"
    assert read_sweep(sweep_file(tmp_path, program="/bin/train_mnist.py")).config_name == "train_mnist"
    for command in (None, []):  # the agent treats both as the default command
        sweep = read_sweep(sweep_file(tmp_path, command=command))
        assert (sweep.config_name, sweep.fixed, len(sweep.cells())) == ("train", {}, 6)


@pytest.mark.parametrize("mode", ["disabled", "offline", "auto"])
def test_a_mode_of_wandb_is_the_files_to_choose_but_for_online(mode: str, tmp_path: Path) -> None:
    composer = Composer("train")

    def found(*command: str, **parameters: Any) -> tuple[list[str], set[str]]:
        file = sweep_file(
            tmp_path, command=["${program}", *command, "${args}"], parameters={"seed": {"values": [0, 1]}} | parameters
        )
        cells = make_cells(read_sweep(file), tmp_path, 0, composer)
        return [cell.folder.name for cell in cells], {cell.config.record.wandb for cell in cells if cell.config}

    plain = ["seed=0", "seed=1"]
    assert found(f"record.wandb={mode}") == (plain, {mode})
    assert found(f"++record.wandb='{mode}'") == (plain, {mode})
    assert found(**{"record.wandb": {"value": mode}}) == ([f"{name},record.wandb={mode}" for name in plain], {mode})
    for online in ("record.wandb=online", "++record.wandb='online'"):
        assert found(online) == (plain, {"auto"})
    for spec in ({"value": "online"}, {"values": ["online"]}):
        assert found(**{"record.wandb": spec}) == (plain, {"auto"})


def test_what_is_typed_wins_and_makes_the_same_cells(tmp_path: Path) -> None:
    composer, file = Composer("train"), read_sweep(sweep_file(tmp_path))
    whole = {cell.folder.name for cell in make_cells(file, tmp_path, 0, composer)}
    sweep = changed(file, ["data.p=11", "seed=1,2", "optimizer.weight_decay=1", "optimizer=adam,adamw"], composer)
    cells = make_cells(sweep, tmp_path, 0, composer)
    assert [cell.config.data.p for cell in cells if cell.config] == [11] * 4
    assert [tuple(cell.values.values()) for cell in cells] == [
        (1, seed, optimizer) for seed in (1, 2) for optimizer in ("adam", "adamw")
    ]
    fewer = make_cells(changed(file, ["seed=2", "optimizer.weight_decay=0.1"], composer), tmp_path, 0, composer)
    assert [cell.folder.name for cell in fewer] == ["optimizer.weight_decay=0.1,seed=2"]
    assert {cell.folder.name for cell in fewer} < whole


def test_a_value_makes_one_cell_however_it_is_written(tmp_path: Path) -> None:
    composer = Composer("train")
    file = read_sweep(sweep_file(tmp_path, parameters={"++optimizer.lr": {"values": [1e-5, 0.01]}}))

    def names(*typed: str) -> list[str]:
        return [cell.folder.name for cell in make_cells(changed(file, typed, composer), tmp_path, 0, composer)]

    assert names() == ["optimizer.lr=1e-05", "optimizer.lr=0.01"]
    assert names("optimizer.lr=1e-5") == names("++optimizer.lr=0.00001") == ["optimizer.lr=1e-05"]
    assert names("optimizer.lr=0.1", "++seed=0,1") == [f"optimizer.lr=0.1,seed={seed}" for seed in (0, 1)]
    assert names("optimizer.lr=0.1", "record.figures=true,false")[0] == "optimizer.lr=0.1,record.figures=true"


@pytest.mark.parametrize("typed", ["seed=1,1", "seed=1,2,1.0", "optimizer.weight_decay=1e-3,0.001"])
def test_cells_with_the_same_values_are_refused(typed: str, tmp_path: Path) -> None:
    composer, file = Composer("train"), read_sweep(sweep_file(tmp_path))
    with pytest.raises(Refused, match="occurs twice; allowed: each value only once"):
        make_cells(changed(file, [typed], composer), tmp_path, 0, composer)


def test_names_of_cells_are_safe_stable_and_distinct() -> None:
    assert cell_name({"optimizer.lr": 1e-05, "rules": ["sam", "orthograd"], "x": True}) == (
        "optimizer.lr=1e-05,rules=[sam,orthograd],x=true"
    )
    odd = [cell_name({"data.root": place}) for place in ("a/b", "a:b", "a b")]
    assert len(set(odd)) == 3
    assert all(name.startswith("data.root=a_b~") for name in odd)
    long = [cell_name({f"key_{number}": "x" * 20 for number in range(40)} | {"seed": seed}) for seed in (0, 1)]
    assert len(set(long)) == 2
    assert max(map(len, long)) < 140
    assert text_of([1, 2.5, "a"]) == "[1,2.5,a]"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"method": "bayes"}, "method=bayes: needs W&B's server; use method: random with run_cap, or method: grid"),
        ({"method": "gird"}, "method=gird: did you mean grid? allowed: grid, random"),
        ({"method": None}, "method=null: allowed: grid, random"),
        ({"program": "tran.py"}, "program=tran.py: did you mean train.py or train_mnist.py? allowed:"),
        ({"parameter": {}}, "parameter={}: unknown key; did you mean parameters or"),
        (
            {"early_terminate": {"type": "hyperband"}},
            "early_terminate={'type': 'hyperband'}: leave it out: it ends runs",
        ),
        ({"parameters": {}}, "parameters={}: at least one"),
        ({"parameters": [1]}, "parameters=[1]: a mapping of config keys"),
        ({"method": "random"}, "run_cap=null: how many cells to draw, a whole number, at least 1"),
        ({"run_cap": 0}, "run_cap=0: how many cells"),
        ({"command": "python train.py"}, "command=python train.py: a list of strings"),
        ({"command": ["${program}", "-m", "${args}"]}, "command=-m: only key=value is allowed after the program"),
        (
            {"command": ["${program}", "hydra.job.name=a", "${args}"]},
            "command=hydra.job.name=a: only key=value is allowed",
        ),
        (
            {"command": ["${program}", "++seed=3", "${args}"]},
            "command=++seed=3: allowed either in the command or among the parameters",
        ),
        ({"command": ["${program}", "data.p=7", "++data.p=9", "${args}"]}, "command=++data.p=9: data.p is given twice"),
        ({"parameters": {"train.overwrite": {"value": True}}}, "train.overwrite: a sweep resumes automatically"),
        ({"command": ["${program}", "train.resume=true", "${args}"]}, "train.resume: a sweep resumes automatically"),
        (
            {"parameters": {"seed": {"value": 0}, "++seed": {"value": 1}}},
            "parameters.++seed={...}: seed is given twice",
        ),
        ({"command": ["bash", "run.sh"]}, "command=[bash,run.sh]: names no program; allowed: ${program}, train.py"),
        ({"command": ["python", "main.py", "${args}"]}, "command=[python,main.py,${args}]: names no program; allowed"),
        ({"command": ["python", "train_mnist.py", "${args}"]}, "program=train.py: the command starts train_mnist.py;"),
        ({"program": None}, "program=null: allowed: train.py, train_mnist.py"),
        ({"command": ["${program}", "${arg}", "${args}"]}, "command=${arg}: unknown macro here; did you mean "),
        ({"command": ["${program}", "${envvar:A}", "${args}"]}, "command=${envvar:A}: would be looked up on this"),
        (
            {"command": ["${env}", "WANDB_MODE=offline", "python", "train.py", "${args}"]},
            "command=WANDB_MODE=offline: a variable of the environment; leave it out and set it for this call: WANDB",
        ),
    ],
)
def test_files_that_cannot_be_run_are_refused(keys: dict[str, Any], line: str, tmp_path: Path) -> None:
    assert refused(tmp_path, **keys).startswith(line)


@pytest.mark.parametrize(
    ("method", "spec", "line"),
    [
        ("grid", {"values": ["1e-3"]}, ".values=1e-3: YAML reads this as text; write 0.001"),
        ("grid", {"values": ["1e-5"]}, ".values=1e-5: YAML reads this as text; write 1.0e-05"),
        ("grid", {"values": [0.1, None]}, '.values=null: becomes the text None; write "null" in quotes'),
        ("grid", {"value": None}, '.value=null: becomes the text None; write "null" in quotes'),
        ("grid", {"values": []}, ".values=[]: a list with at least one value"),
        ("grid", {"values": [1, 1]}, ".values=[1,1]: each value only once"),
        ("grid", {"values": [{"a": 1}]}, ".values={'a': 1}: a number, a word or a list; no mapping and no date"),
        ("grid", {"value": 1, "min": 0}, ".min=0: unknown key"),
        ("grid", {"parameters": {"lr": {"value": 1}}}, ".parameters={...}: nested parameters; write flat dotted keys"),
        ("grid", {"min": 0.0, "max": 1.0}, ".distribution=uniform: allowed in a grid: constant, categorical, int_"),
        ("random", {"distribution": "unifrom", "min": 0, "max": 1}, ".distribution=unifrom: did you mean uniform"),
        ("random", {"min": 1}, ".max=null: required by distribution uniform"),
        ("random", {"min": 2, "max": 1}, ".max=1: must be above min, 2"),
        ("random", {"min": "1e-3", "max": 1}, ".min=1e-3: a number; write 0.001"),
        ("random", {"distribution": "log_uniform_values", "min": 0, "max": 1}, ".min=0: must be above 0"),
        ("random", {"distribution": "normal", "sigma": 0}, ".sigma=0: must be above 0"),
        ("random", {"min": 0.1, "max": math.inf}, ".max=inf: must be a finite number"),
        ("random", {"min": -math.inf, "max": 1.0}, ".min=-inf: must be a finite number"),
        ("random", {"distribution": "normal", "mu": math.nan}, ".mu=nan: must be a finite number"),
        ("random", {"distribution": "q_uniform", "min": 0, "max": 1, "q": math.inf}, ".q=inf: must be a finite number"),
        (
            "random",
            {"min": 0, "max": 10**30},
            f".max={10**30}: must be a whole number of magnitude at most 9,223,372,036,854,775,8",
        ),
        (
            "random",
            {"distribution": "int_uniform", "min": 0.5, "max": 3},
            ".min=0.5: must be a whole number of magnitude at most",
        ),
        (
            "random",
            {"distribution": "log_uniform", "min": 0, "max": 1e5},
            ".max=100000.0: is a natural logarithm here, of magnitude at most 700; for limits of the values themselves "
            "write log_uniform_values",
        ),
        ("grid", {"values": [datetime.date(2001, 1, 1), 1]}, ".values=2001-01-01: a number, a word or a list; no map"),
        (
            "random",
            {"values": [1, 2], "probabilities": [0.5, 0.4]},
            ".probabilities=[0.5,0.4]: must add up to 1, but for rounding; they add up to 0.9",
        ),
        (
            "random",
            {"values": [1, 2, 3], "probabilities": [0.33, 0.33, 0.33]},
            ".probabilities=[0.33,0.33,0.33]: must add up to 1, but for rounding; they add up to 0.99",
        ),
        ("random", {"values": [1, 2], "probabilities": [1]}, ".probabilities=[1]: must be a list with one for each of"),
        ("random", {"values": [1, 2], "probabilities": [1.5, -0.5]}, ".probabilities=-0.5: must be a number, at least"),
        ("random", {"values": [1, 2], "probabilities": [True, 0]}, ".probabilities=true: must be a number, at least 0"),
        ("random", {"values": [1], "probabilities": [math.inf]}, ".probabilities=inf: must be a number, at least 0"),
    ],
)
def test_forms_that_cannot_be_run_are_refused(method: str, spec: dict[str, Any], line: str, tmp_path: Path) -> None:
    assert parameter(tmp_path, method, **spec).startswith(line)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("method: grid\nmethod: random\n", "not YAML: method is given twice"),
        ("[1, 2", "not YAML: "),
        ("grid", "not a sweep file; allowed: a mapping with program"),
        ("&a [*a]", "not YAML: it contains itself, or is too large"),
        ("&a {name: *a}", "not YAML: it contains itself, or is too large"),
        (f"run_cap: {10**308}", "not YAML: 1000000000... has over 308 digits"),
        (f"run_cap: {'9' * 5000}", "not YAML: 9999999999... has over 308 digits"),
        (f"run_cap: -0x{'f' * 5000}", "not YAML: -0xfffffff... has over 308 digits"),
    ],
)
def test_what_is_no_sweep_file_is_refused(text: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(Refused) as found:
        read_sweep(path)
    assert str(found.value).startswith(f"{path}: {line}")


def test_cells_that_do_not_compose_say_why_and_a_sweep_of_only_those_is_refused(tmp_path: Path) -> None:
    composer, values = Composer("train"), {"values": [0.5, 2, "half", "1,2"]}
    cells = make_cells(
        read_sweep(sweep_file(tmp_path, parameters={"data.train_fraction": values}, command=None)),
        tmp_path,
        0,
        composer,
    )
    assert cells[0].error is None
    assert cells[1].error == "data.train_fraction=2.0: must be above 0 and below 1"
    assert cells[2].error == "data.train_fraction=half: must be a number"
    assert cells[3].error == "data.train_fraction=1,2: only one value is allowed; write a list as [a,b]"
    typo = read_sweep(sweep_file(tmp_path, parameters={"optimizer.lrr": {"values": [1, 2]}}))
    with pytest.raises(Refused, match=r"tiny.yaml: optimizer.lrr=1: unknown key; did you mean optimizer.lr"):
        make_cells(typo, tmp_path, 0, composer)
