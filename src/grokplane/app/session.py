"""One stack from configs to finished folders: resume, train, record, draw."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from grokplane import config
from grokplane.app.progress import Progress
from grokplane.app.resume import saved
from grokplane.app.scribe import Scribe
from grokplane.app.signals import StopRequest
from grokplane.record import Recorder
from grokplane.train import Stack, run


@dataclass(frozen=True)
class Outcome:
    """How a session ended.

    Attributes:
        summaries: what each member's summary.json says.
        signal: the signal that interrupted it, if one did.
    """

    summaries: list[dict[str, Any]]
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """0 when all finished, 3 when one diverged, 128 + the signal when interrupted."""
        if self.signal is not None:
            return 128 + self.signal
        return 3 if any(summary["status"] == "diverged" for summary in self.summaries) else 0


def execute(configs: Sequence[DictConfig], folders: Sequence[Path]) -> Outcome:
    """Train the members that the configs describe as one stack, each into its own folder.

    With `train.resume=true` each goes on from the checkpoint in its folder (from step 0 where there is none).

    Raises:
        ConfigError: members that cannot be trained together, folders that are taken or in use.
    """
    stack = Stack([config.member(one) for one in configs])
    options = stack.members[0].train
    checkpoints = [saved(folder.absolute()) for folder in folders] if options.resume else []
    if checkpoints and None not in checkpoints:
        stack.load([last.state for last in checkpoints if last is not None])
    with ExitStack() as exits:
        pairs = list(zip(configs, folders, strict=True))
        recorders = [exits.enter_context(_recorder(one, folder, stack)) for one, folder in pairs]
        scribes = [Scribe(stack, number, recorder, plain(configs[number])) for number, recorder in enumerate(recorders)]
        stop = exits.enter_context(StopRequest())
        with Progress(stack.step, options.steps) as progress:
            for point in run(stack, stop):
                for scribe in scribes:
                    scribe.take(point)
                progress.show(point.step, point.records)
        summaries = [scribe.close() for scribe in scribes]
    interrupted = any(summary["status"] == "interrupted" for summary in summaries)
    return Outcome(summaries, stop.signal if interrupted else None)


def _recorder(one: DictConfig, folder: Path, stack: Stack) -> Recorder:
    options = stack.members[0].train
    extra = {"device": str(stack.device), "threads": torch.get_num_threads(), "members": len(stack.members)}
    return Recorder(
        folder,
        plain(one),
        config.instantiate(one.record, _convert_="all"),
        overwrite=options.overwrite,
        resume_step=stack.step if options.resume else None,
        keep_checkpoints=options.keep_checkpoints,
        extra=extra,
    )


def plain(one: DictConfig) -> dict[str, Any]:
    """A config as plain nested dicts, as it is stored: how this very call started is not part of the run."""
    container = OmegaConf.to_container(one, resolve=True)
    assert isinstance(container, dict)
    container.pop("hydra", None)
    container["train"] |= {"resume": False, "overwrite": False}
    return {str(key): value for key, value in container.items()}
