"""Frames as `grokplane.record.load` returns them, with mutual information made up by formulas."""

from __future__ import annotations

import numpy as np
import pandas as pd

STEPS = np.array([0, 1, 2, 10, 100, 1000, 2000, 4000])
LAYERS = ("layer 1", "layer 2")


def information_rows(run: str = "0", shift: float = 0.0, layers: tuple[str, ...] = LAYERS) -> pd.DataFrame:
    """Eight log points of one run; `shift` nats are added to every information."""
    s = np.log10(1 + STEPS) / 4
    columns: dict[str, object] = {"step": STEPS, "Acc/train": s, "Acc/test": s**2, "Loss/train": 2 - s, "Loss/test": 1}
    for subset, points in (("train", 1000), ("eval", 10000)):
        columns |= {f"H(Y)_{subset}": 2.3, f"ln n_{subset}": np.log(points)}
        for number, layer in enumerate(layers):
            columns[f"MI(X;L)_{subset}/{layer}"] = 2 - s - 0.1 * number + shift
            columns[f"MI(X;L)_Errors_{subset}/{layer}"] = 0.1
            columns[f"MI(L;Y)_{subset}/{layer}"] = 1.5 * s + shift
            columns[f"MI(L;Y)_Errors_{subset}/{layer}"] = 0.05
    for number, layer in enumerate(layers):
        columns[f"WN/{layer}"] = 10 - s + number
    columns |= {"WN/total": 20.0, "WN/global": 14.0, "run": run}
    return pd.DataFrame(columns)
