"""Held-out questions without a mirror in training: drawn only if they differ from all held-out questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def shown(rows: pd.DataFrame, column: str) -> bool:
    """Whether to draw a column of a frame; `Acc/unseen` is omitted if it equals `Acc/test` at all steps."""
    if column not in rows:
        return False
    metric, _, subset = column.rpartition("/")
    if subset != "unseen" or f"{metric}/test" not in rows:
        return True
    unseen, test = rows[column], rows[f"{metric}/test"]
    return bool(unseen.notna().any()) and not bool((unseen.eq(test) | (unseen.isna() & test.isna())).all())
