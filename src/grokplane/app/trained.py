"""A trained run at one of its steps: an ordinary network, the task's table, the activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grokplane import config
from grokplane.app.errors import Refused
from grokplane.app.stored import composed
from grokplane.data import Examples, Table
from grokplane.metrics import Off
from grokplane.models.single import Single
from grokplane.options import ConfigError
from grokplane.record import read_summary
from grokplane.train import Member, Stack, prepare_process
from grokplane.train.device import find_device


@dataclass(frozen=True)
class Trained:
    """A run as it was after `step` updates.

    Attributes:
        folder: the run's folder.
        step: number of updates done.
        member: the objects that the run's config describes, on a device of this machine.
        state: the checkpoint of this step.
        note: a line on what differs from training, "" for nothing.
    """

    folder: Path
    step: int
    member: Member
    state: dict[str, Any]
    note: str = ""

    @cached_property
    def network(self) -> Single:
        """The network as an ordinary `torch.nn.Module` in evaluation mode: inputs [B, ...] to outputs [B, C].

        Its parameters have no member axis and the names of the checkpoint. Inputs are rows of `table.inputs`.
        """
        return Single(self.stack().network)

    @cached_property
    def examples(self) -> Examples:
        """The task's table, the split, and the training answers with label noise."""
        return self.member.examples()

    @property
    def table(self) -> Table:
        """Every question of the task and its answer."""
        return self.examples.table

    @property
    def train(self) -> Tensor:
        """Rows [n] of the table in the training subset."""
        return self.examples.train

    @property
    def test(self) -> Tensor:
        """Rows [m] of the table in the held-out subset."""
        return self.examples.test

    @property
    def ood(self) -> Tensor | None:
        """Rows [o] of the table in the out-of-domain subset; None if the task has none."""
        return self.examples.ood

    def activations(self, inputs: Tensor) -> dict[str, Tensor]:
        """Activations [B, ..., F] of every named layer of `network`, in the order of the forward pass.

        Args:
            inputs: rows [B, ...] as in `table.inputs`.
        """
        return self.network.activations(inputs)

    def prepare_process(self) -> None:
        """Set up the process as in training, with the threads of the checkpoint: equal bits need both."""
        prepare_process([self.member], [self.state])

    def stack(self, copies: int = 1) -> Stack:
        """Copies of the trained network as one stack, in evaluation mode; see `stack_of`."""
        return stack_of([self] * copies)

    @property
    def title(self) -> str:
        """The folder and the step, and whether the run finished there."""
        summary = read_summary(self.folder)
        ended = summary.get("status") == "finished" and summary.get("steps") == self.step
        return f"{self.folder}: {'finished at ' if ended else ''}step {self.step:,}"


def stack_of(runs: Sequence[Trained]) -> Stack:
    """Several steps of one run as the members of one stack, in evaluation mode.

    All members have the config, the step, the optimizer state and the noise of the last one: the stack is for
    evaluation.

    Raises:
        Refused: a checkpoint does not fit the model of its config.
    """
    last = runs[-1]
    with torch.enable_grad():  # by which a user's own module is tried
        stack = Stack([last.member] * len(runs))
    try:
        stack.load_states([last.state | {"model": run.state["model"]} for run in runs])
    except (KeyError, RuntimeError) as error:
        cause = str(error).partition("\n")[0]
        raise Refused(f"{last.folder}: the checkpoint does not fit the model of its config ({cause})") from error
    stack.network.at(last.step)  # a layer's noise is that of the last log point
    stack.network.eval()
    return stack


def trained(folder: Path, state: dict[str, Any], module: str | None = None) -> Trained:
    """A run by one of its checkpoints.

    Args:
        folder: the run's folder.
        state: what the checkpoint holds.
        module: the class of the run's own module, which the caller trusts; None where it has none.

    Raises:
        ConfigError, HydraException: a stored config that makes no member.
    """
    # Information is not measured here, and earlier versions measured it by other keys.
    unmeasured = {**state["config"], "mi": {"_target_": f"{Off.__module__}.{Off.__name__}"}}
    member = config.member(composed(unmeasured, [module] if module else []))
    note = ""
    try:
        find_device(member.train.device)
    except ConfigError:
        note = f"note: the run's train.device={member.train.device} is not here; this is computed on the cpu"
        member = replace(member, train=replace(member.train, device="cpu"))
    return Trained(folder, state["step"], member, state, note)
