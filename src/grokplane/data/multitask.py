"""Several tasks at once, each with its own `=` token, mixed in given shares."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from grokplane.data import questions
from grokplane.data.joined import joined_examples, joined_table
from grokplane.data.joint import joint
from grokplane.data.shares import held_out_operands, held_out_together, in_shares
from grokplane.data.table import Examples, Table, Task, own_seed
from grokplane.options import ConfigError, checked, one_of, option

GROUP = "data"


@dataclass(frozen=True)
@checked
class Multitask:
    """Several tasks at once: `tasks` by name, each with its own split, label noise and operations.

    A task's questions, split and label noise are those that the task has alone with the same seed. An operand's token
    stands for the same number in all tasks; `op` and `=` are other tokens in each task.
    """

    tasks: dict[str, Any] = option(help="the tasks by name: +data@data.tasks.NAME=modular adds one")
    shares: Any = option(
        None,
        "training questions of each task in proportion, such as {add:2,mul:1}; null: all questions",
        stackable=True,
    )
    held_out_operands: float = option(
        0.0,
        "fraction of the operands that a task never trains on, other operands for each task",
        at_least=0,
        below=1,
        stackable=True,
    )
    seed: int | None = own_seed()

    def __post_init__(self) -> None:
        """Check what the bounds of the keys do not say; errors name `data.tasks.NAME`."""
        if not self.tasks:
            raise ConfigError("data.tasks", "{}", "must hold at least one task: +data@data.tasks.NAME=modular")
        for name, task in self.tasks.items():
            if not re.fullmatch(r"[\w-]+", name):
                raise ConfigError(f"data.tasks.{name}", name, "a task's name is of letters, digits, - and _")
            if isinstance(task, Multitask) or not hasattr(task, "examples"):
                value = "multitask" if isinstance(task, Multitask) else task
                raise ConfigError(
                    f"data.tasks.{name}", value, f"must be a single task: +data@data.tasks.{name}=modular"
                )
            if getattr(task, "layout", None) == "operands":
                allowed = "the network could not tell the tasks apart; use layout=equals or equation"
                raise ConfigError(f"data.tasks.{name}.layout", "operands", allowed)
        if self.held_out_operands and len(self.tasks) == 1:
            allowed = "must be 0 with a single task: no other task trains on the operands"
            raise ConfigError("data.held_out_operands", self.held_out_operands, allowed)
        self._check_shares()

    def _check_shares(self) -> None:
        if self.shares is None:
            return
        allowed = "must hold a number above 0 for each task, such as {add:2,mul:1}"
        if not isinstance(self.shares, Mapping):
            raise ConfigError("data.shares", self.shares, allowed)
        for name, share in self.shares.items():
            if name not in self.tasks:
                raise ConfigError(f"data.shares.{name}", share, f"no such task; {one_of(str(name), self.tasks)}")
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < math.inf:
                raise ConfigError(f"data.shares.{name}", share, "must be a number above 0")
        for name in self.tasks:
            if name not in self.shares:
                raise ConfigError(f"data.shares.{name}", None, allowed)

    def table(self, seed: int) -> Table:
        """All tasks' questions below each other; inputs [N, L].

        Raises:
            ConfigError: tasks that cannot be told apart or joined, see `joint`.
        """
        tables = self._tables(seed)
        return joined_table(tables, joint(tables))

    def examples(self, seed: int) -> Examples:
        """Every task's own share of its questions, after `held_out_operands` and `shares`.

        Raises:
            ConfigError: see `table`; an empty training subset of a task.
        """
        found: dict[str, Examples] = {}
        for name, task in self.tasks.items():
            with _named(name):
                found[name] = task.examples(_seed(task, seed))
        joint({name: own.table for name, own in found.items()})  # errors of the tasks come first
        if self.held_out_operands:
            found = held_out_operands(found, self.held_out_operands, seed)
        if self.shares is not None:
            found = in_shares(found, self.shares, seed)
        examples = joined_examples(found)
        return held_out_together(examples) if self.held_out_operands else examples

    def ask(self, operands: Sequence[str]) -> Tensor:
        """One question [L]: the name of the task, then its operands ("add,3,4").

        Raises:
            ConfigError: an unknown task, or operands that the task refuses.
        """
        name = operands[0].strip() if operands else ""
        if name not in self.tasks:
            allowed = f"must begin with the name of a task, such as {next(iter(self.tasks))},3,4"
            raise questions.refused(operands, f"{allowed}; {one_of(name, self.tasks)}")
        return joint(self._tables(0)).places[name].inputs(self.tasks[name].ask(operands[1:]))

    def _tables(self, seed: int) -> dict[str, Table]:
        found: dict[str, Table] = {}
        for name, task in self.tasks.items():
            with _named(name):
                found[name] = task.table(_seed(task, seed))
        return found


def _seed(task: Task, seed: int) -> int:
    own: int | None = getattr(task, "seed", None)
    return seed if own is None else own


@contextmanager
def _named(name: str) -> Iterator[None]:
    """A block whose errors name the keys of this task: `data.tasks.NAME.operation`, not `data.operation`."""
    try:
        yield
    except ConfigError as error:
        key, allowed = (_of_task(text, name) for text in (error.key, error.allowed))
        raise ConfigError(key, error.value, allowed) from error


def _of_task(text: str, name: str) -> str:
    text = re.sub(r"\bdata\.(?=\w)", f"data.tasks.{name}.", text)
    return re.sub(r"\bdata/(\w+)(?![\w@])", rf"data/\1@data.tasks.{name}.\1", text)


CHOICES: Mapping[str, type] = {"multitask": Multitask}
