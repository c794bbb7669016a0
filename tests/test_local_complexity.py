"""Boundaries of linear regions near points, counted by explicit loops over points, vertices and units."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import member
from test_observation_asks import pair, twin
from torch import Tensor, nn

from grokplane import config
from grokplane.data.teacher_student import TeacherStudent
from grokplane.losses import MSE
from grokplane.mechanism.partitions import cross_polytope, crossed
from grokplane.metrics import LocalComplexity, Observation
from grokplane.metrics.chosen import chosen
from grokplane.models.mlp import MLP
from grokplane.options import ConfigError
from grokplane.random import generator
from grokplane.train import Stack
from grokplane.train.observe import observe
from grokplane.train.trial import try_metrics


def values(metric: LocalComplexity, seen: Observation) -> dict[str, Tensor]:
    with torch.no_grad():
        return dict(metric(seen))


def offsets(metric: LocalComplexity, size: int) -> Tensor:
    return cross_polytope(size, metric.directions, metric.radius, generator(metric.seed, "local complexity"))


@torch.no_grad()
def counted(layers: list[nn.Module], starts: Tensor, vertices: Tensor) -> list[float]:
    """Mean number of units of each hidden layer, in the order of the network, whose boundary crosses."""
    totals = [0.0] * (len(layers) // 2)
    for start in starts:
        signs: list[list[list[bool]]] = [[] for _ in totals]
        for vertex in vertices:
            x = start + vertex
            for number in range(len(totals)):
                x = layers[2 * number](x)
                signs[number].append([bool(unit > 0) for unit in x])
                x = x.relu()
        for number, of_layer in enumerate(signs):
            totals[number] += sum(any(unit) and not all(unit) for unit in zip(*of_layer, strict=True)) / len(starts)
    return totals


@pytest.mark.parametrize("directions", [3, 50])
def test_features_are_moved_in_input_space(directions: int) -> None:
    data, model = TeacherStudent(train_points=9, test_points=5), MLP(hidden=[8, 6], embedding="none")
    stack = Stack([member(data=data, model=model, loss=MSE(), seed=seed) for seed in range(2)])
    seen, metric = observe(stack), LocalComplexity(points=4, directions=directions, radius=0.5, seed=2)
    found = values(metric, seen)
    vertices = offsets(metric, 5)
    assert len(vertices) == 2 * min(directions, 5)
    for number in range(2):
        linears: list[Any] = []
        for weight, bias in zip(*[iter(stack.parameters.values())] * 2, strict=True):
            linear = nn.Linear(weight.shape[2], weight.shape[1]).double()
            linear.load_state_dict({"weight": weight[number], "bias": bias[number]})
            linears += [linear, nn.ReLU()]
        for name, part in seen.subsets.items():
            points = chosen(part, 4, 2).inputs[number].double()
            expected = counted(linears[:-2], points, vertices)
            for layer, count in zip(("layer 1", "layer 2"), expected, strict=True):
                assert float(found[f"local_complexity_{name}/{layer}"][number]) == pytest.approx(count, rel=1e-12)
            assert float(found[f"local_complexity_{name}/total"][number]) == pytest.approx(sum(expected), rel=1e-12)
            assert sum(expected) > 0


def test_tokens_are_moved_in_the_space_of_the_embedding() -> None:
    stack = Stack(pair())
    seen, metric = observe(stack), LocalComplexity(points=14, radius=0.2, seed=2)
    found = values(metric, seen)
    assert len(offsets(metric, 6)) == 12
    for number in range(2):
        embedding, _, *layers = twin(stack, number).children()
        some = chosen(seen.train, 14, 2)
        starts = embedding(some.inputs[number][some.mask[number]]).sum(1)  # fewer than 14 in the second member
        expected = counted(layers[:-1], starts, 2 * offsets(metric, 6))  # both operands are moved
        for layer, count in zip(("layer 1", "layer 2"), expected, strict=True):
            assert float(found[f"local_complexity_train/{layer}"][number]) == pytest.approx(count, rel=1e-12)
    assert seen.train.mask.sum(1).tolist() == [24, 12]


def test_vertices_are_orthogonal_pairs_at_the_radius() -> None:
    vertices = cross_polytope(7, 4, 0.3, generator(0, "test"))
    products = vertices[:4] @ vertices[:4].mT
    torch.testing.assert_close(products, 0.09 * torch.eye(4, dtype=torch.float64))
    assert torch.equal(vertices[4:], -vertices[:4])


def test_units_that_are_active_everywhere_or_nowhere_do_not_count() -> None:
    active = torch.tensor([[[0, 1, 3, 4], [4, 4, 0, 2], [1, 1, 1, 1]]])
    mask = torch.tensor([[True, True, False]])
    assert crossed(active, 4, mask).tolist() == [1.5]


def test_the_number_grows_from_none_to_all_with_the_radius_and_a_diverged_member_is_null() -> None:
    stack = Stack(pair())
    with torch.no_grad():
        for name, value in stack.parameters.items():
            value[1].fill_(torch.nan)
            if name.endswith("bias"):
                value[0].zero_()
    seen = observe(stack)
    name = "local_complexity_train/layer 1"  # whose units are linear, so that each has both signs far away
    found = [values(LocalComplexity(radius=radius), seen)[name] for radius in (1e-9, 1e9)]
    assert [float(count[0]) for count in found] == [0, 8]
    assert all(count[1].isnan() for count in found)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["model.activation=Tanh"], "model.activation=ReLU"),
        (["model.embedding=onehot"], "model.embedding=sum or concat"),
    ],
)
def test_other_networks_are_refused(typed: list[str], line: str) -> None:
    stack = Stack([config.member(config.compose(["data.p=7", "mi=off", "metrics=[local_complexity]", *typed]))])
    with pytest.raises(ConfigError, match="metrics=local_complexity: ") as refusal:
        try_metrics(stack)
    assert line in str(refusal.value)


def test_layers_without_relu_units_are_left_out() -> None:
    typed = ["data.p=5", "mi=off", "model=transformer", "model.layers=2", "data.layout=equals"]
    seen = observe(Stack([config.member(config.compose(typed))]))
    found = values(LocalComplexity(points=6), seen)
    names = ["layer 1 mlp", "layer 2 mlp", "total"]
    assert list(found) == [f"local_complexity_{name}/{layer}" for name in ("train", "eval") for layer in names]
    assert all(float(value) > 0 for value in found.values())
