"""Label noise taken apart: accuracies against the right answers, and the phase of a run."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import finish, member, task, trained, training
from command import QUIET, TINY, Inside, ended_well, finished, rows, summary
from torch import Tensor, nn

from grokplane.answers import LabelSequence
from grokplane.data import RandomSplit, Table, stack
from grokplane.data.split_task import SplitTask
from grokplane.metrics import Accuracy, Observation, Subset, subset
from grokplane.models import Module
from grokplane.models.mlp import MLP
from grokplane.optim import AdamW
from grokplane.options import option
from grokplane.phases import MOST, PHASES, phase, phase_of
from grokplane.train import LogOptions, Member, Stack, looks
from grokplane.train.observe import measure, observe

TRUE = {"Acc_true/train", "Acc_true/train/corrupted"}


@dataclass(frozen=True)
class Pairs(SplitTask):
    """The two operands as the answer: sequences of two labels."""

    split: Any = field(default_factory=RandomSplit)
    train_fraction: float | None = option(0.5, stackable=True)
    label_noise: float = option(0.0, stackable=True)

    def table(self, seed: int) -> Table:  # noqa: ARG002 (nothing is drawn)
        pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
        return Table(pairs, pairs, 5, LabelSequence(5, 2))

    def ask(self, operands: Any) -> Tensor:
        return torch.tensor([int(operand) for operand in operands])


class Spell(nn.Module):
    """A perceptron that reads out two positions."""

    def __init__(self, vocabulary: int, length: int, outputs: int, positions: int) -> None:
        super().__init__()
        self.embedding, self.shape = nn.Embedding(vocabulary, 8), (positions, outputs)
        self.read_out = nn.Linear(length * 8, positions * outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.read_out(self.embedding(tokens).flatten(1)).unflatten(1, self.shape)


def noisy(**parts: Any) -> list[Member]:
    """Members with unequal splits: with much noise, without noise, with little noise."""
    keys: list[dict[str, Any]] = [{"label_noise": 0.4}, {"train_fraction": 0.7}, {"label_noise": 3}]
    model = MLP(hidden=[32], embedding_dim=16)
    parts = {"model": model, "optimizer": AdamW(lr=0.01), "train": training(steps=60)} | parts
    return [member(seed=seed, data=task(**some), **parts) for seed, some in enumerate(keys)]


def spellers() -> list[Member]:
    model = Module({"_target_": f"{__name__}.Spell"})
    shared: dict[str, Any] = {"model": model, "optimizer": AdamW(lr=0.02), "train": training(steps=60)}
    return [member(seed=seed, data=Pairs(label_noise=noise), **shared) for seed, noise in enumerate((0.4, 0))]


def assert_slow_twin(together: Stack) -> int:
    """Compare true accuracies with a search point by point; return how many are neither 0 nor 1."""
    seen, between = observe(together), 0
    for number, record in enumerate(measure(together, seen)):
        one = together.members[number]
        examples = one.data.examples(one.seed)
        names = {name for name in record if "_true" in name}
        if torch.equal(examples.train_targets, examples.table.targets[examples.train]):
            assert names == set()
            continue
        right: dict[str, list[bool]] = {"train": [], "train/corrupted": []}
        for place, row in enumerate(examples.train.tolist()):
            said = seen.train.outputs[number, place].argmax(-1).tolist()
            answer, taught = examples.table.targets[row].tolist(), examples.train_targets[place].tolist()
            right["train"].append(said == answer)
            if taught != answer:
                right["train/corrupted"].append(said == answer)
        assert names >= TRUE
        for name, flags in right.items():
            assert record[f"Acc_true/{name}"] == pytest.approx(sum(flags) / len(flags), rel=1e-12)
            between += 0 < sum(flags) < len(flags)
    return between


def test_true_accuracies_are_those_of_a_slow_twin() -> None:
    assert assert_slow_twin(trained(*noisy())) >= 3


def test_true_accuracies_of_sequences_are_those_of_a_slow_twin() -> None:
    together = trained(*spellers())
    assert assert_slow_twin(together) >= 1
    first, second = measure(together, observe(together))
    assert {name for name in first if "_true" in name} == TRUE | {f"Acc_token_true/{n[9:]}" for n in TRUE}
    assert first["Acc_token_true/train"] > first["Acc_true/train"]
    assert not {name for name in second if "_true" in name}


def test_true_accuracies_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    together = trained(*noisy())
    whole = measure(together, observe(together))
    monkeypatch.setattr(looks, "WHOLE_BYTES", 0)
    monkeypatch.setattr(subset, "PART_BYTES", 5 * together.point.both)
    for ours, theirs in zip(measure(together, observe(together)), whole, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)


def test_members_record_what_they_would_record_alone() -> None:
    log = LogOptions(dense_steps=2, every=20)
    together = [point.records for point in finish(Stack(noisy(log=log))) if point.records]
    for number, one in enumerate(noisy(log=log)):
        alone = [point.records[0] for point in finish(Stack([one])) if point.records]
        for ours, theirs in zip((records[number] for records in together), alone, strict=True):
            assert ours.keys() == theirs.keys()
            assert ours == pytest.approx(theirs, rel=1e-9)


def test_accuracies_of_noisy_points_obey_their_laws() -> None:
    members, between = noisy(log=LogOptions(dense_steps=0, every=10)), 0
    counts = []
    for one in members:
        examples = one.data.examples(one.seed)
        wrong = examples.train_targets != examples.table.targets[examples.train]
        counts.append((len(wrong), int(wrong.sum())))
    assert [count for _, count in counts] == [9, 0, 3]
    for point in finish(Stack(members)):
        for record, (n, corrupted) in zip(point.records, counts, strict=False):
            if not corrupted or not record:
                continue
            share, clean = corrupted / n, record["Acc/train/clean"]
            taught, right = record["Acc/train/corrupted"], record["Acc_true/train/corrupted"]
            assert record["Acc/train"] == pytest.approx((1 - share) * clean + share * taught, abs=1e-12)
            assert record["Acc_true/train"] == pytest.approx((1 - share) * clean + share * right, abs=1e-12)
            assert taught + right <= 1 + 1e-12
            between += 0 < taught < 1
    assert between


@pytest.mark.parametrize("noise", [0.35, 7])
def test_in_full_inversion_the_training_accuracy_is_the_clean_share(noise: float) -> None:
    """Noise never leaves an answer as it is, so that the share is 1 - noise, without the 1/p of the paper's noise."""
    examples = task(p=11, label_noise=noise).examples(0)
    data = stack([examples], "cpu", torch.float64).train
    assert data.true_targets is not None
    outputs = torch.nn.functional.one_hot(data.true_targets, 11).double()
    points = torch.ones(1, len(examples.train), dtype=torch.float64)
    one = Subset(outputs, data.targets, points, data.mask, {}, true_targets=data.true_targets)
    corrupted = (examples.train_targets != examples.table.targets[examples.train])[None]
    rates, groups = torch.ones(1), {"train/corrupted": ("train", corrupted)}
    found = Accuracy()(Observation(0, one, one, rates, {}, {}, dict, groups=groups))
    count = int(noise * len(points[0])) if noise < 1 else noise
    assert float(found["Acc/train"]) == pytest.approx(1 - count / len(points[0]))
    assert float(found["Acc_true/train"]) == float(found["Acc_true/train/corrupted"]) == 1
    assert float(found["Acc/train/corrupted"]) == 0


# Phases

# Accuracies (train, held out, corrupted as taught, corrupted right), and whether the run had fitted.
KINDS = {
    "coexistence": [(0.978, 0.983, 0.94, 0.03, True), (0.97, 0.9, 0.9, 0.1, False)],
    "partial inversion": [(0.786, 1.0, 0.39, 0.61, True), (0.6, 0.95, 0.0, 0.0, False)],
    "full inversion": [(0.654, 1.0, 0.01, 0.99, True), (0.65, 0.9, 0.1, 0.9, False)],
    "memorisation": [(1.0, 0.1, 1.0, 0.0, True), (0.99, 0.899, 0.98, 0.0, False)],
    "forgetting": [(0.5, 0.1, 0.2, 0.1, True), (0.989, 0.0, 0.97, 0.0, True)],
    "confusion": [(0.009, 0.011, 0.01, 0.01, False), (0.98, math.nan, 0.95, 0.0, False)],
}


@pytest.mark.parametrize("name", KINDS)
def test_the_phase_of_a_run(name: str) -> None:
    for *accuracies, before in KINDS[name]:
        assert phase(*accuracies, fitted_before=before, threshold=0.99) == name


def test_every_combination_has_one_phase() -> None:
    """By six independent rules, of which exactly one holds at every point of a grid."""
    values = [0.0, 0.05, 0.1, 0.5, 0.89, 0.9, 0.95, 0.99, 1.0, math.nan]
    met = set()
    for train, test, taught, right, before in itertools.product(values, values, values, values, (False, True)):
        if taught + right > 1:
            continue
        generalises, fits = test >= MOST, train >= 0.95
        rules = {
            "coexistence": generalises and taught >= MOST,
            "partial inversion": generalises and not taught >= MOST and not right >= MOST,
            "full inversion": generalises and right >= MOST,
            "memorisation": not generalises and fits,
            "forgetting": not generalises and not fits and before,
            "confusion": not generalises and not fits and not before,
        }
        if generalises and taught >= MOST and right >= MOST:
            pytest.fail("the shares of a point's two answers are at most 1 together")
        (expected,) = (name for name, holds in rules.items() if holds)
        assert phase(train, test, taught, right, fitted_before=before, threshold=0.95) == expected
        met.add(expected)
    assert met == set(PHASES)


def test_the_phase_reads_the_questions_of_the_marks() -> None:
    grok = {"train_step": 3, "threshold": 0.99, "questions": "unseen"}
    last = {"Acc/train": 1.0, "Acc/test": 1.0, "Acc/train/corrupted": 1.0, "Acc_true/train/corrupted": 0.0}
    assert phase_of({**last, "Acc/unseen": 0.2}, grok) == "memorisation"
    assert phase_of({**last, "Acc/unseen": 0.95}, grok) == "coexistence"
    assert phase_of({**last, "Acc/unseen": None}, grok) == "memorisation"
    assert phase_of({"Acc/train": 1.0, "Acc/test": 1.0, "Acc/unseen": 1.0}, grok) is None
    assert phase_of(last, None) is None


NOISY = (*TINY, "mi=off", "record.figures=false", "data.label_noise=0.25", "train.steps=400", "log.every=100")
NOISY += ("model.embedding=concat", "model.hidden=[32]", "optimizer.lr=0.01", "optimizer.weight_decay=0")


def test_a_noisy_run_records_its_phase_and_a_plain_one_none(tmp_path: Path, inside: Inside) -> None:
    done = ended_well(inside, *NOISY, *QUIET, "hydra.run.dir=noisy", cwd=tmp_path)
    found = summary(tmp_path / "noisy")
    assert found["last"].keys() >= TRUE
    assert found["last"]["Acc/train"] == 1.0  # every training point is learnt, wrong answers too
    assert found["phase"] == "memorisation"
    assert "phase        memorisation" in done.stdout
    done = ended_well(inside, *NOISY, *QUIET, "data.label_noise=0", "hydra.run.dir=plain", cwd=tmp_path)
    found = summary(tmp_path / "plain")
    assert found["phase"] is None
    assert not {name for row in rows(tmp_path / "plain") for name in row if "_true" in name}
    assert "phase  " not in done.stdout


def test_a_run_that_diverges_has_no_phase(tmp_path: Path, inside: Inside) -> None:
    typed = (*NOISY, *QUIET, "optimizer=sgd", "optimizer.lr=1e6", "loss=mse", "hydra.run.dir=run")
    assert inside(*typed, cwd=tmp_path).returncode == 3
    assert summary(tmp_path / "run")["phase"] is None


def test_a_noisy_run_resumes_to_the_bit(tmp_path: Path, inside: Inside) -> None:
    ended_well(inside, *NOISY, *QUIET, "hydra.run.dir=whole", cwd=tmp_path)
    ended_well(inside, *NOISY, *QUIET, "train.steps=150", "hydra.run.dir=run", cwd=tmp_path)
    assert summary(tmp_path / "run")["phase"] is not None
    ended_well(inside, "hydra.run.dir=run", "train.resume=true", "train.steps=400", cwd=tmp_path)
    assert rows(tmp_path / "run")[-1] == rows(tmp_path / "whole")[-1]
    assert summary(tmp_path / "run")["phase"] == summary(tmp_path / "whole")["phase"] is not None


def test_weights_and_biases_gets_the_phase(tmp_path: Path) -> None:
    finished(*NOISY, "record.wandb=offline", "hydra.run.dir=run", cwd=tmp_path)
    (file,) = (tmp_path / "run" / "wandb").rglob("run-*.wandb")
    assert b"memorisation" in file.read_bytes()
