"""Phases of runs with label noise: Doshi, Das, He and Gromov 2023, "To grok or not to grok: Disentangling
generalization and memorization on corrupted algorithmic datasets" (arXiv 2310.13061). A part of the floor.

The thresholds are this program's own. A run generalises if it answers at least the share `MOST` of the
held-out questions, and has memorised or inverted the corrupted points if it answers `MOST` of them as trained or right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST = 0.9
PHASES = ("coexistence", "partial inversion", "full inversion", "memorisation", "forgetting", "confusion")


def phase(train: float, held_out: float, taught: float, right: float, *, fitted_before: bool, threshold: float) -> str:
    """The phase of a run, by its accuracies at the last log point.

    - `coexistence`: generalises and has memorised the corrupted points.
    - `full inversion`: generalises and answers the corrupted points right, not as it is trained to.
    - `partial inversion`: generalises, and neither holds: only some of the corrupted points are memorised.
    - `memorisation`: fits the training targets and does not generalise.
    - `forgetting`: fitted them at an earlier log point, but neither fits them now nor generalises.
    - `confusion`: never fitted them and does not generalise.

    Args:
        train: accuracy on the training points, against the targets that are trained.
        held_out: accuracy on the held-out questions. NaN reaches no threshold.
        taught: accuracy on the corrupted points, against the wrong answers that are trained.
        right: accuracy on the corrupted points, against the right answers; `taught + right` is at most 1.
        fitted_before: whether `train` reached the threshold at an earlier log point.
        threshold: accuracy that counts as fitted, `grok.threshold`.
    """
    if held_out >= MOST:
        inverted = "full inversion" if right >= MOST else "partial inversion"
        return "coexistence" if taught >= MOST else inverted
    if train >= threshold:
        return "memorisation"
    return "forgetting" if fitted_before else "confusion"


def phase_of(last: Mapping[str, Any], grok: Mapping[str, Any] | None) -> str | None:
    """The phase of a finished run; None for a run without label noise, which has no corrupted points.

    Args:
        last: the values of its last log point.
        grok: its marks as `summary.json` holds them, with `threshold`, and `questions`: those that are `held_out`.
    """
    if grok is None or last.get("Acc_true/train/corrupted") is None:
        return None
    names = ("Acc/train", f"Acc/{grok['questions']}", "Acc/train/corrupted", "Acc_true/train/corrupted")
    values = (float("nan") if last.get(name) is None else last[name] for name in names)
    return phase(*values, fitted_before=grok["train_step"] is not None, threshold=grok["threshold"])
