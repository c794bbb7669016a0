"""Do the informations of recorded runs obey the laws that hold between them?

`python benchmarks/laws.py RUN...` looks at every log point, subset, layer and resolution of runs with `mi=default` and
prints what is broken: by more than three standard errors of the difference, 0 if nothing is.

    0 <= I(T;Y) <= min(H(Y), I(X;T)),   I(X;T) <= min(ln n, H(X), 1 / 2 r^2),   I(X;T|Y) = I(X;T) - I(T;Y) >= 0,
    I(T;Y) >= H(Y) - (ln n - I(X;T)),   all of them fall as r grows,   and so for the operands in place of Y.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from grokplane.record import find_runs, load

ERRORS, SLACK = 3, 1e-6  # standard errors that a law may be off, and nats, for round-off
QUANTITY = re.compile(r"MI\(X;L\)(?:@(?P<level>[^_]+))?_(?P<subset>train|eval)/(?P<layer>.+)")
Values = tuple[np.ndarray, np.ndarray]  # over log points, with standard errors; NaN where not known


def broken(rows: pd.DataFrame) -> tuple[int, list[str]]:
    """How many laws were looked at in a frame of one run, and a line for each that is broken."""
    checked, lines = 0, []
    for what, excess in laws(rows):
        checked += int(np.isfinite(excess).sum())
        worst = np.nanmax(np.append(excess, -np.inf))
        if worst > 0:
            at = int(rows["step"].iloc[int(np.nanargmax(excess))])
            lines.append(
                f"{what}: broken at {(excess > 0).sum()} of {len(rows)} log points, most at step {at}: {worst:.4f}"
            )
    return checked, lines


def laws(rows: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Every law of a frame, and by how much it is broken beyond its slack at each log point [points]."""
    plain = f"{float(rows['mi.resolution'].iloc[0]):g}"
    found = [match for name in rows.columns if (match := QUANTITY.fullmatch(str(name)))]
    for subset, layer in dict.fromkeys((match["subset"], match["layer"]) for match in found):
        levels = sorted({float(match["level"] or plain) for match in found if match["layer"] == layer})
        before: dict[str, Values] = {}
        for r in levels:
            at = "" if f"{r:g}" == plain else f"@{r:g}"
            now = {
                name: _values(rows, f"{name}{at}", subset, layer)
                for name in ("MI(X;L)", "MI(L;Y)", "MI(L;a)", "MI(L;b)", "MI(X;L|Y)")
                if f"{name}{at}_{subset}/{layer}" in rows
            }
            for law, (left, right) in _at_one_level(rows, now, subset, r).items():
                yield f"{law} (r = {r:g}, {subset}, {layer})", _excess(left, right)
            for name in before.keys() & now.keys():
                yield f"{name} falls as r grows (to r = {r:g}, {subset}, {layer})", _excess(now[name], before[name])
            before = now


def _at_one_level(
    rows: pd.DataFrame, now: dict[str, Values], subset: str, r: float
) -> dict[str, tuple[Values, Values]]:
    """Laws as pairs of which the left must not exceed the right."""
    of_input, none = now["MI(X;L)"], _exact(np.zeros(len(rows)))
    highest = rows[f"ln n_{subset}"].to_numpy()
    found = {
        "0 <= I(X;L)": (none, of_input),
        "I(X;L) <= ln n": (of_input, _exact(highest)),
        "I(X;L) <= H(X)": (of_input, _exact(rows[f"H(X)_{subset}"].to_numpy())),
        "I(X;L) <= 1 / 2 r^2": (of_input, _exact(np.full(len(rows), 0.5 / r**2))),
    }
    for name in [name for name in now if name.startswith("MI(L;")]:
        entropy = rows[f"H({name[5:-1]})_{subset}"].to_numpy()
        said = name.removeprefix("M")
        found |= {
            f"0 <= {said}": (none, now[name]),
            f"{said} <= H": (now[name], _exact(entropy)),
            f"{said} <= I(X;L)": (now[name], of_input),
            f"{said} >= H - (ln n - I(X;L))": ((entropy - highest + of_input[0], of_input[1]), now[name]),
        }
    if "MI(X;L|Y)" in now:
        value, error = now["MI(X;L|Y)"]
        rest = of_input[0] - now["MI(L;Y)"][0]
        found |= {
            "0 <= I(X;L|Y)": (none, (value, error)),
            "I(X;L|Y) = I(X;L) - I(L;Y)": (_exact(np.abs(value - rest)), none),
        }
    return found


def _values(rows: pd.DataFrame, name: str, subset: str, layer: str) -> Values:
    of = (rows[f"{part}_{subset}/{layer}"].to_numpy(dtype=float) for part in (name, f"{name}_Errors"))
    return next(of), next(of)


def _exact(values: np.ndarray) -> Values:
    return values.astype(float), np.zeros(len(values))


def _excess(left: Values, right: Values) -> np.ndarray:
    return left[0] - right[0] - ERRORS * np.hypot(left[1], right[1]) - SLACK


def main() -> int:
    """Print what is broken; 1 if anything is."""
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    failed = False
    for name, folder in find_runs([Path(path) for path in sys.argv[1:]]).items():
        checked, lines = broken(load(folder))
        print(f"{name}: {checked:,} checked, {len(lines)} broken", *lines, sep="\n  ")
        failed |= bool(lines) or not checked
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
