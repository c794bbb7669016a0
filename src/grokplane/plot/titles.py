"""Title and marks of a figure: the name of its run, its overrides, its seed, its grok steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grokplane.options import shown
from grokplane.plot.measured import value

# Overrides that do not change what a figure shows, or that the title contains in another way.
ASIDE = (
    *("hydra", "record", "log", "metrics", "debug", "name", "seed", "data.root"),
    *(f"train.{key}" for key in ("device", "threads", "checkpoint_every", "keep_checkpoints", "resume", "overwrite")),
)
UNNAMED = "default"  # name of a run without a name of its own; the title omits it if there are overrides
TOLD, LONGEST = 250, 60  # largest number of characters of all overrides, and of one override


@dataclass(frozen=True)
class About:
    """Title and marks of the figures of a run.

    Attributes:
        title: name of the run, its overrides and its seed.
        marks: `train_step` and `test_step`, as in the `grok` of a summary.
        threshold: accuracy that defines the marks.
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
    """Make title and marks for a run, or for several runs that mainly differ in their seed.

    Args:
        config: config of the run (or of one of the runs), nested, or flat with dotted keys as in a row of
            `grokplane.record.load`.
        grok: the `grok` of its summary.
        overrides: overrides of the run (or of all runs), `key=value` each; `grokplane.record.overrides` reads them.
            If a value was changed when the run was resumed, the value of the config is used.
        runs: number of runs in the figure; for several runs the title has no seed.
    """
    marks, name, seed = grok or {}, str(value(config, "name") or ""), value(config, "seed")
    told = [_present(config, one) for one in overrides if one != f"experiment={name}" and not is_aside(_key(one))]
    told = _shortened(told)
    told += [f"{runs} runs"] if runs > 1 else [f"seed {seed}"] if seed is not None else []
    named = "" if name == UNNAMED and len(told) > 1 else name
    title = ": ".join(part for part in (named, ", ".join(told)) if part)
    return About(title, marks, marks.get("threshold"))


def _shortened(told: Sequence[str]) -> list[str]:
    """Keep as many of the last overrides, in which the cells of a sweep differ, as fit; count the omitted ones."""
    each = [one if len(one) <= LONGEST else f"{one[: LONGEST - 3]}..." for one in told]
    room = [sum(map(len, each[-count:])) + 2 * count <= TOLD for count in range(1, len(each) + 1)]
    left = room.count(False)
    return [*([f"{left} more"] if left else []), *each[left:]]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0].replace("/", ".")


def is_aside(key: str, more: Sequence[str] = ()) -> bool:
    """Whether a config key is in `ASIDE` or `more`, or below one of these keys."""
    return any(key == one or key.startswith(f"{one}.") for one in (*ASIDE, *more))


def _present(config: Mapping[str, Any], override: str) -> str:
    """The override with the current value of the config; the choice of a config group is unchanged."""
    now = value(config, _key(override))
    known = now is not None and now == now and not isinstance(now, Mapping)
    return f"{_key(override)}={shown(now)}" if known else override
