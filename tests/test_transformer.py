"""The stacked Transformer compared with one written with torch.nn, and dropout with its definition."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from builders import member, task, trained, training, weights
from torch import Tensor, nn

from grokplane.models import Signature, StackedModel, Transformer, attention, build
from grokplane.models.dropout import Dropout
from grokplane.optim import AdamW
from grokplane.options import ConfigError
from grokplane.train import Stack

MEMBERS, LENGTH, VOCABULARY, WIDTH, HEADS = 3, 4, 9, 8, 2
ACTIVATIONS = {"ReLU": nn.ReLU(), "GELU": nn.GELU()}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"norm": "post", "positions": "sinusoidal", "reads": "mean"},
    {"norm": "none", "layers": 1, "bias": False},
    {"causal": False, "positions": "none", "reads": "mean", "activation": "GELU"},
    {"causal": False},
    {"norm": "none", "reads": "mean"},
]
EVERY = pytest.mark.parametrize("keys", SETTINGS, ids=str)
# Of answers that are sequences, the last tokens are read: one, some, all of them.
SEQUENCES = [(keys, read) for keys in SETTINGS if "reads" not in keys for read in (1, 3, LENGTH)]
READ: list[tuple[dict[str, Any], int | None]] = [*((keys, None) for keys in SETTINGS), *SEQUENCES]


def choice(**keys: Any) -> Transformer:
    return Transformer(**({"layers": 2, "heads": HEADS, "width": WIDTH, "mlp_width": 12, "dropout": 0.0} | keys))


class Twin(nn.Module):
    """A Transformer as one would write it with torch.nn: every block computes every token."""

    def __init__(self, config: Transformer, length: int = LENGTH, read: int | None = None) -> None:
        super().__init__()
        self.config, self.read = config, read
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(length, WIDTH)
        self.blocks = nn.ModuleList(TwinBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(WIDTH) if config.norm == "pre" else nn.Identity()
        self.unembedding = nn.Linear(WIDTH, VOCABULARY, bias=config.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        if self.config.positions == "learned":
            x = x + self.positions.weight
        if self.config.positions == "sinusoidal":
            x = x + sinusoids()
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        if self.read is not None:
            return self.unembedding(x)[:, -self.read :]
        return self.unembedding(x[:, -1] if self.config.reads == "last" else x.mean(1))


class TwinBlock(nn.Module):
    def __init__(self, config: Transformer) -> None:
        super().__init__()
        self.config = config
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, bias=config.bias, batch_first=True)
        self.mlp, self.out = nn.Linear(WIDTH, config.mlp_width), nn.Linear(config.mlp_width, WIDTH)
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        norm, activation = self.config.norm, ACTIVATIONS[self.config.activation]
        mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool() if self.config.causal else None
        y = self.norm_1(x) if norm == "pre" else x
        x = x + self.attention(y, y, y, attn_mask=mask, need_weights=False)[0]
        x = self.norm_1(x) if norm == "post" else x
        y = self.norm_2(x) if norm == "pre" else x
        x = x + self.out(activation(self.mlp(y)))
        return self.norm_2(x) if norm == "post" else x


def sinusoids() -> Tensor:
    """PE(t, 2i) = sin(t / 10000^(2i/D)), PE(t, 2i+1) = cos of the same, entry by entry."""
    rows = []
    for t in range(LENGTH):
        angles = [t / 10_000 ** (2 * (i // 2) / WIDTH) for i in range(WIDTH)]
        rows.append([math.cos(angle) if i % 2 else math.sin(angle) for i, angle in enumerate(angles)])
    return torch.tensor(rows, dtype=torch.float64)


def names(config: Transformer) -> dict[str, str]:
    """The stacked parameter's name for each parameter of the twin, without those of attention."""
    twin = dict(Twin(config).named_parameters())
    used = {name: name for name in twin if "attention" not in name}
    if config.positions != "learned":
        used.pop("positions.weight")
    return {name: ours for name, ours in used.items() if config.norm != "none" or "norm" not in name}


def as_twin(values: Mapping[str, Tensor], config: Transformer, number: int) -> dict[str, Tensor]:
    """One member's parameters (or gradients) under the twin's names."""
    found = {name: values[ours][number] for name, ours in names(config).items()}
    for block in range(config.layers):
        ours, theirs = f"blocks.{block}.attention.", f"blocks.{block}.attention."
        for role in ["weight", "bias"] if config.bias else ["weight"]:
            three = [values[f"{ours}{part}.{role}"][number] for part in ("query", "key", "value")]
            found[f"{theirs}in_proj_{role}"] = torch.cat(three)
            found[f"{theirs}out_proj.{role}"] = values[f"{ours}attention.{role}"][number]
    return found


def stacked(config: Transformer, read: int | None = None) -> StackedModel:
    signature = Signature(LENGTH, VOCABULARY, VOCABULARY, positions=read)
    return build([config] * MEMBERS, signature, range(MEMBERS), torch.float64)


def twin_of(network: StackedModel, config: Transformer, number: int, read: int | None = None) -> Twin:
    twin = Twin(config, read=read).double()
    twin.load_state_dict(as_twin(dict(network.named_parameters()), config, number), strict=False)
    return twin


def questions(count: int) -> Tensor:
    return torch.randint(VOCABULARY, (MEMBERS, count, LENGTH), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("count", [5, 30], ids=["tokens", "table"])
@pytest.mark.parametrize("short", [0, 8], ids=["fused", "elementwise"])
@pytest.mark.parametrize(("keys", "read"), READ, ids=str)
def test_outputs_and_gradients_are_those_of_torch_nn(
    keys: dict[str, Any], read: int | None, short: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer questions than token kinds the first block computes the tokens, else a table of them."""
    monkeypatch.setattr(attention, "SHORT", short)
    config = choice(**keys)
    network, tokens = stacked(config, read), questions(count)
    outputs = network(network.encode(tokens))
    factor = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (outputs * factor).sum().backward()
    slopes = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    assert slopes.keys() == dict(network.named_parameters()).keys()
    for number in range(MEMBERS):
        twin = twin_of(network, config, number, read)
        expected = twin(tokens[number])
        torch.testing.assert_close(outputs[number], expected, rtol=1e-10, atol=1e-12)
        (expected * factor[number]).sum().backward()
        theirs = dict(twin.named_parameters())
        for name, gradient in as_twin(slopes, config, number).items():
            torch.testing.assert_close(gradient, theirs[name].grad, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("keys", SETTINGS[:3], ids=str)
def test_100_steps_of_training_end_where_torch_nn_ends(keys: dict[str, Any]) -> None:
    config = choice(**keys)
    rates = [1e-3, 3e-3]
    pair = [
        member(seed=seed, data=task(layout="equation"), model=config, optimizer=AdamW(lr=lr), train=training(steps=100))
        for seed, lr in enumerate(rates)
    ]
    start, end = Stack(pair), trained(*pair)
    for number, lr in enumerate(rates):
        subset = start.examples.train
        tokens, labels = subset.inputs()[number], subset.targets[number]
        twin = twin_of(start.network, config, number)
        optimizer = torch.optim.AdamW(twin.parameters(), lr=lr, weight_decay=1.0)
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(twin(tokens), labels).backward()
            optimizer.step()
        theirs = dict(twin.named_parameters())
        for name, value in as_twin(end.parameters, config, number).items():
            torch.testing.assert_close(value, theirs[name], rtol=0, atol=1e-7)


def differing(**train: Any) -> list[Any]:
    """Members that share no value of a stackable key."""
    keys = [(3, 1.0, 0.0, 1e-3, 0.3), (0, 1.5, 0.2, 2e-3, 0.6), (11, 0.5, 0.5, 1.5e-3, 0.5)]
    return [
        member(
            seed=seed,
            data=task(layout="equation", train_fraction=fraction),
            model=choice(init_scale=scale, dropout=dropout),
            optimizer=AdamW(lr=lr, weight_decay=scale),
            train=training(**train),
        )
        for seed, scale, dropout, lr, fraction in keys
    ]


@pytest.mark.parametrize("batch_size", ["full", 7])
def test_a_stacked_member_equals_its_solo_run_with_dropout(batch_size: int | str) -> None:
    members = differing(steps=50, batch_size=batch_size)
    together = trained(*members)
    for number, one in enumerate(members):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-8)


def test_a_diverging_member_changes_no_bit_of_the_others() -> None:
    well = [replace(one, model=replace(one.model, positions="sinusoidal")) for one in differing(steps=10)]
    ill = trained(well[0], replace(well[1], optimizer=AdamW(lr=1e200)), well[2])
    assert ill.rows == [0, 2]  # it was removed
    for number in (0, 2):
        assert torch.equal(weights(ill, number), weights(trained(*well), number))


def test_dropout_changes_the_training_and_the_seed_the_dropout() -> None:
    one = differing(steps=5)[1]
    without = replace(one, model=replace(one.model, dropout=0.0))
    assert (weights(trained(one)) - weights(trained(without))).abs().max() > 1e-4


def dropped(seeds: list[int], rates: list[float], step: int, name: str = "here") -> Tensor:
    layer = Dropout()
    layer.attach(name, seeds, rates)
    layer.step = step
    return layer(torch.ones(len(seeds), 400, 50))


def test_dropout_zeroes_its_share_and_keeps_the_mean() -> None:
    values = dropped([0, 1, 2], [0.0, 0.2, 0.7], step=3)
    assert torch.equal(values[0], torch.ones(400, 50))
    for number, rate in ((1, 0.2), (2, 0.7)):
        kept = values[number][values[number] != 0]
        assert kept.unique().tolist() == pytest.approx([1 / (1 - rate)])
        error = math.sqrt(rate * (1 - rate) / values[number].numel())
        assert 1 - kept.numel() / values[number].numel() == pytest.approx(rate, abs=4 * error)


def test_dropout_differs_by_seed_step_and_layer_and_is_a_function_of_them() -> None:
    one = dropped([0], [0.5], step=3)
    assert torch.equal(one, dropped([7, 0], [0.1, 0.5], step=3)[1:])
    for other in (dropped([1], [0.5], 3), dropped([0], [0.5], 4), dropped([0], [0.5], 3, "there")):
        share = float((one == other).float().mean())
        assert share == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(one.numel()))


def test_outside_of_training_nothing_is_dropped() -> None:
    layer = Dropout()
    layer.attach("here", [0], [0.5])
    layer.eval()
    assert torch.equal(layer(torch.ones(1, 5)), torch.ones(1, 5))


def test_scaled_normal_is_what_nanda_et_al_draw() -> None:
    config = choice(width=64, mlp_width=256, layers=1, init="scaled_normal", bias=False, norm="none")
    network = build([config], Signature(3, 57, 57), [0], torch.float64)
    for name, value in network.named_parameters():
        if value.dim() == 3:
            expected = 1 / math.sqrt(57 if name == "unembedding.weight" else 64)
            assert float(value.detach().std()) == pytest.approx(expected, rel=5 / math.sqrt(2 * value.numel())), name
        else:
            assert not value.any()


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match=r"model.heads=3: must divide model.width, which is 8"):
        choice(heads=3)


def test_features_are_refused() -> None:
    with pytest.raises(ConfigError, match="not tokens"):
        choice().network(1, Signature(4, None, 3))
