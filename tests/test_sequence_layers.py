"""Information and metrics of the layers of answers that are fed back: where the answer is not yet among the inputs."""

from __future__ import annotations

import importlib
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from builders import METRICS, SEQUENCE_METRICS, trained, training
from looking import looked_at, records
from spelling import LENGTH, MODELS, READ, speller, spellers
from torch import Tensor, nn

from grokplane.answers import NOT_SCORED
from grokplane.metrics import Information, Metric, Spectrum, subset
from grokplane.mi import mixture
from grokplane.models import Module
from grokplane.train import LogOptions, Stack, looks
from grokplane.train.observe import measure, observe

EVERY = pytest.mark.parametrize("model", MODELS)
EXACT = Information(draws=40, workers=0, ladder=[0.5], resolution=0.2)
SUBSETS = {"train": "train", "eval": "test"}


def points(stack: Stack, number: int, split: str) -> tuple[list[list[int]], list[tuple[int, ...]], list[int]]:
    """Inputs, answers without what is not scored, and the input `=` of each point, from the task itself."""
    examples = stack.members[number].data.examples(stack.members[number].seed)
    rows = examples.subsets[split]
    targets = examples.table.targets[rows].tolist()
    answers = [tuple(token for token in one if token != NOT_SCORED) for one in targets]
    inputs = examples.table.inputs[rows].tolist()
    return inputs, answers, [one.index(6) for one in inputs]


def layers(stack: Stack, name: str, number: int) -> dict[str, list[Tensor]]:
    """Each layer's activations [L, F] by point; NaN at positions that the layer does not show."""
    seen = observe(stack).subsets[name]
    count = int(seen.mask[number].sum())
    found: dict[str, list[Tensor]] = {}
    for layer, output in seen.layers.items():
        values = output.activations[number, :count]
        missing = values.new_full((count, LENGTH - values.shape[1], values.shape[2]), math.nan)
        found[layer] = list(torch.cat([missing, values], 1))
    return found


@EVERY
@pytest.mark.parametrize("name", SUBSETS)
def test_information_is_that_of_the_layer_at_the_end_of_the_question(model: str, name: str) -> None:
    stack = trained(*spellers(model, mi=EXACT, train=training(steps=30)))
    found = looked_at(stack)
    for number in range(2):
        inputs, answers, ends = points(stack, number, SUBSETS[name])
        shares = [count / len(answers) for count in Counter(answers).values()]
        assert found[number][f"H(Y)_{name}"] == pytest.approx(-math.fsum(p * math.log(p) for p in shares))
        for known in (f"H(X)_{name}", f"ln n_{name}"):
            assert found[number][known] == pytest.approx(math.log(len(inputs)), rel=1e-12)
        order = sorted(set(answers))
        labels = {"Y": torch.tensor([order.index(answer) for answer in answers])}
        for layer, values in layers(stack, name, number).items():
            rows = torch.stack([one[end] for one, end in zip(values, ends, strict=True)])
            stream = {"seed": stack.members[number].seed, "stream": f"mi/{name}/{layer}"}
            of = mixture(rows, labels, ladder=(0.2, 0.5), draws=40, **stream)
            for quantity, estimate in {"MI(X;L)": of.input, "MI(L;Y)": of.labels["Y"]}.items():
                for at, value in zip(("", "@0.5"), estimate.value.tolist(), strict=True):
                    assert found[number][f"{quantity}{at}_{name}/{layer}"] == pytest.approx(value, abs=1e-9)


class Late(nn.Module):
    """Knows at every token only this token: at the end of a question nothing, and afterwards the answer."""

    def __init__(self, vocabulary: int, outputs: int, positions: int) -> None:
        super().__init__()
        self.embedding, self.out, self.read = nn.Embedding(vocabulary, 8), nn.Linear(8, outputs), positions

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.embedding(tokens))[:, -self.read :]


def test_an_answer_among_the_inputs_is_no_information() -> None:
    late = replace(speller(mi=EXACT), model=Module({"_target_": f"{__name__}.Late"}))
    (found,) = looked_at(Stack([late]))
    values = [value for name, value in found.items() if re.fullmatch(r"MI\(X;L\)(@0.5)?_(train|eval)/.*", name)]
    assert values == [0] * 8


@EVERY
def test_the_informations_of_a_run_obey_their_laws(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    some = LogOptions(dense_steps=0, every=60)
    (rows,) = records([speller(model, mi=EXACT, log=some, train=training(steps=180))])
    checked, lines = importlib.import_module("laws").broken(pd.DataFrame(rows).assign(**{"mi.resolution": 0.2}))
    assert checked > 100
    assert lines == []


@EVERY
def test_statistics_of_layers_are_over_scored_positions(model: str) -> None:
    """The mean over points of each point's mean; a unit is dead if it is 0 wherever a token is scored."""
    stack = trained(*spellers(model, metrics=METRICS, train=training(steps=30)))
    found = measure(stack, observe(stack))
    for number in range(2):
        _, answers, ends = points(stack, number, "test")
        for layer, values in layers(stack, "eval", number).items():
            kept = [one[end : end + len(answer)] for one, end, answer in zip(values, ends, answers, strict=True)]
            mean = math.fsum(float(one.mean()) for one in kept) / len(kept)
            variance = math.fsum(float((one - mean).square().mean()) for one in kept) / len(kept)
            assert found[number][f"activations_mean_eval/{layer}"] == pytest.approx(mean, rel=1e-9, abs=1e-12)
            assert found[number][f"activations_var_eval/{layer}"] == pytest.approx(variance, rel=1e-9)
            if f"num_dead_nrns_eval/{layer}" in found[number]:
                units = torch.cat(kept).abs().amax(0)
                assert found[number][f"num_dead_nrns_eval/{layer}"] == int((units == 0).sum())
        outputs = observe(stack).eval.outputs[number]
        norms = [
            [float(outputs[place, end - (LENGTH - READ) + k].norm()) for k in range(len(answer))]
            for place, (end, answer) in enumerate(zip(ends, answers, strict=True))
        ]
        mean = math.fsum(math.fsum(one) / len(one) for one in norms) / len(norms)
        assert found[number]["logit_scale_eval"] == pytest.approx(mean, rel=1e-9)


@EVERY
def test_classes_collapse_where_the_first_token_is_read(model: str) -> None:
    stack = trained(*spellers(model, metrics=METRICS, train=training(steps=30)))
    found = measure(stack, observe(stack))
    for number in range(2):
        _, answers, ends = points(stack, number, "test")
        for layer, values in layers(stack, "eval", number).items():
            rows = [one[end] for one, end in zip(values, ends, strict=True)]
            centre = torch.stack(rows).mean(0)
            means = {
                answer: torch.stack([row for row, own in zip(rows, answers, strict=True) if own == answer]).mean(0)
                for answer in set(answers)
            }
            within = sum(float((row - means[own]).square().sum()) for row, own in zip(rows, answers, strict=True))
            between = sum(float((means[own] - centre).square().sum()) for own in answers)
            assert found[number][f"NC1_eval/{layer}"] == pytest.approx(within / between, rel=1e-6)


@EVERY
def test_every_metric_and_the_information_are_the_same_in_parts_and_alone(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    every: dict[str, Metric] = METRICS | SEQUENCE_METRICS | {"spectrum": Spectrum()}
    members = spellers(model, metrics=every, mi=EXACT, train=training(steps=10))

    def look(stack: Stack) -> list[dict[str, Any]]:
        found = measure(stack, observe(stack))
        assert all(one.pop("arrays")["spectrum"] for one in found)
        both = [one | of for one, of in zip(found, looked_at(stack), strict=True)]
        # The gradient of the keys' bias is 0 but for round-off, as softmax does not change with it.
        dropped = {name for one in both for name in one if re.fullmatch("grad_cos_bias/layer . key", name)}
        return [{name: value for name, value in one.items() if name not in dropped} for one in both]

    whole = look(trained(*members))
    for one, solo in zip(whole, (look(trained(one))[0] for one in members), strict=True):
        assert one == pytest.approx(solo, rel=1e-6, abs=1e-9, nan_ok=True)
    stack = trained(*members)
    monkeypatch.setattr(looks, "WHOLE_BYTES", 0)
    monkeypatch.setattr(subset, "PART_BYTES", 5 * stack.point.both)
    for one, other in zip(look(stack), whole, strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12, nan_ok=True)
