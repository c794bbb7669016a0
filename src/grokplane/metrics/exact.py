"""Exact mutual information of layers for inputs from a known finite set (`grokplane.mi.mixture`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grokplane.metrics.gauge import Asked, Progress
from grokplane.metrics.observation import LayerOutput
from grokplane.metrics.pending import Values
from grokplane.mi import Estimate, MixtureInformation, label_entropy, mixture


@dataclass(frozen=True)
class Levels:
    """Resolutions and number of draws of a measurement.

    Attributes:
        ladder: resolutions in ascending order.
        plain: the resolution whose values have no `@` in their names.
        draws: number of sampled rows.
    """

    ladder: tuple[float, ...]
    plain: float
    draws: int

    def name(self, quantity: str, level: float) -> str:
        """Name of a quantity at a resolution: `MI(X;L)` at the plain one, else for example `MI(X;L)@0.5`."""
        return quantity if level == self.plain else f"{quantity}@{level:g}"


@dataclass(frozen=True, eq=False)
class Questions:
    """Labels [n] of the inputs of one member's subset by name: Y (if answers are labels), a, b."""

    levels: Levels
    labels: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Rows:
    """Noiseless rows [n, d] of a layer, with seed and stream of the draws, which are the same at every step.

    Attributes:
        power: mean squared distance from the mean that resolutions refer to; None: that of the rows themselves.
    """

    values: Tensor
    seed: int
    stream: str
    power: float | None = None


@dataclass(frozen=True)
class Exact:
    """The method of `Information`: each layer in full width and noiseless, plus noise at every resolution."""

    levels: Levels
    workers: int
    seen: Callable[[Tensor], Tensor]
    noiseless: bool = True

    def prepare(self, progress: Progress | None) -> None:
        """Nothing to prepare."""

    def questions(self, asked: Asked) -> Questions:
        """See `Way`."""
        return Questions(self.levels, _labels(asked))

    def scalars(self, asked: Asked) -> Mapping[str, Callable[[], float]]:
        """ln n, the entropy H(X) of the distinguishable inputs, and the entropy of every labelling."""
        known = {"ln n": lambda: math.log(len(asked.inputs)), "H(X)": lambda: _entropy(same(self.seen(asked.inputs)))}
        return known | {f"H({name})": partial(_entropy, one) for name, one in _labels(asked).items()}

    def sample(
        self, output: LayerOutput, member: int, real: Tensor, stream: tuple[int, str, int], within: Tensor
    ) -> Rows:
        """See `Way`; a part of a subset has the noise of the whole subset."""
        seed, name, _ = stream
        rows = output.activations[member]
        power = None if within is real else _power(rows[within].flatten(1))
        return Rows(rows[real].flatten(1), seed, f"mi/{name}", power)

    @property
    def measure(self) -> Callable[[Rows, Questions], tuple[Values, list[str]]]:
        """See `Way`."""
        return exact_information

    def unknown(self, questions: Questions | None) -> Values:
        """See `Way`."""
        return _named(questions or Questions(self.levels, {}), None)


def exact_information(of: Rows, questions: Questions) -> tuple[Values, list[str]]:
    """`MI(X;L)`, for labels `MI(L;Y)` and `MI(X;L|Y)`, for operands `MI(L;a)`, `MI(L;b)`, each with its `.._Errors`.

    Values are in nats, at every resolution. A layer that is not finite has NaN, without a warning. The function is
    pure: it may be called in another process.

    Raises:
        ValueError: if values overflow.
    """
    if not bool(torch.isfinite(of.values).all()) or not math.isfinite(of.power or 0):
        return _named(questions, None), []
    levels = questions.levels
    settings = {"ladder": levels.ladder, "draws": levels.draws, "seed": of.seed, "stream": of.stream}
    # Where the whole subset has one value, so has the part, and there is no information at any noise.
    power = of.power or None
    return _named(questions, mixture(of.values, questions.labels, **settings, power=power)), []


def _power(rows: Tensor) -> float:
    """Mean squared distance of rows [n, d] from their mean."""
    return float(rows.double().var(0, correction=0).sum())


def _entropy(labels: Tensor) -> float:
    """Entropy of labels [n] in nats."""
    return float(label_entropy(labels).value)


def _named(questions: Questions, found: MixtureInformation | None) -> Values:
    """Values and errors by name and resolution; NaN if `found` is None."""
    levels, labels = questions.levels, questions.labels
    beyond = ["MI(X;L|Y)"] if "Y" in labels else []
    names = ["MI(X;L)", *(f"MI(L;{name})" for name in labels), *beyond]
    unknown = Estimate(*torch.full((2, len(levels.ladder)), math.nan, dtype=torch.float64))
    estimates = [unknown] * len(names)
    if found is not None:
        estimates = [found.input, *found.labels.values(), *(found.given[name] for name in ("Y",) if beyond)]
    values: Values = {}
    for quantity, estimate in zip(names, estimates, strict=True):
        numbers = zip(levels.ladder, estimate.value.tolist(), estimate.std_error.tolist(), strict=True)
        for level, value, error in numbers:
            name = levels.name(quantity, level)
            values |= {name: value, f"{name}_Errors": error}
    return values


def same(x: Tensor) -> Tensor:
    """Labels [n] of rows x [n, ...]; rows that are equal to the last bit have equal labels."""
    first: dict[bytes, int] = {}
    rows = x.flatten(1).cpu().contiguous().numpy()
    return torch.tensor([first.setdefault(row.tobytes(), len(first)) for row in rows])


def _labels(asked: Asked) -> dict[str, Tensor]:
    answers = {} if asked.labels is None else {"Y": asked.labels}
    return answers | dict(asked.operands)
