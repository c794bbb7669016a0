"""The decoder Transformer, stacked over members."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from grokplane.models.attention import ATTENTION, Attention, tokens
from grokplane.models.base import InnerTap, Signature, StackedModel, Tap
from grokplane.models.dropout import Dropout
from grokplane.models.init import INITIALISATIONS
from grokplane.models.layers import ACTIVATIONS, Embedding, LayerNorm, Linear
from grokplane.models.positions import POSITIONS
from grokplane.options import ConfigError, checked, option
from grokplane.unread import Surroundings

NORMS = ("pre", "post", "none")
READS = ("last", "mean")


@dataclass(frozen=True)
@checked
class Transformer:
    """Embedding, blocks of attention and MLP, a linear read-out (Vaswani et al. 2017; pre-norm: Xiong et al. 2020)."""

    layers: int = option(2, "number of blocks", at_least=1, at_most=1_000)
    heads: int = option(4, "attention heads", at_least=1)
    width: int = option(128, "width of the residual stream; heads must divide it", at_least=1)
    mlp_width: int = option(512, "neurons of a block's MLP", at_least=1)
    activation: str = option("ReLU", "activation function of the MLPs", choices=ACTIVATIONS)
    norm: str = option("pre", "layer norm: before each branch, after it, or none", choices=NORMS)
    positions: str = option("learned", "position encoding that is added to the embeddings", choices=POSITIONS)
    causal: bool = option(True, "tokens do not see later tokens; has no effect if only the last one is computed")
    reads: str = option(
        "last", "input of the read-out: the last token (each token of an answer), or the mean", choices=READS
    )
    bias: bool = option(True, "biases of attention and read-out (the MLP always has its own)")
    dropout: float = option(
        0.0, "dropout of embeddings, attention's and MLP's outputs, in training", at_least=0, below=1, stackable=True
    )
    init: str = option("torch", "initialisation of weights", choices=INITIALISATIONS)
    init_scale: float = option(1.0, "factor on every initial parameter", above=0, stackable=True)

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError("model.heads", self.heads, f"must divide model.width, which is {self.width}")

    def unread(self, around: Surroundings) -> dict[str, str]:
        """See `grokplane.unread`."""
        one = self.layers == 1 and self.reads == "last" and not around.sequences
        return {"causal": "only the last token is computed, and it sees all others"} if one else {}

    def network(self, members: int, signature: Signature) -> StackedTransformer:
        """Build the stack; its parameters are not drawn yet.

        Raises:
            ConfigError: a task whose input is not tokens; for answers that are sequences, see `_check_positions`.
        """
        if signature.vocabulary is None:
            raise ConfigError("model", "transformer", "this task's input is not tokens; use mlp with embedding=none")
        self._check_positions(signature)
        return StackedTransformer(members, signature, self)

    def _check_positions(self, signature: Signature) -> None:
        """Refuse the mean of all tokens, tokens that see the answer, and more answers than tokens."""
        positions = signature.positions
        if positions is None:
            return
        if self.reads == "mean":
            allowed = f"this task's answers are sequences, read from each of the last {positions} tokens; use last"
            raise ConfigError("model.reads", self.reads, allowed)
        if signature.causal and not self.causal:
            allowed = "must be true: the inputs contain the answer, which earlier tokens may not see (teacher forcing)"
            raise ConfigError("model.causal", self.causal, allowed)
        signature.check_read_out("transformer")


class StackedTransformer(StackedModel):
    """E Transformers.

    The measured layers of block k are "layer k attention" (the output of attention), "layer k mlp" (the neurons) and
    "layer k" (the residual stream after the block). After n blocks the outputs are "layer n+1".

    Weights also belong to "embedding", "positions", "norm", "layer k query", "layer k key", "layer k value",
    "layer k norm 1" and "layer k norm 2". If only the last token is read, the last block computes only that token.
    For answers that are sequences of T tokens the last T tokens are read and measured.
    """

    capturable = True

    def __init__(self, members: int, signature: Signature, config: Transformer) -> None:
        super().__init__()
        width = config.width
        assert signature.vocabulary is not None
        self.embedding = Embedding(members, signature.vocabulary, width)
        self.positions: nn.Module = POSITIONS[config.positions](members, signature.length, width)
        self.dropout = Dropout()
        self.blocks = nn.ModuleList(_Block(members, config, signature.positions) for _ in range(config.layers))
        self.norm = LayerNorm(members, width) if config.norm == "pre" else None
        self.unembedding = Linear(members, width, signature.outputs, bias=config.bias)
        self.answers = signature.positions
        self.last = (self.answers or 1) if config.reads == "last" else None

    def forward(self, encoded: Tensor, tap: Tap | None = None) -> Tensor:
        """Outputs [E, B, C] of tokens [E, B, L]; of the last T tokens [E, B, T, C] if answers are sequences."""
        x, rows = self._embedded(encoded)
        for number, block in enumerate(self.blocks, start=1):
            last = self.last if number == len(self.blocks) else None
            x, rows = block(x, rows, last, f"layer {number}", tap), None
        x = x if self.norm is None else self.norm(x)
        # x has one token if only the last one is read.
        logits = self.unembedding(x.mean(2) if self.answers is None else x)
        if tap is not None:
            tap(f"layer {len(self.blocks) + 1}", logits, logits, False)
        return logits

    def _embedded(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """The embedded tokens [E, B, T, D] and None; or a table of all tokens at all positions, and the tokens' rows.

        Before the first attention a token's vector depends only on token and position. If there are fewer such pairs
        than tokens in the batch, the first block's projections are computed once per pair.
        """
        _, batch, length = tokens.shape
        vocabulary = self.embedding.weight.shape[1]
        dropping = self.training and any(self.dropout.strengths)
        if dropping or batch < vocabulary:
            return self.dropout(self.positions(self.embedding(tokens))), None
        table = self.embedding.weight[:, :, None].expand(-1, -1, length, -1)
        return self.positions(table).flatten(1, 2), tokens * length + torch.arange(length, device=tokens.device)

    def layers(self) -> dict[str, dict[str, nn.Parameter]]:
        """The parameters of each layer."""
        named: dict[str, nn.Module | None] = {"embedding": self.embedding, "positions": self.positions}
        for number, block in enumerate(self.blocks, start=1):
            assert isinstance(block, _Block)
            named |= {f"layer {number}{suffix}": module for suffix, module in block.parts().items()}
        named |= {"norm": self.norm, f"layer {len(self.blocks) + 1}": self.unembedding}
        parameters = {name: dict(part.named_parameters()) for name, part in named.items() if part is not None}
        return {name: roles for name, roles in parameters.items() if roles}

    def hidden(self) -> list[str]:
        """All matrices of the blocks."""
        return [name for name, value in self.named_parameters() if name.startswith("blocks.") and value.dim() == 3]

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw the embedding and positions, then each block, then the read-out."""
        for part in self.modules():
            if isinstance(part, Linear | Embedding | LayerNorm):
                part.reset(member, init, generator)


class _Block(nn.Module):
    """Attention and MLP, each added to the residual stream; a tap is shown the `shown` last tokens, or all."""

    def __init__(self, members: int, config: Transformer, shown: int | None) -> None:
        super().__init__()
        width, self.shown = config.width, shown
        self.norm = config.norm
        norms = config.norm != "none"
        self.norm_1 = LayerNorm(members, width) if norms else None
        self.attention = Attention(members, width, config.heads, config.causal, config.bias)
        self.norm_2 = LayerNorm(members, width) if norms else None
        self.mlp = Linear(members, width, config.mlp_width)
        self.out = Linear(members, config.mlp_width, width)
        activation = ACTIVATIONS[config.activation]
        self.activation, self.exact_zeros = activation.function, activation.exact_zeros
        self.dropout_1, self.dropout_2 = Dropout(), Dropout()

    def forward(self, x: Tensor, rows: Tensor | None, last: int | None, name: str, tap: Tap | None) -> Tensor:
        """Residual stream [E, B, T, D], or of the last tokens [E, B, last, D]; x and rows as in `Attention`."""
        keep = partial(tap.found.__setitem__, f"{name} attention pattern") if isinstance(tap, InnerTap) else None
        attended = self.attention(self._before(self.norm_1, x), rows, last, keep)
        if tap is not None:
            seen = tokens(attended, None, self.shown)
            tap(f"{name} attention", seen, seen, False)
        x = tokens(x, rows, last)
        x = self._after(self.norm_1, x + self.dropout_1(attended))
        preactivations = self.mlp(self._before(self.norm_2, x))
        neurons = self.activation(preactivations)
        x = self._after(self.norm_2, x + self.dropout_2(self.out(neurons)))
        if tap is not None:
            before, after, seen = (tokens(values, None, self.shown) for values in (preactivations, neurons, x))
            tap(f"{name} mlp", before, after, self.exact_zeros)
            tap(name, seen, seen, False)
        return x

    def _before(self, norm: nn.Module | None, x: Tensor) -> Tensor:
        return norm(x) if norm is not None and self.norm == "pre" else x

    def _after(self, norm: nn.Module | None, x: Tensor) -> Tensor:
        return norm(x) if norm is not None and self.norm == "post" else x

    def parts(self) -> dict[str, nn.Module | None]:
        """The block's layers by the suffix of their names."""
        attention = {f" {name}": getattr(self.attention, name) for name in ATTENTION}
        return {" norm 1": self.norm_1, **attention, " norm 2": self.norm_2, " mlp": self.mlp, "": self.out}


GROUP = "model"
CHOICES: dict[str, Any] = {"transformer": Transformer}
