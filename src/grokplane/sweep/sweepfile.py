"""Sweep files in W&B's format: what they say, and one line for what cannot be run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokplane.app.errors import Refused
from grokplane.random import numpy_generator
from grokplane.sweep.agent_command import read_command, without_agents_own
from grokplane.sweep.distributions import DISTRIBUTIONS, listed
from grokplane.sweep.parsing import FileContent, Parameter, load_yaml

# What W&B reads; what only W&B's server has a use for is accepted and left alone.
KEYS = ("program", "method", "parameters", "command", "run_cap", "metric", "name", "description", "project", "entity")
METHODS = ("grid", "random")


@dataclass(frozen=True)
class SweepFile:
    """A sweep file, checked.

    Attributes:
        path: where it lies.
        config_name: its program's config.
        method: `grid` or `random`.
        parameters: by config key, in the file's order.
        fixed: overrides in its `command`, the same for every cell; what is ignored here is left out.
        run_cap: how many cells at most; None: no limit, which `random` needs.
        modules: modules of the user's own that the call named; what the file names is not imported on its word.
    """

    path: Path
    config_name: str
    method: str
    parameters: Mapping[str, Parameter]
    fixed: Mapping[str, str]
    run_cap: int | None
    modules: tuple[str, ...] = ()

    def cells(self, seed: int = 0) -> list[dict[str, Any]]:
        """Each cell's value by key: the whole grid, the last key running fastest, or `run_cap` random draws.

        A draw is a function of the seed, the key and the cell's number alone, so that a larger `run_cap` adds cells to
        those there were. Cells drawn twice are left out.
        """
        if self.method == "grid":
            axes = [listed(one.distribution, one.keys) for one in self.parameters.values()]
            cells = [dict(zip(self.parameters, values, strict=True)) for values in itertools.product(*axes)]
            return cells[: self.run_cap]
        streams = {key: numpy_generator(seed, f"sweep {key}") for key in self.parameters}
        drawn = [
            {key: DISTRIBUTIONS[one.distribution](streams[key], one.keys) for key, one in self.parameters.items()}
            for _ in range(self.run_cap or 0)
        ]
        return list({repr(cell): cell for cell in drawn}.values())


def read_sweep(path: Path) -> SweepFile:
    """The sweep that a file describes.

    Raises:
        Refused: one line with the file, the key, the value and what is allowed.
    """
    file = FileContent(path, load_yaml(path))
    if not isinstance(file.content, dict):
        raise Refused(f"{path}: not a sweep file; allowed: a mapping with {', '.join(KEYS)}")
    file.check_known("", file.content, KEYS)
    method = file.one_of("method", METHODS)
    program, fixed = read_command(file)
    found = without_agents_own(file.mapping("parameters"))
    parameters = {str(key): file.parameter(str(key), spec, method) for key, spec in found.items()}
    if not parameters:
        file.refuse("parameters", "{}", "at least one")
    cap = file.content.get("run_cap")
    if (cap is None and method == "random") or not (cap is None or (type(cap) is int and cap > 0)):
        file.refuse("run_cap", cap, "how many cells to draw, a whole number, at least 1")
    for key in fixed.keys() & {key.removeprefix("++") for key in parameters}:
        file.refuse("command", fixed[key], "a key either in the command or among the parameters")
    return SweepFile(path, program.removesuffix(".py"), method, parameters, fixed, cap)
