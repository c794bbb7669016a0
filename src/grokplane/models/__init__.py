"""Stacked networks; imports nothing of the other rooms."""

from grokplane.models.base import ModelChoice, Signature, StackedModel, Tap, build
from grokplane.models.mlp import MLP, StackedMLP

__all__ = ["MLP", "ModelChoice", "Signature", "StackedMLP", "StackedModel", "Tap", "build"]
