"""Mutual information at log points: values equal those of `mixture`, and measuring does not affect training."""

from __future__ import annotations

import math
import os
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import NEVER, member, task, trained, training, weights
from command import assert_same_state
from deadly import ends_its_process
from looking import looked_at, own_points, records
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from grokplane import config
from grokplane.data import Digits, TeacherStudent
from grokplane.losses import MSE
from grokplane.metrics import Information, Job, Off, Pending, exact
from grokplane.mi import Estimate, label_entropy, mixture
from grokplane.models.conv import Conv
from grokplane.models.mlp import MLP
from grokplane.optim import AdamW
from grokplane.options import ConfigError
from grokplane.processes import Processes
from grokplane.train import LogOptions, Member, Stack, run
from grokplane.train.observe import observe
from grokplane.train.record_queue import MAX_HELD_BYTES, Ready, RecordQueue

SOME = LogOptions(dense_steps=3, every=7)
LEVELS = (0.1, 0.2, 0.5)


def information(**keys: Any) -> Information:
    options: dict[str, Any] = {"draws": 20, "workers": 0}
    return Information(**(options | keys))


def pair(**parts: Any) -> list[Member]:
    """Two members with subsets of unequal size that measure information."""
    first = member(**({"mi": information(), "log": SOME} | parts))
    return [first, replace(first, seed=1, data=task(train_fraction=0.4, operation="x2_plus_y2"))]


def expected(stack: Stack, subset: str, number: int, layer: str, values: Tensor) -> dict[str, Estimate]:
    """Values and errors of `mixture` for the rows of a layer, at every level, by quantity."""
    inputs, targets = own_points(stack, subset, number)
    labels = {"Y": targets, "a": inputs[:, 0], "b": inputs[:, 1]}
    seed = stack.members[number].seed
    found = mixture(values, labels, ladder=LEVELS, draws=20, seed=seed, stream=f"mi/{subset}/{layer}")
    told = {f"MI(L;{name})": estimate for name, estimate in found.labels.items()}
    return {"MI(X;L)": found.input, "MI(X;L|Y)": found.given["Y"]} | told


@pytest.mark.parametrize("subset", ["train", "eval"])
def test_values_are_those_of_the_mixture_at_every_level_for_every_labelling(subset: str) -> None:
    stack = trained(*pair(mi=information(ladder=[0.5, 0.1], resolution=0.2)))
    found, seen = looked_at(stack), observe(stack, None)
    for number, (layer, output) in ((n, item) for n in range(2) for item in seen.subsets[subset].layers.items()):
        inputs, targets = own_points(stack, subset, number)
        values = output.activations[number, : len(inputs)]
        for quantity, (value, error) in expected(stack, subset, number, layer, values).items():
            for level, at in enumerate(("@0.1", "", "@0.5")):
                name = f"{quantity}{at}"
                assert found[number][f"{name}_{subset}/{layer}"] == pytest.approx(float(value[level]), abs=1e-9)
                assert found[number][f"{name}_Errors_{subset}/{layer}"] == pytest.approx(float(error[level]), abs=1e-9)
        assert found[number][f"ln n_{subset}"] == math.log(len(inputs))
        for name, labels in (("Y", targets), ("a", inputs[:, 0]), ("b", inputs[:, 1])):
            assert found[number][f"H({name})_{subset}"] == float(label_entropy(labels).value)


def test_what_a_network_can_tell_apart_has_the_entropy_of_its_mirrored_pairs_once() -> None:
    summed = MLP(hidden=[8], embedding="sum", embedding_dim=6)
    one = member(data=task(), mi=information(), model=summed)
    side_by_side = replace(one, model=replace(summed, embedding="concat"))
    (found,), (side,) = (looked_at(Stack([which])) for which in (one, side_by_side))
    for subset in ("train", "eval"):
        inputs, _ = own_points(Stack([one]), subset, 0)
        there = {tuple(pair) for pair in inputs.tolist()}
        mirrored = sum(a != b and (b, a) in there for a, b in there) / len(there)
        assert mirrored > 0
        assert found[f"H(X)_{subset}"] == pytest.approx(math.log(len(there)) - mirrored * math.log(2))
        assert side[f"H(X)_{subset}"] == pytest.approx(math.log(len(there)))


def test_the_same_draws_serve_every_step() -> None:
    """If the weights do not change, all log points have the same values."""
    one = member(mi=information(), log=SOME, optimizer=AdamW(lr=1e-30, weight_decay=0.0))
    (rows,) = records([one])
    assert len({row["MI(X;L)@0.3_eval/layer 1"] for row in rows}) == 1


@pytest.mark.parametrize("flow", ["propagated", "measured"])
def test_layers_are_measured_without_the_models_own_noise(flow: str) -> None:
    model = MLP(hidden=[8, 8], embedding_dim=6, noise_sigma=0.5, noise_flow=flow)
    noisy = Stack([member(model=model, mi=information())])
    plain = Stack([member(model=replace(model, noise_sigma=0.0), mi=information())])
    assert looked_at(noisy) == looked_at(plain)
    seen = observe(noisy, None)
    assert not torch.equal(seen.train.layers["layer 3"].noisy, observe(plain, None).train.layers["layer 3"].noisy)


def test_images_and_numbers_are_measured_as_they_are() -> None:
    digits = {"data": Digits(train_points=80, test_points=60), "loss": MSE(), "mi": information()}
    for model in (MLP(hidden=[9], embedding="none", noise_sigma=0.05), Conv(channels=[2], hidden=[5])):
        (found,) = looked_at(Stack([member(**(digits | {"model": model}))]))
        assert found["H(X)_eval"] == pytest.approx(math.log(60))
        assert 0 < found["MI(L;Y)_eval/layer 1"] < found["MI(X;L)_eval/layer 1"] <= math.log(60)
    numbers = member(
        data=TeacherStudent(train_points=60, test_points=50),
        loss=MSE(),
        model=MLP(hidden=[4], embedding="none"),
        mi=information(),
    )
    (found,) = looked_at(trained(numbers))
    assert {name.partition("_")[0].partition("@")[0] for name in found} == {"ln n", "H(X)", "MI(X;L)"}
    assert all(math.isfinite(value) for value in found.values())


def test_an_odd_number_of_draws_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mi\.draws=21: must be even"):
        information(draws=21)


def test_measuring_beside_training_changes_no_number() -> None:
    digits = member(
        data=Digits(train_points=80, test_points=60),
        loss=MSE(),
        model=MLP(hidden=[9], embedding="none", noise_sigma=0.05),
        mi=information(),
        log=SOME,
    )
    for members in (pair(), [digits]):
        alone = records(members)
        beside = records([replace(one, mi=replace(one.mi, workers=2)) for one in members])  # type: ignore[type-var]
        assert repr(beside) == repr(alone)
        assert [row["step"] for row in beside[0]] == [0, 1, 2, 7, 14, 20]


def test_a_process_finds_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grokplane.metrics.gauge.Processes", partial(Processes, patience=0))
    members = pair()
    here = looked_at(Stack(members))
    stack = Stack([replace(one, mi=information(workers=1)) for one in members])
    seen = observe(stack, None)
    assert stack.gauge is not None
    with stack.gauge as measuring:
        while measuring._processes is None or not measuring._processes._idle:
            measuring.estimate(seen, range(len(members))).result()
        monkeypatch.setattr(Processes, "_here", None)
        pending = measuring.estimate(seen, range(len(members)))
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
    for quantity in ("MI(X;L)", "MI(L;Y)", "MI(L;a)", "MI(X;L|Y)", "MI(X;L)@0.1"):
        assert (found[f"{quantity}_train/layer 1"], found[f"{quantity}_Errors_train/layer 1"]) == (0, 0)


SURPRISES: list[tuple[Exception, int]] = [
    (KeyError("a bug"), 0),
    (MemoryError(), 1),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), 0),
    (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), 1),
]


@pytest.mark.parametrize(("surprise", "workers"), SURPRISES)
def test_what_fails_in_whatever_way_is_null_and_told_once_and_the_run_goes_on(
    surprise: Exception, workers: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = {name for name in records([member(mi=information(), log=SOME)])[0][0] if name.startswith("MI(")}

    def fails(*_: object, **__: object) -> None:
        raise surprise

    monkeypatch.setattr(exact, "mixture", fails)
    (rows,) = records([member(mi=information(workers=workers), log=SOME)])
    assert [row["step"] for row in rows] == [0, 1, 2, 7, 14, 20]
    assert names
    assert all(math.isnan(row[name]) for row in rows for name in names)
    told = [record.message for record in caplog.records if "cannot be measured and is null" in record.message]
    words = f"{type(surprise).__name__}: {surprise}".removesuffix(": ")
    assert told == [f"some mutual information cannot be measured and is null: {words}"]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_entropy_that_fails_is_null_and_told_once(
    workers: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(exact, "label_entropy", fails)
    (rows,) = records([member(mi=information(workers=workers), log=SOME)])
    assert [row["step"] for row in rows] == [0, 1, 2, 7, 14, 20]
    for row in rows:
        assert math.isnan(row["H(Y)_train"])
        assert math.isnan(row["H(X)_eval"])
        assert math.isfinite(row["ln n_train"])
        assert math.isfinite(row["MI(X;L)_train/layer 1"])
    told = [record.message for record in caplog.records if "cannot be measured and is null" in record.message]
    assert told == ["some mutual information cannot be measured and is null: MemoryError: no room"]


def test_a_process_that_dies_at_work_leaves_null_and_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ASKED_FIRST", f"{os.getpid()}:{tmp_path / 'asked'}")
    monkeypatch.setattr("grokplane.metrics.gauge.Processes", partial(Processes, patience=0))
    stack = Stack([member(mi=information(workers=1))])
    seen = observe(stack, None)
    assert stack.gauge is not None
    with stack.gauge as measuring:
        while measuring._processes is None or not measuring._processes._idle:
            assert all(map(math.isfinite, measuring.estimate(seen, [0]).result()[0].values()))
        monkeypatch.setattr(exact, "exact_information", ends_its_process)
        pending = measuring.estimate(seen, [0])
        while not pending.done():
            time.sleep(0.01)
        (found,) = pending.result()
    monkeypatch.undo()
    assert found.keys() == (here := looked_at(Stack([member(mi=information())]))[0]).keys()
    lost = {name for name, value in found.items() if math.isnan(value)}
    assert len(lost) == len(found.keys() - {name for name, value in found.items() if value == here[name]})
    assert {name.rpartition("_")[2] for name in lost} in ({f"{s}/layer {n}"} for s in ("train", "eval") for n in (1, 2))
    told = [record.message for record in caplog.records if "has died (killed" in record.message]
    assert len(told) == 1
    assert "cannot be measured and is null: " in told[0]


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
    """An estimate that ends only after training has reached step 20."""
    stack = Stack([member(mi=information(workers=1), log=SOME, train=training(steps=40, checkpoint_every=5))])
    came = threading.Event()

    def slow(*_: object) -> tuple[dict[str, float], list[str]]:
        assert came.wait(10)
        return {}, []

    monkeypatch.setattr(exact, "exact_information", slow)
    late = []
    for point in run(stack):
        if stack.step >= 20:
            came.set()
        late += [(point.state(0)["step"], point.step)] * point.checkpoint
    assert late[0][0] == 1
    assert late[0][1] >= 20


def test_a_stored_config_of_another_version_is_refused_by_its_key() -> None:
    stored = OmegaConf.to_container(config.compose(["mi=default"]))
    assert isinstance(stored, dict)
    older = DictConfig(stored | {"mi": {"_target_": "grokplane.metrics.information.Information", "token_rows": 500}})
    with pytest.raises(ConfigError, match=r"^mi\.token_rows=500: .*another version.*start a new run"):
        config.member(older)
