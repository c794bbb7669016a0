"""The documents' own claims: the example runs as printed, links lead somewhere, named keys and files exist."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_images_exist(page: Path):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_named_in_the_pages_exist(page: Path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", page.read_text())) - {"the"} <= targets
