"""Subsets that are too large to keep: the same values in bounded memory, or an error with the bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import METRICS, member, task, training
from command import call, refusal
from looking import looked_at
from torch import Tensor

from grokplane.metrics import Gradients, Information, subset
from grokplane.models.transformer import Transformer
from grokplane.options import ConfigError
from grokplane.train import Stack, looks, memory, try_metrics
from grokplane.train.observe import observe

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "transformer": {"model": Transformer(layers=2, heads=2, width=8, mlp_width=12), "data": task(layout="equals")},
}


def stacks(**parts: Any) -> Stack:
    """Two members of unequal training sets, so that there is padding."""
    data = parts.pop("data", task())
    fractions = (0.5, 0.8)
    return Stack([member(seed=s, data=replace(data, train_fraction=f), **parts) for s, f in enumerate(fractions)])


@pytest.mark.parametrize("model", MODELS)
def test_values_of_parts_are_those_of_the_whole(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {**MODELS[model], "metrics": METRICS, "mi": Information(draws=4, workers=0)}
    whole = looked_at(stacks(**parts))
    monkeypatch.setattr(looks, "WHOLE_BYTES", 0)
    monkeypatch.setattr(subset, "PART_BYTES", 5 * stacks(**parts).point.both)
    for one, other in zip(looked_at(stacks(**parts)), whole, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert value == pytest.approx(other[name], rel=1e-9, abs=1e-12, nan_ok=True), name


def test_a_look_at_a_large_subset_keeps_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "WHOLE_BYTES", 0)
    monkeypatch.setattr(subset, "PART_BYTES", 4 * stacks().point.both)
    sizes: list[int] = []
    stack = stacks(metrics={"gradients": Gradients()})
    stack.network.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[1]))
    seen = observe(stack)
    points = seen.train.mask.shape[1] + seen.eval.mask.shape[1]
    assert max(sizes) == 4
    assert sum(sizes) == points
    assert seen.gradients
    assert sum(sizes) == points + seen.train.mask.shape[1]
    assert max(sizes) == 4


def test_no_graph_is_kept_where_no_metric_asks_for_gradients() -> None:
    for metrics, kept in (({}, [False, False]), ({"gradients": Gradients()}, [True, False])):
        stack, found = stacks(metrics=metrics), list[bool]()

        def note(_: object, given: object, made: Tensor, found: list[bool] = found) -> None:  # noqa: ARG001 (a hook's)
            found.append(made.requires_grad)

        stack.network.register_forward_hook(note)
        assert not observe(stack).train.outputs.requires_grad
        assert found == kept


def test_gradients_are_had_without_having_been_announced() -> None:
    announced, plain = observe(stacks(metrics={"gradients": Gradients()})), observe(stacks())
    for layer, roles in announced.gradients.items():
        for role, value in roles.items():
            assert torch.equal(value, plain.gradients[layer][role])


def refused(stack: Stack) -> str:
    with pytest.raises(ConfigError) as error:
        try_metrics(stack)
    return str(error.value)


def test_what_cannot_fit_is_refused_with_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, some = stacks(), {"train": training(batch_size=5)}
    look = whole.point.both * (whole.examples.train.mask.shape[1] + whole.examples.test.mask.shape[1])
    monkeypatch.setattr(memory, "free_bytes", lambda _: 2 * look - 2)
    assert refused(whole).startswith("train.batch_size=full: an update on 39 points would take ")
    assert refused(stacks(**some, mi=Information())).startswith("mi=information: layers and outputs of all 64 points")
    reads = stacks(**some, metrics={name: METRICS[name] for name in ("Loss", "Activations", "Sparsity")})
    assert refused(reads).endswith("; write metrics=[Loss,Sparsity]")
    try_metrics(stacks(**some))
    monkeypatch.setattr(memory, "free_bytes", lambda _: 2 * look)
    try_metrics(stacks(**some, mi=Information()))


def test_two_thousand_residues_are_refused_before_the_kernel_kills(tmp_path: Path) -> None:
    done = call("data.p=2000", "mi=off", "record.wandb=disabled", cwd=tmp_path)
    assert "train.batch_size=full: an update on" in refusal(done)
    assert "GiB" in refusal(done)
    assert not (tmp_path / "outputs").exists()
