"""Which runs of a frame belong together: those that differ in nothing but their seed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from grokplane.plot.scales import text
from grokplane.plot.titles import is_aside

if TYPE_CHECKING:
    import pandas as pd

# The config groups that say what is trained and how it is measured; no other group's key changes a curve.
GROUPS = ("data", "model", "optimizer", "rules", "schedule", "loss", "train", "mi")
SAME = ("mi.workers", "mi.cache", "data.download")  # which change none either
CLASS = "._target_"  # of which of a group's choices the other keys of that group are


def settings(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A frame's runs by what differs between them besides the seed, in the order in which they come.

    Args:
        frame: as `grokplane.record.load` or `grokplane.record.summaries` returns it: column `run`, and the config's
            dotted keys, of which those count that a result can depend on.

    Returns:
        The rows by names such as `optimizer.weight_decay=0.1`; one entry, without a name, where nothing differs.
    """
    keys = differing(frame)
    if not keys:
        return {"": frame}
    first = _each_run(frame)
    columns = [[_told(key, text(value)) for value in first[key]] for key in keys]
    names = [", ".join(told) for told in zip(*columns, strict=True)]
    if "run" in frame:
        by_run = dict(zip(first["run"], names, strict=True))
        names = [by_run[run] for run in frame["run"]]
    return {name: frame.loc[[own == name for own in names]] for name in dict.fromkeys(names)}


def differing(frame: pd.DataFrame, aside: Collection[str] = ()) -> list[str]:
    """The config keys besides the seed in which a frame's runs differ, in the order of its columns.

    A key that follows from another choice (the betas of one optimizer beside the momentum of another) is left out.

    Args:
        frame: as for `settings`.
        aside: keys that may differ.
    """
    first = _each_run(frame)
    values = {str(key): [text(value) for value in first[key]] for key in first if _counts(str(key), aside)}
    found = [key for key, column in values.items() if len(set(column)) > 1]
    classes = [key for key in found if key.endswith(CLASS)]
    return [key for key in found if not any(_follows(key, one, values) for one in classes)]


def check_one_setting(frame: pd.DataFrame, aside: Collection[str] = ()) -> None:
    """Refuse, for a figure that shows means or medians, runs that differ in more than their seed.

    Args:
        frame: as for `settings`.
        aside: keys that may differ.

    Raises:
        ValueError: in which keys they do, and what to draw instead.
    """
    first = _each_run(frame)
    told = [f"{_shown(key)}: {', '.join(_values(first, key))}" for key in differing(frame, aside)]
    if told:
        many = f"runs that differ in more than the seed cannot be put together ({'; '.join(told)})"
        raise ValueError(f"{many}: draw each of grokplane.plot.settings(rows) for itself")


def _each_run(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a run."""
    return frame.drop_duplicates("run") if "run" in frame else frame


def _counts(key: str, aside: Collection[str]) -> bool:
    group, _, rest = key.partition(".")
    return group in GROUPS and rest != "" and key not in aside and not is_aside(key, SAME)


def _follows(key: str, choice: str, values: dict[str, list[str]]) -> bool:
    """Whether a key belongs to a choice and has one value for each class there."""
    pairs = set(zip(values[choice], values[key], strict=True))
    return key != choice and key.startswith(choice.removesuffix(CLASS) + ".") and len(pairs) == len(set(values[choice]))


def _told(key: str, value: str) -> str:
    return f"{_shown(key)}={_short(value)}"


def _shown(key: str) -> str:
    return key.removesuffix(CLASS)


def _values(first: pd.DataFrame, key: str) -> list[str]:
    return list(dict.fromkeys(_short(text(value)) for value in first[key]))


def _short(value: str) -> str:
    """Of a class its name alone."""
    return value.rpartition(".")[2] if value.startswith("grokplane.") else value
