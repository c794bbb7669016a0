"""Mutual information at log points: the estimates are those of `grokplane.mi`, and making them disturbs nothing."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import NEVER, member, task, trained, training, weights
from command import assert_same_state
from torch import Tensor

from grokplane.data import Digits, TeacherStudent
from grokplane.losses import MSE
from grokplane.metrics import Information, Job, Off, Pending, gauge
from grokplane.metrics.measured import Sample, measured
from grokplane.mi import KDE, KSG, PCA, ClassKL, ConvAutoencoder, Ross, label_entropy, standardised
from grokplane.models.conv import Conv
from grokplane.models.mlp import MLP
from grokplane.models.transformer import Transformer
from grokplane.optim import AdamW
from grokplane.options import ConfigError
from grokplane.processes import Processes
from grokplane.random import generator
from grokplane.train import LogOptions, Member, Stack, run
from grokplane.train.observe import observe
from grokplane.train.record_queue import MAX_HELD_BYTES, Ready, RecordQueue

SOME = LogOptions(dense_steps=3, every=7)
Record = dict[str, Any]


def information(**keys: Any) -> Information:
    return Information(**({"input": KSG(), "labels": Ross(), "workers": 0} | keys))


def pair(**parts: Any) -> list[Member]:
    """Two members with unequal subsets that look at information."""
    first = member(**({"mi": information(), "log": SOME} | parts))
    return [first, replace(first, seed=1, data=task(train_fraction=0.4, operation="x2_plus_y2"))]


def images(tmp_path: Path, **parts: Any) -> Member:
    """A small perceptron on digits."""
    mi = information(code_steps=30, code_dim=3, layer_dim=2, cache=str(tmp_path))
    keys: dict[str, Any] = {"data": Digits(train_points=80, test_points=60), "mi": mi, "loss": MSE(), "log": SOME}
    return member(**(keys | {"model": MLP(hidden=[9], embedding="none", noise_sigma=0.05)} | parts))


def records(members: Sequence[Member]) -> list[list[Record]]:
    """Each member's records in the order in which they came, without empty ones."""
    points = [point.records for point in run(Stack(members)) if point.records]
    return [[point[number] for point in points if point[number]] for number in range(len(members))]


def looked_at(stack: Stack) -> list[Record]:
    seen = observe(stack, None)
    assert stack.gauge is not None
    with stack.gauge as gauge:
        return gauge.estimate(seen, range(len(stack.members))).result()


def own_points(stack: Stack, name: str, number: int) -> tuple[Tensor, Tensor]:
    """A member's questions and answers of one subset."""
    examples = stack.members[number].data.examples(stack.members[number].seed)
    rows = examples.train if name == "train" else examples.test
    targets = examples.train_targets if name == "train" else examples.table.targets[rows]
    return examples.table.inputs[rows], targets


@pytest.mark.parametrize("subset", ["train", "eval"])
def test_tokens_have_the_bounds_of_the_layer_and_labels_are_asked_of_the_layer_with_its_noise(subset: str) -> None:
    stack = trained(*pair(mi=information(noise=0.2)))
    found, seen = looked_at(stack), observe(stack, None)
    for number, (layer, output) in ((n, item) for n in range(2) for item in seen.subsets[subset].layers.items()):
        inputs, targets = own_points(stack, subset, number)
        centres = output.activations[number, : len(inputs)].double()
        sigma = 0.2 * float(centres.std(correction=0))
        lower, upper = (float(KDE(sigma**2, bound)(centres).value) for bound in ("lower", "upper"))
        middle, half = found[number][f"MI(X;L)_{subset}/{layer}"], found[number][f"MI(X;L)_Errors_{subset}/{layer}"]
        assert (middle - half, middle + half) == (pytest.approx(lower, abs=1e-9), pytest.approx(upper, abs=1e-9))
        stream = generator(stack.members[number].seed, f"mi/{subset}/{layer}", stack.step)
        noisy = centres + sigma * torch.randn(centres.shape, generator=stream).double()
        for name, labels in (("Y", targets), ("a", inputs[:, 0]), ("b", inputs[:, 1])):
            expected = Ross(3)(noisy, labels)
            assert found[number][f"MI(L;{name})_{subset}/{layer}"] == pytest.approx(float(expected.value), abs=1e-9)
            error = found[number][f"MI(L;{name})_Errors_{subset}/{layer}"]
            assert error == pytest.approx(float(expected.std_error), abs=1e-9)
        assert found[number][f"ln n_{subset}"] == math.log(len(inputs))
        assert found[number][f"H(Y)_{subset}"] == float(label_entropy(targets).value)


@pytest.mark.parametrize("model", [MLP(hidden=[9], embedding="none", noise_sigma=0.05), Conv(channels=[2], hidden=[5])])
def test_images_have_codes_of_both_sides(model: Any, tmp_path: Path) -> None:
    stack = trained(images(tmp_path, model=model))
    (found,), seen = looked_at(stack), observe(stack, None)
    pool = Digits()._population()
    code = ConvAutoencoder(dim=3, steps=30).fit(pool, tmp_path)
    for subset, (layer, output) in ((s, item) for s in ("train", "eval") for item in seen.subsets[s].layers.items()):
        inputs, targets = own_points(stack, subset, 0)
        noisy, sigma = output.noisy[0].flatten(1).double(), 0.05
        if output.sigma is None:
            sigma = 0.5 * float(noisy.std(correction=0))
            stream = generator(0, f"mi/{subset}/{layer}", stack.step)
            noisy = noisy + sigma * torch.randn(noisy.shape, generator=stream).double()
        values = PCA(2, whiten=True, noise_variance=sigma**2).fit(noisy)(noisy)
        expected = KSG()(standardised(code(inputs)), standardised(values))
        assert found[f"MI(X;L)_{subset}/{layer}"] == pytest.approx(float(expected.value), abs=1e-6)
        assert found[f"MI(X;L)_Errors_{subset}/{layer}"] == pytest.approx(float(expected.std_error), abs=1e-6)
        assert found[f"MI(L;Y)_{subset}/{layer}"] == pytest.approx(float(Ross()(values, targets).value), abs=1e-6)


def test_a_wide_layer_of_tokens_is_taken_in_its_principal_components() -> None:
    wide = Transformer(layers=1, width=8, heads=2, mlp_width=16)
    one = member(model=wide, data=task(layout="equation"), mi=information(token_layer_dim=5), metrics={})
    stack = trained(one)
    (found,), seen = looked_at(stack), observe(stack, None)
    for layer, output in seen.train.layers.items():
        values = output.activations[0].flatten(1).double()
        variance = (0.5 * float(values.std(correction=0))) ** 2
        bounds = [float(KDE(variance, bound)(PCA(5).fit(values)(values)).value) for bound in ("lower", "upper")]
        assert found[f"MI(X;L)_train/{layer}"] == pytest.approx(sum(bounds) / 2, abs=1e-6)
        assert found[f"MI(X;L)_Errors_train/{layer}"] == pytest.approx((bounds[1] - bounds[0]) / 2, abs=1e-6)
    assert {"layer 1 attention", "layer 1 mlp", "layer 1", "layer 2"} == set(seen.train.layers)


def test_numbers_as_answers_are_estimated_as_the_input_is() -> None:
    teacher = TeacherStudent(train_points=60, test_points=50)
    one = member(data=teacher, loss=MSE(), model=MLP(hidden=[4], embedding="none"), mi=information())
    (found,) = looked_at(trained(one))
    assert {name.partition("_")[0] for name in found} == {"ln n", "MI(X;L)", "MI(L;Y)"}
    assert all(math.isfinite(value) for value in found.values())
    assert found["MI(L;Y)_eval/layer 2"] != found["MI(X;L)_eval/layer 2"]


def test_estimating_beside_training_changes_no_number(tmp_path: Path) -> None:
    for members in (pair(), [images(tmp_path)]):
        alone = records(members)
        beside = records([replace(one, mi=replace(one.mi, workers=2)) for one in members])  # type: ignore[type-var]
        assert repr(beside) == repr(alone)
        assert [row["step"] for row in beside[0]] == [0, 1, 2, 7, 14, 20]


def test_a_process_estimates_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grokplane.metrics.gauge.Processes", partial(Processes, patience=0))
    members = pair()
    here = looked_at(Stack(members))
    stack = Stack([replace(one, mi=information(workers=1)) for one in members])
    seen = observe(stack, None)
    assert stack.gauge is not None
    with stack.gauge as gauge:
        while gauge._processes is None or not gauge._processes._idle:
            gauge.estimate(seen, range(len(members))).result()
        monkeypatch.setattr(Processes, "_here", None)
        pending = gauge.estimate(seen, range(len(members)))
        while not pending.done():
            time.sleep(0.01)
        assert repr(pending.result()) == repr(here)


def test_looking_changes_no_weight_and_records_of_a_stack_are_those_of_its_members_alone() -> None:
    members = pair()
    never = trained(*(replace(one, log=NEVER) for one in members))
    looking = trained(*members)
    together = records(members)
    for number, one in enumerate(members):
        assert torch.equal(weights(never, number), weights(looking, number))
        (alone,) = records([one])
        assert len(alone) == len(together[number]) == 6
        for ours, theirs in zip(together[number], alone, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-7)


def test_a_code_of_vectors_is_the_members_own() -> None:
    """Twelve features become principal components, of the points of each member alone."""
    one = member(
        data=TeacherStudent(inputs=12, train_points=60, test_points=50),
        loss=MSE(),
        model=MLP(hidden=[4], embedding="none"),
        mi=information(),
    )
    members = [one, replace(one, seed=1, data=TeacherStudent(inputs=12, train_points=40, test_points=30))]
    together = looked_at(Stack(members))
    for number, alone in enumerate(members):
        assert together[number] == pytest.approx(looked_at(Stack([alone]))[0], rel=1e-6, abs=1e-7)


def test_a_wide_layer_too_large_to_reckon_with_is_null() -> None:
    values = torch.full((1, 6, 9), 1e30) * torch.arange(54).view(1, 6, 9)
    found = measured(Sample(values[0] * 1e7, None, 0.0, (0, "layer", 0)), 0.1, 3)
    assert math.isnan(found.variance)


def test_a_lost_member_has_null_and_the_others_their_values() -> None:
    first, second = pair()
    lost = replace(first, optimizer=AdamW(lr=1e300))
    rows, others = records([lost, second])
    assert math.isnan(rows[-1]["MI(X;L)_train/layer 1"])
    assert len(others) == 6
    assert all(math.isfinite(value) for value in others[-1].values())


def test_a_dead_layer_tells_nothing() -> None:
    stack = trained(*pair())
    with torch.no_grad():
        stack.parameters["linears.0.bias"].fill_(-1e3)
    found = looked_at(stack)[0]
    assert (found["MI(X;L)_train/layer 1"], found["MI(X;L)_Errors_train/layer 1"]) == (0, 0)
    assert -0.5 < found["MI(L;Y)_train/layer 1"] <= 0


def test_what_an_estimator_refuses_is_null_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    refusing = pair(mi=information(labels=ClassKL(k=10**6)))
    with caplog.at_level(logging.WARNING):
        rows = records(refusing)[0]
    assert all(math.isnan(row["MI(L;Y)_train/layer 1"]) for row in rows)
    assert all(math.isfinite(row["MI(X;L)_train/layer 1"]) for row in rows)
    told = [record.message for record in caplog.records if "cannot be estimated" in record.message]
    assert len(told) == len(set(told)) >= 1


def test_noise_upstream_of_tokens_is_refused() -> None:
    noisy = MLP(hidden=[8, 8], embedding_dim=6, noise_sigma=0.1)
    with pytest.raises(ConfigError, match=r"model\.noise_flow=propagated: .* use measured, or mi=off"):
        Stack([member(model=noisy, mi=information())])
    with pytest.raises(ConfigError, match=r"model\.noise_flow"):  # in any of the members
        Stack([member(model=replace(noisy, noise_sigma=0.0), mi=information()), member(model=noisy, mi=information())])
    stack = Stack([member(model=replace(noisy, noise_flow="measured"), mi=information())])
    seen = observe(stack, None)
    (found,) = looked_at(stack)
    centres = seen.train.layers["layer 1"].activations[0].double()
    middle = sum(float(KDE(0.1**2, bound)(centres).value) for bound in ("lower", "upper")) / 2
    assert found["MI(X;L)_train/layer 1"] == pytest.approx(middle, abs=1e-6)


def begun() -> Future[dict[str, float]]:
    future: Future[dict[str, float]] = Future()
    future.set_running_or_notify_cancel()
    return future


def test_who_waits_does_what_nobody_has_begun() -> None:
    first, second = begun(), Future[dict[str, float]]()
    threading.Timer(0.05, first.set_result, [{"a": 1.0}]).start()
    pending = Pending([Job(1, dict, first), Job(1, lambda: {"b": 2.0}, second)], 2, 0)
    assert not pending.done()
    assert pending.result() == [{}, {"a": 1.0, "b": 2.0}]
    assert second.cancelled()


def test_records_leave_in_order_and_wait_when_they_must() -> None:
    slow, quick, later = (begun() for _ in range(3))
    quick.set_result({"b": 2.0})
    queue = RecordQueue()
    queue.put(0, [{"step": 0}], Pending([Job(0, dict, slow)], 1, 2 * MAX_HELD_BYTES))
    assert queue.take(before=0) == []
    queue.put(1, [{"step": 1}], None)
    threading.Timer(0.05, slow.set_result, [{"a": 1.0}]).start()
    assert queue.take() == [Ready([{"step": 0, "a": 1.0}]), Ready([{"step": 1}])]
    queue.put(2, [{"step": 2}, {}], Pending([Job(0, dict, quick)], 2, 0))
    queue.put(3, [{"step": 3}], Pending([Job(0, dict, later)], 1, MAX_HELD_BYTES))
    assert queue.take(before=3) == [Ready([{"step": 2, "b": 2.0}, {}])]
    threading.Timer(0.05, later.set_result, [{"c": 3.0}]).start()
    assert queue.take(before=math.inf) == [Ready([{"step": 3, "c": 3.0}])]
    assert queue.take(before=math.inf) == []


def test_a_checkpoint_waits_for_earlier_records_while_there_is_room() -> None:
    slow, states = begun(), [{"step": 1}]
    queue = RecordQueue()
    assert not queue.keeps_back(1, 0)
    queue.put(0, [{"step": 0}], Pending([Job(0, dict, slow)], 1, MAX_HELD_BYTES // 2))
    assert queue.keeps_back(1, MAX_HELD_BYTES // 2)
    done = RecordQueue()
    done.put(0, [{"step": 0}], None)
    assert not done.keeps_back(1, 0)
    assert not queue.keeps_back(0, 0)  # the record of its own step is made again when a run is resumed
    assert not queue.keeps_back(1, MAX_HELD_BYTES // 2 + 1)
    queue.put_states(1, states, MAX_HELD_BYTES // 2)
    assert queue.take(before=0) == []
    slow.set_result({"a": 1.0})
    assert queue.take() == [Ready([{"step": 0, "a": 1.0}]), Ready(states=states)]


def test_every_record_of_an_earlier_step_is_out_before_a_checkpoint() -> None:
    told: list[int] = []
    saved: dict[int, Any] = {}
    one = member(mi=information(workers=1), log=SOME, train=training(steps=40, checkpoint_every=5))
    for point in run(Stack([one])):
        told += [record["step"] for record in point.records]
        if point.checkpoint:
            state = point.state(0)
            step = state["step"]
            assert [earlier for earlier in told if earlier < step] == [n for n in range(step) if one.log.due(n)]
            saved[step] = state
    assert told[-1] == 40
    assert list(saved) == [1, 2, 4, 5, 8, 10, 15, 16, 20, 25, 30, 32, 35, 40]
    plain = Stack([replace(one, mi=Off())])
    for point in run(plain):
        if point.checkpoint:
            assert_same_state(saved[point.step], plain.state(0))


def test_training_goes_on_while_a_checkpoint_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An estimate that ends only when training has come to step 20."""
    stack = Stack([member(mi=information(workers=1), log=SOME, train=training(steps=40, checkpoint_every=5))])
    came = threading.Event()

    def slow(*_: object) -> tuple[dict[str, float], list[str]]:
        assert came.wait(10)
        return {}, []

    monkeypatch.setattr(gauge, "layer_information", slow)
    late = []
    for point in run(stack):
        if stack.step >= 20:
            came.set()
        late += [(point.state(0)["step"], point.step)] * point.checkpoint
    assert late[0][0] == 1
    assert late[0][1] >= 20
