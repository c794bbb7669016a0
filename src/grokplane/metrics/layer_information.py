"""What one layer of one member tells about the input, the answer and the operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from grokplane.metrics.measured import REFUSED, Measured, Sample, measured
from grokplane.mi import PCA, Estimate, Estimator, bracket, label_entropy, standardised

if TYPE_CHECKING:
    from grokplane.metrics.information import Information

Values = dict[str, float]
Pair = tuple[float, float]  # an estimate and its standard error, or the middle and half the width of a bracket
UNKNOWN: Pair = (math.nan, math.nan)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Questions:
    """What one member is asked on one subset, which stays the same while it trains.

    Attributes:
        real: which of the padded points are real.
        targets: their answers, labels [n] or numbers [n, C].
        operands: the operands' labels [n] by name; empty where a task has not two.
        code: of the input [n, d], continuous input only.
        scalars: what is known of the subset from the start (`scalars`).
    """

    real: Tensor
    targets: Tensor
    operands: Mapping[str, Tensor]
    code: Tensor | None
    scalars: Values


def scalars(targets: Tensor, subset: str) -> Values:
    """`ln n_<subset>`, which no information on n equally likely inputs exceeds, and `H(Y)_<subset>`, for labels."""
    values = {f"ln n_{subset}": math.log(len(targets))}
    if not targets.is_floating_point():
        values[f"H(Y)_{subset}"] = float(label_entropy(targets).value)
    return values


def layer_information(of: Sample, questions: Questions, options: Information) -> tuple[Values, list[str]]:
    """`MI(X;L)`, `MI(L;Y)` and, where there are operands, `MI(L;a)`, `MI(L;b)`, each with its `.._Errors`, in nats.

    What cannot be estimated (values that are not finite, samples that an estimator refuses) is NaN. Second: the reasons
    of the refusals. A pure function: it may be called in another process.
    """
    layer = measured(of, options.noise, options.token_layer_dim if questions.code is None else None)
    names = ["X;L", "L;Y", *(f"L;{operand}" for operand in questions.operands)]
    tries = _Tries([])
    finite = math.isfinite(layer.variance)
    found = _estimates(layer, questions, options, tries) if finite else [UNKNOWN] * len(names)
    values: Values = {}
    for name, (value, error) in zip(names, found, strict=True):
        values |= {f"MI({name})": value, f"MI({name})_Errors": error}
    return values, tries.refused


@dataclass(frozen=True)
class _Tries:
    """Estimates that may be refused, and why they were."""

    refused: list[str]

    def __call__(self, estimate: Callable[[], T], otherwise: T) -> T:
        try:
            return estimate()
        except REFUSED as error:
            self.refused.append(str(error))
            return otherwise

    def pair(self, estimate: Callable[[], Estimate]) -> Pair:
        return self(lambda: _pair(estimate()), UNKNOWN)


def _estimates(layer: Measured, questions: Questions, options: Information, tries: _Tries) -> list[Pair]:
    """Against the input, the answer and each operand."""
    if questions.code is not None:
        return _continuous(layer, questions.code, questions.targets, options, tries)
    labels = [questions.targets, *questions.operands.values()]
    return [tries.pair(lambda: _bracket(layer)), *_against(layer.noisy, labels, options, tries)]


def _bracket(layer: Measured) -> Estimate:
    """The middle of the bracket and half its width, for input that takes n known values."""
    if layer.variance == 0:  # relative noise of a layer that is constant
        return Estimate(torch.zeros(()), torch.zeros(()))
    lower, upper = bracket(layer.centres, layer.variance)
    return Estimate((lower + upper) / 2, (upper - lower) / 2)


def _against(noisy: Tensor, labels: Sequence[Tensor], options: Information, tries: _Tries) -> list[Pair]:
    estimator: Estimator = options.labels
    return [tries.pair(lambda y=y: estimator(noisy, y)) for y in labels]


def _continuous(layer: Measured, code: Tensor, targets: Tensor, options: Information, tries: _Tries) -> list[Pair]:
    """The layer's principal components against the input's code and the answer, all vectors at one scale."""
    pca = PCA(options.layer_dim, whiten=True, noise_variance=layer.variance)
    values = tries(lambda: standardised(pca.fit(layer.noisy)(layer.noisy)), None)
    if values is None:
        return [UNKNOWN, UNKNOWN]
    of_input = tries.pair(lambda: options.input(standardised(code), values))
    if targets.is_floating_point():
        return [of_input, tries.pair(lambda: options.input(values, standardised(targets)))]
    return [of_input, tries.pair(lambda: options.labels(values, targets))]


def _pair(found: Estimate) -> Pair:
    return float(found.value), float(found.std_error)
