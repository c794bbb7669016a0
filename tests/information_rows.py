"""Frames as `grokplane.record.load` returns them, with mutual information made up by formulas."""

from __future__ import annotations

import numpy as np
import pandas as pd

STEPS = np.array([0, 1, 2, 10, 100, 1000, 2000, 4000])
LAYERS = ("layer 1", "layer 2")
RESOLUTION, LADDER = 0.3, (0.1, 0.3, 0.8)
OPERANDS = 2.2  # H(a), nats


def information_rows(
    run: str = "0", shift: float = 0.0, layers: tuple[str, ...] = LAYERS, *, exact: bool = True, ood: bool = False
) -> pd.DataFrame:
    """Eight log points of one run; `shift` nats are added to every information.

    Exact: two operands, with the levels of the ladder beside the plane's, a finer one with as much more information as
    its r is smaller. Otherwise what an estimator left, measured with noise of 0.5 x the deviation. With an
    out-of-domain subset only if `ood`.
    """
    s = np.log10(1 + STEPS) / 4
    columns: dict[str, object] = {"step": STEPS, "Acc/train": s, "Acc/test": s**2, "Loss/train": 2 - s, "Loss/test": 1}
    columns |= {"Acc/ood": s**3, "Loss/ood": 3 - s} if ood else {}
    for subset, points in (("train", 1000), ("eval", 10000), *([("ood", 500)] if ood else [])):
        columns |= {f"H(Y)_{subset}": 2.3, f"ln n_{subset}": np.log(points)}
        columns |= {f"H(X)_{subset}": np.log(points) - 0.2, f"H(a)_{subset}": OPERANDS} if exact else {}
        for number, layer in enumerate(layers):
            told = {"MI(X;L)": (2 - s - 0.1 * number + shift, 0.1), "MI(L;Y)": (1.5 * s + shift, 0.05)}
            if exact:
                told |= {
                    "MI(X;L|Y)": (2 - 2.5 * s, 0.1),
                    "MI(L;a)": (0.7 - s / 2, 0.04),
                    "MI(L;b)": (0.6 - s / 2, 0.04),
                }
            for level in LADDER if exact else (RESOLUTION,):
                at = "" if level == RESOLUTION else f"@{level:g}"
                for quantity, (value, error) in told.items():
                    columns[f"{quantity}{at}_{subset}/{layer}"] = value + RESOLUTION - level
                    columns[f"{quantity}{at}_Errors_{subset}/{layer}"] = error
    for number, layer in enumerate(layers):
        columns[f"WN/{layer}"] = 10 - s + number
    columns |= {"WN/total": 20.0, "WN/global": 14.0, "run": run}
    columns |= {"mi.resolution": RESOLUTION} if exact else {"mi.noise": 0.5}
    return pd.DataFrame(columns)
