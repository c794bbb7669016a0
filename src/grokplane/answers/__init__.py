"""Kinds of answers: class labels, numbers, sequences of class labels. A part of the floor, used by every room."""

from grokplane.answers.base import NOT_SCORED, Answers, Classes, OfPoints, Reads, right
from grokplane.answers.labels import Labels
from grokplane.answers.numbers import Numbers
from grokplane.answers.sequences import LabelSequence

__all__ = ["NOT_SCORED", "Answers", "Classes", "LabelSequence", "Labels", "Numbers", "OfPoints", "Reads", "right"]
