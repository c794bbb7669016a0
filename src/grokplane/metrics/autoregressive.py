"""Accuracy of answers that the network decodes by itself, token by token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.answers import NOT_SCORED, LabelSequence, Reads, right
from grokplane.metrics.metric import LoggedSeldom
from grokplane.metrics.observation import Observation, Subset
from grokplane.metrics.reduce import masked_fraction
from grokplane.options import checked


@dataclass(frozen=True)
@checked
class Autoregressive(LoggedSeldom):
    """`Acc_autoregressive/...`, `Acc_token_autoregressive/...`: accuracies of greedily decoded answers, also by group.

    Every token of an answer is predicted from the question and from the network's own earlier tokens, not from the
    right ones as in training (teacher forcing). As many tokens are decoded as the right answer has. As long as all
    earlier tokens are right, both prefixes are equal; so a whole answer is right in both ways or in neither.
    """

    reads: ClassVar[Reads] = "fed_back"

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Accuracies [E] in 0..1 by split and group."""
        scores = {name: _scores(subset) for name, subset in seen.splits.items()}
        split_of = {name: name for name in scores} | {name: split for name, (split, _) in seen.groups.items()}
        return {
            f"{score}_autoregressive/{name}": masked_fraction(values, subset)
            for name, subset in seen.scored.items()
            for score, values in scores[split_of[name]].items()
        }


def _scores(subset: Subset) -> Mapping[str, Tensor]:
    """`Acc` and `Acc_token` of the decoded answers of all points [E, n]."""
    assert isinstance(subset.answers, LabelSequence)
    slices = subset.slices()
    # The outputs of a subset in a single part are those of the log point, which are kept.
    first = [subset.outputs] if len(slices) == 1 else [None] * len(slices)
    flags = [_decoded(subset, part, outputs) for part, outputs in zip(slices, first, strict=True)]
    return subset.answers.shares(torch.cat(flags, 1), subset.targets)


def _decoded(subset: Subset, part: slice, outputs: Tensor | None) -> Tensor:
    """Which tokens [E, b, T] of the decoded answers are right.

    Args:
        subset: the points.
        part: some of them.
        outputs: with the subset's own inputs [E, b, T, C]; None: not known.
    """
    targets, tokens = subset.targets[:, part], subset.source.inputs(part).clone()
    outputs = subset.source.run(part, {}) if outputs is None else outputs
    flags, length = [right(outputs[:, :, 0], targets[:, :, 0])], targets.shape[2]
    for place in range(1 - length, 0):  # the inputs after the ones from which the tokens before the last are read
        said, scored = outputs[:, :, place - 1].argmax(-1), targets[:, :, place - 1] != NOT_SCORED
        tokens[:, :, place] = torch.where(scored, said, tokens[:, :, place])
        outputs = subset.source.run(part, {}, tokens)
        flags.append(right(outputs[:, :, place], targets[:, :, place]))
    return torch.stack(flags, 2)


GROUP = "metrics"
CHOICES = {"autoregressive": Autoregressive}
