"""`key=None`, as W&B's agents write a cell's null, is `key=null`."""

from __future__ import annotations

from collections.abc import Iterable


def as_nulls(arguments: Iterable[str]) -> list[str]:
    """The arguments of a call with Python's None as YAML's null; the text is had in quotes, `record.name='None'`.

    Hydra's keys are no cell's: `hydra.run.dir=None` is a folder of that name.
    """
    parts = [(one, *one.partition("=")) for one in arguments]
    return [f"{key}=null" if value == "None" and not key.startswith("hydra.") else one for one, key, _, value in parts]
