"""The stacked LSTM compared with torch.nn.LSTM, and a member of a stack with the same run alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from builders import METRICS, NEVER, finish, member, task, trained, training, weights
from torch import Tensor, nn

from grokplane.models import LSTM, Signature, StackedModel, build, lookup, recurrence
from grokplane.models.init import INITIALISATIONS
from grokplane.optim import AdamW, Muon
from grokplane.options import ConfigError
from grokplane.random import generator
from grokplane.train import LogOptions, Member, Stack

MEMBERS, POINTS, LENGTH, VOCABULARY, CLASSES, WIDTH, EMBEDDED = 3, 20, 4, 9, 7, 6, 5
SIGNATURE = Signature(LENGTH, VOCABULARY, CLASSES)
FORMS: dict[str, dict[str, Any]] = {
    "embedding": {"embedding_dim": EMBEDDED},
    "onehot": {"input": "onehot"},
    "two layers": {"embedding_dim": EMBEDDED, "layers": 2},
    "three layers, onehot": {"input": "onehot", "layers": 3},
}
form = pytest.mark.parametrize("form", FORMS)
# Member by member and all together; input products first by matrix product, then by gather.
chunks = pytest.mark.parametrize("chunk", [1, 10**9], ids=["one by one", "together"])
columns = pytest.mark.parametrize("columns", [0, 10**9], ids=["gather", "product"])


class Twin(nn.Module):
    """The same network from torch.nn, for one member."""

    def __init__(self, vocabulary: int, outputs: int, choice: LSTM, read: int | None = None) -> None:
        super().__init__()
        fan_in = choice.embedding_dim or choice.width
        self.vocabulary, self.embedding, self.read = vocabulary, None, read
        if choice.input == "embedding":
            self.embedding = nn.Embedding(vocabulary, fan_in)
        else:
            fan_in = vocabulary
        self.lstm = nn.LSTM(fan_in, choice.width, choice.layers, batch_first=True)
        self.read_out = nn.Linear(choice.width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        one_hot = F.one_hot(tokens, self.vocabulary).to(self.read_out.weight.dtype)
        states = self.lstm(one_hot if self.embedding is None else self.embedding(tokens))[0]
        return self.read_out(states[:, -1] if self.read is None else states[:, -self.read :])


def stacked(
    dtype: torch.dtype = torch.float64, signature: Signature = SIGNATURE, **keys: Any
) -> tuple[StackedModel, LSTM]:
    sized: dict[str, Any] = {"width": WIDTH} | keys
    choice = LSTM(**sized)
    return build([choice] * MEMBERS, signature, range(MEMBERS), dtype), choice


def twin_of(network: StackedModel, number: int, choice: LSTM, signature: Signature = SIGNATURE) -> Twin:
    """An ordinary network with one member's weights."""
    assert signature.vocabulary is not None
    ordinary = Twin(signature.vocabulary, signature.outputs, choice, signature.positions).double()
    with torch.no_grad():
        for ours, theirs in zip(network.parameters(), ordinary.parameters(), strict=True):
            theirs.copy_(ours[number])
    return ordinary


def tokens() -> Tensor:
    return torch.randint(VOCABULARY, (MEMBERS, POINTS, LENGTH), generator=torch.Generator().manual_seed(1))


@chunks
@columns
@form
@pytest.mark.parametrize("read", [None, 1, 3, LENGTH])
def test_outputs_and_gradients_are_torchs(
    read: int | None, form: str, columns: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "PRODUCT_COLUMNS_PER_TOKEN", columns)
    monkeypatch.setattr(recurrence, "CHUNK_ENTRIES", chunk)
    signature = replace(SIGNATURE, positions=read)
    network, choice = stacked(signature=signature, **FORMS[form])
    encoded = network.encode(tokens())
    assert encoded.is_floating_point() == (columns > 0)
    network(encoded).square().sum().backward()
    network.zero_grad()  # the next pass reuses the memory of the first pass
    outputs = network(encoded)
    factor = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (outputs * factor).sum().backward()
    for number in range(MEMBERS):
        ordinary = twin_of(network, number, choice, signature)
        expected = ordinary(tokens()[number])
        torch.testing.assert_close(outputs[number], expected, rtol=0, atol=1e-12)
        (expected * factor[number]).sum().backward()
        for ours, theirs in zip(network.parameters(), ordinary.parameters(), strict=True):
            assert ours.grad is not None
            torch.testing.assert_close(ours.grad[number], theirs.grad, rtol=0, atol=1e-11)


@pytest.mark.parametrize("keys", [{}, {"layers": 2}, {"input": "onehot"}], ids=str)
def test_100_steps_of_adamw_are_those_of_an_ordinary_loop(keys: dict[str, Any]) -> None:
    choice = LSTM(width=8, **keys)
    one = member(model=choice, data=task(layout="equation"), optimizer=AdamW(lr=0.01), train=training(steps=100))
    stack = Stack([one])
    ordinary = twin_of(stack.network, 0, choice, Signature(4, 9, 9))
    finish(stack)
    examples = one.data.examples(one.seed)
    optimizer = torch.optim.AdamW(ordinary.parameters(), lr=0.01, weight_decay=one.optimizer.options["weight_decay"])  # type: ignore[attr-defined]
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(ordinary(examples.table.inputs[examples.train]), examples.train_targets).backward()
        optimizer.step()
    expected = torch.cat([value.detach().flatten() for value in ordinary.parameters()])
    torch.testing.assert_close(weights(stack), expected, rtol=0, atol=1e-8)


# No two members share the value of any key.
def members(**train: Any) -> list[Member]:
    scales, rates, fractions, drops = [1.0, 2.0, 0.5], [0.003, 0.001, 0.01], [0.3, 0.6, 0.5], [0.1, 0.0, 0.5]
    return [
        member(
            seed=[3, 0, 11][e],
            data=task(p=7, layout="equation", train_fraction=fractions[e]),
            model=LSTM(layers=2, width=8, embedding_dim=6, dropout=drops[e], init_scale=scales[e]),
            optimizer=AdamW(lr=rates[e]),
            train=training(**train),
        )
        for e in range(3)
    ]


@chunks
@pytest.mark.parametrize("batch_size", ["full", 5])
def test_a_member_follows_its_solo_run(batch_size: int | str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "CHUNK_ENTRIES", chunk)
    together, start = trained(*members(steps=50, batch_size=batch_size)), Stack(members())
    for number, one in enumerate(members(steps=50, batch_size=batch_size)):
        ours = weights(together, number)
        torch.testing.assert_close(ours, weights(trained(one)), rtol=0, atol=1e-8)
        assert (ours - weights(start, number)).abs().max() > 1e-3


def test_dropout_is_between_layers_and_before_the_read_out_in_training_alone() -> None:
    stack = Stack([replace(members()[2], model=LSTM(layers=2, width=8, dropout=0.5))])
    network, one = stack.network, stack.examples.train.inputs()
    network.at(3)
    random = [generator_mask(stack, name, shape) for name, shape in [("dropouts.0", (4, 8)), ("dropouts.1", (8,))]]
    ordinary = twin_of(network, 0, LSTM(layers=2, width=8), Signature(4, 9, 9))
    lower, upper = nn.LSTM(8, 8, batch_first=True).double(), nn.LSTM(8, 8, batch_first=True).double()
    for layer, target in enumerate((lower, upper)):
        for role, value in target.named_parameters():
            value.data.copy_(ordinary.lstm.get_parameter(role.replace("_l0", f"_l{layer}")))
    assert ordinary.embedding is not None
    below = lower(ordinary.embedding(one[0]))[0] * random[0]
    expected = ordinary.read_out(upper(below)[0][:, -1] * random[1])
    torch.testing.assert_close(network(network.encode(one))[0], expected, rtol=0, atol=1e-12)
    network.eval()
    torch.testing.assert_close(network(network.encode(one))[0], ordinary(one[0]), rtol=0, atol=1e-12)


def generator_mask(stack: Stack, name: str, shape: tuple[int, ...]) -> Tensor:
    """The factors of one dropout in step 3, for all training points [n, *shape]."""
    layer = stack.network.get_submodule(name)
    return layer(torch.ones(1, int(stack.examples.train.count[0]), *shape, dtype=torch.float64))[0]


@pytest.mark.parametrize("keys", [{}, {"layers": 2, "embedding_dim": 5}, {"input": "onehot"}], ids=str)
def test_torch_initialisation_is_what_torch_itself_draws(keys: dict[str, Any]) -> None:
    network, choice = stacked(torch.float32, **keys)
    for number in range(MEMBERS):
        with torch.random.fork_rng():
            torch.set_rng_state(generator(number, "weights").get_state())
            drawn = list(Twin(VOCABULARY, CLASSES, choice).parameters())
        for ours, theirs in zip(network.parameters(), drawn, strict=True):
            torch.testing.assert_close(ours[number], theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("init", sorted(INITIALISATIONS.keys() - {"torch"}))
def test_other_initialisations_are_those_of_linear_layers(init: str) -> None:
    network, _ = stacked(init=init, layers=2)
    random, rule = generator(1, "weights"), INITIALISATIONS[init]
    for name, roles in network.layers().items():
        values = {role: torch.full_like(value[1], torch.nan) for role, value in roles.items()}
        if name == "embedding":
            rule.embedding(values["weight"], random)
        for suffix in ("", "_ih", "_hh"):
            if f"bias{suffix}" in values:
                rule.linear(values[f"weight{suffix}"], values[f"bias{suffix}"], random)
        assert all(torch.equal(value[1], values[role]) for role, value in roles.items())


@form
def test_layers_are_named_seen_and_cover_every_parameter_once(form: str) -> None:
    network, choice = stacked(**FORMS[form])
    first = ["embedding"] if choice.input == "embedding" else []
    numbered = [f"layer {number}" for number in range(1, choice.layers + 2)]
    assert list(network.layers()) == first + numbered
    assert list(network.layers()["layer 1"]) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    named = [id(value) for roles in network.layers().values() for value in roles.values()]
    assert sorted(named) == sorted(map(id, network.parameters()))
    seen: dict[str, tuple[Tensor, Tensor, bool]] = {}
    network.eval()
    outputs = network(network.encode(tokens()), lambda name, *values: seen.update({name: values}))
    assert list(seen) == numbered
    ordinary = twin_of(network, 1, choice)
    ordinary(tokens()[1])
    one_hot = F.one_hot(tokens()[1], VOCABULARY).double()
    last = ordinary.lstm(one_hot if ordinary.embedding is None else ordinary.embedding(tokens()[1]))[1][0]
    for number in range(choice.layers):
        logits, activations, zeros = seen[f"layer {number + 1}"]
        torch.testing.assert_close(logits[1], last[number], rtol=0, atol=1e-12)
        assert activations is logits
        assert not zeros
    assert torch.equal(seen[numbered[-1]][0], outputs)


def test_hidden_matrices_are_recurrent_weights_and_inputs_of_inner_layers() -> None:
    recurrent = ["recurrent.0.weight_hh", "recurrent.1.weight_hh"]
    assert stacked(layers=2)[0].hidden() == [*recurrent, "recurrent.0.weight_ih", "recurrent.1.weight_ih"]
    assert stacked(layers=2, input="onehot")[0].hidden() == [*recurrent, "recurrent.1.weight_ih"]


def test_the_embedding_is_as_wide_as_the_layers_unless_told() -> None:
    assert stacked()[0].layers()["embedding"]["weight"].shape == (MEMBERS, VOCABULARY, WIDTH)


@pytest.mark.parametrize("optimizer", [AdamW(), Muon()], ids=["adamw", "muon"])
def test_how_often_one_looks_changes_no_bit(optimizer: AdamW | Muon) -> None:
    both = [[replace(one, optimizer=optimizer, log=log, metrics=METRICS) for one in members(steps=12)] for log in LOGS]
    never, always = trained(*both[0]), trained(*both[1])
    for number in range(3):
        assert torch.equal(weights(never, number), weights(always, number))


LOGS = (NEVER, LogOptions(dense_steps=0, every=1))


def test_a_second_backward_pass_gives_the_same_though_the_first_gave_its_memory_back() -> None:
    network, _ = stacked()
    loss, parameters = network(network.encode(tokens())).sum(), list(network.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    network(network.encode(tokens())).square().sum().backward()  # writes to that memory
    torch.testing.assert_close(torch.autograd.grad(loss, parameters), first)


@pytest.mark.parametrize(
    ("keys", "vocabulary", "line"),
    [
        ({}, None, "model=lstm: reads tokens"),
        ({"input": "onehot", "embedding_dim": 5}, 9, "model.embedding_dim=5: model.input=onehot embeds nothing"),
    ],
)
def test_what_does_not_go_together_is_refused(keys: dict[str, Any], vocabulary: int | None, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        LSTM(**keys).network(1, Signature(LENGTH, vocabulary, CLASSES))


@form
def test_layers_of_sequences_are_the_states_after_each_of_the_last_tokens(form: str) -> None:
    """The state after a token is the last state of a shorter sequence."""
    read = 3
    (network, _), (plain, _) = (
        stacked(signature=replace(SIGNATURE, positions=of), **FORMS[form]) for of in (read, None)
    )
    seen: dict[str, Tensor] = {}
    network.eval()(network.encode(tokens()), lambda name, values, *_: seen.update({name: values}))
    for t in range(read):
        shorter: dict[str, Tensor] = {}
        questions = tokens()[:, :, : LENGTH - read + t + 1]
        plain.eval()(plain.encode(questions), lambda name, values, *_, of=shorter: of.update({name: values}))
        for name, values in shorter.items():
            torch.testing.assert_close(seen[name][:, :, t], values, rtol=0, atol=1e-12)
