"""Losses of single points; the loop takes each member's mean."""

from grokplane.losses.base import Loss
from grokplane.losses.cross_entropy import CrossEntropy
from grokplane.losses.mse import MSE
from grokplane.losses.stablemax import StableMax

__all__ = ["MSE", "CrossEntropy", "Loss", "StableMax"]
