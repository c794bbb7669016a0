"""Training: members, stacks, the loop, log points, grok marks. Does not depend on files, W&B or plots."""

from grokplane.train.branches import Parent, branch, needs_initial
from grokplane.train.grok import GrokMarks, GrokOptions
from grokplane.train.log_points import LogOptions
from grokplane.train.loop import Point, run, train
from grokplane.train.member import Member, check_stackable
from grokplane.train.options import TrainOptions
from grokplane.train.process import prepare_process
from grokplane.train.stack import Stack
from grokplane.train.trial import try_metrics

__all__ = [
    "GrokMarks",
    "GrokOptions",
    "LogOptions",
    "Member",
    "Parent",
    "Point",
    "Stack",
    "TrainOptions",
    "branch",
    "check_stackable",
    "needs_initial",
    "prepare_process",
    "run",
    "train",
    "try_metrics",
]
