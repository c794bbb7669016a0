"""Multi-head attention, stacked over members."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokplane.derivatives import beyond_the_first, of_twin, transformed
from grokplane.models.layers import Linear, pick

# The linear layers; the last one computes the output.
ATTENTION = ("query", "key", "value", "attention")
# Measured on a CPU with 4 heads of width 32: up to about this many tokens, elementwise products and sums are faster
# than torch's fused attention (1.1 times at 4 queries of 4 tokens, 1.6 times at one query), which is made for long
# sequences.
SHORT = 8


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(D / heads)) V for each head and member; Vaswani et al. 2017, equation 1."""

    def __init__(self, members: int, width: int, heads: int, causal: bool, bias: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        for name in ATTENTION:
            self.add_module(name, Linear(members, width, width, bias=bias))

    def forward(
        self, x: Tensor, rows: Tensor | None, last: int | None, keep: Callable[[Tensor], None] | None = None
    ) -> Tensor:
        """Outputs of all tokens [E, B, T, D], or of the last Q tokens only [E, B, Q, D].

        Args:
            x: the tokens [E, B, T, D]; with `rows`, a table [E, R, D] of all distinct tokens.
            rows: index of each token in the table [E, B, T].
            last: number Q of the last tokens that attend; None: all tokens.
            keep: receives the attention pattern, see `pattern`.
        """
        query, key, value = (
            self._projected(name, x, rows, here).unflatten(-1, (self.heads, -1))
            for name, here in (("query", last), ("key", None), ("value", None))
        )
        attend = _short if key.shape[2] <= SHORT else _long
        causal = self.causal and last != 1  # the last token sees all other tokens in any case
        if keep is not None:
            keep(pattern(query, key, causal))
        return self.get_submodule("attention")(attend(query, key, value, causal).flatten(-2))

    def _projected(self, name: str, x: Tensor, rows: Tensor | None, last: int | None) -> Tensor:
        project = self.get_submodule(name)
        return project(tokens(x, None, last)) if rows is None else tokens(project(x), rows, last)


def tokens(x: Tensor, rows: Tensor | None, last: int | None) -> Tensor:
    """Each token's vector [E, B, T, D], or those of the last Q tokens [E, B, Q, D], from the inputs of `Attention`."""
    if rows is None:
        return x if last is None else x[:, :, -last:]
    return pick(x, rows if last is None else rows[:, :, -last:])


def pattern(query: Tensor, key: Tensor, causal: bool) -> Tensor:
    """The weight of each token for each query [E, B, H, Q, T], from queries [E, B, Q, H, d] and keys [E, B, T, H, d].

    It is computed for a tap alone: the short form of attention has another layout, the fused one does not keep it.
    """
    return _scores(query.transpose(2, 3), key.transpose(2, 3), causal).softmax(-1)


def _short(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Queries [E, B, Q, H, d], keys and values [E, B, T, H, d] -> [E, B, Q, H, d]."""
    scores = (query[:, :, :, None] * key[:, :, None]).sum(-1) / math.sqrt(query.shape[-1])
    if causal:
        scores = scores.masked_fill(_later(*scores.shape[2:4], scores.device)[:, :, None], -torch.inf)
    return (scores.softmax(3)[..., None] * value[:, :, None]).sum(3)


def _long(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """The same as `_short`, through torch's fused attention."""
    q, k, v = (part.flatten(0, 1).transpose(1, 2) for part in (query, key, value))
    if transformed():
        attended: Any = _plain(causal, q, k, v)
    elif torch.is_grad_enabled() and q.device.type == "cpu":
        attended = _Fused.apply(causal, q, k, v)
    else:
        attended = _fused(causal, q, k, v)
    return attended.transpose(1, 2).unflatten(0, query.shape[:2])


def _fused(causal: bool, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch's attention; its `is_causal` takes the queries for the first tokens, and here they are the last ones."""
    queries, keys = query.shape[-2], key.shape[-2]
    if not causal or queries == keys:
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    return F.scaled_dot_product_attention(query, key, value, ~_later(queries, keys, query.device))


def _later(queries: int, keys: int, device: torch.device) -> Tensor:
    """Which tokens come after each query [Q, T], bool; the queries are the last Q tokens."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).triu(1 + keys - queries)


class _Fused(torch.autograd.Function):
    """torch's fused attention on a CPU, with a backward pass that can be differentiated.

    Other devices use torch's own function: a CUDA graph may not capture a backward pass inside a backward pass.
    """

    @staticmethod
    def forward(ctx: Any, causal: bool, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (part.detach().requires_grad_() for part in (query, key, value))
        with torch.enable_grad():
            attended = _fused(causal, q, k, v)
        ctx.save_for_backward(query, key, value)
        ctx.kept, ctx.causal = (attended, (q, k, v)), causal
        return attended.detach()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # `kept` is None after an earlier backward pass, which has freed it.
        if ctx.kept is None or beyond_the_first(grad_outputs[0]):
            return None, *of_twin(partial(_plain, ctx.causal), ctx.saved_tensors, grad_outputs[0])
        (attended, own), ctx.kept = ctx.kept, None
        return None, *torch.autograd.grad(attended, own, grad_outputs[0])


def _plain(causal: bool, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same in plain operations, [..., Q, d], [..., T, d] and [..., T, d] -> [..., Q, d]."""
    return _scores(query, key, causal).softmax(-1) @ value


def _scores(query: Tensor, key: Tensor, causal: bool) -> Tensor:
    """[..., Q, d] and [..., T, d] -> [..., Q, T]; -inf where a token comes after the query's."""
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    if causal:
        scores = scores.masked_fill(_later(*scores.shape[-2:], scores.device), -torch.inf)
    return scores
