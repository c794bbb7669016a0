"""Held-out questions without a mirror in training: shown where they tell anything else than all held-out ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def shown(rows: pd.DataFrame, column: str) -> bool:
    """Whether a frame's column is one to draw; `Acc/unseen` that is `Acc/test` throughout is the same line twice."""
    if column not in rows:
        return False
    metric, _, subset = column.rpartition("/")
    if subset != "unseen" or f"{metric}/test" not in rows:
        return True
    unseen, test = rows[column], rows[f"{metric}/test"]
    return bool(unseen.notna().any()) and not bool((unseen.eq(test) | (unseen.isna() & test.isna())).all())
