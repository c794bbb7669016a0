"""Input layers of a network: each computes the first layer's affine output from the input and the first weight."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grokplane.models.base import Signature
from grokplane.models.layers import Embedding, Linear, affine
from grokplane.models.lookup import Lookup
from grokplane.options import ConfigError

DEFAULT_WIDTH = 200


class Features(nn.Module):
    """Continuous features: [E, B, ...] flattened to [E, B, length]."""

    def __init__(self, members: int, signature: Signature, width: int | None) -> None:  # noqa: ARG002 (one form for all)
        super().__init__()
        _refuse_width("none", width)
        if signature.given == "tokens":
            raise ConfigError(
                "model.embedding", "none", "this task's input is tokens; use sum, concat, onehot or onehot_sum"
            )
        self.width = signature.length
        self.embedding = None

    def encode(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """Flattened features [E, B, length]."""
        return inputs.flatten(2).to(dtype)

    def seen(self, inputs: Tensor) -> Tensor:
        """All features [B, ...]."""
        return inputs

    def first(self, encoded: Tensor, linear: Linear) -> Tensor:
        """The affine map of the features [E, B, H]."""
        return linear(encoded)


def _refuse_width(name: str, width: int | None) -> None:
    if width is not None:
        raise ConfigError("model.embedding_dim", width, f"model.embedding={name} embeds nothing; leave it null")


class _Tokens(nn.Module):
    """Tokens [E, B, L], looked up in a table to which the first layer has been applied."""

    def __init__(self, members: int, signature: Signature, width: int | None) -> None:
        super().__init__()
        if not self.embedded:
            _refuse_width(self.name, width)
        width = width or DEFAULT_WIDTH
        if signature.vocabulary is None:
            raise ConfigError("model.embedding", self.name, "this task's input is not tokens; use none")
        self.length, self.vocabulary = signature.length, signature.vocabulary
        self.lookup = Lookup(self.vocabulary, self.length, by_position=self.by_position)
        self.embedding = Embedding(members, self.vocabulary, width) if self.embedded else None
        self.width = self.fan_in(width)

    name: str
    by_position = True
    embedded = True

    def fan_in(self, width: int) -> int:
        """Number of inputs of the first linear layer, for embeddings of this width."""
        raise NotImplementedError(f"{type(self).__name__} has no width")

    def table(self, weight: Tensor) -> Tensor:
        """First weight [E, H, fan_in] applied to every token: [E, columns, H]."""
        raise NotImplementedError(f"{type(self).__name__} has no table")

    def encode(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """The rows of the table that each question sums."""
        return self.lookup.encode(inputs, dtype)

    def seen(self, inputs: Tensor) -> Tensor:
        """All tokens [B, L]; in ascending order if positions share their rows."""
        return inputs if self.by_position else inputs.sort(-1).values

    def first(self, encoded: Tensor, linear: Linear) -> Tensor:
        """The first layer's output for the embedded tokens [E, B, H]."""
        return self.lookup.sum(encoded, self.table(linear.weight), linear.bias)


class SummedEmbedding(_Tokens):
    """One shared embedding; the tokens' vectors are summed."""

    name, by_position = "sum", False

    def fan_in(self, width: int) -> int:
        """The embedding's width."""
        return width

    def table(self, weight: Tensor) -> Tensor:
        """[E, V, H]."""
        assert self.embedding is not None
        return affine(self.embedding.weight, weight)


class ConcatenatedEmbedding(_Tokens):
    """One shared embedding; the tokens' vectors are concatenated."""

    name = "concat"

    def __init__(self, members: int, signature: Signature, width: int | None) -> None:
        super().__init__(members, signature, width)
        self.fixed = signature.fixed
        self.varying = [position for position in range(self.length) if position not in self.fixed]
        self.lookup = Lookup(self.vocabulary, len(self.varying), by_position=True)

    def fan_in(self, width: int) -> int:
        """Width of one embedding per token."""
        return width * self.length

    def encode(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """The tokens that are not the same in every question."""
        varying = torch.stack([inputs[..., position] for position in self.varying], -1)
        return self.lookup.encode(varying, dtype)

    def first(self, encoded: Tensor, linear: Linear) -> Tensor:
        """Each position has its own slice of the weight; the slice of a fixed token gives a constant."""
        assert self.embedding is not None
        tokens, slices, bias = self.embedding.weight, linear.weight.chunk(self.length, 2), linear.bias
        for position, token in self.fixed.items():
            constant = affine(tokens[:, token, None], slices[position])[:, 0]
            bias = constant if bias is None else bias + constant
        table = torch.cat([affine(tokens, slices[position]) for position in self.varying], 1)
        return self.lookup.sum(encoded, table, bias)


class OneHot(_Tokens):
    """No embedding: concatenated one-hot tokens."""

    name, embedded = "onehot", False

    def fan_in(self, width: int) -> int:  # noqa: ARG002 (there is no embedding whose width could matter)
        """One input per column of the lookup: L * V, or V if positions share them."""
        return self.lookup.columns

    def table(self, weight: Tensor) -> Tensor:
        """The weight itself, [E, columns, H]."""
        return weight.mT


class SummedOneHot(OneHot):
    """No embedding: the sum of the one-hot tokens, with one input per token kind."""

    name, by_position = "onehot_sum", False


INPUTS = {
    "none": Features,
    "sum": SummedEmbedding,
    "concat": ConcatenatedEmbedding,
    "onehot": OneHot,
    "onehot_sum": SummedOneHot,
}
