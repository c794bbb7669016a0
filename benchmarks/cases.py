"""What is timed: three networks, each as grokplane members, as a bare hand-written loop and by its count of FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokplane.answers import Labels
from grokplane.data import Examples, Modular, RandomSplit, Table, Task
from grokplane.losses import MSE, CrossEntropy
from grokplane.models import LSTM, MLP, ModelChoice, Transformer
from grokplane.optim import AdamW, Constant
from grokplane.train import LogOptions, Member, TrainOptions

NEVER = 10**9
PAUSE = 100  # the loop's own
LR, WEIGHT_DECAY = 1e-3, 1e-2
IMAGES = "MNIST-sized"


@dataclass(frozen=True)
class RandomImages:
    """Points of an MNIST-sized task, normal noise with random labels; half of them train."""

    points: int = 2_000
    features: int = 784
    classes: int = 10

    def table(self, seed: int) -> Table:  # noqa: ARG002 (all members learn from one table)
        """Features [N, 784] and labels [N]."""
        random = torch.Generator().manual_seed(0)
        features = torch.randn(self.points, self.features, generator=random)
        return Table(
            features, torch.randint(self.classes, (self.points,), generator=random), None, Labels(self.classes)
        )

    def examples(self, seed: int) -> Examples:
        """The first half of the points trains."""
        table, rows = self.table(seed), torch.arange(self.points)
        train, test = rows.chunk(2)
        return Examples(table, train, test, table.targets[train])

    def ask(self, operands: Sequence[str]) -> Tensor:
        """One point [784] from its features."""
        return torch.tensor([float(feature) for feature in operands])


class SummedMLP(nn.Module):
    """Two tokens [B, 2] of one embedding, summed, then an MLP: as one would write it by hand."""

    def __init__(self, vocabulary: int, width: int, hidden: list[int]) -> None:
        super().__init__()
        self.embedding, self.body = nn.Embedding(vocabulary, width), perceptron([width, *hidden, vocabulary])

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, C]."""
        return self.body(self.embedding(tokens).sum(1))


class ConcatenatedMLP(SummedMLP):
    """Four tokens [B, 4] of one embedding side by side, then an MLP."""

    def __init__(self, vocabulary: int, width: int, hidden: list[int]) -> None:
        super().__init__(vocabulary, width, hidden)
        self.body = perceptron([4 * width, *hidden, vocabulary])

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, C]."""
        return self.body(self.embedding(tokens).flatten(1))


class Decoder(nn.Module):
    """Two causal pre-norm blocks of torch.nn over four tokens [B, 4], read at the last one."""

    def __init__(self, vocabulary: int, width: int, heads: int, mlp_width: int, layers: int) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(4, width)
        block = nn.TransformerEncoderLayer(width, heads, mlp_width, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.unembedding = nn.Linear(width, vocabulary)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(4))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, C]."""
        x = self.embedding(tokens) + self.positions.weight
        return self.unembedding(self.blocks(x, mask=self.mask, is_causal=True)[:, -1])


class Recurrent(nn.Module):
    """torch.nn.LSTM over embedded tokens [B, 4], read at the last one."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(vocabulary, width), nn.LSTM(width, width, batch_first=True)
        self.read_out = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, C]."""
        return self.read_out(self.lstm(self.embedding(tokens))[0][:, -1])


def perceptron(widths: list[int]) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@dataclass(frozen=True)
class Case:
    """One network and its task.

    Attributes:
        name: in the table.
        member: seed 0 of it, as grokplane trains it.
        bare: the same network as a plain torch.nn module.
        naive_flops: multiply-adds times two of one update, as the bare network is written.
        executed_flops: the same for the form that grokplane executes.
        promises: least ratios of member-steps per second (fast, slow, ratio); those of stacks hold on two threads.
        pause: steps between two pauses of the loop, the least that can be timed.
    """

    name: str
    member: Member
    bare: Callable[[], nn.Module]
    naive_flops: int
    executed_flops: int
    promises: Sequence[tuple[str, str, float]]
    pause: int = PAUSE

    @property
    def device(self) -> str:
        """Where it trains."""
        return self.member.train.device

    def members(self, count: int, grid: bool) -> list[Member]:
        """Members with seeds 0, 1, ...; in a grid each has a learning rate and a weight decay of its own too."""
        seeds = [replace(self.member, seed=seed) for seed in range(count)]
        if not grid:
            return seeds
        return [
            replace(one, optimizer=AdamW(lr=LR * (1 + one.seed / count), weight_decay=WEIGHT_DECAY * (1 + one.seed)))
            for one in seeds
        ]

    def batches(self, members: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches without end from tensors in memory: the whole set, or slices of a permutation an epoch.

        Args:
            members: give each of so many models a batch of its own [E, B, ...]; None: one batch [B, ...].
        """
        examples, device = self.member.data.examples(0), self.device
        inputs, targets = examples.table.inputs[examples.train].to(device), examples.train_targets.to(device)
        size = self.member.train.batch_size
        while isinstance(size, str):
            yield inputs, targets
        while True:
            orders = [torch.randperm(len(targets), device=device) for _ in range(members or 1)]
            order = orders[0] if members is None else torch.stack(orders)
            for start in range(0, len(targets) - size + 1, size):
                rows = order[..., start : start + size]
                yield inputs[rows], targets[rows]

    def bare_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss by torch's own function, in the member's loss dtype."""
        outputs = outputs.double() if getattr(self.member.loss, "dtype") == "float64" else outputs  # noqa: B009
        if isinstance(self.member.loss, MSE):
            return F.mse_loss(outputs, F.one_hot(targets, outputs.shape[-1]).to(outputs.dtype))
        return F.cross_entropy(outputs, targets)


def products(*shapes: tuple[int, int, int, int]) -> int:
    """FLOPs of matrix products (rows, inner, columns, how many of them an update does)."""
    return sum(2 * rows * inner * columns * times for rows, inner, columns, times in shapes)


def cases(threads: int, device: str = "cpu") -> list[Case]:
    """What is timed, with members that use this number of threads or this device.

    A linear layer costs three products an update (output, gradient of weight, gradient of input), the first layer on
    data two. The embedded forms do the first layer on the vocabulary (at an equation's fixed positions on one token),
    three products; the sum over a question's rows is a product with a constant matrix, two, or a gather, none.
    """
    pause = 10 if device == "cpu" else PAUSE
    full = _train("full", threads, device)
    summed = _modular(Modular(RandomSplit(), train_fraction=0.3), MLP(), CrossEntropy(), full)
    equation = Modular(RandomSplit(), p=97, layout="equation", train_fraction=0.8)
    wide = MLP([128], embedding="concat", embedding_dim=128, init="kaiming")
    concatenated = _modular(equation, wide, CrossEntropy(dtype="float64"), _train(512, threads, device))
    images = _modular(RandomImages(), MLP([200, 200], embedding="none"), MSE(), _train(200, threads, device))
    slow = _train(512, threads, device, pause)
    decoder = _modular(equation, Transformer(), CrossEntropy(), slow)
    recurrent = _modular(equation, LSTM(), CrossEntropy(), slow)
    pixels = products((200, 784, 200, 2), (200, 200, 200, 3), (200, 200, 10, 3))

    def concat() -> nn.Module:
        return ConcatenatedMLP(99, 128, [128])

    return [
        Case("peluche", summed, lambda: SummedMLP(53, 200, [32, 32]), *PELUCHE_FLOPS, _stacks(2.0)),
        Case("enerrio", concatenated, concat, *ENERRIO_FLOPS, _stacks(1.5)),
        Case("enerrio, float32 loss", replace(concatenated, loss=CrossEntropy()), concat, *ENERRIO_FLOPS, _stacks(1.5)),
        Case(IMAGES, images, lambda: perceptron([784, 200, 200, 10]), pixels, pixels, [*_stacks(1.3), *RIVALS]),
        Case("transformer", decoder, lambda: Decoder(99, 128, 4, 512, 2), *DECODER_FLOPS, SEQUENCES, pause),
        Case("LSTM", recurrent, lambda: Recurrent(99, 128), *LSTM_FLOPS, SEQUENCES, pause),
    ]


def _stacks(least: float) -> list[tuple[str, str, float]]:
    return [("solo", "bare", 1 / 1.15), ("16 seeds", "bare", least), ("16 grid", "bare", least)]


RIVALS = [("16 grid", "modelbatch", 1.5), ("16 grid", "modelbatch, shared", 0.0), ("16 grid", "modelbatch, fused", 0.0)]
SEQUENCES = [("solo", "bare", 1 / 1.2), ("16 seeds", "solo", 1.0), ("16 grid", "solo", 1.0)]

# As written and as executed.
_REST = ((842, 32, 32, 3), (842, 32, 53, 3))
PELUCHE_FLOPS = (
    products((842, 200, 32, 3), *_REST),
    products((53, 200, 32, 3), (842, 53, 32, 2), *_REST),
)
_HEAD = (512, 128, 99, 3)
ENERRIO_FLOPS = products((512, 512, 128, 3), _HEAD), products((2 * 99 + 2, 128, 128, 3), _HEAD)
# 2,048 tokens; the last block works on the last one of each question, the first one's projections on the vocabulary.
_MLP = 2 * 3
DECODER_FLOPS = (
    products((2048, 128, 128, 2 * 4 * 3), (2048, 128, 512, 2 * _MLP), _HEAD),
    products((396, 128, 128, 9), (2048, 128, 128, 3), (2048, 128, 512, _MLP))
    + products((2048, 128, 128, 6), (512, 128, 128, 6), (512, 128, 512, _MLP), _HEAD),
)
LSTM_FLOPS = (
    products((2048, 128, 512, 2 * 3), _HEAD),
    products((99, 128, 512, 3), (3 * 512, 128, 512, 3), _HEAD),
)


def _train(batch_size: int | str, threads: int, device: str, pause: int = NEVER) -> TrainOptions:
    return TrainOptions(NEVER, batch_size, device=device, threads=threads, checkpoint_every=pause)


def _modular(data: Task, model: ModelChoice, loss: CrossEntropy | MSE, train: TrainOptions) -> Member:
    optimizer = AdamW(lr=LR, weight_decay=WEIGHT_DECAY)
    return Member(data, model, optimizer, Constant(), loss, log=LogOptions(dense_steps=0, every=NEVER), train=train)
