"""Kinds of answers: sequences of labels from the task to the records, and what does not fit is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from builders import METRICS, finish, member, trained, training, weights
from looking import looked_at
from torch import Tensor, nn

from grokplane.answers import NOT_SCORED, LabelSequence
from grokplane.app.errors import Refused
from grokplane.data import LabelHoldout, RandomSplit, Table, stack
from grokplane.data.split_task import SplitTask
from grokplane.losses import MSE, CrossEntropy, Loss
from grokplane.metrics import Information, subset
from grokplane.models import Module
from grokplane.optim import AdamW
from grokplane.options import ConfigError, option
from grokplane.predict import predict
from grokplane.train import Member, Stack, looks, try_metrics
from grokplane.train.observe import measure, observe

BASE, TOKENS = 4, 2


@dataclass(frozen=True)
class DigitSums(SplitTask):
    """a + b in digits of base 4, most significant first; sums below 4 have one digit, and the second is not scored."""

    split: Any = field(default_factory=RandomSplit)
    train_fraction: float | None = option(0.5, stackable=True)
    label_noise: float = option(0.0, stackable=True)

    def table(self, seed: int) -> Table:  # noqa: ARG002 (nothing is drawn)
        pairs = torch.cartesian_prod(torch.arange(6), torch.arange(6))
        sums = pairs.sum(1)
        two = torch.stack([sums // BASE, sums % BASE], 1)
        one = torch.stack([sums, torch.full_like(sums, NOT_SCORED)], 1)
        return Table(pairs, torch.where((sums < BASE)[:, None], one, two), 6, LabelSequence(BASE, TOKENS))

    def ask(self, operands: Any) -> Tensor:
        return torch.tensor([int(operand) for operand in operands])


class Net(nn.Module):
    """A perceptron that reads out every position."""

    def __init__(self, vocabulary: int, length: int, outputs: int, positions: int) -> None:
        super().__init__()
        self.embedding, self.shape = nn.Embedding(vocabulary, 8), (positions, outputs)
        self.hidden = nn.Linear(length * 8, 32)
        self.read_out = nn.Linear(32, positions * outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.read_out(self.hidden(self.embedding(tokens).flatten(1)).relu()).unflatten(1, self.shape)


def speller(**parts: Any) -> Member:
    model = Module({"_target_": f"{__name__}.Net"})
    return member(**({"data": DigitSums(), "model": model, "optimizer": AdamW(lr=0.01)} | parts))


def spellers(**parts: Any) -> list[Member]:
    """Two members with unequal training sets."""
    return [speller(seed=seed, data=DigitSums(train_fraction=0.5 - 0.2 * seed), **parts) for seed in range(2)]


def plain(loss: Loss, outputs: list[float], label: int) -> float:
    """The loss of one token."""
    if isinstance(loss, MSE):
        return math.fsum((z - (place == label)) ** 2 for place, z in enumerate(outputs)) / len(outputs)
    return math.log(math.fsum(map(math.exp, outputs))) - outputs[label]


@pytest.mark.parametrize("loss", [CrossEntropy(), MSE()], ids=["cross_entropy", "mse"])
def test_losses_and_accuracies_of_sequences_are_those_of_plain_lines(loss: Loss) -> None:
    together = trained(*spellers(loss=loss, metrics={"perplexity": METRICS["Perplexity"]}))
    seen = observe(together)
    partly = 0
    for number, record in enumerate(measure(together, seen)):
        examples = together.members[number].data.examples(number)
        rows = {"train": examples.train, "test": examples.test}
        for split, of_split in seen.splits.items():
            losses, entropies, right, of_tokens = [], [], [], []
            for place, row in enumerate(rows[split].tolist()):
                wanted = [int(label) for label in examples.table.targets[row] if label != NOT_SCORED]
                found = of_split.outputs[number, place].tolist()[: len(wanted)]
                hits = [z.index(max(z)) == label for z, label in zip(found, wanted, strict=True)]
                losses.append(sum(map(lambda *of: plain(loss, *of), found, wanted)) / len(wanted))
                entropies.append(sum(map(lambda *of: plain(CrossEntropy(), *of), found, wanted)) / len(wanted))
                right.append(all(hits))
                of_tokens.append(sum(hits) / len(hits))
            expected = {"Loss": losses, "Acc": right, "Acc_token": of_tokens}
            for name, values in expected.items():
                assert record[f"{name}/{split}"] == pytest.approx(sum(values) / len(values), rel=1e-9), name
            partly += 0 < record[f"Acc/{split}"] < record[f"Acc_token/{split}"]
            assert record[f"Perplexity/{split}"] == pytest.approx(math.exp(sum(entropies) / len(entropies)), rel=1e-9)
    assert partly


def test_sequences_are_learnt_by_heart_and_a_stack_equals_its_solo_runs() -> None:
    members = spellers(train=training(steps=200))
    together = Stack(members)
    last = finish(together)[-1]
    for number, one in enumerate(members):
        assert last.records[number]["Acc/train"] == last.records[number]["Acc_token/train"] == 1.0
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-9)


def test_every_metric_and_the_information_of_sequences_is_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> list[dict[str, Any]]:
        made = Stack(spellers(metrics=METRICS, mi=Information(draws=4, workers=0)))
        return [one | of for one, of in zip(measure(made, observe(made)), looked_at(made), strict=True)]

    whole = look()
    answers = DigitSums(train_fraction=0.5).examples(0)
    distinct = [tuple(row) for row in answers.train_targets.tolist()]
    shares = [distinct.count(row) / len(distinct) for row in set(distinct)]
    assert whole[0]["H(Y)_train"] == pytest.approx(-sum(share * math.log(share) for share in shares))
    of_updates = ("time/seconds", "spike_")  # which the first log point does not have
    assert all(math.isfinite(value) for name, value in whole[0].items() if not name.startswith(of_updates))
    monkeypatch.setattr(looks, "WHOLE_BYTES", 0)
    monkeypatch.setattr(subset, "PART_BYTES", 5 * Stack(spellers()).point.both)
    for one, other in zip(look(), whole, strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12, nan_ok=True)


def test_a_sequence_that_is_wrong_in_its_first_token_alone_is_wrong() -> None:
    answers, targets = LabelSequence(BASE, 3), torch.tensor([[[1, 2, 3], [1, NOT_SCORED, 3]]])
    outputs = torch.eye(BASE)[targets.clamp(min=0)]
    scores = answers.scores(outputs, targets)
    assert scores["Acc"].tolist() == [[True, True]]
    outputs[:, :, 0] = torch.eye(BASE)[0]
    scores = answers.scores(outputs, targets)
    assert scores["Acc"].tolist() == [[False, False]]
    assert scores["Acc_token"].tolist() == [[2 / 3, 0.5]]
    outputs[0, 0, 1] = math.nan
    assert answers.scores(outputs, targets)["Acc_token"].tolist() == [[1 / 3, 0.5]]


def test_noise_replaces_whole_sequences_by_others_that_occur() -> None:
    examples = DigitSums(label_noise=5).examples(0)
    clean = [tuple(row) for row in examples.table.targets[examples.train].tolist()]
    noisy = [tuple(row) for row in examples.train_targets.tolist()]
    assert sum(one != other for one, other in zip(clean, noisy, strict=True)) == 5
    assert set(noisy) <= set(clean)


def test_predict_answers_with_sequences() -> None:
    together = trained(speller(train=training(steps=200)))
    one, examples = together.members[0], DigitSums().examples(0)
    run = cast("Any", SimpleNamespace(member=one, examples=examples, stack=lambda: together, folder=Path()))
    first, second = (tuple(examples.table.inputs[rows[0]].tolist()) for rows in (examples.train, examples.test))
    found = predict(run, [f"{a},{b}" for a, b in (first, second, (9 % 6, 0))])
    truth = [None if token == NOT_SCORED else token for token in examples.train_targets[0].tolist()]
    assert found[0]["right_answer"] == found[0]["taught"] == truth
    assert found[0]["answer"][: sum(token is not None for token in truth)] == [t for t in truth if t is not None]
    assert (found[0]["correct"], found[0]["subset"], found[0]["next"]) == (True, "train", [])
    assert (found[1]["subset"], found[1]["taught"]) == ("held-out", None)
    with torch.no_grad():
        outputs = together.network(together.network.encode(torch.tensor([[first]])))[0, 0]
    assert found[0]["probability"] == pytest.approx(float(outputs.softmax(-1).amax(-1).prod()), rel=1e-6)
    with pytest.raises(Refused, match=r"^--top=1: this run's answers are sequences"):
        predict(run, ["1,2"], top=1)


def test_a_model_that_does_not_read_out_every_position_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^model=mlp: gives outputs \[4\] for each point, .* need \[2, 4\]; use"):
        Stack([member(data=DigitSums())])
    alone = speller(model=Module({"_target_": "test_adapter.Net"}))
    with pytest.raises(ConfigError, match=r"must turn a batch \[3, 2\] into a tensor \[3, 2, 4\], and gives \[3, 4\]$"):
        Stack([alone])


def test_a_trial_of_metrics_takes_sequences() -> None:
    try_metrics(Stack(spellers(metrics=METRICS)))


def test_targets_of_another_kind_are_refused() -> None:
    examples = DigitSums().examples(0)
    nothing = torch.full_like(examples.table.targets, NOT_SCORED)
    for targets in (examples.table.targets[:, 0], examples.table.targets.double(), examples.table.targets + 9, nothing):
        table = replace(examples.table, targets=targets)
        kind = r"LabelSequence\(classes=4, length=2, fed_back=False\)"
        with pytest.raises(ConfigError, match=rf"^data=targets .*: must be answers of the kind {kind}$"):
            stack([replace(examples, table=table)], "cpu", torch.float32)
    with pytest.raises(ConfigError, match=r"^data/split=label_holdout: needs answers that are single labels"):
        DigitSums(split=LabelHoldout(below=1)).examples(0)
