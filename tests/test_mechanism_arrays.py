"""Metrics that record what figures of a mechanism show, against plain loops and a network in closed form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from builders import member, task
from torch import Tensor

from grokplane.data import Group, RandomSplit, Sums
from grokplane.metrics import ActivationMaps, Array, Embeddings, LogitSlices, Metric, WeightHistograms
from grokplane.metrics.activation_maps import spaced
from grokplane.metrics.elements import elements
from grokplane.metrics.weight_histograms import histogram
from grokplane.models.lstm import LSTM
from grokplane.models.mlp import MLP
from grokplane.models.transformer import Transformer
from grokplane.options import ConfigError
from grokplane.train import Stack
from grokplane.train.observe import observe
from grokplane.train.trial import try_metrics

MAPS, SLICES = ActivationMaps(count=3), LogitSlices(fixed=[1, 4])
METRICS: tuple[Metric, ...] = (MAPS, Embeddings(), SLICES, WeightHistograms(bins=9))


def measured(metric: Metric, stack: Stack) -> dict[str, np.ndarray]:
    with torch.no_grad():
        found = metric(observe(stack))
    arrays = {name: one.values for name, one in found.items() if isinstance(one, Array)}
    assert arrays.keys() == found.keys()
    return {name: one.numpy() for name, one in arrays.items()}


def on_pairs(stack: Stack, values: Any, row: int, n: int) -> np.ndarray:
    """Values of a member's points as [n, n, ...] by elements, from the subsets; NaN elsewhere."""
    seen = observe(stack)
    group = seen.operand_groups[row]
    assert group is not None
    assert seen.operands is not None
    first = values(seen.train)
    found = np.full((n, n, first.shape[2]), np.nan, dtype=np.float32)
    for subset in seen.subsets.values():
        of_points = values(subset)[row]
        for place in range(int(subset.mask[row].sum())):
            tokens = seen.operands[row, int(subset.rows[row, place])].tolist()
            a, b = (int(group.elements[token]) for token in tokens)
            if min(a, b) >= 0:
                found[a, b] = of_points[place].numpy()
    return found


@pytest.mark.parametrize("model", [MLP(hidden=[8, 5], embedding_dim=6), Transformer(layers=1, width=8, heads=2)])
def test_maps_and_slices_hold_the_values_of_each_pair_and_stacks_of_groups_are_padded(model: Any) -> None:
    stack = Stack([member(data=task(operation=one), model=model) for one in ("add", "mul")])
    maps, slices = measured(MAPS, stack), measured(SLICES, stack)
    *layers, _ = observe(stack).train.layers
    assert {f"maps/{layer}" for layer in layers} | {f"map_units/{layer}" for layer in layers} == maps.keys()
    for row, order in ((0, 7), (1, 6)):
        for layer in layers:
            units = maps[f"map_units/{layer}"][row].tolist()
            width = observe(stack).train.layers[layer].activations.flatten(2).shape[2]
            assert (units[0], units[-1], len(units)) == (0, width - 1, 3)
            of_pairs = on_pairs(stack, lambda one, layer=layer: one.layers[layer].activations.flatten(2), row, 7)
            np.testing.assert_array_equal(maps[f"maps/{layer}"][row], of_pairs[..., units].transpose(2, 0, 1))
        of_pairs = on_pairs(stack, lambda one: one.outputs, row, 7)
        np.testing.assert_array_equal(slices["slices"][row], of_pairs[:, [1, 4]].swapaxes(0, 1))
        assert np.isfinite(maps["maps/layer 1"][row]).sum() == 3 * order**2
    assert slices["slice_elements"].tolist() == [[1, 4]] * 2
    assert slices["slice_orders"].tolist() == [[7], [6]]


def test_units_are_evenly_spaced_and_a_narrow_layer_has_all_of_its_units() -> None:
    assert spaced(9, 3).tolist() == [0, 4, 8]
    assert spaced(32, 9).tolist() == [0, 4, 8, 12, 16, 19, 23, 27, 31]
    assert spaced(2, 9).tolist() == [0, 1]
    assert spaced(5, 1).tolist() == [0]


def test_maps_of_the_network_in_closed_form_are_waves_of_one_frequency() -> None:
    """A unit is (cos(w a + f) + cos(w b + g))^2: frequencies (0, 2k), (2k, 0), (k, k), (k, -k) and the constant."""
    p = 11
    keys = {"embedding": "onehot", "activation": "square", "bias": False, "init": "analytic"}
    stack = Stack([member(data=task(p=p), model=MLP(hidden=[10], **keys))])  # type: ignore[arg-type]
    maps = measured(ActivationMaps(count=10), stack)["maps/layer 1"][0]
    for unit, values in enumerate(maps):
        k = unit % 5 + 1
        power = np.abs(np.fft.fft2(values.astype(float))) ** 2
        pairs = [(0, 0), (0, 2 * k), (2 * k, 0), (k, k), (k, -k)]
        waves = {(sign * a % p, sign * b % p) for a, b in pairs for sign in (1, -1)}
        inside = sum(power[place] for place in waves)
        assert inside / power.sum() == pytest.approx(1, abs=1e-9)
        assert power[k, k] / power.sum() > 0.05


def _parameter(stack: Stack, end: str) -> Tensor:
    (found,) = (value for name, value in dict(stack.parameters).items() if name.endswith(end))
    return found.detach()


@pytest.mark.parametrize(("data", "model", "key", "orders"), [
    (task(operation="add", layout="equation"), MLP(hidden=[8], embedding_dim=6), "embedding.weight", [7]),
    (task(operation="mul"), MLP(hidden=[8], embedding_dim=6), "embedding.weight", [6]),
    (Group(RandomSplit(), group="Z2xZ4"), MLP(hidden=[8], embedding_dim=6), "embedding.weight", [2, 4]),
    (Group(RandomSplit(), group="S3"), MLP(hidden=[8], embedding_dim=6), "embedding.weight", [0]),
    (task(operation="mul"), LSTM(width=5, input="onehot"), "recurrent.0.weight_ih", [6]),
])  # fmt: skip
def test_the_embedding_is_in_the_order_of_the_elements(data: Any, model: Any, key: str, orders: list[int]) -> None:
    stack = Stack([member(data=data, model=model)] * 2)
    found = measured(Embeddings(), stack)
    (group, _), weight = observe(stack).operand_groups, _parameter(stack, key)
    weight = weight if key == "embedding.weight" else weight.mT  # a column for each token
    assert group is not None
    assert found["embedding_orders"].tolist() == [orders] * 2
    assert found["embedding"].shape[1] == group.order
    for token, element in enumerate(group.elements.tolist()):
        if element >= 0:
            np.testing.assert_array_equal(found["embedding"][1, element], weight[1, token].float().numpy())


def test_orders_of_groups_with_fewer_factors_are_padded_with_1() -> None:
    data = [Group(RandomSplit(), group=name) for name in ("Z8", "Z2xZ4", "D4")]
    groups = [observe(Stack([member(data=one)])).operand_groups[0] for one in data]
    seen = replace(observe(Stack([member(data=data[0])] * 3)), operand_groups=groups)
    assert elements(seen).orders.tolist() == [[8, 1], [2, 4], [0, 1]]


def test_a_histogram_counts_every_finite_weight_once() -> None:
    edges = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
    values = torch.tensor(
        [[-9, -1, -0.5, -0.1, 0, 0.2, 0.5, 1, 7], [0.1, 0.1, 0.1, math.nan, math.inf, -math.inf, -1, 0, 0]]
    )
    assert histogram(values, edges).tolist() == [[2, 2, 2, 3], [1, 0, 5, 0]]


def test_histograms_of_a_network() -> None:
    stack = Stack([member()] * 2)
    found, parameters = measured(WeightHistograms(bins=6, linear=0.1, limit=2), stack), observe(stack).parameters
    edges = found["weight_edges"][0].astype(float)
    assert edges == pytest.approx(0.1 * np.sinh(np.linspace(-1, 1, 7) * np.arcsinh(20)), rel=1e-6)
    assert found.keys() == {"weight_edges", *(f"weight_counts/{layer}" for layer in parameters)}
    for layer, roles in parameters.items():
        weight = roles["weight"].detach()[1].numpy().ravel()
        inner = np.histogram(np.clip(weight, edges[0], edges[-1]), edges)[0]
        assert found[f"weight_counts/{layer}"][1].tolist() == inner.tolist()


@pytest.mark.parametrize("metric", METRICS, ids=lambda one: type(one).__name__)
def test_a_stack_has_the_arrays_of_its_members(metric: Metric) -> None:
    members = [member(seed=seed, data=task(operation=one)) for seed, one in enumerate(("add", "mul", "sub"))]
    together = measured(metric, Stack(members))
    for row, one in enumerate(members):
        for name, values in measured(metric, Stack([one])).items():
            own = together[name][row][tuple(slice(size) for size in values.shape[1:])]
            np.testing.assert_allclose(own, values[0], rtol=1e-6)
            assert own.dtype == values.dtype
            if own.size < together[name][row].size:
                assert np.isfinite(together[name][row]).sum() == np.isfinite(values[0]).sum()


@pytest.mark.parametrize(("metric", "data", "says"), [
    ("activation_maps", Sums(RandomSplit(), p=5, operands=3), "needs questions with two operands, and this task has 3"),
    ("logit_slices", Sums(RandomSplit(), p=5, operands=3), "needs questions with two operands, and this task has 3"),
    ("logit_slices", task(p=3), r"fixed=.*: elements are 0 to 2"),
    ("layers", task(), r"metrics.activation_maps.layers=layer 9: .*layer 1"),
])  # fmt: skip
def test_refusals(metric: str, data: Any, says: str) -> None:
    known = {"activation_maps": MAPS, "logit_slices": LogitSlices(), "layers": ActivationMaps(layers=["layer 9"])}
    with pytest.raises(ConfigError, match=says):
        try_metrics(Stack([member(data=data, metrics={metric: known[metric]})]))


def test_a_model_without_weights_of_tokens_has_no_embedding() -> None:
    seen = replace(observe(Stack([member()])), parameters={"layer 1": {"weight": torch.ones(1, 5, 4)}})
    with pytest.raises(ConfigError, match="metrics=embeddings: needs a model with a weight for each token"):
        Embeddings()(seen)


def test_named_layers_alone() -> None:
    found = measured(ActivationMaps(layers=["layer 3"], count=2), Stack([member()]))
    assert found.keys() == {"maps/layer 3", "map_units/layer 3"}
    outputs: Tensor = observe(Stack([member()])).table_outputs
    np.testing.assert_allclose(found["maps/layer 3"][0, 1].ravel(), outputs[0, :, -1].detach().numpy(), rtol=1e-6)
