"""Groups of runs of a frame that differ only in their seed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from grokplane.plot.scales import text
from grokplane.plot.titles import is_aside

if TYPE_CHECKING:
    import pandas as pd

# Config groups that determine what is trained and how it is measured; keys of other groups do not change a curve.
GROUPS = ("data", "model", "optimizer", "rules", "schedule", "loss", "train", "mi")
SAME = ("mi.workers", "mi.cache", "data.download")  # keys of these groups that do not change a curve
CLASS = "._target_"  # key of the choice that the other keys of a group belong to


def settings(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Group the runs of a frame by the config keys besides the seed in which they differ, in order of appearance.

    Args:
        frame: as returned by `grokplane.record.load` or `grokplane.record.summaries`: column `run`, and the dotted keys
            of the config, of which those that can affect a result count.

    Returns:
        Rows by names such as `optimizer.weight_decay=0.1`; one entry with an empty name if there is no difference.
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
    """Config keys besides the seed in which the runs of a frame differ, in column order.

    A key that is determined by another choice (the betas of one optimizer, the momentum of another) is left out.

    Args:
        frame: as for `settings`.
        aside: keys to ignore.
    """
    first = _each_run(frame)
    values = {str(key): [text(value) for value in first[key]] for key in first if _counts(str(key), aside)}
    found = [key for key, column in values.items() if len(set(column)) > 1]
    classes = [key for key in found if key.endswith(CLASS)]
    return [key for key in found if not any(_follows(key, one, values) for one in classes)]


def check_one_setting(frame: pd.DataFrame, aside: Collection[str] = ()) -> None:
    """Check that runs differ only in their seed, for a figure of means or medians.

    Args:
        frame: as for `settings`.
        aside: keys that may differ.

    Raises:
        ValueError: if they differ in other keys; the message names the keys and a remedy.
    """
    first = _each_run(frame)
    told = [f"{_shown(key)}: {', '.join(_values(first, key))}" for key in differing(frame, aside)]
    if told:
        many = f"runs that differ in more than the seed cannot be combined ({'; '.join(told)})"
        raise ValueError(f"{many}: draw each group of grokplane.plot.settings(rows) separately")


def _each_run(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per run."""
    return frame.drop_duplicates("run") if "run" in frame else frame


def _counts(key: str, aside: Collection[str]) -> bool:
    group, _, rest = key.partition(".")
    return group in GROUPS and rest != "" and key not in aside and not is_aside(key, SAME)


def _follows(key: str, choice: str, values: dict[str, list[str]]) -> bool:
    """Whether a key belongs to a choice and is determined by the class of that choice."""
    pairs = set(zip(values[choice], values[key], strict=True))
    return key != choice and key.startswith(choice.removesuffix(CLASS) + ".") and len(pairs) == len(set(values[choice]))


def _told(key: str, value: str) -> str:
    return f"{_shown(key)}={_short(value)}"


def _shown(key: str) -> str:
    return key.removesuffix(CLASS)


def _values(first: pd.DataFrame, key: str) -> list[str]:
    return list(dict.fromkeys(_short(text(value)) for value in first[key]))


def _short(value: str) -> str:
    """Shorten the dotted path of a grokplane class to its name."""
    return value.rpartition(".")[2] if value.startswith("grokplane.") else value
