"""The documents' own claims: the example runs as printed, links lead somewhere, named keys and files exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from builders import member

from grokplane import config
from grokplane.train import Stack
from grokplane.train.observe import observe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_contributings_metric_is_discovered_and_computes(monkeypatch: pytest.MonkeyPatch):
    code = re.search(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert code is not None
    module = types.ModuleType("grokplane.metrics.weight_max")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(code[1], module.__dict__)
    monkeypatch.setattr(config, "_modules", lambda room: [module] if room.__name__ == "grokplane.metrics" else [])
    assert [(group, name) for group, name, _ in config.choices()] == [("metrics", "weight_max")]
    stack = Stack([member(seed=0), member(seed=1)])
    seen = observe(stack, None)
    values = module.WeightMax()(seen)
    assert list(values) == [f"weight_max/{name}" for name in stack.network.layers()]
    expected = torch.stack([stack.parameters["input.embedding.weight"][e].abs().max() for e in range(2)])
    assert torch.equal(values["weight_max/embedding"], expected)


TASK = """
from dataclasses import dataclass
from typing import Any

import torch

from grokplane.answers import Labels
from grokplane.data.split_task import SplitTask
from grokplane.data.table import Table
from grokplane.options import option


@dataclass(frozen=True)
class Larger(SplitTask):
    split: Any = option(help="which pairs train")
    train_fraction: float | None = option(0.5, "share of the pairs that trains")
    label_noise: float = option(0.0, "training answers replaced")

    def table(self, seed):
        pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
        return Table(pairs, pairs.amax(1), vocabulary=5, answers=Labels(5))

    def ask(self, operands):
        return torch.tensor([int(operand) for operand in operands])


GROUP = "data"
CHOICES = {"larger": Larger}
"""
RULE = """
from dataclasses import dataclass

from grokplane.optim.orthograd import OrthoGrad


@dataclass(frozen=True)
class Another(OrthoGrad):
    pass


GROUP = "rules"
CHOICES = {"another": Another}
"""


def test_what_contributing_says_to_add_trains(tmp_path: Path):
    """A metric, a task with a split and a rule, each with the lines of that page as its YAML, in a copy of the tree."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (metric,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    of_metric, minimal, of_split_task, of_rule = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert of_split_task.startswith(minimal)
    shutil.copytree(ROOT / "src/grokplane", tmp_path / "src/grokplane", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    shutil.copy(ROOT / "train.py", tmp_path)
    for place, code, yaml in (
        ("metrics/weight_max", metric, of_metric),
        ("data/larger", TASK, of_split_task),
        ("rules/another", RULE, of_rule),
    ):
        name = place.rpartition("/")[2]
        (tmp_path / "src/grokplane" / f"{place.replace('rules', 'optim')}.py").write_text(code)
        (tmp_path / "configs" / f"{place}.yaml").write_text(yaml.replace("<name>", name))
    typed = "data=larger rules=[another] metrics=[loss,accuracy,weight_max] mi=off train.steps=3 hydra.run.dir=run"
    done = subprocess.run(
        [sys.executable, "train.py", *typed.split(), "record.figures=false", "record.wandb=disabled"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    last = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 3
    assert last["weight_max/embedding"] > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_images_exist(page: Path):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_named_in_the_pages_exist(page: Path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", page.read_text())) - {"the"} <= targets
