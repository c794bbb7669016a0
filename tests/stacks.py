"""Tiny stack jobs for executors, and access to the processes that train them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from command import last_step
from omegaconf import OmegaConf

from grokplane import config
from grokplane.app.session import plain
from grokplane.record.lock import holder
from grokplane.sweep.stack_job import StackJob

TINY = (
    "data.p=7",
    "model.hidden=[8]",
    "model.embedding_dim=8",
    "train.threads=1",
    "train.checkpoint_every=1_000_000",
    "record.wandb=disabled",
    "record.figures=false",
    "mi=off",
)
LONG = ("train.steps=1_000_000", "log.every=1_000")


def job(folder: Path, *keys: str, members: int = 1) -> StackJob:
    """A stack of members with different seeds, each in a folder of its own."""
    configs = [config.compose([*TINY, *keys, f"seed={number}"]) for number in range(members)]
    texts = tuple(OmegaConf.to_yaml(OmegaConf.create(plain(one))) for one in configs)
    return StackJob(texts, tuple(str(folder / str(number)) for number in range(members)))


def worker(folder: Path) -> int:
    """The process that trains the first member of the stack there."""
    return int(holder(folder / "0").split()[1])


def at_step(step: int, folder: Path, act: Callable[[], object]) -> None:
    """Call a function, on another thread, as soon as the first member of the stack there has recorded that step."""

    def wait() -> None:
        while last_step(folder / "0") < step:
            time.sleep(0.02)
        act()

    threading.Thread(target=wait, daemon=True).start()


def placed(folder: Path, members: int = 1) -> StackJob:
    """A job that is never trained."""
    return StackJob(("",) * members, tuple(str(folder / str(number)) for number in range(members)))
