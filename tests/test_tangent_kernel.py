"""The tangent kernel, its alignment with labels, and the linearised network, each against plain loops and torch.nn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import member, trained, training
from command import PRECISE, Inside, ended_well, rows
from test_observation_asks import own, pair, twin
from torch import Tensor, nn

from grokplane.data.teacher_student import TeacherStudent
from grokplane.losses import MSE
from grokplane.measure import main as measure
from grokplane.mechanism.kernels import alignment, centred, feature_kernel, label_kernel
from grokplane.metrics import CKA, Kernel, Linearised, Metric, Observation, collected, subset
from grokplane.metrics.chosen import chosen
from grokplane.models.mlp import MLP
from grokplane.options import ConfigError
from grokplane.random import generator
from grokplane.train import Stack, looks
from grokplane.train.observe import observe

LAZY: dict[str, Metric] = {"kernel": Kernel(points=6, projections=None), "linearised": Linearised()}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def values(metric: Metric, seen: Observation) -> dict[str, Any]:
    with torch.no_grad():
        return dict(metric(seen))


def moved(**parts: Any) -> tuple[Stack, Observation]:
    """Two members with padding after some steps, whose initial weights are kept."""
    stack = trained(*pair(metrics=LAZY, train=training(steps=6), **parts))
    return stack, observe(stack)


def gradients(net: nn.Module, point: Tensor, direction: Tensor) -> Tensor:
    """The gradient [D] of a sum of the outputs for one question."""
    found = torch.autograd.grad((net(point[None])[0] * direction).sum(), list(net.parameters()))
    return torch.cat([one.flatten() for one in found])


def slow_kernel(net: nn.Module, points: Tensor, directions: Tensor) -> Tensor:
    kernel = torch.zeros(len(points), len(points), dtype=torch.float64)
    for direction in directions:
        for i, one in enumerate(points):
            for j, other in enumerate(points):
                kernel[i, j] += gradients(net, one, direction) @ gradients(net, other, direction)
    return kernel


def slow_cka(kernel: Tensor, labels: Tensor) -> float:
    n = len(labels)
    centring = torch.eye(n, dtype=torch.float64) - 1 / n
    one = centring @ kernel.double() @ centring
    other = centring @ (labels[:, None] == labels[None]).double() @ centring
    return float((one * other).sum() / one.norm() / other.norm())


@pytest.mark.parametrize("projections", [None, 3])
def test_the_kernel_is_that_of_plain_loops(projections: int | None) -> None:
    stack, seen = moved()
    found = values(Kernel(points=6, projections=projections, seed=5), seen)
    some = chosen(seen.train, 6, 5)
    drawn_signs = torch.randint(2, (3, 7), generator=generator(5, "kernel projections")).double()
    directions = torch.eye(7, dtype=torch.float64) if projections is None else 2 * drawn_signs - 1
    for number in range(2):
        now, start = twin(stack, number), twin(stack, number, dict(seen.initial))
        points = some.inputs[number]
        kernel, first = (slow_kernel(net, points, directions) for net in (now, start))
        labels = some.of(seen.train.targets)[number]
        expected = {
            "NTK_change": float((kernel - first).norm() / first.norm()),
            "NTK_alignment": float((kernel * first).sum() / kernel.norm() / first.norm()),
            "cka_label_train/NTK": slow_cka(kernel, labels),
        }
        for name, value in expected.items():
            assert float(found[name][number]) == pytest.approx(value, rel=1e-9)
        assert expected["NTK_change"] > 1e-3


def test_points_beyond_a_members_own_do_not_count() -> None:
    stack, seen = moved()
    both = values(Kernel(points=1000, projections=2), seen)
    for number in range(2):
        alone = trained(replace(stack.members[number]))
        found = values(Kernel(points=1000, projections=2), observe(alone))
        for name, value in found.items():
            torch.testing.assert_close(both[name][number], value[0], rtol=1e-7, atol=1e-9)
    assert seen.train.mask.sum(1).tolist() == [24, 12]


def test_chosen_points_are_distinct_real_and_the_same_in_every_stack() -> None:
    seen = observe(Stack(pair()))
    for count in (5, 20, 100):
        some = chosen(seen.train, count, 1)
        for number, one in enumerate(pair()):
            own_seen = observe(Stack([one]))
            alone = chosen(own_seen.train, count, 1)
            rows_here = some.of(seen.train.rows)[number][some.mask[number]]
            assert torch.equal(rows_here, alone.of(own_seen.train.rows)[0][alone.mask[0]])
            assert len(rows_here.unique()) == min(count, int(seen.train.mask[number].sum()))
            assert torch.equal(some.mask[number], seen.train.mask[number][some.part])
    assert not torch.equal(chosen(seen.train, 5, 1).index, chosen(seen.train, 5, 2).index)


def test_at_the_start_nothing_has_changed() -> None:
    seen = observe(Stack(pair(metrics=LAZY)))
    found = values(Kernel(), seen)
    assert found["NTK_change"].tolist() == [0, 0]
    torch.testing.assert_close(found["NTK_alignment"], torch.ones(2, dtype=torch.float64))
    logged, linear = collected({}, seen).numbers, values(Linearised(), seen)
    assert set(linear) == {f"{kind}_linearised/{split}" for kind in ("Loss", "Acc") for split in ("train", "test")}
    for name, value in linear.items():
        torch.testing.assert_close(value, logged[name.replace("_linearised", "")], rtol=1e-12, atol=0)


def test_a_linear_network_is_its_own_linearisation_and_its_kernel_stays() -> None:
    data, model = TeacherStudent(train_points=9, test_points=5), MLP(hidden=[], embedding="none")
    stack = trained(*(member(data=data, model=model, loss=MSE(), metrics=LAZY, seed=seed) for seed in range(2)))
    seen = observe(stack)
    linear, logged, kernel = values(Linearised(), seen), collected({}, seen).numbers, values(Kernel(), seen)
    for name, value in linear.items():
        torch.testing.assert_close(value, logged[name.replace("_linearised", "")], rtol=1e-12, atol=0)
    assert set(kernel) == {"NTK_change", "NTK_alignment"}  # answers are numbers
    assert bool((kernel["NTK_change"] < 1e-12).all())
    assert bool((seen.initial["linears.0.weight"] != seen.all_parameters["linears.0.weight"]).all())


@pytest.mark.parametrize("large", [False, True])
def test_the_linearised_network_is_torchs_jvp(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stack, _ = moved()
    if large:
        monkeypatch.setattr(looks, "WHOLE_BYTES", 0)
        monkeypatch.setattr(subset, "PART_BYTES", 10 * stack.point.both)
    seen = observe(stack)
    found = values(Linearised(), seen)
    for number in range(2):
        net, (inputs, targets) = twin(stack, number, dict(seen.initial)), own(stack, number)
        start = {name: value.detach() for name, value in net.named_parameters()}
        end = {name: value.detach() for name, value in twin(stack, number).named_parameters()}

        def outputs(*given: Tensor, net: nn.Module = net, names: Any = tuple(start), inputs: Tensor = inputs) -> Tensor:
            return torch.func.functional_call(net, dict(zip(names, given, strict=True)), (inputs,))

        at, along = tuple(start.values()), tuple(end[name] - start[name] for name in start)
        first, change = torch.autograd.functional.jvp(outputs, at, along)
        assert isinstance(first, Tensor)
        assert isinstance(change, Tensor)
        wanted = nn.functional.cross_entropy(first + change, targets)
        torch.testing.assert_close(found["Loss_linearised/train"][number], wanted, rtol=1e-9, atol=0)
        right = ((first + change).argmax(1) == targets).double().mean()
        torch.testing.assert_close(found["Acc_linearised/train"][number], right)


def test_cka_is_that_of_plain_loops() -> None:
    _, seen = moved()
    for points in (7, 500):
        found = values(CKA(points=points, seed=3), seen)
        for name, part in seen.subsets.items():
            some = chosen(part, points, 3)
            for layer, output in part.layers.items():
                for number in range(2):
                    real = some.mask[number]
                    features = some.of(output.activations)[number][real]
                    wanted = slow_cka(features @ features.mT, some.of(part.targets)[number][real])
                    assert float(found[f"cka_label_{name}/{layer}"][number]) == pytest.approx(wanted, rel=1e-9)
    assert list(found) == [f"cka_label_{name}/layer {k}" for name in ("train", "eval") for k in (1, 2, 3)]


def test_cka_is_one_for_one_hot_features_whatever_their_scale_rotation_and_offset() -> None:
    labels = torch.tensor([[0, 1, 2, 2, 1, 0, 1, 5]])
    mask = torch.ones(1, 8, dtype=torch.bool)
    rotation = torch.linalg.qr(drawn(6, 6)).Q
    features = 7 * nn.functional.one_hot(labels).double() @ rotation + 1000
    wanted = label_kernel(labels, mask, torch.float64)
    torch.testing.assert_close(alignment(feature_kernel(features, mask), wanted), torch.ones(1, dtype=torch.float64))
    shifted = features.float() + 1e4 * 2**6  # a mean that is far larger than the deviation
    assert float(alignment(feature_kernel(shifted, mask), wanted)) == pytest.approx(1, abs=1e-3)


def test_centring_leaves_out_padding() -> None:
    features, mask = drawn(2, 6, 3), torch.arange(6) < torch.tensor([[6], [4]])
    features[1, 4:] = torch.nan
    found = feature_kernel(features, mask)
    rest = features[1, :4] - features[1, :4].mean(0)
    torch.testing.assert_close(found[1, :4, :4], rest @ rest.mT)
    assert not found[1, 4:].any()
    kernel = drawn(2, 6, 6)
    kernel = kernel + kernel.mT
    part = centred(kernel, mask)[1]
    centring = torch.eye(4, dtype=torch.float64) - 0.25
    torch.testing.assert_close(part[:4, :4], centring @ kernel[1, :4, :4] @ centring)
    assert not part[4:].any()
    assert not part[:, 4:].any()


def test_a_diverged_member_is_null_and_disturbs_no_other() -> None:
    stack, clean = moved()
    wanted = {name: values(metric, clean) for name, metric in (LAZY | {"cka": CKA()}).items()}
    with torch.no_grad():
        for value in stack.parameters.values():
            value[0].fill_(torch.nan)
    seen = observe(stack)
    for name, metric in (LAZY | {"cka": CKA()}).items():
        for key, value in values(metric, seen).items():
            assert value[0].isnan() or key.startswith("Acc")
            torch.testing.assert_close(value[1], wanted[name][key][1], rtol=1e-12, atol=0)


def test_initial_weights_that_nothing_holds_are_not_replaced_by_those_of_the_seed() -> None:
    started = member(train=training(start_from="other"))
    stack = Stack([started])
    stack.start([Stack([member(seed=9)]).state(0)])
    with pytest.raises(ConfigError, match=r"metrics=kernel,linearised: needs the initial weights"):
        Stack([replace(started, metrics=LAZY)]).load_states([stack.state(0)])


def test_a_run_records_them_at_one_log_point_in_ten_and_measure_gives_the_same(inside: Inside, tmp_path: Path) -> None:
    asked = "metrics=[loss,accuracy,hessian,kernel,linearised,cka,local_complexity]"
    typed = ("data.p=7", "model.hidden=[8]", "train.steps=12", "log.dense_steps=12", "hydra.run.dir=run")
    ended_well(inside, *PRECISE, asked, *typed, cwd=tmp_path)
    found = rows(tmp_path / "run")
    assert [row["step"] for row in found if "Hessian/top" in row] == [0, 10, 12]
    dear = (
        "NTK_change",
        "Loss_linearised/test",
        "Acc_linearised/test",
        "local_complexity_train/total",
        "Hessian/trace",
    )
    for row in (found[0], found[10], found[12]):
        assert all(isinstance(row[name], float) for name in dear)
    assert found[0]["NTK_change"] == 0 < found[10]["NTK_change"] < found[12]["NTK_change"]
    assert all(isinstance(row["cka_label_eval/layer 1"], float) for row in found)
    assert measure([str(tmp_path / "run"), "--metrics", "hessian,kernel,linearised,local_complexity"]) == 0
    later = [json.loads(line) for line in (tmp_path / "run/measured.jsonl").read_text().splitlines()]
    at_end = {name: value for row in later if row["step"] == 12 for name, value in row["values"].items()}
    assert at_end.keys() > set(dear)
    assert at_end == pytest.approx({name: found[12][name] for name in at_end}, rel=1e-7)
