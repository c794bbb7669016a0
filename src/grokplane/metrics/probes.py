"""Accuracy of linear probes of each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.answers import Reads
from grokplane.mechanism.probe import ridge_probe
from grokplane.metrics.metric import LoggedSeldom
from grokplane.metrics.observation import Observation
from grokplane.metrics.positions import at_question
from grokplane.metrics.reduce import masked_fraction
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class Probes(LoggedSeldom):
    """`probe_accuracy_{train,eval,ood}/<layer>`: accuracy of a linear classifier of the activations of each layer.

    The classifier is a ridge regression from the activations before noise to one-hot labels, fitted to the training
    points, with a constant that is not penalised. If answers are fed back, the activations are those where the first
    token is read.
    """

    reads: ClassVar[Reads] = "labels"
    needs_layers: ClassVar[bool] = True

    ridge: float = option(1e-3, "penalty, in units of the mean squared norm of a unit's centred activations", above=0)

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Accuracies [E] in 0..1 by subset and layer; NaN (null) if activations are not finite."""
        subsets, labels, classes = seen.subsets, *_classes(seen)
        found = {}
        for layer in seen.train.layers:
            values = {
                name: at_question(part.layers[layer].activations, part).flatten(2) for name, part in subsets.items()
            }
            probe = ridge_probe(values["train"], labels["train"], seen.train.mask, classes, self.ridge)
            for name, subset in subsets.items():
                right = masked_fraction(probe.classes(values[name]) == labels[name], subset)
                finite = torch.where(subset.mask[..., None], values[name], 0).isfinite().flatten(1).all(1)
                fitted = probe.coefficients.isfinite().flatten(1).all(1)
                found[f"probe_accuracy_{name}/{layer}"] = torch.where(finite & fitted, right, torch.nan)
        return found


def _classes(seen: Observation) -> tuple[dict[str, Tensor], int]:
    """Labels [E, n] by subset, and the number of classes: a sequence is the same class in every subset."""
    subsets = seen.subsets
    classes = seen.train.answers.as_classes(torch.cat([subset.real_targets for subset in subsets.values()], 1))
    if classes is None:
        raise ValueError("answers that are numbers have no classes")
    sizes = [subset.mask.shape[1] for subset in subsets.values()]
    return dict(zip(subsets, classes.labels.split(sizes, 1), strict=True)), classes.number


GROUP = "metrics"
CHOICES = {"probes": Probes}
