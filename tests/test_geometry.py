"""Geometry metrics of real stacks: twins of single members, networks with known answers, refusals, the command line."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from builders import ALWAYS, GROUP_METRICS, member, task, trained, training
from command import QUIET, TINY, Inside, ended_well, refusal, rows
from torch import Tensor

from grokplane.data import Group, RandomSplit, Sums
from grokplane.mechanism.clock import distinct_pairs
from grokplane.metrics import (
    RQI,
    ClassGeometry,
    Distance,
    DistanceIrrelevance,
    GradientSymmetry,
    Metric,
    Observation,
    Probes,
    Ranks,
)
from grokplane.models.mlp import MLP
from grokplane.models.transformer import Transformer
from grokplane.options import ConfigError
from grokplane.train import Member, Stack, run
from grokplane.train.observe import observe
from grokplane.train.trial import try_metrics

CONCATENATED = MLP(hidden=[8, 8], embedding_dim=6, embedding="concat")


def three(**parts: Any) -> list[Member]:
    """Three members with other groups, tables and numbers of training points."""
    tasks = [task(), task(train_fraction=0.3, operation="div"), task(train_fraction=0.7, operation="mul")]
    return [member(**parts | {"seed": seed, "data": one}) for seed, one in enumerate(tasks)]


def asked(metric: Metric, stack: Stack) -> dict[str, list[float]]:
    with torch.no_grad():
        return {name: value.tolist() for name, value in metric(observe(stack)).items() if isinstance(value, Tensor)}


def stacked(metric: Metric, **parts: Any) -> Stack:
    """A trained stack of three members that is ready for the metric."""
    return trained(*three(metrics={"it": metric}, train=training(steps=5), **parts))


def test_values_of_a_stack_are_those_of_its_members_alone() -> None:
    members = three(metrics=GROUP_METRICS, log=ALWAYS, train=training(steps=2), model=CONCATENATED)
    together = [point.records for point in run(Stack(members)) if point.records]
    for number, one in enumerate(members):
        alone = [point.records[0] for point in run(Stack([one])) if point.records]
        for ours, theirs in zip(together, alone, strict=True):
            assert ours[number] == pytest.approx(theirs, rel=1e-7, abs=1e-9, nan_ok=True)


def own(seen: Observation, name: str, number: int, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """A member's activations and answers in a subset, without padding."""
    subset = seen.subsets[name]
    mask = subset.mask[number]
    return subset.layers[layer].activations[number][mask].flatten(1).numpy(), subset.targets[number][mask].numpy()


@pytest.mark.parametrize("number", [0, 1])
def test_ranks_are_those_of_every_weight_and_of_centred_features(number: int) -> None:
    stack = stacked(Ranks())
    seen, found = observe(stack), asked(Ranks(), stack)
    matrices = {f"weight/{layer}": roles["weight"][number].numpy() for layer, roles in seen.parameters.items()}
    for name in ("train", "eval"):
        for layer in seen.train.layers:
            values, _ = own(seen, name, number, layer)
            matrices[f"{name}/{layer}"] = values - values.mean(0)
    assert len(found) == 5 * len(matrices)
    for name, matrix in matrices.items():
        s = np.linalg.svd(matrix, compute_uv=False)
        p, q = s[s > 1e-7] ** 2 / (s**2).sum(), s[s > 1e-7] / s[s > 1e-7].sum()
        assert found[f"effective_rank_{name}"][number] == pytest.approx(math.exp(-(q * np.log(q)).sum()), rel=1e-6)
        assert found[f"stable_rank_{name}"][number] == pytest.approx(1 / p.max(), rel=1e-9)
        assert found[f"participation_ratio_{name}"][number] == pytest.approx(1 / (p**2).sum(), rel=1e-9)
        assert found[f"spectral_entropy_{name}"][number] == pytest.approx(-(p * np.log(p)).sum(), rel=1e-6)
        assert found[f"spectral_norm_{name}"][number] == pytest.approx(s.max(), rel=1e-9)


def test_class_geometry_is_that_of_loops_over_points_and_classes_that_have_some() -> None:
    few = member(data=task(train_fraction=0.2), metrics={"it": ClassGeometry()}, train=training(steps=5))
    stack = trained(few, replace(few, seed=1), replace(few, seed=2, data=task()))
    seen, found = observe(stack), asked(ClassGeometry(), stack)
    for name in ("train", "eval"):
        for number in range(3):
            values, labels = own(seen, name, number, "layer 1")
            means = {label: values[labels == label].mean(0) for label in sorted(set(labels.tolist()))}
            between = [math.dist(x, y) for a, x in means.items() for b, y in means.items() if a != b]
            within = [math.dist(x, means[label]) for x, label in zip(values, labels.tolist(), strict=True)]
            assert found[f"ILDR_{name}/layer 1"][number] == pytest.approx(np.mean(between) / np.mean(within), rel=1e-9)
            middle = np.mean(list(means.values()), 0)
            norms = [math.dist(mean, middle) for mean in means.values()]
            assert found[f"NC2_norms_{name}/layer 1"][number] == pytest.approx(np.std(norms) / np.mean(norms), rel=1e-9)
    assert min(len(set(own(seen, "train", number, "layer 1")[1].tolist())) for number in range(3)) < 7


def test_probes_are_fitted_to_training_points_and_scored_on_the_others() -> None:
    stack = stacked(Probes(ridge=0.05))
    seen, found = observe(stack), asked(Probes(ridge=0.05), stack)
    for number in range(3):
        values, labels = own(seen, "train", number, "layer 2")
        centred, targets = values - values.mean(0), np.eye(7)[labels]
        penalty = 0.05 * (centred**2).sum() / centred.shape[1] * np.eye(centred.shape[1])
        solution = np.linalg.solve(centred.T @ centred + penalty, centred.T @ targets)
        for name in ("train", "eval"):
            points, right = own(seen, name, number, "layer 2")
            said = ((points - values.mean(0)) @ solution + targets.mean(0)).argmax(1)
            assert found[f"probe_accuracy_{name}/layer 2"][number] == pytest.approx((said == right).mean(), abs=1e-12)
    assert found["probe_accuracy_train/layer 2"] != found["probe_accuracy_eval/layer 2"]


def test_distance_and_cosine_to_the_initial_weights() -> None:
    stack = Stack(three(metrics={"it": Distance()}, train=training(steps=5)))
    before = {name: value.detach().clone() for name, value in stack.parameters.items()}
    assert asked(Distance(), stack)["weight_distance/global"] == [0, 0, 0]
    for _ in run(stack):
        pass
    found, layers = asked(Distance(), stack), stack.network.layers()
    names = {id(value): name for name, value in stack.parameters.items()}
    groups = {layer: [names[id(value)] for value in roles.values()] for layer, roles in layers.items()}
    for layer, of_layer in (groups | {"global": list(before)}).items():
        for number in range(3):
            now, then = (
                torch.cat([values[name][number].detach().flatten() for name in of_layer])
                for values in (stack.parameters, before)
            )
            distance, cosine = found[f"weight_distance/{layer}"][number], found[f"weight_cosine/{layer}"][number]
            assert distance == pytest.approx(float((now - then).norm()), rel=1e-9)
            assert cosine == pytest.approx(float(F.cosine_similarity(now, then, dim=0)), rel=1e-9)
            law = now.norm() ** 2 + then.norm() ** 2 - 2 * cosine * now.norm() * then.norm()
            assert distance**2 == pytest.approx(float(law), rel=1e-6)
    total = [math.hypot(*(found[f"weight_distance/{layer}"][number] for layer in groups)) for number in range(3)]
    assert found["weight_distance/global"] == pytest.approx(total, rel=1e-9)


def with_line(stack: Stack, operation_of: list[Tensor]) -> None:
    """Put the embedding of each member on a line, in the order of its elements [V], and token 0 elsewhere if -1."""
    with torch.no_grad():
        for number, places in enumerate(operation_of):
            stack.parameters["input.embedding.weight"][number] = places[:, None] * torch.linspace(1, 2, 6) + 5


def test_a_line_of_elements_has_every_relation_of_integers() -> None:
    """The elements of mul and div are discrete logarithms modulo 7 of the generator 3."""
    stack = Stack(three(metrics={"it": RQI()}))
    logarithms = torch.tensor([99, 0, 2, 1, 4, 5, 3])
    with_line(stack, [torch.arange(7), logarithms, logarithms])
    found = asked(RQI(), stack)
    assert found["RQI/integers"] == [1, 1, 1]
    # Modulo 7 there are 4 pairs of each sum and 7 * 6 relations; modulo 6 there are 3 and 4, and 3 * 3 + 3 * 6.
    without_carry = [sum(math.comb(min(s, 2 * n - 2 - s) // 2 + 1, 2) for s in range(2 * n - 1)) for n in (7, 6, 6)]
    assert found["RQI/group"] == pytest.approx([without_carry[0] / 42, without_carry[1] / 27, without_carry[2] / 27])
    with_line(stack, [logarithms, torch.arange(7), torch.arange(7)])
    assert max(asked(RQI(), stack)["RQI/integers"]) < 0.7


def test_distance_irrelevance_is_that_of_loops_over_the_table() -> None:
    stack = stacked(DistanceIrrelevance(), data=task())
    seen = observe(stack)
    found = asked(DistanceIrrelevance(), stack)["distance_irrelevance"]
    logarithm = [-1, 0, 2, 1, 4, 5, 3]
    for number, operation in enumerate(("add", "div", "mul")):
        table = stack.members[number].data.table(stack.members[number].seed)
        outputs, groups = seen.table_outputs[number], {}
        for row, ((a, b), answer) in enumerate(zip(table.inputs.tolist(), table.targets.tolist(), strict=True)):
            if operation != "add" and 0 in (a, b):
                continue
            d = (a - b) % 7 if operation == "add" else (logarithm[a] - logarithm[b]) % 6
            groups.setdefault(d, []).append(float(outputs[row, answer]))
        wanted = np.mean([np.std(one) for one in groups.values()]) / np.std([x for one in groups.values() for x in one])
        assert found[number] == pytest.approx(wanted, rel=1e-9)


def test_gradient_symmetry_is_that_of_one_question_at_a_time() -> None:
    metric = GradientSymmetry(triples=11, seed=4)
    stack = stacked(metric, model=CONCATENATED)
    found = asked(metric, stack)["gradient_symmetry"]
    drawn = torch.cat(distinct_pairs(7, 11, 7, 100, seed=4)).tolist()
    for number, operation in enumerate(("add", "div", "mul")):
        values = [value[number].detach() for value in stack.parameters.values()]
        table, cosines = values[0], []
        for a, b, c in drawn:
            if operation == "div" and b == 0:
                continue
            first, second = (table[token].clone().requires_grad_() for token in (a, b))
            x = torch.cat([first, second])
            for depth, (weight, bias) in enumerate(zip(values[1::2], values[2::2], strict=True)):
                x = F.linear(x if depth == 0 else x.relu(), weight, bias)
            by_a, by_b = torch.autograd.grad(x[c], [first, second])
            cosines.append(float(F.cosine_similarity(by_a, by_b, dim=0)))
        assert found[number] == pytest.approx(np.mean(cosines), rel=1e-9)


@pytest.mark.parametrize("triples", [3, 40])
def test_networks_that_sum_or_exchange_their_operands_are_symmetric_or_not(triples: int) -> None:
    metric = GradientSymmetry(triples=triples)
    near_one = pytest.approx([1, 1, 1], abs=1e-9)
    assert asked(metric, stacked(metric))["gradient_symmetry"] == near_one
    assert asked(metric, stacked(metric, model=CONCATENATED))["gradient_symmetry"] != near_one
    attention = Transformer(layers=1, heads=2, width=8, mlp_width=12)
    parts: dict[str, Any] = {"model": attention, "metrics": {"it": metric}}
    members = [member(data=task(layout="equals", operation=operation), **parts) for operation in ("add", "div", "mul")]
    found = asked(metric, Stack(members))["gradient_symmetry"]
    assert all(-1 <= value <= 1 for value in found)


def test_the_quadratic_network_that_adds_has_outputs_on_a_simplex() -> None:
    """Its outputs are close to one-hot codes less their mean, so their rank is p - 1 and probes are right."""
    metrics: dict[str, Metric] = {"ranks": Ranks(), "classes": ClassGeometry(), "probes": Probes()}
    model = MLP(hidden=[20_000], embedding="onehot", activation="square", bias=False, init="analytic")
    stack = Stack([member(data=task(p=11, train_fraction=0.98), model=model, metrics=metrics)])
    ranks, geometry, probes = (asked(metric, stack) for metric in metrics.values())
    for name in ("stable_rank_train", "participation_ratio_train", "effective_rank_train", "stable_rank_weight"):
        assert ranks[f"{name}/layer 2"][0] == pytest.approx(10, rel=0.1)
    assert geometry["NC2_simplex_train/layer 2"][0] < 0.05
    assert geometry["NC2_norms_train/layer 2"][0] < 0.1
    assert geometry["ILDR_train/layer 2"][0] > 4
    assert probes["probe_accuracy_eval/layer 2"] == [1]
    assert probes["probe_accuracy_train/layer 2"] == [1]


SPLIT = RandomSplit()
REFUSED = {
    "no embedding": (RQI(), {"model": MLP(hidden=[8], embedding="onehot")}, "needs an embedding of tokens"),
    "no embedding either": (GradientSymmetry(), {"model": MLP(hidden=[8], embedding="onehot")}, "needs an embedding"),
    "not a product of cyclic groups": (RQI(), {"data": Group(SPLIT, group="S3")}, "product of cyclic groups"),
    "three operands": (
        DistanceIrrelevance(),
        {"data": Sums(SPLIT, p=3, operands=3, layout="equals"), "model": CONCATENATED},
        "needs questions of two operands",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_a_metric_cannot_read_is_refused(why: str) -> None:
    metric, parts, message = REFUSED[why]
    with pytest.raises(ConfigError, match=message):
        try_metrics(Stack([member(metrics={"it": metric}, **parts)]))


def test_groups_that_are_not_abelian_have_a_distance() -> None:
    metrics: dict[str, Metric] = {"a": DistanceIrrelevance(), "b": GradientSymmetry()}
    stack = Stack([member(data=Group(SPLIT, group="S3"), model=CONCATENATED, metrics=metrics)])
    (irrelevance,) = asked(metrics["a"], stack)["distance_irrelevance"]
    assert 0 < irrelevance < 1.5
    assert abs(asked(metrics["b"], stack)["gradient_symmetry"][0]) < 1


def test_a_diverged_member_has_nan_and_leaves_the_others_alone() -> None:
    metrics: dict[str, Metric] = {
        **GROUP_METRICS,
        "ranks": Ranks(),
        "classes": ClassGeometry(),
        "probes": Probes(),
        "distance": Distance(),
    }
    stack = Stack(three(metrics=metrics, model=CONCATENATED))
    before = {name: value for metric in metrics.values() for name, value in asked(metric, stack).items()}
    with torch.no_grad():
        for value in stack.parameters.values():
            value[1] = math.nan
    after = {name: value for metric in metrics.values() for name, value in asked(metric, stack).items()}
    for name, values in after.items():
        assert math.isnan(values[1]), name
        assert values[::2] == pytest.approx(before[name][::2], rel=1e-9, nan_ok=True)


def test_the_metrics_by_the_command_line(inside: Inside, tmp_path: Path) -> None:
    names = "ranks,class_geometry,probes,distance,rqi,distance_irrelevance,gradient_symmetry"
    typed = [*TINY, *QUIET, "mi=off", f"metrics=[loss,accuracy,{names}]", "hydra.run.dir=run", "train.steps=11"]
    ended_well(inside, *typed, "log.every=1", "log.dense_steps=0", cwd=tmp_path)
    found = rows(tmp_path / "run")
    assert len(found) == 12
    assert [row["step"] for row in found if "gradient_symmetry" in row] == [0, 10, 11]
    assert [row["step"] for row in found if "probe_accuracy_eval/layer 1" in row] == [0, 10, 11]
    expected = {"effective_rank_weight/embedding", "ILDR_eval/layer 1", "weight_distance/global", "RQI/group"}
    assert all(expected | {"distance_irrelevance"} <= row.keys() for row in found)
    assert found[0]["weight_distance/global"] == 0 < found[1]["weight_distance/global"]
    done = inside(*TINY[:2], *QUIET, "mi=off", "metrics=[rqi]", "model.embedding=onehot", cwd=tmp_path)
    assert "metrics" in refusal(done)
    assert "needs an embedding of tokens" in refusal(done)
