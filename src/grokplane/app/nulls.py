"""Reads `key=None`, the form in which W&B's agents write null, as `key=null`."""

from __future__ import annotations

from collections.abc import Iterable


def as_nulls(arguments: Iterable[str]) -> list[str]:
    """Replace the value `None` by YAML's `null`. Quotes keep the text: `record.name='None'`.

    Hydra's own keys are left alone: `hydra.run.dir=None` names a folder.
    """
    parts = [(one, *one.partition("=")) for one in arguments]
    return [f"{key}=null" if value == "None" and not key.startswith("hydra.") else one for one, key, _, value in parts]
