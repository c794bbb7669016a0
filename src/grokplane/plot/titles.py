"""What a figure says of its run: its name, what was set for it, its seed, when it grokked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grokplane.options import shown
from grokplane.plot.measured import value

# Overrides that do not change what a figure shows, or that its title has anyhow.
ASIDE = (
    *("hydra", "record", "log", "debug", "name", "seed", "data.root"),
    *(f"train.{key}" for key in ("device", "threads", "checkpoint_every", "keep_checkpoints", "resume", "overwrite")),
)
TOLD, LONGEST = 150, 60  # characters of all overrides together and of one of them


@dataclass(frozen=True)
class About:
    """What a figure says of its run beside the metrics.

    Attributes:
        title: the run's name, its overrides and its seed.
        marks: `train_step` and `test_step`, as in a summary's `grok`.
        threshold: the accuracy that the marks stand for.
    """

    title: str = ""
    marks: Mapping[str, int | None] = field(default_factory=dict)
    threshold: float | None = None


def about(
    config: Mapping[str, Any],
    grok: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    *,
    runs: int = 1,
) -> About:
    """What figures say of a run, or of several that differ in little but their seed.

    Args:
        config: the run's config (one of theirs), nested, or flat with dotted keys as in a row of
            `grokplane.record.load`.
        grok: the `grok` of its summary.
        overrides: what was typed for it (for all of them), `key=value` each: `grokplane.record.overrides` reads them.
            A value that was changed later, when the run was resumed, is taken from the config.
        runs: how many runs the figure shows; of several it names no seed.
    """
    marks, name, seed = grok or {}, str(value(config, "name") or ""), value(config, "seed")
    told = [_present(config, one) for one in overrides if one != f"experiment={name}" and not _aside(one)]
    told = _shortened(told)
    told += [f"{runs} runs"] if runs > 1 else [f"seed {seed}"] if seed is not None else []
    title = ": ".join(part for part in (name, ", ".join(told)) if part)
    return About(title, marks, marks.get("threshold"))


def _shortened(told: Sequence[str]) -> list[str]:
    """As many of the overrides, from the first on, as a title has room for, and how many there are more."""
    each = [one if len(one) <= LONGEST else f"{one[: LONGEST - 3]}..." for one in told]
    room = [sum(map(len, each[:count])) + 2 * count <= TOLD for count in range(1, len(each) + 1)]
    left = room.count(False)
    return [*each[: len(each) - left], *([f"{left} more"] if left else [])]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0].replace("/", ".")


def _aside(override: str) -> bool:
    key = _key(override)
    return any(key == one or key.startswith(f"{one}.") for one in ASIDE)


def _present(config: Mapping[str, Any], override: str) -> str:
    """The override with the value that the config has now; a config group stays as it was typed."""
    now = value(config, _key(override))
    known = now is not None and now == now and not isinstance(now, Mapping)
    return f"{_key(override)}={shown(now)}" if known else override
