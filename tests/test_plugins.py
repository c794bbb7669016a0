"""Plug-ins: choices of other modules in every command and every process, and what is refused."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
import yaml
from command import QUIET, Forget, Inside, ended_well, refusal, summary

from grokplane import config, plugins
from grokplane.app import untyped
from grokplane.predict import main as predict
from grokplane.processes.worker import Worker

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
PLAIN = (*QUIET, "mi=off", "train.threads=1", "train.steps=20")
NAMED = "grokplane.plugins=[my_nets]"


def blocks(kind: str) -> list[str]:
    """The page's blocks of code in a language."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, forget: Forget) -> Path:  # noqa: ARG001 (for its end)
    """A folder with the page's module."""
    (code,) = blocks("python")
    (tmp_path / "my_nets.py").write_text(code)
    return tmp_path


def test_the_pages_commands_do_what_the_page_says(
    folder: Path, forget: Forget, inside: Inside, capsys: pytest.CaptureFixture[str]
) -> None:
    train, multirun, ask = (shlex.split(line) for line in blocks("sh")[0].splitlines())
    assert {train[0], multirun[0], ask[0]} == {"grokplane"}
    ended_well(inside, *train[2:], *PLAIN, cwd=folder)
    row = json.loads((folder / "first/metrics.jsonl").read_text().splitlines()[-1])
    assert {"weight_max/embedding", "weight_max/layer 1", "weight_max/layer 2"} <= row.keys()
    forget()
    ended_well(inside, *multirun[2:], *QUIET, "mi=off", "train.steps=2", "hydra.sweep.dir=two", cwd=folder)
    assert [summary(folder / "two" / job)["status"] for job in "01"] == ["finished"] * 2
    forget()
    assert predict(ask[2:]) == 0
    assert re.search(r"^3,4 .* 4 ", capsys.readouterr().out, re.MULTILINE)


def test_the_pages_primary_config_trains(folder: Path, inside: Inside) -> None:
    (text,) = blocks("yaml")
    (folder / "own").mkdir()
    (folder / "own" / "mine.yaml").write_text(text)
    typed = ("--config-dir", "own", "--config-name", "mine", "hydra.run.dir=r", *PLAIN)
    ended_well(inside, *typed, cwd=folder)
    stored = yaml.safe_load((folder / "r/.hydra/config.yaml").read_text())
    assert (stored["data"]["n"], stored["grokplane"]) == (13, {"plugins": ["my_nets"]})
    ended_well(inside, *typed, "train.steps=25", "train.resume=true", cwd=folder)
    assert summary(folder / "r")["steps"] == 25


def test_a_stored_config_imports_nothing_by_itself(
    folder: Path, forget: Forget, inside: Inside, capsys: pytest.CaptureFixture[str]
) -> None:
    go_on = ("hydra.run.dir=r", "train.resume=true", "train.steps=25")
    ended_well(inside, NAMED, "data=larger", "hydra.run.dir=r", *PLAIN, cwd=folder)
    forget()
    line = refusal(inside(*go_on, cwd=folder))
    assert line.startswith(f"{NAMED}: would be imported, which runs its code: ")
    assert predict(["r", "1,2"]) == 2
    assert "--plugin my_nets" in capsys.readouterr().err
    assert "my_nets" not in sys.modules
    ended_well(inside, *go_on, NAMED, cwd=folder)
    assert summary(folder / "r")["steps"] == 25


def test_a_run_without_plugins_stores_no_word_of_them(tmp_path: Path, inside: Inside, forget: Forget) -> None:  # noqa: ARG001
    ended_well(inside, "hydra.run.dir=r", "data.p=5", *PLAIN, cwd=tmp_path)
    assert "grokplane" not in yaml.safe_load((tmp_path / "r/.hydra/config.yaml").read_text())


def test_an_installed_package_is_found_without_being_named(
    folder: Path, forget: Forget, inside: Inside, capsys: pytest.CaptureFixture[str]
) -> None:
    site = folder / "site"
    info = site / "my_package-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "my_nets.py").rename(site / "my_nets.py")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    ((group,),) = [re.findall(r"\[project\.entry-points\.\"(.*)\"\]", blocks("toml")[0])]
    (info / "entry_points.txt").write_text(f"[{group}]\n" + blocks("toml")[0].splitlines()[1].replace('"', "") + "\n")
    assert "larger" not in config.group_names("data")
    forget(str(site))
    done = inside("data=larger", "--help", cwd=folder)
    told = done.stdout
    assert done.returncode == 0, done.stderr
    assert "The larger of two numbers." in told
    assert re.search(r"data\.n=11 +the numbers are 0 to n - 1 \(a whole number at least 2\)", told)
    ended_well(inside, "data=larger", "hydra.run.dir=r", *PLAIN, cwd=folder)
    assert predict(["r", "1,2"]) == 0
    capsys.readouterr()
    (site / "my_nets.py").write_text("import nothing_of_that_name")
    del sys.modules["my_nets"]
    importlib.invalidate_caches()
    plugins._installed.cache_clear()
    line = refusal(inside("data=larger", *PLAIN, cwd=folder))
    assert line.startswith("grokplane.choices=my_nets: a plug-in of the installed package my-package")
    assert "nothing_of_that_name" in line


def test_jobs_elsewhere_have_the_plugin(folder: Path, inside: Inside) -> None:
    (folder / "s.yaml").write_text("program: train.py\nmethod: grid\nparameters: {seed: {values: [0]}}\n")
    elsewhere = ("hydra.launcher.executor=submitit", "hydra.launcher.submitit.cluster=local", "hydra.sweep.dir=out")
    done = inside("s.yaml", "data=larger", NAMED, *elsewhere, *PLAIN, cwd=folder, program="sweep.py")
    assert done.returncode == 0, done.stderr
    assert summary(folder / "out" / "seed=0")["status"] == "finished"


def test_a_sweep_file_alone_imports_no_plugin(folder: Path, inside: Inside) -> None:
    (folder / "s.yaml").write_text(
        f"program: train.py\nmethod: grid\ncommand: ['${{program}}', '{NAMED}', '${{args_no_hyphens}}']\n"
        "parameters: {seed: {values: [0, 1]}}\n"
    )
    assert refusal(inside("s.yaml", *PLAIN, cwd=folder, program="sweep.py")).startswith(f"{NAMED}: would be imported")
    assert "my_nets" not in sys.modules


def test_text_and_folder_keys_of_a_plugin_are_known(folder: Path) -> None:
    keys = {"metrics.asked.when", "metrics.asked.place"}
    (folder / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from grokplane.metrics import Metric\n"
        "from grokplane.options import option\n\n"
        "@dataclass(frozen=True)\n"
        "class Asked(Metric):\n"
        "    '''Has a text and a folder.'''\n\n"
        "    when: str = option('a', 'a text', text=True)\n"
        "    place: str = option('b', 'a folder', folder=True)\n\n"
        'GROUP, CHOICES = "metrics", {"asked": Asked}\n'
    )
    assert not keys & config.text_keys()
    config.use_plugins(["mine"])
    assert keys <= config.text_keys()
    assert config.text_keys() == untyped.text_keys()


def test_an_estimator_of_a_plugin_works_in_the_process_beside_training(folder: Path, forget: Forget) -> None:
    (folder / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from grokplane.mi import Binning, Estimate\n\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Binning):\n"
        "    '''Says where it was called.'''\n\n"
        "    def __call__(self, x, y):\n"
        "        import os, torch\n"
        "        value = torch.tensor(float(os.getpid()))\n"
        "        return Estimate(value, value)\n\n"
        'GROUP, CHOICES = "mi/label_estimator", {"mine": Mine}\n'
    )
    config.use_plugins(["mine"])
    made = config.compose(["mi=compressed", "mi/label_estimator=mine"])
    estimator = config.made("mi/label_estimator", made.mi.label_estimator)
    process = Worker()
    try:
        found = process.ask(estimator, torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64))
        assert float(found.value) != os.getpid()
    finally:
        process.end(at_once=True)
        process.wait()
        forget()


CLASS = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass C:\n    '''C.'''\n"
BAD = {
    "absent": (None, "cannot be imported (ModuleNotFoundError: No module named 'absent')"),
    "broken": ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
    "leaves": ("raise SystemExit", "cannot be imported (SystemExit: )"),
    "empty": ("", "must list its choices"),
    "direct": (f'{CLASS}CHOICES = {{"data": C}}', "must list its choices"),
    "taken": (f'{CLASS}GROUP, CHOICES = "data", {{"modular": C}}', "brings data=modular, a name that grokplane has"),
    "group": (f'{CLASS}GROUP, CHOICES = "dat", {{"c": C}}', "no config group; did you mean data?"),
    "function": ('GROUP, CHOICES = "data", {"f": print}', "must be a dataclass"),
    "key": (f'{CLASS}    k: int = 1\nGROUP, CHOICES = "data", {{"c": C}}', "must be declared with option("),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_plugin_is_refused_by_name(name: str, tmp_path: Path, inside: Inside, forget: Forget) -> None:  # noqa: ARG001
    code, expected = BAD[name]
    if code is not None:
        (tmp_path / f"{name}.py").write_text(code)
    line = refusal(inside(f"grokplane.plugins=[{name}]", cwd=tmp_path))
    assert name in line.partition(":")[0]
    assert expected in line
    assert not (tmp_path / "outputs").exists()
    assert not plugins.names()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ((NAMED, "data=larger", "data.n=1"), "data.n=1: must be at least 2"),
        ((NAMED, "data=larger", "data.m=1"), "data.m=1: unknown key"),
        ((NAMED, "data=large"), "data=large: did you mean larger or modular? allowed: addition, copy, "),
        (
            (NAMED, "data=larger", "experiment=enerrio"),
            "data.p: set by experiment=enerrio, but no key of data=larger; ",
        ),
        (("data=larger",), "data=larger: allowed: addition, copy, "),
        (("grokplane.plugins=my_nets",), "grokplane.plugins=my_nets: must be one list of module names"),
        (
            ("-m", "grokplane.plugins=[my_nets],[x]"),
            "grokplane.plugins=grokplane.plugins=[my_nets],[x]: must be one list",
        ),
    ],
)
def test_keys_of_a_plugin_have_the_usual_refusals(
    typed: tuple[str, ...], expected: str, folder: Path, inside: Inside
) -> None:
    assert refusal(inside(*typed, cwd=folder)).startswith(expected)
