"""A third, out-of-domain subset: every metric, exact information and estimates, marks, figures and files have it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from builders import ALWAYS, METRICS, member, trained, training, weights
from far import Far, FarDigits, FarTeacher, Near, Twin, TwinDigits, TwinTeacher
from looking import looked_at, own_points, records

from grokplane.callbacks import EarlyStop
from grokplane.data import Digits, RandomSplit, stacked
from grokplane.losses import MSE
from grokplane.metrics import Compressed, Information, subset
from grokplane.mi import KSG, PCA, ConvAutoencoder, Ross, mixture, standardised
from grokplane.models.mlp import MLP
from grokplane.models.single import Single
from grokplane.models.transformer import Transformer
from grokplane.optim import AdamW
from grokplane.options import ConfigError
from grokplane.random import generator
from grokplane.train import GrokOptions, LogOptions, Member, Stack, looks, memory, try_metrics
from grokplane.train.observe import measure, observe

Record = Mapping[str, Any]
NEAR = (5, 3, 6)  # 24, 40 and 13 of 49 pairs are out of domain
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "transformer": {"model": Transformer(layers=1, heads=2, width=8, mlp_width=12), "layout": "equals"},
    "noise": {"model": MLP(hidden=[8, 8], embedding_dim=6, noise_sigma=0.3)},
    "batches": {"train": training(steps=30, batch_size=4)},
}


def members(task: type[Far] = Far, layout: str = "operands", **parts: Any) -> list[Member]:
    """Three members with different numbers of points in every subset."""
    keys = {"metrics": METRICS, "train": training(steps=30), "optimizer": AdamW(lr=0.01)} | parts
    return [
        member(seed=seed, data=task(RandomSplit(), near=near, layout=layout, train_fraction=0.6), **keys)
        for seed, near in enumerate(NEAR)
    ]


def held_out(record: Record) -> dict[str, Any]:
    """The values of the held-out subset under the names that the out-of-domain subset has."""
    of = re.compile(r"/test(?=/|$)|_eval(?=/|$)")
    return {of.sub(lambda found: found[0][0] + "ood", name): value for name, value in record.items() if of.search(name)}


def without(record: Record) -> dict[str, Any]:
    """The values of the other subsets."""
    return {name: value for name, value in record.items() if not re.search(r"/ood(/|$)|_ood(/|$)", name)}


def of_ood(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in without(record)}


@pytest.mark.parametrize("model", MODELS)
def test_every_metric_is_that_of_a_run_which_holds_these_questions_out(model: str) -> None:
    """To the last bit, and the other metrics and the weights are those of a run without the subset."""
    far, near, twin = (trained(*members(task, **MODELS[model])) for task in (Far, Near, Twin))
    for ours, plain, theirs in zip(*(measure(one, observe(one)) for one in (far, near, twin)), strict=True):
        expected = held_out(theirs)
        assert len(expected) >= 26
        assert of_ood(ours) == pytest.approx(expected, rel=0, abs=0, nan_ok=True)
        assert without(ours) == pytest.approx(plain, rel=0, abs=0, nan_ok=True)
    for number in range(len(NEAR)):
        assert torch.equal(weights(far, number), weights(near, number))


def test_losses_and_accuracies_are_those_of_a_solo_network_in_plain_loops() -> None:
    found = [points[-1] for points in records(members())]
    for record, one in zip(found, members(), strict=True):
        stack = trained(one)
        network, examples = Single(stack.network), one.examples()
        assert examples.ood is not None
        right, losses = [], []
        for row in examples.ood.tolist():
            (outputs,) = network(examples.table.inputs[row][None]).detach()
            answer = int(examples.table.targets[row])
            assert (examples.table.inputs[row] >= one.data.near).any()  # type: ignore[attr-defined]
            right.append(outputs.tolist().index(max(outputs.tolist())) == answer)
            losses.append(float(F.cross_entropy(outputs, torch.tensor(answer))))
        assert record["Acc/ood"] == pytest.approx(sum(right) / len(right), rel=1e-12)
        assert record["Loss/ood"] == pytest.approx(math.fsum(losses) / len(losses), rel=1e-9)
        answers = examples.table.targets[examples.ood].tolist()
        zeros = [loss for loss, answer in zip(losses, answers, strict=True) if answer == 0]
        assert record["Loss/ood/zero"] == pytest.approx(math.fsum(zeros) / len(zeros), rel=1e-9)


def test_groups_of_the_table_are_only_where_they_have_points() -> None:
    """Pairs that begin with 6 are out of domain, and so there is no group of them elsewhere."""
    for record in measure(stack := trained(*members()), observe(stack)):
        assert {name for name in record if name.startswith("Acc/")} == {
            *(f"Acc/{subset}{group}" for subset in ("train", "test", "ood") for group in ("", "/even")),
            *("Acc/ood/six", "Acc/ood/zero", "Acc/unseen"),
        }


@pytest.mark.parametrize("workers", [0, 1])
def test_exact_information_is_that_of_the_mixture_with_its_ceilings(workers: int) -> None:
    mi = Information(ladder=[0.1, 0.5], resolution=0.2, draws=20, workers=workers)
    stack = trained(*members(mi=mi))
    found, seen = looked_at(stack), observe(stack)
    assert seen.ood is not None
    for number, (layer, output) in ((n, item) for n in range(len(NEAR)) for item in seen.ood.layers.items()):
        inputs, targets = own_points(stack, "ood", number)
        labels = {"Y": targets, "a": inputs[:, 0], "b": inputs[:, 1]}
        values, own = output.activations[number, : len(inputs)], found[number]
        told = mixture(values, labels, ladder=(0.1, 0.2, 0.5), draws=20, seed=number, stream=f"mi/ood/{layer}")
        for level, at in enumerate(("@0.1", "", "@0.5")):
            assert own[f"MI(X;L){at}_ood/{layer}"] == pytest.approx(float(told.input.value[level]), abs=1e-9)
            assert own[f"MI(X;L|Y){at}_ood/{layer}"] == pytest.approx(float(told.given["Y"].value[level]), abs=1e-9)
            for name, of_label in told.labels.items():
                assert own[f"MI(L;{name}){at}_ood/{layer}"] == pytest.approx(float(of_label.value[level]), abs=1e-9)
        assert own["ln n_ood"] == math.log(len(inputs))
        distinct = {tuple(sorted(pair)) for pair in inputs.tolist()}  # the network sums its embeddings
        assert math.log(len(distinct)) - 0.1 < own["H(X)_ood"] <= math.log(len(distinct))
        assert own[f"MI(X;L)_ood/{layer}"] <= own["H(X)_ood"] + 4 * own[f"MI(X;L)_Errors_ood/{layer}"] + 1e-9
        assert own[f"MI(L;Y)_ood/{layer}"] <= own["H(Y)_ood"] + 4 * own[f"MI(L;Y)_Errors_ood/{layer}"] + 1e-9


def test_exact_information_is_that_of_layers_without_the_models_noise() -> None:
    mi, model = Information(draws=4, workers=0), MLP(hidden=[8, 8], embedding_dim=6)
    noisy = trained(*members(mi=mi, model=replace(model, noise_sigma=0.3)))
    plain = Stack(members(mi=mi, model=model))
    with torch.no_grad():
        for name, value in plain.parameters.items():
            value.copy_(noisy.parameters[name])
    plain.step = noisy.step
    for one, other in zip(looked_at(noisy), looked_at(plain), strict=True):
        assert of_ood(one) == pytest.approx(of_ood(other), rel=1e-9, abs=1e-12, nan_ok=True)


def test_information_has_the_same_names_on_every_subset_and_runs_without_keep_their_values() -> None:
    mi, log = Information(draws=4, workers=0), LogOptions(dense_steps=1, every=15)
    far, near = (records(members(task, mi=mi, log=log, metrics={})) for task in (Far, Near))
    for ours, theirs in zip(far, near, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert without(one) == other
            measured = {name for name in one if name.startswith(("MI(", "H(", "ln n"))}
            assert {name for name in of_ood(one) if name in measured} == {
                name.replace("_eval", "_ood") for name in measured if "_eval" in name
            }


def compressed(tmp_path: Path, **keys: Any) -> Compressed:
    options = {"code_steps": 30, "code_dim": 3, "layer_dim": 2, "cache": str(tmp_path), "workers": 0}
    return Compressed(KSG(), Ross(), **(options | keys))


def estimated(data: Any, mi: Any, sigma: float = 0.05) -> Stack:
    model = MLP(hidden=[9], embedding="none", noise_sigma=sigma)
    return trained(member(data=data, model=model, loss=MSE(), mi=mi, train=training(steps=10)))


@pytest.mark.parametrize("workers", [0, 1])
def test_estimates_of_images_are_those_of_held_out_images(workers: int, tmp_path: Path) -> None:
    """A layer with noise of its own, which has the point's number, is measured with it."""
    keys: dict[str, Any] = {"train_points": 80, "test_points": 90}
    far, twin = (estimated(task(**keys), compressed(tmp_path, workers=workers)) for task in (FarDigits, TwinDigits))
    (ours,), (theirs,) = looked_at(far), looked_at(twin)
    for quantity in ("MI(X;L)", "MI(X;L)_Errors", "MI(L;Y)", "MI(L;Y)_Errors"):
        assert ours[f"{quantity}_ood/layer 1"] == theirs[f"{quantity}_eval/layer 1"] != ours[f"{quantity}_eval/layer 1"]
    assert ours["ln n_ood"] == math.log(45)
    assert ours["H(Y)_ood"] == theirs["H(Y)_eval"]
    assert ours.keys() - theirs.keys() == set(of_ood(ours))


def test_a_layer_without_noise_has_noise_of_its_own_stream(tmp_path: Path) -> None:
    stack = estimated(FarDigits(train_points=80, test_points=90), compressed(tmp_path), sigma=0.0)
    (found,), seen = looked_at(stack), observe(stack)
    assert seen.ood is not None
    code = ConvAutoencoder(dim=3, steps=30).fit(Digits()._population(), tmp_path)
    inputs, targets = own_points(stack, "ood", 0)
    for layer, output in seen.ood.layers.items():
        values = output.activations[0].double()
        sigma = 0.5 * float(values.std(correction=0))
        noise = torch.randn(values.shape, generator=generator(0, f"mi/ood/{layer}", stack.step)).double()
        values = values + sigma * noise
        values = standardised(PCA(2, whiten=True, noise_variance=sigma**2).fit(values)(values))
        expected = KSG()(standardised(code(inputs)), values)
        assert found[f"MI(X;L)_ood/{layer}"] == pytest.approx(float(expected.value), abs=1e-6)
        assert found[f"MI(L;Y)_ood/{layer}"] == pytest.approx(float(Ross()(values, targets).value), abs=1e-6)


def test_estimates_of_features_and_numbers(tmp_path: Path) -> None:
    keys = {"train_points": 50, "test_points": 80, "hidden": [4]}
    mi = compressed(tmp_path)
    (ours,), (theirs,) = (looked_at(estimated(task(**keys), mi)) for task in (FarTeacher, TwinTeacher))
    for quantity in ("MI(X;L)", "MI(L;Y)"):
        assert math.isfinite(ours[f"{quantity}_ood/layer 1"])
        assert ours[f"{quantity}_ood/layer 1"] == theirs[f"{quantity}_eval/layer 1"]


def test_a_large_subset_is_evaluated_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    mi = Information(draws=4, workers=0)
    whole = trained(*members(mi=mi))
    expected, told = measure(whole, observe(whole)), looked_at(whole)
    monkeypatch.setattr(looks, "WHOLE_BYTES", 0)
    monkeypatch.setattr(subset, "PART_BYTES", 5 * whole.point.both)
    sizes: list[int] = []
    whole.network.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[1]))
    found, again = measure(whole, observe(whole)), looked_at(whole)
    assert max(sizes) < 40  # never all points of the largest member
    for one, other in zip([*found, *again], [*expected, *told], strict=True):
        assert one.keys() == other.keys()
        assert of_ood(one) == pytest.approx(of_ood(other), rel=1e-9, abs=1e-12, nan_ok=True)


def test_its_points_count_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(members(mi=Information()))
    points = sum(part.mask.shape[1] for part in (stack.examples.train, stack.examples.test))
    monkeypatch.setattr(memory, "free_bytes", lambda _: 2 * stack.point.both * (points + 40) - 2)
    with pytest.raises(ConfigError, match=rf"layers and outputs of all {points + 40} points would take"):
        try_metrics(stack)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 2 * stack.point.both * (points + 40))
    try_metrics(stack)


def test_values_over_the_table_have_all_three_subsets() -> None:
    far, near = (trained(*members(task)) for task in (Far, Near))
    ours, theirs = (observe(one).table_outputs for one in (far, near))
    for number, one in enumerate(far.members):
        examples = one.examples()
        assert examples.ood is not None
        expected = Single(trained(one).network)(examples.table.inputs)
        torch.testing.assert_close(ours[number], expected, rtol=1e-9, atol=1e-12)
        assert theirs[number, examples.ood].isnan().all()
        assert theirs[number].isnan().any(1).sum() == len(examples.ood)


def test_members_that_end_leave_the_records_of_the_others_as_they_are() -> None:
    """The first member ends long before the others, so that the stack gets narrow."""
    grok = GrokOptions(threshold=0.16, questions="ood", stop_after=0)
    keys = {"grok": grok, "log": LogOptions(dense_steps=0, every=20), "train": training(steps=320)}
    together = records(members(**keys))
    assert [points[-1]["step"] < 220 for points in together] == [True, False, False]
    for one, points in zip(members(**keys), together, strict=True):
        (alone,) = records([one])
        assert [point["step"] for point in points] == [point["step"] for point in alone]
        for ours, theirs in zip(points, alone, strict=True):
            assert ours.keys() == theirs.keys()
            timeless = {name: value for name, value in theirs.items() if not name.startswith("time/")}
            assert {name: ours[name] for name in timeless} == pytest.approx(timeless, rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("questions", ["ood", "ood/even"])
def test_marks_can_be_those_of_the_subset_and_of_its_groups(questions: str) -> None:
    keys = {"log": ALWAYS, "train": training(steps=200), "metrics": {}}
    one = members(grok=GrokOptions(threshold=0.15, questions=questions), **keys)[0]
    (found,) = records([one])
    reached = [record["step"] for record in found if record[f"Acc/{questions}"] >= 0.15]
    assert 0 < reached[0] == trained(one).marks[0].test_step


def test_marks_by_a_subset_that_is_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^grok.questions=ood: .*allowed: test, unseen, test/even$"):
        Stack(members(Near, grok=GrokOptions(questions="ood")))


def test_early_stop_takes_its_metrics() -> None:
    keys = {"log": ALWAYS, "train": training(steps=200), "metrics": {}}
    one = members(**keys)[0]
    (whole,) = records([one])
    first = next(record["step"] for record in whole if record["Acc/ood"] >= 0.15)
    (ended,) = records([replace(one, callbacks={"early_stop": EarlyStop("Acc/ood>=0.15", 3)})])
    assert ended == whole[: first + 4]


class Empty(Far):
    """No question is out of domain."""

    def examples(self, seed: int) -> Any:
        return replace(self._near(seed)[0], ood=torch.empty(0, dtype=torch.int64))


def test_a_subset_without_questions_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^data=ood: a subset needs at least one question$"):
        Stack(members(Empty))


def test_members_of_a_stack_have_the_same_subsets() -> None:
    with pytest.raises(ValueError, match="members of a stack must have the same subsets"):
        stacked.stack([Far(RandomSplit()).examples(0), Near(RandomSplit()).examples(0)], "cpu", torch.float64)
