"""Mutual information estimated from codes of the input and principal components of the layers, as often published."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from grokplane.metrics.codes import CODES, FEW, Encoder, encoder
from grokplane.metrics.gauge import Asked, Gauge, Inputs, Progress, beside_training
from grokplane.metrics.measured import Measured, Sample, measured, not_known, sample
from grokplane.metrics.observation import LayerOutput
from grokplane.metrics.pending import Values
from grokplane.mi import PCA, Estimate, Estimator, heard, label_entropy, standardised
from grokplane.options import ConfigError, checked, option
from grokplane.unread import Surroundings

Pair = tuple[float, float]  # an estimate and its standard error
UNKNOWN: Pair = (math.nan, math.nan)
T = TypeVar("T")


@dataclass(frozen=True)
@checked
class Compressed:
    """Estimates of I(X;L) and I(L;Y) from samples, of every layer L on every subset, for continuous input.

    X is a code of the input; L is the first `layer_dim` principal components of the layer, whitened. A layer is
    measured with the model's own noise if it has noise at log points. Otherwise Gaussian noise of `noise` times the
    standard deviation of its values is added, to the measured layer only. Published curves were made in this way; the
    values depend on code, components and estimator (docs/estimators.md).
    """

    input_estimator: Any = option(help="estimator of I(X;L); of I(L;Y) too where answers are numbers")
    label_estimator: Any = option(help="estimator of I(L;Y) for class labels")
    code: str = option("autoencoder", "how images become a few numbers", choices=CODES)
    code_dim: int = option(4, "length of the code of an image", at_least=1)
    code_steps: int = option(1000, "number of training steps of the autoencoder", at_least=1)
    cache: str = option("outputs/codes", "folder of trained autoencoders", folder=True)
    layer_dim: int = option(4, "number of principal components of a layer", at_least=1)
    noise: float = option(
        0.5,
        "noise added to the measured layer, relative to its standard deviation, if the model has no noise",
        above=0,
        at_most=1e6,
    )
    workers: int = option(
        1,
        "threads, or processes in long runs, that estimate during training; with 0, and on a GPU, training waits",
        at_least=0,
        at_most=64,
    )

    def gauge(self, inputs: Inputs) -> Gauge:
        """See `InformationChoice`.

        Raises:
            ConfigError: for tokens.
        """
        if inputs.discrete:
            allowed = "like infoplane and mutinfo for images and vectors only: tokens are measured exactly; use default"
            raise ConfigError("mi", "compressed", allowed)
        return Gauge(_Compressing(self, inputs), inputs)

    def unread(self, around: Surroundings) -> dict[str, str]:
        """See `grokplane.unread`."""
        trained, found, length = ("code_steps", "cache"), beside_training(around), around.features
        if self.code != "autoencoder":
            found |= dict.fromkeys(trained, f"mi.code={self.code} is not trained")
        if length is not None:
            found |= dict.fromkeys(("code", *trained), "inputs are vectors")
        code = self.code_dim
        if length is not None and length <= FEW:
            code = length
            found["code_dim"] = f"inputs of at most {FEW} numbers are used without a code"
        found |= {"noise": "the model has noise of its own"} if around.own_noise else {}
        if around.numbers:
            return found | {"label_estimator": "answers are numbers"}
        for name, dims in (("input_estimator", code + self.layer_dim), ("label_estimator", self.layer_dim)):
            of_few = getattr(getattr(self, name), "unread_in", lambda dims: {})(dims)  # noqa: ARG005 (all are read)
            found |= {f"{name}.{key}": why for key, why in of_few.items()}
        return found


@dataclass(frozen=True, eq=False)
class Questions:
    """What one member is asked on one subset.

    Attributes:
        code: codes of the inputs [n, d].
        answers: classes [n], or normalised numbers [n, C].
        of_answers: estimator of I(L;Y).
        options: options of the measurement.
    """

    code: Tensor
    answers: Tensor
    of_answers: Estimator
    options: Compressed


class _Compressing:
    """The method of `Compressed`."""

    noiseless = False

    def __init__(self, options: Compressed, inputs: Inputs) -> None:
        self._options, self._populations = options, inputs.populations
        self._encoders: dict[Callable[[], Tensor], Encoder] = {}

    @property
    def workers(self) -> int:
        return self._options.workers

    def prepare(self, progress: Progress | None) -> None:
        options = self._options
        for population in self._populations:
            if population not in self._encoders:
                settings = options.code, options.code_dim, options.code_steps, Path(options.cache)
                self._encoders[population] = encoder(*settings, population, progress)

    def questions(self, asked: Asked) -> Questions:
        self.prepare(None)
        code = self._encoders[self._populations[asked.member]](asked.inputs.cpu()).to(asked.inputs.device)
        if asked.labels is None:
            return Questions(
                standardised(code), standardised(asked.targets), self._options.input_estimator, self._options
            )
        return Questions(standardised(code), asked.labels, self._options.label_estimator, self._options)

    def scalars(self, asked: Asked) -> Mapping[str, Callable[[], float]]:
        known = {"ln n": lambda: math.log(len(asked.inputs))}
        labels = asked.labels
        return known if labels is None else known | {"H(Y)": lambda: float(label_entropy(labels).value)}

    def sample(
        self,
        output: LayerOutput,
        member: int,
        real: Tensor,
        stream: tuple[int, str, int],
        within: Tensor,  # noqa: ARG002 (the noise is that of the points themselves)
    ) -> Sample:
        return sample(output, member, real, stream)

    @property
    def measure(self) -> Callable[[Sample, Questions], tuple[Values, list[str]]]:
        return compressed_information

    def unknown(self, questions: Questions | None) -> Values:  # noqa: ARG002 (the signature of a way)
        return _named([UNKNOWN] * 2)


def compressed_information(of: Sample, questions: Questions) -> tuple[Values, list[str]]:
    """`MI(X;L)` and `MI(L;Y)` in nats, each with its `.._Errors`, and a list of warnings.

    A value is NaN if the layer is not finite, or if an estimator refuses the samples or fails. The warnings give the
    reasons, and name values that exceed an upper bound. The function is pure: it may be called in another process.
    """
    layer = measured(of, questions.options.noise)
    with heard() as warnings:
        tries = _Tries(warnings)
        found = _pairs(layer, questions, tries) if math.isfinite(layer.variance) else [UNKNOWN] * 2
    return _named(found), warnings


def _named(found: Sequence[Pair]) -> Values:
    values: Values = {}
    for name, (value, error) in zip(("MI(X;L)", "MI(L;Y)"), found, strict=True):
        values |= {name: value, f"{name}_Errors": error}
    return values


@dataclass(frozen=True)
class _Tries:
    """Runs estimates that may fail, and collects their warnings."""

    warnings: list[str]

    def __call__(self, estimate: Callable[[], T], otherwise: T) -> T:
        try:
            return estimate()
        except Exception as error:  # a failing estimator must not affect the other value
            self.warnings.append(not_known(error))
            return otherwise

    def pair(self, estimate: Callable[[], Estimate]) -> Pair:
        return self(lambda: _pair(estimate()), UNKNOWN)


def _pairs(layer: Measured, questions: Questions, tries: _Tries) -> Sequence[Pair]:
    """The layer's principal components against the input's code and the answer, vectors at one scale."""
    options = questions.options
    pca = PCA(options.layer_dim, whiten=True, noise_variance=layer.variance)
    values = tries(lambda: standardised(pca.fit(layer.noisy)(layer.noisy)), None)
    if values is None:
        return [UNKNOWN, UNKNOWN]
    of_answers = partial(questions.of_answers, values, questions.answers)
    return [tries.pair(partial(options.input_estimator, questions.code, values)), tries.pair(of_answers)]


def _pair(found: Estimate) -> Pair:
    return float(found.value), float(found.std_error)


GROUP = "mi"
CHOICES = {"compressed": Compressed}
