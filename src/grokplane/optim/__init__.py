"""Optimizers per member over torch.optim, and learning-rate schedules."""

from grokplane.optim.adam import Adam
from grokplane.optim.adamw import AdamW
from grokplane.optim.rmsprop import RMSprop
from grokplane.optim.schedules import Constant, Cosine, LinearWarmup, Schedule
from grokplane.optim.sgd import SGD
from grokplane.optim.stacked import MemberState, StackedOptimizer, TorchOptimizer

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "LinearWarmup",
    "MemberState",
    "RMSprop",
    "Schedule",
    "StackedOptimizer",
    "TorchOptimizer",
]
