"""The lines that a run prints at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_QUESTIONS = {
    "test": "held-out set",
    "unseen": "held-out questions without a mirror in training",
    "ood": "out-of-domain set",
}
_LAST = [f"{metric}/{subset}" for metric in ("Acc", "Loss") for subset in ("train", "test", "ood")]


def report(folder: Path, summary: Mapping[str, Any]) -> str:
    """Return the folder, the steps at which the run and each task of it fitted and generalised, and the last values."""
    folder = shortened(folder)
    questions = summary["grok"]["questions"]
    lines = [
        ("run", f"{folder} ({summary['status']} at step {summary['steps']:,})"),
        ("fitted", _mark(summary["grok"], "train", "training set")),
        (
            "generalised",
            _mark(summary["grok"], "test", _QUESTIONS.get(questions, f"group {questions}")) + _delay(summary["grok"]),
        ),
        *_lasting(summary["grok"]),
        *(("task", _part(name, marks)) for name, marks in summary["grok"].get("parts", {}).items()),
        ("last", _last(summary["last"])),
    ]
    if summary.get("phase") is not None:
        lines.append(("phase", summary["phase"]))
    if summary["diverged"] is not None:
        lines.append(("diverged", f"training loss not finite at step {summary['diverged']:,}"))
    figures = sorted(path.name for path in (folder / "figures").glob("*.*"))
    if figures:
        lines.append(("figures", f"{folder / 'figures'}: {', '.join(figures)}"))
    return "\n".join(f"{name:<12} {text}" for name, text in lines)


def shortened(folder: Path) -> Path:
    """Return a folder relative to the current one if it lies below it, else unchanged."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) and folder != here else folder


def _mark(grok: Mapping[str, Any], split: str, what: str) -> str:
    step, threshold = grok[f"{split}_step"], grok["threshold"]
    if step is None:
        return f"never: accuracy on the {what} stayed below {threshold:g}"
    return f"step {step:,}: accuracy on the {what} reached {threshold:g}"


def _lasting(grok: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Whether the run stayed generalised; nothing for one that never was, or that an earlier version began."""
    if grok["test_step"] is None or "stable_step" not in grok:
        return []
    stable, count = grok["stable_step"], grok["collapses"]
    text = "not at the end" if stable is None else f"from step {stable:,} to the end"
    if count:
        lowest = "" if grok["lowest"] is None else f", lowest accuracy {grok['lowest']:.4g}"
        text += f"; {count} collapse{'s' * (count > 1)}{lowest}"
    return [("stable", text)]


def _part(name: str, marks: Mapping[str, Any]) -> str:
    """The marks of one task of a mixture."""
    fitted, generalised = (
        f"{what} at step {marks[key]:,}" if marks[key] is not None else f"never {what}"
        for what, key in (("fitted", "train_step"), ("generalised", "test_step"))
    )
    return f"{name}: {fitted}, {generalised}{_delay(marks)}"


def _delay(grok: Mapping[str, Any]) -> str:
    if grok["delay"] is None:
        return ""
    return f", {abs(grok['delay']):,} steps {'later' if grok['delay'] >= 0 else 'before'}"


def _last(last: Mapping[str, Any]) -> str:
    shown = [name for name in _LAST if last.get(name) is not None]
    return ", ".join(f"{name} {last[name]:.4g}" for name in shown)
