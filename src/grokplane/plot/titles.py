"""What a figure says of its run: its name, what was set for it, its seed, when it grokked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grokplane.options import shown
from grokplane.plot.measured import value

# Overrides that do not change what a figure shows, or that its title has anyhow.
ASIDE = (
    *("hydra", "record", "log", "metrics", "debug", "name", "seed", "data.root"),
    *(f"train.{key}" for key in ("device", "threads", "checkpoint_every", "keep_checkpoints", "resume", "overwrite")),
)
UNNAMED = "default"  # of a run that nobody named: what was set for it says more
TOLD, LONGEST = 250, 60  # characters of all overrides together and of one of them


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
    told = [_present(config, one) for one in overrides if one != f"experiment={name}" and not is_aside(_key(one))]
    told = _shortened(told)
    told += [f"{runs} runs"] if runs > 1 else [f"seed {seed}"] if seed is not None else []
    named = "" if name == UNNAMED and len(told) > 1 else name
    title = ": ".join(part for part in (named, ", ".join(told)) if part)
    return About(title, marks, marks.get("threshold"))


def _shortened(told: Sequence[str]) -> list[str]:
    """As many of the last overrides, in which a sweep's cells differ, as have room, and how many there are more."""
    each = [one if len(one) <= LONGEST else f"{one[: LONGEST - 3]}..." for one in told]
    room = [sum(map(len, each[-count:])) + 2 * count <= TOLD for count in range(1, len(each) + 1)]
    left = room.count(False)
    return [*([f"{left} more"] if left else []), *each[left:]]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0].replace("/", ".")


def is_aside(key: str, more: Sequence[str] = ()) -> bool:
    """Whether a config key is one of `ASIDE` or of `more`, or lies below one."""
    return any(key == one or key.startswith(f"{one}.") for one in (*ASIDE, *more))


def _present(config: Mapping[str, Any], override: str) -> str:
    """The override with the value that the config has now; a config group stays as it was typed."""
    now = value(config, _key(override))
    known = now is not None and now == now and not isinstance(now, Mapping)
    return f"{_key(override)}={shown(now)}" if known else override
