"""Base class of tasks whose table is split by a choice of `data/split`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from grokplane.data.noise import with_label_noise
from grokplane.data.table import Examples, Table


class SplitTask:
    """A task with the keys `split`, `train_fraction` and `label_noise`, which its dataclass declares."""

    # The choice of a config group below this one that a task without a YAML file starts from.
    parts: ClassVar[Mapping[str, str]] = {"split": "random"}
    split: Any
    train_fraction: float | None
    label_noise: float

    def table(self, seed: int) -> Table:
        """See `Task`."""
        raise NotImplementedError(f"{type(self).__name__} has no table")

    def examples(self, seed: int) -> Examples:
        """One member's questions: split by its seed, with its label noise.

        Raises:
            ConfigError: keys that do not fit together.
        """
        table = self.table(seed)
        train, test = self.split(table, self.train_fraction, seed)
        noisy = with_label_noise(table.targets[train], self.label_noise, seed)
        return Examples(table, train, test, noisy)
