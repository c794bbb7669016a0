"""Metrics against slow per-member loops: members of unequal size, padded with NaN or copies of real points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from grokplane import metrics
from grokplane.metrics import LayerOutput, Observation, Subset
from grokplane.metrics.reduce import masked_mean_and_variance

SIZES = {"train": (7, 5, 4), "eval": (3, 9, 6)}
CLASSES = 5
Points = dict[str, Tensor]


def metric(name: str) -> Callable[[Observation], dict[str, Tensor]]:
    return getattr(metrics, "".join(word.capitalize() for word in name.split("_")))()


def pad(members: list[Tensor], filling: float | None) -> Tensor:
    """Stack members [n_e, ...] to [E, n, ...]; without a filling, padding repeats the first point of the member."""
    n = max(len(member) for member in members)
    rests = [m[:1].repeat(n - len(m), *[1] * (m.dim() - 1)) for m in members]
    rests = rests if filling is None else [torch.full_like(rest, filling) for rest in rests]
    return torch.stack([torch.cat(pair) for pair in zip(members, rests, strict=True)])


def member_points(n: int, generator: torch.Generator) -> Points:
    """One member's subset without padding: a ReLU layer with two dead units, a layer with positions, the outputs."""
    relu_logits = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    relu_logits[:, 1:3] = -relu_logits[:, 1:3].abs()
    sequence = torch.randn(n, 3, 4, generator=generator, dtype=torch.float64) + 2
    outputs = torch.randn(n, CLASSES, generator=generator, dtype=torch.float64)
    targets = torch.randint(CLASSES, (n,), generator=generator)
    outputs[0] = 60 * torch.eye(CLASSES, dtype=torch.float64)[targets[0]]  # right, and collapsed
    outputs[1] = -outputs[0]
    losses = torch.rand(n, generator=generator, dtype=torch.float64)
    return {"relu": relu_logits, "sequence": sequence, "outputs": outputs, "targets": targets, "losses": losses}


def anew(subset: Subset) -> Subset:
    """The same subset without cached values."""
    return Subset(subset.outputs, subset.targets, subset.losses, subset.mask, subset.layers)


def subset_of(members: list[Points], filling: float | None = None) -> Subset:
    padded = {key: pad([m[key] for m in members], filling) for key in members[0] if key != "targets"}
    targets = pad([m["targets"] for m in members], filling and 10**6)
    mask = pad([torch.ones(len(m["losses"]), dtype=torch.bool) for m in members], False)
    outputs = padded["outputs"]
    layers = {
        "layer 1": LayerOutput(padded["relu"], padded["relu"].relu(), True),
        "layer 2": LayerOutput(padded["sequence"], padded["sequence"].tanh(), False),
        "layer 3": LayerOutput(outputs, outputs, False),
    }
    return Subset(outputs, targets, padded["losses"], mask, layers)


def random_parameters(generator: torch.Generator) -> dict[str, dict[str, Tensor]]:
    shapes = {"layer 1": (4, 6), "layer 2": (6, 3, 2), "layer 3": (6, CLASSES)}
    draw = lambda *shape: torch.randn(3, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return {layer: {"weight": draw(*shape), "bias": draw(shape[-1])} for layer, shape in shapes.items()}


@pytest.fixture
def points() -> dict[str, list[Points]]:
    generator = torch.Generator().manual_seed(0)
    return {name: [member_points(n, generator) for n in sizes] for name, sizes in SIZES.items()}


@pytest.fixture(params=[math.nan, None], ids=["NaN in the padding", "copies in the padding"])
def seen(request: pytest.FixtureRequest, points: dict[str, list[Points]]) -> Observation:
    generator = torch.Generator().manual_seed(1)
    parameters, gradients = random_parameters(generator), random_parameters(generator)
    every = {f"{layer}.{role}": t for layer, roles in parameters.items() for role, t in roles.items()}
    every["scale"] = torch.randn(3, generator=generator, dtype=torch.float64)
    rate = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    train, held_out = (subset_of(points[name], request.param) for name in SIZES)
    return Observation(3, train, held_out, rate, parameters, every, lambda: gradients, seconds_per_step=0.25)


def near(got: Tensor, expected: list[float]) -> None:
    assert got.shape == (3,)
    torch.testing.assert_close(got.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def variance(values: list[float]) -> float:
    return mean([(value - mean(values)) ** 2 for value in values])


def cosine(a: list[float], b: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def numbers(values: Tensor) -> list[float]:
    return values.flatten().tolist()


def point_rows(member: Points) -> Iterator[tuple[list[float], int]]:
    return zip(member["outputs"].tolist(), member["targets"].tolist(), strict=True)


def cross_entropy(outputs: list[float], label: int) -> float:
    return math.log(math.fsum(math.exp(output) for output in outputs)) - outputs[label]


SLOW: dict[str, tuple[str, str, Callable[[Points], float]]] = {
    "loss": ("Loss/", "test", lambda m: mean(numbers(m["losses"]))),
    "accuracy": ("Acc/", "test", lambda m: mean([float(z.index(max(z)) == y) for z, y in point_rows(m)])),
    "perplexity": ("Perplexity/", "test", lambda m: math.exp(mean([cross_entropy(z, y) for z, y in point_rows(m)]))),
    "logit_scale": ("logit_scale_", "eval", lambda m: mean([math.hypot(*z) for z, _ in point_rows(m)])),
    "softmax_collapse": (
        "softmax_collapse_",
        "eval",
        lambda m: mean([float(sum(math.exp(value - z[y]) for value in z) == 1) for z, y in point_rows(m)]),
    ),
}


@pytest.mark.parametrize("name", SLOW)
def test_output_metrics_are_those_of_a_slow_loop(name: str, seen: Observation, points: dict[str, list[Points]]) -> None:
    prefix, held_out, slow = SLOW[name]
    values = metric(name)(seen)
    assert set(values) == {f"{prefix}train", f"{prefix}{held_out}"}
    near(values[f"{prefix}train"], [slow(member) for member in points["train"]])
    near(values[f"{prefix}{held_out}"], [slow(member) for member in points["eval"]])


def test_the_constructed_points_show_collapse_and_errors(seen: Observation) -> None:
    near(metric("softmax_collapse")(seen)["softmax_collapse_train"], [1 / 7, 1 / 5, 1 / 4])
    assert (metric("accuracy")(seen)["Acc/train"] < 1).all()


def test_activation_statistics_are_those_of_a_slow_loop(seen: Observation, points: dict[str, list[Points]]) -> None:
    values = metric("activations")(seen)
    kinds = {"layer 1": ("relu", torch.relu), "layer 2": ("sequence", torch.tanh), "layer 3": ("outputs", torch.clone)}
    for subset, (layer, (key, function)) in itertools.product(SIZES, kinds.items()):
        members = [member[key] for member in points[subset]]
        near(values[f"logits_mean_{subset}/{layer}"], [mean(numbers(m)) for m in members])
        near(values[f"logits_var_{subset}/{layer}"], [variance(numbers(m)) for m in members])
        near(values[f"activations_mean_{subset}/{layer}"], [mean(numbers(function(m))) for m in members])
        near(values[f"activations_var_{subset}/{layer}"], [variance(numbers(function(m))) for m in members])


def test_variance_survives_a_mean_that_dwarfs_it() -> None:
    values = (4096 + torch.tensor([0.0, 0.5])).repeat(1, 50, 4)
    points = torch.zeros(1, 50)
    subset = Subset(values, points.long(), points, points == 0, {})
    average, spread = masked_mean_and_variance(values, subset)
    torch.testing.assert_close(average, torch.tensor([4096.25], dtype=torch.float64), rtol=1e-7, atol=0)
    torch.testing.assert_close(spread, torch.tensor([0.0625], dtype=torch.float64), rtol=1e-6, atol=0)


def test_dead_neurons_are_counted_over_real_points_of_relu_layers_only(
    seen: Observation, points: dict[str, list[Points]]
) -> None:
    values = metric("dead_neurons")(seen)
    assert set(values) == {"num_dead_nrns_train/layer 1", "num_dead_nrns_eval/layer 1"}
    for subset in SIZES:
        columns = [member["relu"].relu().T.tolist() for member in points[subset]]
        expected = [float(sum(all(value == 0 for value in column) for column in member)) for member in columns]
        near(values[f"num_dead_nrns_{subset}/layer 1"], expected)


@pytest.mark.parametrize(("position", "dead"), [((0, 0, 1, 0), 2), ((0, 2, 1, 2), 2), ((0, 3, 1, 2), 3)])
def test_a_unit_lives_if_one_position_of_one_real_point_is_active(position: tuple[int, ...], dead: int) -> None:
    activations = torch.zeros(1, 4, 2, 3)
    activations[position] = 1e-30
    mask = torch.tensor([[True, True, True, False]])
    layers = {"layer 1": LayerOutput(activations, activations, True)}
    subset = Subset(activations, mask.long(), mask.float(), mask, layers)
    seen = Observation(0, subset, subset, torch.ones(1), {}, {}, dict)
    assert metric("dead_neurons")(seen)["num_dead_nrns_eval/layer 1"].tolist() == [dead]


def test_within_class_variance_is_that_of_a_slow_loop(seen: Observation, points: dict[str, list[Points]]) -> None:
    values = metric("within_class")(seen)
    for subset in SIZES:
        near(values[f"NC1_{subset}/layer 1"], [collapse(m["relu"].relu(), m["targets"]) for m in points[subset]])
        near(values[f"NC1_{subset}/layer 3"], [collapse(m["outputs"], m["targets"]) for m in points[subset]])


def collapse(values: Tensor, targets: Tensor) -> float:
    """tr(S_W) / tr(S_B), by loops over points and units."""
    within = between = 0.0
    for unit in values.T.tolist():
        pairs = list(zip(unit, targets.tolist(), strict=True))
        for value, label in pairs:
            own = mean([other for other, of in pairs if of == label])
            within += (value - own) ** 2
            between += (own - mean(unit)) ** 2
    return within / between


def test_weight_norms_are_those_of_a_slow_loop(seen: Observation) -> None:
    values = metric("weight_norms")(seen)
    total = [0.0, 0.0, 0.0]
    for layer, roles in seen.parameters.items():
        norms = [math.hypot(*numbers(roles["weight"][e]), *numbers(roles["bias"][e])) for e in range(3)]
        near(values[f"WN/{layer}"], norms)
        total = [a + b for a, b in zip(total, norms, strict=True)]
    near(values["WN/total"], total)
    whole = [[x for tensor in seen.all_parameters.values() for x in numbers(tensor[e])] for e in range(3)]
    near(values["WN/global"], [math.hypot(*member) for member in whole])


def test_sparsity_is_that_of_a_slow_loop(seen: Observation) -> None:
    values = metrics.Sparsity(threshold=0.7)(seen)
    weights = {
        layer: [numbers(roles["weight"][e]) + numbers(roles["bias"][e]) for e in range(3)]
        for layer, roles in seen.parameters.items()
    }
    weights["total"] = [[x for member in weights.values() for x in member[e]] for e in range(3)]
    for name, members in weights.items():
        near(values[f"sparsity/{name}"], [mean([float(abs(x) < 0.7) for x in member]) for member in members])
        near(values[f"active_weights/{name}"], [float(sum(abs(x) >= 0.7 for x in member)) for member in members])


def test_gradient_statistics_are_those_of_a_slow_loop(seen: Observation) -> None:
    values = metric("gradients")(seen)
    for layer, roles in seen.gradients.items():
        for role, gradient in roles.items():
            members = [numbers(gradient[e]) for e in range(3)]
            weights = [numbers(seen.parameters[layer][role][e]) for e in range(3)]
            near(values[f"grad_mean_{role}/{layer}"], [mean(g) for g in members])
            near(values[f"grad_var_{role}/{layer}"], [variance(g) for g in members])
            near(values[f"grad_norm_{role}/{layer}"], [math.hypot(*g) for g in members])
            near(values[f"grad_cos_{role}/{layer}"], [cosine(g, w) for g, w in zip(members, weights, strict=True)])


def test_gradient_statistics_of_a_linear_model_have_a_closed_form() -> None:
    """Squared error of x w on a design with X'X = n s I and answers 0 has the gradient 2 s w; s = 1e-30."""
    weights = torch.tensor([[3.0, 4.0]])
    gradient = {"layer 1": {"weight": 2e-30 * weights, "bias": torch.zeros(1, 1)}}
    parameters = {"layer 1": {"weight": weights, "bias": torch.ones(1, 1)}}
    empty = subset_of([member_points(2, torch.Generator().manual_seed(0))])
    values = metric("gradients")(Observation(0, empty, empty, torch.ones(1), parameters, {}, lambda: gradient))
    for name, expected in {"mean": 7e-30, "var": 1e-60, "norm": 1e-29, "cos": 1.0}.items():
        assert values[f"grad_{name}_weight/layer 1"].item() == pytest.approx(expected, rel=1e-6, abs=0)
    assert values["grad_cos_bias/layer 1"].isnan().all()
    assert values["grad_norm_bias/layer 1"].tolist() == [0]


def test_perplexity_of_equal_outputs_is_the_number_of_classes_and_a_perfect_fit_is_exactly_one() -> None:
    mask = torch.ones(2, 1000, dtype=torch.bool)
    targets = torch.arange(1000).remainder(CLASSES).expand(2, 1000)
    outputs = torch.zeros(2, 1000, CLASSES)
    outputs[1].scatter_(1, targets[1, :, None], 100.0)
    subset = Subset(outputs, targets, mask.float(), mask, {})
    seen = Observation(0, subset, subset, torch.ones(2), {}, {}, dict)
    assert metric("perplexity")(seen)["Perplexity/test"].tolist() == pytest.approx([CLASSES, 1.0], rel=1e-6)
    assert metric("accuracy")(seen)["Acc/test"].tolist() == [1 / CLASSES, 1.0]
    assert metric("softmax_collapse")(seen)["softmax_collapse_eval"].tolist() == [0.0, 1.0]


def test_a_member_whose_outputs_are_nan_gets_nothing_right_and_leaves_the_others_alone(seen: Observation) -> None:
    before = {name: metric(name)(seen) for name in SLOW}
    for subset in (seen.train, seen.eval):
        subset.outputs[0], subset.losses[0] = math.nan, math.nan
    nan = replace(seen, train=anew(seen.train), eval=anew(seen.eval))
    for name, values in before.items():
        for key, value in metric(name)(nan).items():
            assert value[1:].equal(values[key][1:])
            assert value[0].isnan() or value[0] == 0
