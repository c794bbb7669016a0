"""Base class of tasks whose table is split by a choice of `data/split`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from grokplane.answers import LabelSequence
from grokplane.data.noise import with_label_noise
from grokplane.data.table import Examples, Table, own_seed
from grokplane.options import ConfigError, option


@dataclass(frozen=True)
class SplitTask:
    """Base of tasks with a table that is split into training and held-out questions."""

    # The choice of a config group below this one that a task without a YAML file starts from.
    parts: ClassVar[Mapping[str, str]] = {"split": "random"}

    split: Any = option(help="which questions train, see data/split")
    _: KW_ONLY
    train_fraction: float | None = option(
        0.5, "fraction of the questions for training", above=0, below=1, stackable=True
    )
    label_noise: float = option(
        0.0, "replaced training answers: a fraction if below 1, else a number", at_least=0, stackable=True
    )
    seed: int | None = own_seed()

    def table(self, seed: int) -> Table:
        """See `Task`."""
        raise NotImplementedError(f"{type(self).__name__} has no table")

    def examples(self, seed: int) -> Examples:
        """One member's questions: split by its seed, with its label noise.

        Raises:
            ConfigError: keys that do not fit together.
        """
        table = self.table(seed)
        if self.label_noise and isinstance(table.answers, LabelSequence) and table.answers.fed_back:
            raise ConfigError("data.label_noise", self.label_noise, "must be 0: the inputs contain the right answers")
        train, test = self.split(table, self.train_fraction, seed)
        noisy = with_label_noise(table.targets[train], self.label_noise, seed)
        return Examples(table, train, test, noisy)
