"""Measurement of the mutual information of a stack's layers at log points, optionally concurrent with training."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from threading import Lock
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from grokplane.metrics.measured import not_known
from grokplane.metrics.observation import LayerOutput, Observation, Subset
from grokplane.metrics.pending import Job, Pending, Values, known
from grokplane.metrics.positions import at_question
from grokplane.mi import forget
from grokplane.options import ConfigError
from grokplane.process_settings import set_up_process
from grokplane.processes import ClosedError, Processes
from grokplane.unread import Surroundings

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs of a stack's networks, the same at every log point.

    Attributes:
        subsets: by name (train, eval), a function that returns the inputs [E, n, ...], padded as in `Subset`.
        operands: positions of the two tokens that are the operands of a task; empty if it has not two operands.
        discrete: whether inputs are tokens.
        seen: maps inputs [n, ...] to the representation that the networks receive; equal rows are indistinguishable.
        populations: one function per member that returns all inputs [N, ...] of its kind, to which a code is fitted;
            called for continuous inputs only. Members with the same function share a code.
        seeds: one seed per member.
        log_points: approximate number of log points.
    """

    subsets: Mapping[str, Callable[[], Tensor]]
    operands: Sequence[int]
    discrete: bool
    seen: Callable[[Tensor], Tensor]
    populations: Sequence[Callable[[], Tensor]]
    seeds: Sequence[int]
    log_points: int


@dataclass(frozen=True, eq=False)
class Asked:
    """One member's subset, without padding, on the device of the measurement.

    Attributes:
        member: index of the member in the stack.
        inputs: inputs [n, ...].
        targets: answers [n, ...].
        labels: the class of each answer [n]; None: the answers are numbers.
        operands: labels [n] of the operands by name, a and b; empty if the task has not two operands.
    """

    member: int
    inputs: Tensor
    targets: Tensor
    labels: Tensor | None
    operands: Mapping[str, Tensor]


def beside_training(around: Surroundings) -> dict[str, str]:
    """The key `workers` is not read if information is not measured concurrently; see `grokplane.unread`."""
    return {} if around.on_cpu else {"workers": "on a GPU information is measured there, and training waits"}


class Way(Protocol):
    """A method to measure layers. The arguments of `measure` may be sent to another process."""

    @property
    def workers(self) -> int:
        """Number of threads or processes that measure concurrently with training; 0: training waits."""
        ...

    @property
    def noiseless(self) -> bool:
        """Whether layers are measured without the model's own noise."""
        ...

    def prepare(self, progress: Progress | None) -> None:
        """Do slow preparations once, before training."""
        ...

    def questions(self, asked: Asked) -> Any:
        """Compute the argument of `measure` that is constant during training."""
        ...

    def scalars(self, asked: Asked) -> Mapping[str, Callable[[], float]]:
        """Functions that compute the constant values of a subset, by name."""
        ...

    def sample(self, output: LayerOutput, member: int, real: Tensor, stream: tuple[int, str, int]) -> Any:
        """Copy one member's part of a layer, without padding.

        Args:
            output: the layer.
            member: index of the member.
            real: mask of the points that are not padding.
            stream: (seed, name of subset and layer, step) of the random stream.
        """
        ...

    @property
    def measure(self) -> Callable[[Any, Any], tuple[Values, list[str]]]:
        """A module-level function that maps (sample, questions) to values by quantity and warnings."""
        ...

    def unknown(self, questions: Any) -> Values:
        """NaN by quantity, in place of a failed measurement; `questions` is None if they could not be computed."""
        ...


@dataclass(frozen=True, eq=False)
class _Subset:
    """The questions of a member on a subset (None: they could not be computed), and its constant values."""

    questions: Any
    scalars: Values


class Gauge:
    """Measures the layers of one stack; use it in a `with` block, or `close` it.

    Quantities that are constant during training (labels, codes of the input, entropies) are computed once.
    """

    def __init__(self, way: Way, inputs: Inputs) -> None:
        self._way, self._inputs = way, inputs
        self._asked: dict[tuple[str, int], _Subset] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._processes: Processes | None = None
        self._told: set[str] = set()
        self._prepared = True
        self._telling = Lock()

    @property
    def noiseless(self) -> bool:
        """See `Way`."""
        return self._way.noiseless

    def __enter__(self) -> Gauge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the threads and processes, and clear the caches."""
        if self._pool is not None and self._processes is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._processes.close()
            self._pool.shutdown()
        self._pool = self._processes = None
        forget()

    def succeed(self, other: Gauge, kept: Sequence[int]) -> None:
        """Take over the cached values, threads and processes of a gauge without pending measurements.

        Args:
            other: gauge of the former stack; it cannot be used afterwards.
            kept: indices, in the former stack, of the members of this one.
        """
        for (name, member), asked in other._asked.items():
            if member in kept:
                self._asked[name, kept.index(member)] = asked
        self._told, self._prepared = other._told, other._prepared
        self._pool, self._processes, other._pool, other._processes = other._pool, other._processes, None, None

    def prepare(self, progress: Progress | None = None) -> None:
        """Do slow preparations before training and report `progress`; a code of images may take a minute."""
        try:
            self._way.prepare(progress)
        except ConfigError:
            raise
        except Exception as error:  # as in `_tried`; without the flag, every member and subset would fail again
            self._prepared = False
            self._tell(not_known(error))

    def estimate(self, seen: Observation, members: Sequence[int]) -> Pending:
        """Start to measure these members, on all layers and both subsets."""
        device = seen.learning_rate.device
        given = seen.noiseless() if self._way.noiseless else {name: one.layers for name, one in seen.subsets.items()}
        subsets = {name: _kept(layers, seen.subsets[name], self._way.noiseless) for name, layers in given.items()}
        outputs = [output for layers in subsets.values() for output in layers.values()]
        if self._pool is None and device.type == "cpu" and self._way.workers > 0:
            self._start(len(outputs) * len(members) * self._inputs.log_points)
        jobs: list[Job] = []
        for member, (name, layers) in product(members, subsets.items()):
            subset, real = self._subset(name, member, seen), seen.subsets[name].mask[member]
            jobs.append(known(member, subset.scalars))
            for layer, output in layers.items():
                task = partial(self._layer, subset, real, f"{name}/{layer}", output, member, seen.step)
                if self._pool is None:
                    jobs.append(known(member, task()))
                else:
                    jobs.append(Job(member, task, self._pool.submit(task, patient=True)))
        return Pending(jobs, len(self._inputs.seeds), sum(map(_size, outputs)))

    def _start(self, calls: int) -> None:
        workers = self._way.workers
        self._pool = ThreadPoolExecutor(workers, "information")
        self._processes = Processes(workers, partial(set_up_process, torch.get_num_threads()), calls)

    def _layer(
        self, of: _Subset, real: Tensor, layer: str, output: LayerOutput, member: int, step: int, patient: bool = False
    ) -> Values:
        stream = self._inputs.seeds[member], layer, step
        if of.questions is None:
            return {f"{name}_{layer}": value for name, value in self._way.unknown(None).items()}
        try:
            found, warnings = self._measured(of, real, output, member, stream, patient)
        except ClosedError:
            raise
        except Exception as error:  # any error, including out of memory: a run does not end for a missing value
            found, warnings = self._way.unknown(of.questions), [not_known(error)]
        for warning in warnings:
            self._tell(warning)
        return {f"{name}_{layer}": value for name, value in found.items()}

    def _tell(self, warning: str) -> None:
        """Log a warning, once per run and text."""
        with self._telling:
            if warning in self._told:
                return
            self._told.add(warning)
        log.warning("%s", warning)

    def _measured(
        self, of: _Subset, real: Tensor, output: LayerOutput, member: int, stream: tuple[int, str, int], patient: bool
    ) -> tuple[Values, list[str]]:
        sample = self._way.sample(output, member, real, stream)
        if self._processes is None:
            return self._way.measure(sample, of.questions)
        return self._processes.call(self._way.measure, sample, of.questions, patient=patient)

    def _subset(self, name: str, member: int, seen: Observation) -> _Subset:
        """The questions and constant values of a member's subset; computed once."""
        key = name, member
        if key not in self._asked:
            subset = seen.subsets[name]
            real = subset.mask[member]
            x = self._inputs.subsets[name]()[member][real]
            operands = {operand: x[:, place] for operand, place in zip("ab", self._inputs.operands, strict=False)}
            targets = subset.targets[member][real]
            classes = subset.answers.as_classes(targets)
            asked = Asked(member, x, targets, classes and classes.labels, operands)
            found = {quantity: self._tried(give, math.nan) for quantity, give in self._way.scalars(asked).items()}
            scalars = {f"{quantity}_{name}": value for quantity, value in found.items()}
            questions = self._tried(partial(self._way.questions, asked), None) if self._prepared else None
            self._asked[key] = _Subset(questions, scalars)
        return self._asked[key]

    def _tried(self, give: Callable[[], T], otherwise: T) -> T:
        """Return `give()`; if it fails, log a warning and return `otherwise`."""
        try:
            return give()
        except Exception as error:  # any error, including out of memory: a run does not end for a missing value
            self._tell(not_known(error))
            return otherwise


def _kept(layers: Mapping[str, LayerOutput], subset: Subset, noiseless: bool) -> dict[str, LayerOutput]:
    """The parts of every layer that are measured, so that the others can be freed."""

    def kept(one: LayerOutput) -> LayerOutput:
        activations = at_question(one.activations, subset)
        same = noiseless or one.noisy is one.activations
        noisy = activations if same else at_question(one.noisy, subset)
        return LayerOutput(activations, activations, one.exact_zeros, noisy, None if noiseless else one.sigma)

    return {name: kept(one) for name, one in layers.items()}


def _size(output: LayerOutput) -> int:
    """Size of a layer's values in bytes."""
    return output.activations.nbytes + (output.noisy is not output.activations) * output.noisy.nbytes
