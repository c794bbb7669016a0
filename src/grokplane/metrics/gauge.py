"""Estimates mutual information of a stack's layers at log points, beside training if asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from grokplane.metrics.codes import Encoder, Progress, encoder
from grokplane.metrics.layer_information import Questions, layer_information, scalars
from grokplane.metrics.measured import sample
from grokplane.metrics.observation import LayerOutput, Observation, Subset
from grokplane.mi import forget
from grokplane.processes import Processes
from grokplane.resources import keep_freed_memory

if TYPE_CHECKING:
    from grokplane.metrics.information import Information

log = logging.getLogger(__name__)

Values = dict[str, float]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the networks of a stack are asked at every log point.

    Attributes:
        subsets: by name (train, eval) what gives the inputs [E, n, ...], padded as in `Subset`.
        operands: places of the two tokens that are a task's operands; empty where it has not two.
        discrete: whether inputs are tokens.
        populations: one a member: gives all inputs [N, ...] of its kind, to fit a code to; asked for continuous inputs
            only. Members with the same one share a code.
        seeds: one a member.
        log_points: about how many there are.
    """

    subsets: Mapping[str, Callable[[], Tensor]]
    operands: Sequence[int]
    discrete: bool
    populations: Sequence[Callable[[], Tensor]]
    seeds: Sequence[int]
    log_points: int


@dataclass(frozen=True, eq=False)
class Job:
    """Values of one member: what makes them, and where they will be."""

    member: int
    task: Callable[[], Values]
    future: Future[Values]


class Pending:
    """The estimates of one log point while they are being made.

    Attributes:
        held: bytes that it keeps in memory until then.
    """

    def __init__(self, jobs: Sequence[Job], members: int, held: int) -> None:
        self._jobs, self._members, self.held = jobs, members, held

    def done(self) -> bool:
        """Whether `result` returns at once."""
        return all(job.future.done() for job in self._jobs)

    def result(self) -> list[Values]:
        """The values of each member by metric name; does itself, from the last on, what nobody has begun yet.

        Members that were not asked for have none.
        """
        helped = {job: job.task() for job in reversed(self._jobs) if job.future.cancel()}
        found: list[Values] = [{} for _ in range(self._members)]
        for job in self._jobs:
            found[job.member] |= helped[job] if job in helped else job.future.result()
        return found


class Gauge:
    """Estimates for one stack; use it in a `with` block, which ends its threads and processes, and forgets.

    What does not change while a network trains (codes of the input, their entropies) is computed once.
    """

    def __init__(self, options: Information, inputs: Inputs) -> None:
        self._options, self._inputs = options, inputs
        self._questions: dict[tuple[str, int], Questions] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._processes: Processes | None = None
        self._encoders: dict[Callable[[], Tensor], Encoder] = {}

    def __enter__(self) -> Gauge:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None and self._processes is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._processes.close()
            self._pool.shutdown()
        self._pool = self._processes = None
        forget()

    def prepare(self, progress: Progress | None = None) -> None:
        """Fit the code of continuous input; that of images may take a minute, of which `progress` is told."""
        options, populations = self._options, () if self._inputs.discrete else self._inputs.populations
        for population in populations:
            if population not in self._encoders:
                settings = options.code, options.code_dim, options.code_steps, Path(options.cache)
                self._encoders[population] = encoder(*settings, population, progress)

    def code(self, member: int, x: Tensor) -> Tensor:
        """A member's code [N, d] of continuous inputs [N, ...], on their device."""
        self.prepare()
        return self._encoders[self._inputs.populations[member]](x.cpu()).to(x.device)

    def estimate(self, seen: Observation, members: Sequence[int]) -> Pending:
        """Begin to estimate for these members, all layers, both subsets."""
        there = seen.learning_rate.device
        # A GPU makes the estimates of continuous input sooner, though training waits for them meanwhile; those of
        # tokens are many small products, which a core does sooner.
        on_cpu = there.type == "cpu" or self._inputs.discrete
        device = torch.device("cpu") if on_cpu else there
        subsets = {name: _measured(subset.layers, device) for name, subset in seen.subsets.items()}
        outputs = [output for layers in subsets.values() for output in layers.values()]
        if self._pool is None and on_cpu and self._options.workers > 0:
            self._start(len(outputs) * len(members) * self._inputs.log_points)
        jobs: list[Job] = []
        for member, (name, layers) in product(members, subsets.items()):
            questions = self._asked(name, member, seen.subsets[name], device)
            jobs.append(_known(member, questions.scalars))
            for layer, output in layers.items():
                task = partial(self._layer, questions, name, layer, output, member, seen.step)
                if self._pool is None:
                    jobs.append(_known(member, task()))
                else:
                    jobs.append(Job(member, task, self._pool.submit(task, patient=True)))
        return Pending(jobs, len(self._inputs.seeds), sum(map(_size, outputs)))

    def _start(self, calls: int) -> None:
        self._pool = ThreadPoolExecutor(self._options.workers, "information")
        self._processes = Processes(self._options.workers, partial(_prepared, torch.get_num_threads()), calls)

    def _layer(
        self,
        questions: Questions,
        subset: str,
        layer: str,
        output: LayerOutput,
        member: int,
        step: int,
        patient: bool = False,
    ) -> Values:
        asked = sample(output, member, questions.real, (self._inputs.seeds[member], f"{subset}/{layer}", step))
        of = asked, questions, self._options
        if self._processes is None:
            found, refused = layer_information(*of)
        else:
            found, refused = self._processes.call(layer_information, *of, patient=patient)
        for reason in refused:
            _warn(reason)
        return {f"{name}_{subset}/{layer}": value for name, value in found.items()}

    def _asked(self, name: str, member: int, subset: Subset, device: torch.device) -> Questions:
        """Labels and codes of a member's subset, on a device; the same at every log point, so made once."""
        key = name, member
        if key not in self._questions:
            real, targets = subset.mask[member].to(device), subset.targets[member].to(device)
            x = self._inputs.subsets[name]()[member].to(device)[real]
            places = zip("ab", self._inputs.operands, strict=False)
            operands = {operand: x[:, place] for operand, place in places}
            code = None if self._inputs.discrete else self.code(member, x)
            values = scalars(targets[real], name)
            self._questions[key] = Questions(real, targets[real], operands, code, values)
        return self._questions[key]


def _measured(layers: Mapping[str, LayerOutput], device: torch.device) -> dict[str, LayerOutput]:
    """Of every layer what is measured, on a device; what is not need not be kept until then."""

    def moved(one: LayerOutput) -> LayerOutput:
        activations = one.activations.to(device)
        noisy = activations if one.noisy is one.activations else one.noisy.to(device)
        sigma = None if one.sigma is None else one.sigma.to(device)
        return LayerOutput(activations, activations, one.exact_zeros, noisy, sigma)

    return {name: moved(output) for name, output in layers.items()}


def _size(output: LayerOutput) -> int:
    """Bytes of a layer's values."""
    return output.activations.nbytes + (output.noisy is not output.activations) * output.noisy.nbytes


def _known(member: int, values: Values) -> Job:
    future: Future[Values] = Future()
    future.set_result(values)
    return Job(member, lambda: values, future)


def _prepared(threads: int) -> None:
    """Make a process compute as this one does, to the last bit: with as many threads."""
    torch.set_num_threads(threads)
    keep_freed_memory()


@cache
def _warn(reason: str) -> None:
    log.warning("some mutual information cannot be estimated and is null: %s", reason)
