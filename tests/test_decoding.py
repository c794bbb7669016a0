"""Accuracies of decoded answers and of single tokens, compared with one point of one member at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from builders import METRICS, SEQUENCE_METRICS, member, trained, training
from spelling import KINDS, LENGTH, MODELS, READ, Spelled, speller, spellers
from test_answers import speller as sums_speller
from torch import Tensor, nn

from grokplane.answers import NOT_SCORED, LabelSequence
from grokplane.app.measuring import _values
from grokplane.data import Table
from grokplane.metrics import Autoregressive, subset
from grokplane.models import Module
from grokplane.models.single import Single
from grokplane.options import ConfigError, option
from grokplane.train import Stack, looks, try_metrics
from grokplane.train.observe import measure, observe

SPLITS = ("train", "test")


def module(kind: type[nn.Module]) -> Module:
    return Module({"_target_": f"{__name__}.{kind.__name__}"})


def record(stack: Stack) -> list[dict[str, Any]]:
    return measure(stack, observe(stack), SEQUENCE_METRICS)


def alone(stack: Stack, number: int) -> Single:
    """One member's network as an ordinary module."""
    one = Stack([stack.members[number]])
    one.load_states([stack.state(number)])
    return Single(one.network).eval()


def points(stack: Stack, number: int, split: str) -> list[tuple[list[int], list[int]]]:
    """Inputs and targets of each point of a member's subset."""
    examples = stack.members[number].data.examples(stack.members[number].seed)
    rows = examples.subsets[split]
    return list(zip(examples.table.inputs[rows].tolist(), examples.table.targets[rows].tolist(), strict=True))


def spoken(network: nn.Module, inputs: Sequence[int], targets: Sequence[int], own: bool) -> list[bool]:
    """Whether each token is right, decoded one at a time: after the network's own tokens, or after the right ones."""
    question = [t == NOT_SCORED for t in targets].index(False) + LENGTH - READ + 1
    prefix, hits = list(inputs[:question]), []
    for wanted in (target for target in targets if target != NOT_SCORED):
        padded = prefix + [KINDS - 1] * (LENGTH - len(prefix))
        outputs = network(torch.tensor([padded]))[0, len(prefix) - 1 - (LENGTH - READ)]
        said = outputs.tolist().index(max(outputs.tolist()))
        hits.append(said == wanted)
        prefix.append(said if own else wanted)
    return hits


@pytest.mark.parametrize("model", MODELS)
def test_accuracies_are_those_of_one_point_at_a_time(model: str) -> None:
    stack = trained(*spellers(model, train=training(steps=30 if model == "module" else 60)))
    found = record(stack)
    lower = 0
    for number in range(2):
        network = alone(stack, number)
        for split in SPLITS:
            rows = points(stack, number, split)
            own, taught = ([spoken(network, *row, own) for row in rows] for own in (True, False))
            names = {split: own, f"{split}/digits_1": [], f"{split}/digits_2": []}
            for hits in own:
                names[f"{split}/digits_{len(hits) - 1}"].append(hits)
            for name, answers in names.items():
                whole, of_tokens = ([f(hits) for hits in answers] for f in (all, lambda hits: sum(hits) / len(hits)))
                assert found[number][f"Acc_autoregressive/{name}"] == pytest.approx(sum(whole) / len(whole), rel=1e-12)
                mean = pytest.approx(sum(of_tokens) / len(of_tokens), rel=1e-12)
                assert found[number][f"Acc_token_autoregressive/{name}"] == mean
            for k in range(READ):
                kth = [hits[k] for hits in taught if k < len(hits)]
                name = f"Acc_position_{k + 1}/{split}"
                assert (name in found[number]) == bool(kth)
                if kth:
                    assert found[number][name] == pytest.approx(sum(kth) / len(kth), rel=1e-12)
            lower += found[number][f"Acc_token_autoregressive/{split}"] < found[number][f"Acc_token/{split}"]
    assert lower


@pytest.mark.parametrize("steps", [1, 60, 300])
@pytest.mark.parametrize("model", MODELS)
def test_whole_answers_are_decoded_as_well_as_they_are_taught(model: str, steps: int) -> None:
    """While all earlier tokens are right, both prefixes are equal; so a whole answer is right in both or in neither."""
    for one in record(trained(*spellers(model, train=training(steps=steps)))):
        pairs = [name for name in one if name.startswith("Acc/")]
        assert len(pairs) == 6
        for name in pairs:
            assert one[name.replace("Acc/", "Acc_autoregressive/")] == one[name]


class Copies(nn.Module):
    """Gives the first answer token wrong, and every other one as it finds it in the input that it is read at, plus 1.

    The task is to count on, so this is right after a right token alone.
    """

    def __init__(self, outputs: int, positions: int) -> None:
        super().__init__()
        self.gain, self.read, self.kinds = nn.Parameter(torch.ones(())), positions, outputs

    def forward(self, tokens: Tensor) -> Tensor:
        said = (tokens[:, -self.read :] + 1) % self.kinds
        said = torch.cat([(said[:, :1] + 1) % self.kinds, said[:, 1:]], 1)
        places = torch.arange(self.kinds, device=tokens.device)
        return self.gain * (said[..., None] == places).to(self.gain.dtype)


class Counts(Spelled):
    """a, a + 1, a + 2, a + 3 modulo 9, the last three of which are the answer."""

    def table(self, seed: int) -> Table:
        table = super().table(seed)
        rows = (torch.arange(KINDS)[:, None] + torch.arange(4)) % KINDS
        answers = LabelSequence(KINDS, 3, fed_back=True)
        return replace(table, inputs=rows[:, :3], targets=rows[:, 1:], answers=answers, groups={})


def test_a_network_that_is_right_after_a_right_token_alone_decodes_worse() -> None:
    (one,) = record(Stack([member(data=Counts(), model=module(Copies))]))
    for split in SPLITS:
        assert (one[f"Acc/{split}"], one[f"Acc_token/{split}"]) == (0, pytest.approx(2 / 3))
        assert (one[f"Acc_autoregressive/{split}"], one[f"Acc_token_autoregressive/{split}"]) == (0, 0)
        assert [one[f"Acc_position_{k}/{split}"] for k in (1, 2, 3)] == [0, 1, 1]


class First(Copies):
    """As `Copies`, but right at once."""

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(self.kinds, device=tokens.device)
        return self.gain * ((tokens[..., None] + 1) % self.kinds == places).to(self.gain.dtype)[:, -self.read :]


def test_a_network_that_is_always_right_decodes_all() -> None:
    (one,) = record(Stack([member(data=Counts(), model=module(First))]))
    assert all(value == 1 for name, value in one.items() if name.startswith("Acc"))


def test_decoding_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = trained(*spellers(train=training(steps=30)))
    whole = record(stack)
    monkeypatch.setattr(looks, "WHOLE_BYTES", 0)
    monkeypatch.setattr(subset, "PART_BYTES", 5 * stack.point.both)
    parts = observe(stack).train.slices()
    assert len(parts) > 2
    for one, other in zip(record(stack), whole, strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12)


def test_decoding_takes_one_pass_less_than_there_are_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(spellers())
    seen, calls = observe(stack), []
    forward = stack.network.forward
    monkeypatch.setattr(stack.network, "forward", lambda *given: calls.append(1) or forward(*given))
    before = seen.train.inputs.clone()
    Autoregressive()(seen)
    assert len(calls) == 2 * (READ - 1)
    assert seen.train.inputs.equal(before)


def test_answers_without_such_tokens_are_refused() -> None:
    both = {"mine": Autoregressive(), "others": SEQUENCE_METRICS["DigitAccuracy"], "WN": METRICS["WeightNorms"]}
    line = r"^metrics=\[mine,others,WN\]: mine and others need sequences of labels, .* point; write metrics=\[WN\]$"
    with pytest.raises(ConfigError, match=line):
        Stack([member(metrics=both)])
    line = r"^metrics=.*: mine needs answers that are fed back \(teacher forcing\), .*; write metrics=\[others,WN\]$"
    with pytest.raises(ConfigError, match=line):
        Stack([sums_speller(metrics=both)])


def test_a_trial_of_metrics_takes_them() -> None:
    try_metrics(Stack(spellers(metrics=METRICS | SEQUENCE_METRICS)))


def test_measuring_them_over_checkpoints_gives_them_alone() -> None:
    stack = Stack([speller()])
    (found,) = _values(stack, observe(stack), "mine", SEQUENCE_METRICS["DigitAccuracy"])
    assert found.keys() == {f"Acc_position_{k}/{split}" for k in (1, 2, 3) for split in SPLITS}


@dataclass(frozen=True)
class Digits(Spelled):
    """The questions whose answer has so many digits."""

    digits: int = option(1, stackable=True)

    def table(self, seed: int) -> Table:
        table = super().table(seed)
        rows = table.groups[f"digits_{self.digits}"]
        return replace(table, inputs=table.inputs[rows], targets=table.targets[rows], groups={})


def test_tokens_that_no_answer_of_a_member_has_are_left_out_for_it_alone() -> None:
    short, long = (speller(seed=seed, data=Digits(digits=seed + 1)) for seed in range(2))
    found = record(Stack([short, long]))
    for one, solo in zip(found, (record(Stack([short]))[0], record(Stack([long]))[0]), strict=True):
        assert one.keys() == solo.keys()
    assert "Acc_position_3/train" not in found[0]
    assert math.isfinite(found[1]["Acc_position_3/train"])
