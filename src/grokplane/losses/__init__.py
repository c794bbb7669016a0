"""Losses per point; the training loop averages them for each member."""

from grokplane.losses.base import Loss
from grokplane.losses.cross_entropy import CrossEntropy
from grokplane.losses.hinge import Hinge
from grokplane.losses.mse import MSE
from grokplane.losses.stablemax import StableMax

__all__ = ["MSE", "CrossEntropy", "Hinge", "Loss", "StableMax"]
