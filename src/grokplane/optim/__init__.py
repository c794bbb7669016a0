"""Optimizers per member on top of torch.optim, rules that extend their update, and learning-rate schedules."""

from grokplane.optim.ablation import Ablation
from grokplane.optim.adam import Adam
from grokplane.optim.adamw import AdamW
from grokplane.optim.base import (
    Factor,
    MemberState,
    OptimizerChoice,
    StackedOptimizer,
    broadcast_members,
    with_rates_times,
)
from grokplane.optim.by_group import ByGroup
from grokplane.optim.constant_norm import ConstantNorm
from grokplane.optim.directions import Directions
from grokplane.optim.egalitarian import Egalitarian
from grokplane.optim.freeze import Freeze
from grokplane.optim.grokfast import GrokfastEMA, GrokfastMA
from grokplane.optim.hold_norm import HoldNorm
from grokplane.optim.initial_decay import InitialDecay
from grokplane.optim.lion import Lion
from grokplane.optim.muon import Muon
from grokplane.optim.noise import UpdateNoise, WeightNoise
from grokplane.optim.orthograd import OrthoGrad
from grokplane.optim.rmsprop import RMSprop
from grokplane.optim.rules import Context, Kept, Rule, RuleChoice
from grokplane.optim.sam import SAM
from grokplane.optim.schedules import Constant, Cosine, LinearWarmup, Schedule
from grokplane.optim.sgd import SGD
from grokplane.optim.together import check_together
from grokplane.optim.torch_groups import TorchGroups
from grokplane.optim.torch_optimizer import TorchOptimizer

__all__ = [
    "SAM",
    "SGD",
    "Ablation",
    "Adam",
    "AdamW",
    "ByGroup",
    "Constant",
    "ConstantNorm",
    "Context",
    "Cosine",
    "Directions",
    "Egalitarian",
    "Factor",
    "Freeze",
    "GrokfastEMA",
    "GrokfastMA",
    "HoldNorm",
    "InitialDecay",
    "Kept",
    "LinearWarmup",
    "Lion",
    "MemberState",
    "Muon",
    "OptimizerChoice",
    "OrthoGrad",
    "RMSprop",
    "Rule",
    "RuleChoice",
    "Schedule",
    "StackedOptimizer",
    "TorchGroups",
    "TorchOptimizer",
    "UpdateNoise",
    "WeightNoise",
    "broadcast_members",
    "check_together",
    "with_rates_times",
]
