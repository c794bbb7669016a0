"""What every metric promises: a config file, a line in docs/metrics.md, one value a member, no word with the host."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from grokplane import config, metrics
from grokplane.answers import Labels, LabelSequence
from grokplane.data.residues import of_residues
from grokplane.metrics import Array, Inputs, LayerOutput, Observation, Parameters, Source, Subset
from grokplane.options import check_options
from grokplane.train.tracker import COUNTS, EXTREMES

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "configs/metrics").glob("*.yaml"))
CLASSES: dict[str, Any] = {name: choice for group, name, choice in config.choices() if group == "metrics"}
MEMBERS = 3


def subset(start: int, n: int, device: str, positions: int | None) -> Subset:
    """Points whose rows in the table are those from `start` on, and a network that multiplies its outputs."""
    answers = Labels(4) if positions is None else LabelSequence(4, positions, fed_back=True)
    values = torch.randn(MEMBERS, n, *answers.shape, generator=torch.Generator().manual_seed(n)).to(device)
    layers = {
        "layer 1": LayerOutput(values, values.relu(), True),
        "layer 2": LayerOutput(values.unsqueeze(2), values.unsqueeze(2), False),
    }
    labels = torch.zeros(MEMBERS, n, *answers.shape[:-1], dtype=torch.long, device=device)

    def run(
        part: slice,
        parameters: Parameters,
        inputs: Tensor | None = None,  # noqa: ARG001 (the signature of a pass)
        inner: Any = None,  # noqa: ARG001
        layers: dict[str, LayerOutput] | None = None,
    ) -> Tensor:
        scale = parameters.get("scale", torch.ones(MEMBERS, device=device))
        if layers is not None:
            layers["layer 1"] = LayerOutput(values[:, part], values[:, part].relu(), True)
        scale = scale + parameters.get("embedding.weight", torch.zeros(MEMBERS, 1, 1, device=device)).sum((1, 2))
        return values[:, part] * scale.view(-1, *[1] * (values.dim() - 1))

    rows = torch.arange(start, start + n, device=device).expand(MEMBERS, -1)
    tokens = torch.stack([rows // 4, rows % 4], 2)
    source = Source(lambda part: tokens[:, part], rows, run, lambda outputs, _: outputs[..., 0], lambda: [slice(0, n)])
    losses = values[..., 0] if positions is None else values[..., 0, 0]
    true = labels if start == 0 else None  # training with label noise
    return Subset(values, labels, losses, losses == losses, layers, answers, source=source, true_targets=true)


def observation(device: str, positions: int | None = None) -> Observation:
    shapes = {"layer 1": {"weight": (MEMBERS, 4, 5), "bias": (MEMBERS, 5)}, "layer 2": {"weight": (MEMBERS, 2)}}
    parameters: Mapping[str, Mapping[str, Tensor]] = {
        layer: {role: torch.ones(shape, device=device) for role, shape in roles.items()}
        for layer, roles in shapes.items()
    }
    rate = torch.ones(MEMBERS, device=device)
    train, held_out, ood = (subset(*part, device, positions) for part in ((0, 6), (6, 10), (16, 4)))
    every = {"scale": torch.ones(MEMBERS, device=device), "embedding.weight": torch.ones(MEMBERS, 4, 5, device=device)}
    train_points, points = (torch.arange(n, device=device).expand(MEMBERS, -1) % 2 == 0 for n in (6, 10))
    groups = {"unseen": ("test", points)}
    groups |= {"train/clean": ("train", train_points), "train/corrupted": ("train", ~train_points)}
    known = rate, parameters, every, lambda: parameters, 0.5, groups
    tracked = dict.fromkeys((*EXTREMES, *COUNTS), rate)
    rows = torch.arange(20, device=device)
    operands = torch.where(rows < 16, torch.stack([rows // 4, rows % 4]), -1).T.expand(MEMBERS, -1, -1)
    of_task = operands, [of_residues("add", 4, 4)] * MEMBERS
    return Observation(1, train, held_out, *known, None, 20, ood, *of_task, every, parameters, tracked)


def seen_by(metric: Any, device: str) -> Observation:
    """An observation that the metric can read."""
    sequences = getattr(metric, "reads", None) in ("sequences", "fed_back")
    return observation(device, positions=2 if sequences else None)


def information(seen: Observation) -> dict[str, float]:
    """What `mi=default` adds for a task of two operands."""
    tokens = {name: torch.arange(2 * part.mask.shape[1]).view(1, -1, 2) % 5 for name, part in seen.subsets.items()}
    asked = {name: (lambda x=x: x.expand(MEMBERS, -1, -1)) for name, x in tokens.items()}
    sides = {"operands": (0, 1), "discrete": True, "seen": lambda x: x}
    inputs = Inputs(asked, **sides, populations=[], seeds=range(MEMBERS), log_points=1)
    gauge = config.member(config.compose()).mi.gauge(inputs)
    assert gauge is not None
    with gauge:
        return gauge.estimate(seen, [0]).result()[0]


def documented() -> set[str]:
    """Names in the first column of the tables of metrics in docs/metrics.md, with {a,b} written out."""
    text = re.sub(r"(?s)\n### Marks\n.*?(?=\n##)", "", (ROOT / "docs/metrics.md").read_text().replace(r"\|", "\0"))
    names = [
        name.replace("\0", "|")
        for row in re.findall(r"^\| (`[^|]*) \|", text, re.M)
        for name in re.findall(r"`([^`]+)`", row)
    ]
    parts = [[part.split(",") for part in re.split(r"[{}]", name)] for name in names]
    return {"".join(choice) for name in parts for choice in itertools.product(*name)}


def test_the_docs_name_exactly_what_the_metrics_emit() -> None:
    seen = observation("cpu")
    of_metrics = {key for metric in CLASSES.values() for key in metric()(seen_by(metric, "cpu"))}
    plain = {re.sub(r"@[\d.]+", "@<r>", key) for key in of_metrics | set(information(seen))}
    plain = {re.sub(r"position_\d", "position_<k>", key) for key in plain}
    assert {re.sub(r"layer \d", "<layer>", key) for key in plain} == documented()


@pytest.mark.parametrize("name", CLASSES)
def test_one_floating_or_counting_value_a_member_and_never_a_sync_with_the_host(name: str) -> None:
    """On the meta device there are no numbers: whatever asks for one (`.item()`, `if tensor`) raises."""
    values = CLASSES[name]()(seen_by(CLASSES[name], "meta"))
    assert values
    arrays = {key: value.values for key, value in values.items() if isinstance(value, Array)}
    assert all(value.shape == (MEMBERS,) for key, value in values.items() if key not in arrays)
    assert all(value.shape[0] == MEMBERS and value.dim() > 1 for value in arrays.values())
    assert all(value.device.type == "meta" for value in (values | arrays).values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_config_file_names_its_own_schema(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# @package metrics.{path.stem}\n# ")
    assert yaml.safe_load(text)["defaults"] == [f"/metrics/schema/{path.stem}@_here_"]


def test_every_metric_has_a_config_file_and_allowed_defaults() -> None:
    assert {path.stem for path in FILES} == set(CLASSES)
    for metric in CLASSES.values():
        chosen = metric()
        assert is_dataclass(chosen)
        check_options(chosen, "metrics.")


def test_gradients_are_computed_once_and_only_if_asked_for() -> None:
    seen, calls = observation("cpu"), []
    seen.compute_gradients = lambda: calls.append(1) or seen.parameters
    metrics.Loss()(seen)
    assert calls == []
    metrics.Gradients()(seen)
    metrics.Gradients()(seen)
    assert calls == [1]


def test_learning_rate_and_step_time() -> None:
    seen = observation("cpu")
    seen.learning_rate = torch.tensor([0.1, 0.2, 0.3])
    assert metrics.LearningRate()(seen)["lr"].equal(seen.learning_rate)
    assert metrics.StepTime()(seen)["time/seconds_per_step"].tolist() == [0.5] * MEMBERS
    seen.seconds_per_step = None
    assert metrics.StepTime()(seen) == {}
