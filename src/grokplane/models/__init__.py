"""Stacked networks; imports nothing of the other rooms."""

from grokplane.models.base import ModelChoice, Signature, StackedModel, Tap, build
from grokplane.models.mlp import MLP, StackedMLP
from grokplane.models.transformer import StackedTransformer, Transformer

__all__ = [
    "MLP",
    "ModelChoice",
    "Signature",
    "StackedMLP",
    "StackedModel",
    "StackedTransformer",
    "Tap",
    "Transformer",
    "build",
]
