"""Answers that are the sign of one output: sparse parity, from the task to the records and `predict`."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import finish, member, trained, training, weights
from command import QUIET, Inside, ended_well, refusal, rows, summary

from grokplane.answers import Labels, Signs
from grokplane.app.runs import load_trained
from grokplane.data import LabelHoldout, Parity, RandomSplit, TeacherStudent, stack
from grokplane.losses import MSE, CrossEntropy, Hinge, Loss, StableMax
from grokplane.metrics import Information, Perplexity, Sparsity
from grokplane.models.mlp import MLP
from grokplane.optim import AdamW
from grokplane.options import ConfigError
from grokplane.predict import predict
from grokplane.record import load
from grokplane.train import LogOptions, Member, Stack
from grokplane.train.observe import measure, observe

SPLIT = RandomSplit()
NEEDED = "class labels, and this task's answers are signs"
LOSSES = pytest.mark.parametrize("loss", [Hinge(), MSE()], ids=["hinge", "mse"])


def parity(**keys: Any) -> Parity:
    return Parity(**({"split": SPLIT, "bits": 10, "points": 60, "output": "sign"} | keys))


def signed(**parts: Any) -> Member:
    model = MLP(hidden=[16], embedding="none")
    return member(**({"data": parity(), "model": model, "optimizer": AdamW(lr=0.01), "loss": Hinge()} | parts))


def pair(**parts: Any) -> list[Member]:
    """Two members with unequal training sets, the first with label noise."""
    tasks = [parity(label_noise=0.3), parity(train_fraction=0.3)]
    return [signed(seed=seed, data=task, **parts) for seed, task in enumerate(tasks)]


def test_the_sign_is_the_product_of_the_relevant_bits() -> None:
    task = parity(bits=9, relevant=4, points=200)
    table, chosen = task.table(3), task.relevant_bits(3).tolist()
    products = [int(math.prod(row[bit] for bit in chosen)) for row in table.inputs.tolist()]
    assert table.targets.tolist() == products
    assert (table.answers, table.targets.dtype) == (Signs(), torch.int64)
    classes = replace(task, output="classes").table(3)
    assert torch.equal(classes.inputs, table.inputs)
    assert torch.equal(1 - 2 * classes.targets, table.targets)
    assert classes.answers == Labels(2)


def test_an_output_is_correct_if_it_has_the_sign_of_the_target() -> None:
    values = [3.0, -3.0, 1e-30, -1e-30, 0.0, -0.0, math.nan, math.inf, -math.inf]
    outputs = torch.tensor(values).view(1, -1, 1)
    up, down = (torch.full((1, len(values)), sign) for sign in (1, -1))
    assert Signs().correct(outputs, up).tolist() == [[one > 0 for one in values]]
    assert Signs().correct(outputs, down).tolist() == [[one < 0 for one in values]]
    said = [one["answer"] for one in Signs().said(outputs[0], None, 3)]
    assert said == [1, -1, 1, -1, 0, 0, 0, 1, -1]


@pytest.mark.parametrize(
    ("targets", "fits"),
    [([1, -1, -1], True), ([1, 0], False), ([1, 2], False), ([1.0, -1.0], False), ([[1], [-1]], False)],
)
def test_targets_are_signs(targets: list[Any], fits: bool) -> None:
    assert Signs().fit(torch.tensor(targets)) == fits


def test_signs_are_two_classes() -> None:
    found = Signs().as_classes(torch.tensor([[1, -1, 0]]))
    assert (found.labels.tolist(), found.number) == ([[1, 0, 0]], 2)  # 0 stands for padding


@LOSSES
def test_losses_and_accuracies_of_signs_are_those_of_plain_lines(loss: Loss) -> None:
    together = trained(*pair(loss=loss))
    seen = observe(together)
    for number, record in enumerate(measure(together, seen)):
        examples = together.members[number].data.examples(number)
        taught = {"train": examples.train_targets, "test": examples.table.targets[examples.test]}
        for split, targets in taught.items():
            losses, right = [], []
            for place, y in enumerate(targets.tolist()):
                (f,) = seen.splits[split].outputs[number, place].tolist()
                losses.append(max(0.0, 1 - y * f) if isinstance(loss, Hinge) else (f - y) ** 2)
                right.append(f > 0 if y == 1 else f < 0)
            assert record[f"Loss/{split}"] == pytest.approx(math.fsum(losses) / len(losses), rel=1e-9)
            assert record[f"Acc/{split}"] == pytest.approx(sum(right) / len(right), rel=1e-12)
        assert ("Acc_true/train/corrupted" in record) == (number == 0)
        if number == 0:  # of two answers, one is right and one is taught
            assert record["Acc_true/train/corrupted"] + record["Acc/train/corrupted"] == pytest.approx(1)


def test_noise_turns_signs_over() -> None:
    examples = parity(label_noise=7).examples(0)
    right = examples.table.targets[examples.train]
    assert int((examples.train_targets == -right).sum()) == 7
    assert int((examples.train_targets == right).sum()) == len(right) - 7


@LOSSES
def test_signs_are_learnt_by_heart_and_a_stack_equals_its_solo_runs(loss: Loss) -> None:
    members = pair(loss=loss, train=training(steps=300))
    together = Stack(members)
    last = finish(together)[-1]
    for number, one in enumerate(members):
        assert last.records[number]["Acc/train"] == 1.0
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-9)


def test_a_small_parity_is_learnt_and_generalises() -> None:
    """x_i x_j of 8 bits from half of all points, with the hinge loss of Barak et al. 2022."""
    data = parity(bits=8, relevant=2, points=256)
    one = signed(data=data, model=MLP(hidden=[64], embedding="none"), train=training(steps=400))
    record = finish(Stack([one]))[-1].records[0]
    assert (record["Acc/train"], record["Acc/test"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"loss": CrossEntropy()}, f"loss=cross_entropy: needs {NEEDED}; use loss=mse"),
        ({"loss": StableMax()}, f"loss=stablemax: needs {NEEDED}; use loss=mse"),
        (
            {"metrics": {"perplexity": Perplexity(), "sparsity": Sparsity()}},
            f"metrics=[perplexity,sparsity]: perplexity needs {NEEDED}; write metrics=[sparsity]",
        ),
    ],
)
def test_what_reads_class_labels_is_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Stack([signed(**parts)])
    assert str(caught.value) == message


def test_the_hinge_of_numbers_is_refused() -> None:
    data = TeacherStudent(train_points=4, test_points=10)
    with pytest.raises(ConfigError, match=r"^loss=hinge: needs class labels, .* answers are numbers; use loss=mse$"):
        Stack([signed(data=data)])


def test_other_tables_are_refused() -> None:
    examples = parity().examples(0)
    table = replace(examples.table, targets=examples.table.targets * 2)
    with pytest.raises(ConfigError, match=r"^data=targets .*: must be answers of the kind Signs\(\)$"):
        stack([replace(examples, table=table)], "cpu", torch.float32)
    with pytest.raises(ConfigError, match=r"^data/split=label_holdout: needs answers that are single labels"):
        parity(split=LabelHoldout(below=1)).examples(0)
    with pytest.raises(ConfigError, match=r"^data.output=signs: .*allowed: classes, sign$"):
        parity(output="signs")


RUN = ("data=parity", "data.bits=10", "data.points=80", "data.output=sign", "data.label_noise=0.2", "loss=hinge")
RUN += ("metrics=[loss,accuracy,weight_norms,gradients,activations,dead_neurons]", "optimizer.lr=0.01")
RUN += ("model.embedding=none", "model.embedding_dim=null", "model.hidden=[16]", "train.threads=1")


def test_a_run_with_signs_is_recorded_and_its_informations_obey_their_laws(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = (*RUN, *QUIET, "train.steps=200", "log.dense_steps=2", "log.every=50", "hydra.run.dir=run")
    ended_well(inside, *typed, cwd=tmp_path)
    last = rows(tmp_path / "run")[-1]
    assert last["Acc/train"] == 1.0
    assert last["H(Y)_train"] <= math.log(2)
    assert last["MI(L;Y)_train/layer 1"] > 0.1
    assert summary(tmp_path / "run")["phase"] == "memorisation"
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    checked, broken = importlib.import_module("laws").broken(load(tmp_path / "run"))
    assert (checked > 300, broken) == (True, [])
    table = parity(points=80, label_noise=0.2).examples(0)
    asked = [",".join(str(int(bit)) for bit in table.table.inputs[row]) for row in table.train[:20].tolist()]
    found = predict(load_trained(tmp_path / "run"), asked)
    assert [one["taught"] for one in found] == table.train_targets[:20].tolist()
    assert [one["right_answer"] for one in found] == table.table.targets[table.train[:20]].tolist()
    assert all(one["answer"] == one["taught"] == (1 if one["score"] > 0 else -1) for one in found)
    assert all(one["correct"] == (one["answer"] == one["right_answer"]) for one in found)
    assert len({one["correct"] for one in found}) == 2


def test_the_command_line_refuses_what_does_not_fit(tmp_path: Path, inside: Inside) -> None:
    for typed, line in (
        ("loss=cross_entropy", f"loss=cross_entropy: needs {NEEDED}; use loss=mse"),
        ("data.output=signs", "data.output=signs: did you mean sign? allowed: classes, sign"),
    ):
        assert refusal(inside(*RUN, *QUIET, typed, cwd=tmp_path)) == line
    assert not list(tmp_path.iterdir())


def test_a_run_with_signs_resumes_to_the_bit(tmp_path: Path, inside: Inside) -> None:
    typed = (*RUN, *QUIET, "mi=off", "log.every=20")
    ended_well(inside, *typed, "train.steps=100", "hydra.run.dir=whole", cwd=tmp_path)
    ended_well(inside, *typed, "train.steps=40", "hydra.run.dir=run", cwd=tmp_path)
    ended_well(inside, "hydra.run.dir=run", "train.resume=true", "train.steps=100", cwd=tmp_path)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_information_of_signs_is_that_of_the_two_classes() -> None:
    def entropies(task: Parity, loss: Loss) -> dict[str, float]:
        made = Stack([signed(data=task, loss=loss, mi=Information(draws=4, workers=0), log=LogOptions(dense_steps=0))])
        assert made.gauge is not None
        with made.gauge as gauge:
            (found,) = gauge.estimate(observe(made), [0]).result()
        return {name: value for name, value in found.items() if name.startswith("H(")}

    signs, classes = entropies(parity(), Hinge()), entropies(parity(output="classes"), CrossEntropy())
    assert signs == classes
    assert signs["H(Y)_train"] > 0
