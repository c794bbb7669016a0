"""One torch.optim optimizer over the stack, with hyperparameters per member."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from grokplane.optim.base import Factor, MemberState, Parameters, StackedOptimizer
from grokplane.optim.torch_options import Kernel, TorchOptions


class _Moments(NamedTuple):
    """The state of Adam's kernel for one run; all its parameters share one count of steps."""

    means: list[Tensor]
    squares: list[Tensor]
    step: Tensor


@dataclass(frozen=True)
class _Run:
    """Consecutive members with equal options: one param group over their slice of every parameter."""

    start: int
    stop: int
    views: dict[str, nn.Parameter]
    group: dict[str, Any]
    lr: float


class TorchGroups(StackedOptimizer):
    """Updates E members, each as its own torch.optim optimizer would.

    Neighbouring members with equal options share a param group, so a stack of seeds takes one fused call; members with
    different options take one group each. From the second step on, Adam's kernel is called directly: the bookkeeping of
    torch.optim, per parameter, takes 0.12 ms per member and step on a CPU, the kernel alone 0.03.

    Args:
        choices: one per member, of one class; their options may differ.
        parameters: the stack's parameters by name, [E, ...].
    """

    def __init__(self, choices: Sequence[TorchOptions], parameters: Parameters) -> None:
        super().__init__(parameters, [choice.options["lr"] for choice in choices])
        kind = type(choices[0])
        self._choices = list(choices)
        self._group([None] * len(choices))
        self._bare_step = inspect.unwrap(kind.algorithm.step)  # without wrappers that profile and switch gradients off
        self._kernel = kind.kernel

    def _group(self, ages: Sequence[float | None]) -> None:
        """Build the runs and their param groups, without state.

        Args:
            ages: number of updates in each member's state, None for no state. A run has one count of steps.
        """
        alike = list(zip(self._choices, ages, strict=True))
        numbers = (list(found) for _, found in groupby(range(len(alike)), alike.__getitem__))
        self._runs = [self._run(self._choices, one) for one in numbers]
        kind = type(self._choices[0])
        self._optimizer = kind.algorithm([run.group for run in self._runs], **self._constants(kind))  # type: ignore[call-arg]
        self._optimizer._warned_capturable_if_run_uncaptured = True  # the first steps are, and may be
        self._moments: list[_Moments] = []

    def _constants(self, kind: type[TorchOptions]) -> dict[str, Any]:
        """Fixed options of the algorithm; off the CPU it must not read its step count from the device."""
        on_cpu = next(iter(self.parameters.values())).device.type == "cpu"
        takes = "capturable" in inspect.signature(kind.algorithm).parameters
        return kind.fixed | ({"capturable": True} if takes and not on_cpu and not kind.fixed.get("fused") else {})

    @property
    def capturable(self) -> bool:  # type: ignore[override]
        """Whether the whole state is on the parameters' device."""
        views = [view for run in self._runs for view in run.views.values()]
        return all(value.device == view.device for view in views for value in self._state(view).values())

    def _run(self, choices: Sequence[TorchOptions], numbers: list[int]) -> _Run:
        start, stop = numbers[0], numbers[-1] + 1
        views = dict(self.parameters)
        if stop - start < len(choices):
            views = {name: nn.Parameter(value.detach()[start:stop]) for name, value in self.parameters.items()}
        options = choices[start].options
        return _Run(start, stop, views, {"params": list(views.values()), **options}, options["lr"])

    def schedule(self, factor: Factor) -> None:
        """Set every member's learning rate to its base rate times the factor."""
        for run, group in zip(self._runs, self._optimizer.param_groups, strict=True):
            group["lr"] = run.lr * factor

    def step(self) -> None:
        """Update from the parameters' gradients."""
        if self._kernel is not None and self._moments:
            self._call_kernel(self._kernel)
            return
        for run, gradients in zip(self._runs, self._gradients(), strict=True):
            for view, gradient in zip(run.views.values(), gradients, strict=True):
                view.grad = gradient
        with torch.no_grad():
            self._bare_step(self._optimizer)
        self._share_steps()

    @torch.no_grad()
    def _call_kernel(self, kernel: Kernel) -> None:
        torch._foreach_add_([moments.step for moments in self._moments], 1)  # pyright: ignore[reportPrivateImportUsage]
        every = zip(self._runs, self._optimizer.param_groups, self._moments, self._gradients(), strict=True)
        for run, group, moments, gradients in every:
            parameters = group["params"]
            kernel(
                parameters,
                gradients,
                moments.means,
                moments.squares,
                [],
                [moments.step] * len(parameters),
                lr=group["lr"],
                beta1=run.group["betas"][0],
                beta2=run.group["betas"][1],
                weight_decay=run.group["weight_decay"],
                eps=run.group["eps"],
                amsgrad=False,
                maximize=False,
            )

    def _share_steps(self) -> None:
        """Build the kernel's lists from torch.optim's state; all parameters of a run then share one step count."""
        if self._kernel is None:
            return
        self._moments = []
        for run in self._runs:
            states = [self._optimizer.state[view] for view in run.views.values()]
            for state in states:
                state["step"] = states[0]["step"]
            means, squares = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
            self._moments.append(_Moments(means, squares, states[0]["step"]))

    def _gradients(self) -> list[list[Tensor]]:
        """The gradients of the parameters of each run."""
        gradients: list[Any] = [parameter.grad for parameter in self.parameters.values()]
        if len(self._runs) == 1:
            return [gradients]
        sizes = [run.stop - run.start for run in self._runs]
        return [
            list(parts)
            for parts in zip(*(torch.split_with_sizes(gradient, sizes) for gradient in gradients), strict=True)
        ]

    def masked(self, alive: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """The tensors of the state, each with the mask of its members."""
        return [
            (value, alive[run.start : run.stop] if value.shape == view.shape else None)
            for run in self._runs
            for view in run.views.values()
            for value in self._state(view).values()
        ]

    def _state(self, view: nn.Parameter) -> dict[str, Tensor]:
        return {name: value for name, value in self._optimizer.state[view].items() if isinstance(value, Tensor)}

    def state(self, member: int) -> MemberState:
        """A copy of one member's state, in the parameters' shapes without the member axis."""
        run = next(run for run in self._runs if run.start <= member < run.stop)
        return {
            name: {
                key: (value[member - run.start] if value.shape == view.shape else value).detach().cpu().clone()
                for key, value in self._state(view).items()
            }
            for name, view in run.views.items()
        }

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Restore the members' states from `state`. Members that started from other runs may differ in their counts."""
        ages = [self._age(state) for state in states]
        if any(len(set(ages[run.start : run.stop])) > 1 for run in self._runs):
            self._group(ages)
        for run in self._runs:
            for name, view in run.views.items():
                members = [state[name] for state in states[run.start : run.stop]]
                for key, first in members[0].items():
                    per_member = first.shape == view.shape[1:] and key != "step"
                    value = torch.stack([state[key] for state in members]) if per_member else first.clone()
                    # torch.optim keeps step counts on the CPU, except in fused and capturable updates.
                    options = self._optimizer.defaults
                    on_cpu = key == "step" and not (options.get("fused") or options.get("capturable"))
                    self._optimizer.state[view][key] = value if on_cpu else value.to(view.device)
        if None not in ages:
            self._share_steps()

    def _age(self, state: Mapping[str, Mapping[str, Tensor]]) -> float | None:
        """Number of updates in a member's state, 0 if the algorithm does not count them; None before the first one."""
        first = state[next(iter(self.parameters))]
        return float(first.get("step", 0)) if first else None
