"""Stacked networks. This package does not depend on the other packages."""

from grokplane.models.adapter import Module
from grokplane.models.base import InnerTap, ModelChoice, Signature, StackedModel, Tap, build
from grokplane.models.conv import Conv, StackedConv
from grokplane.models.functional import StackedModule
from grokplane.models.lstm import LSTM, StackedLSTM
from grokplane.models.mlp import MLP, StackedMLP
from grokplane.models.transformer import StackedTransformer, Transformer

__all__ = [
    "LSTM",
    "MLP",
    "Conv",
    "InnerTap",
    "ModelChoice",
    "Module",
    "Signature",
    "StackedConv",
    "StackedLSTM",
    "StackedMLP",
    "StackedModel",
    "StackedModule",
    "StackedTransformer",
    "Tap",
    "Transformer",
    "build",
]
