"""Models that read out every position of an answer that is fed back (teacher forcing)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from builders import assert_same_stacks, finish, trained, training, weights
from spelling import KINDS, LENGTH, MODELS, READ, Causal, Spelled, speller, spellers
from torch import Tensor, nn

from grokplane.answers import NOT_SCORED
from grokplane.models import LSTM, MLP, Module, Signature, Transformer
from grokplane.options import ConfigError
from grokplane.train import Stack, run
from grokplane.train.observe import observe
from grokplane.unread import Surroundings

EVERY = pytest.mark.parametrize("model", MODELS)
SEQUENCE = Signature(LENGTH, KINDS, KINDS, positions=READ, causal=True)


def test_the_task_feeds_its_answers_back() -> None:
    """The seam of every model and metric here: the input after the one that output t is read at is target t."""
    table = Spelled().table(0)
    for inputs, targets in zip(table.inputs.tolist(), table.targets.tolist(), strict=True):
        for t, target in enumerate(targets[:-1]):
            assert target in (NOT_SCORED, inputs[LENGTH - READ + t + 1])


@EVERY
def test_no_output_depends_on_a_later_input(model: str) -> None:
    network = Stack(spellers(model)).network.eval()
    tokens = torch.randint(KINDS, (2, 20, LENGTH), generator=torch.Generator().manual_seed(0))
    outputs = network(network.encode(tokens))
    assert outputs.shape == (2, 20, READ, KINDS)
    for place in range(LENGTH):
        changed = tokens.clone()
        changed[:, :, place] = (tokens[:, :, place] + 1) % KINDS
        moved = (network(network.encode(changed)) - outputs).abs().amax((0, 1, 3)) > 1e-9
        assert moved.tolist() == [LENGTH - READ + t >= place for t in range(READ)]


@EVERY
def test_layers_are_seen_at_the_positions_of_the_answer(model: str) -> None:
    """A module's own layers are seen as they are, here with all tokens."""
    seen = observe(Stack(spellers(model)))
    positions = LENGTH if model == "module" else READ
    assert all(layer.activations.shape[2:-1] == (positions,) for layer in seen.train.layers.values())
    *_, last = seen.train.layers.values()
    assert last.activations[:, :, -READ:].equal(seen.train.outputs)


@EVERY
def test_answers_are_learnt_by_heart_and_a_stack_equals_its_solo_runs(model: str) -> None:
    members = spellers(model)
    together = Stack(members)
    last = finish(together)[-1]
    for number, one in enumerate(members):
        assert last.records[number]["Acc/train"] == last.records[number]["Acc_token/train"] == 1.0
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-7)


@EVERY
def test_a_resumed_run_is_the_run_never_stopped(model: str) -> None:
    members = spellers(model, train=training(steps=12))
    whole, stopped, resumed = trained(*members), Stack(members), Stack(members)
    list(run(stopped, lambda: stopped.step == 5))
    resumed.load_states([stopped.state(number) for number in range(2)])
    finish(resumed)
    assert_same_stacks(whole, resumed)


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (Transformer(causal=False), {}, r"^model.causal=false: must be true: the inputs contain the answer"),
    (Transformer(reads="mean"), {}, r"^model.reads=mean: this task's answers are sequences, .* 4 tokens; use last$"),
    (Transformer(), {"length": 3}, "^model=transformer: reads one answer at each token, .* 4 answers for 3 tokens$"),
    (MODELS["module"], {"length": 3}, "^model=module: reads one answer at each token, .* 4 answers for 3 tokens$"),
    (LSTM(), {"length": 3}, "^model=lstm: reads one answer at each token, .* 4 answers for 3 tokens$"),
]


@pytest.mark.parametrize(("model", "keys", "line"), REFUSED)
def test_a_model_that_cannot_read_the_answers_is_refused(model: Any, keys: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        model.network(1, replace(SEQUENCE, **keys))


def test_a_bidirectional_transformer_reads_sequences_that_the_inputs_do_not_contain() -> None:
    network = Transformer(layers=1, heads=2, width=8, mlp_width=8, causal=False).network(
        1, replace(SEQUENCE, causal=False)
    )
    assert network(torch.zeros(1, 2, LENGTH, dtype=torch.long)).shape == (1, 2, READ, KINDS)


def test_a_model_with_one_output_a_point_is_refused_with_the_remedy() -> None:
    line = r"^model=mlp: .* need \[4, 9\]; use transformer, lstm, or a module of your own$"
    with pytest.raises(ConfigError, match=line):
        Stack([replace(speller(), model=MLP())])


def test_causal_is_read_where_answers_are_sequences() -> None:
    around = Surroundings(None, numbers=False, sequences=False, own_noise=False, noise_looked_at=False, on_cpu=True)
    assert "causal" in Transformer(layers=1).unread(around)
    assert "causal" not in Transformer(layers=1).unread(replace(around, sequences=True))
    assert "causal" not in Transformer(layers=2).unread(around)


class Ahead(Causal):
    """Sees the next input where it is read, as an off-by-one slice would."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(torch.cat([tokens[:, 1:], tokens[:, -1:]], 1))


class Hidden(Causal):
    """Its outputs start without a dependence on the mean of all tokens, which training brings in."""

    def __init__(self, vocabulary: int, length: int, outputs: int, positions: int) -> None:
        super().__init__(vocabulary, length, outputs, positions)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) + self.gain * self.embedding(tokens).mean((1, 2))[:, None, None]


class Normed(Causal):
    """Batch norm mixes the statistics of all tokens into each of them, in training alone."""

    def __init__(self, vocabulary: int, length: int, outputs: int, positions: int) -> None:
        super().__init__(vocabulary, length, outputs, positions)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(super().forward(tokens).mT).mT


class Dropped(Causal):
    """Random, but causal."""

    def forward(self, tokens: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(tokens), 0.5, self.training)


def module(kind: type[nn.Module]) -> Module:
    return Module({"_target_": f"{__name__}.{kind.__name__}"})


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (Ahead, "output 1 of 4 changes with the later input 3 of 5"),
        (Hidden, "output 1 of 4 changes with the later input 3 of 5"),
        (Normed, "output 1 of 4 changes with the later input 3 of 5 in training"),
    ],
)
def test_a_module_that_sees_the_answer_is_refused(kind: type[nn.Module], where: str) -> None:
    line = rf"^model.module._target_=.*{kind.__name__}: {where}, and the inputs contain the answer \(teacher forcing\)$"
    with pytest.raises(ConfigError, match=line):
        module(kind).network(2, SEQUENCE)
    module(kind).network(1, replace(SEQUENCE, causal=False))


def test_a_random_module_that_is_causal_is_trained_alone() -> None:
    module(Dropped).network(1, SEQUENCE)
