"""Sweep files in W&B's format, and one-line errors for files that cannot be run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grokplane.app.errors import Refused
from grokplane.app.swept import MOST_JOBS, refuse_many
from grokplane.random import numpy_generator
from grokplane.sweep.agent_command import read_command, without_agents_own
from grokplane.sweep.distributions import DISTRIBUTIONS, listed
from grokplane.sweep.parsing import FileContent, Parameter, load_yaml

# Keys that W&B reads. Keys that only W&B's server uses are accepted and ignored.
KEYS = ("program", "method", "parameters", "command", "run_cap", "metric", "name", "description", "project", "entity")
METHODS = ("grid", "random")
RESUMES_ITSELF = dict.fromkeys(
    ("train.resume", "train.overwrite"), "a sweep resumes automatically; to repeat a cell, delete its folder"
)


@dataclass(frozen=True)
class SweepFile:
    """A validated sweep file.

    Attributes:
        path: path of the file.
        config_name: primary config of its program.
        method: `grid` or `random`.
        parameters: parameters by config key, in the file's order.
        fixed: overrides in its `command`, the same for every cell, without those meant only for W&B's agent.
        run_cap: most cells; None: no limit. `random` requires it.
        modules: the user's own modules that the call named; modules that only the file names are not imported.
    """

    path: Path
    config_name: str
    method: str
    parameters: Mapping[str, Parameter]
    fixed: Mapping[str, str]
    run_cap: int | None
    modules: tuple[str, ...] = ()

    def cells(self, seed: int = 0) -> list[dict[str, Any]]:
        """Each cell's values by key: the whole grid, with the last key varying fastest, or `run_cap` random draws.

        A draw is a function of the seed, the key and the cell's number only, so a larger `run_cap` adds cells to the
        earlier ones. Cells that are drawn twice are left out.

        Raises:
            Refused: more cells than one call may have, or a parameter without values.
        """
        if self.method == "grid":
            return self._grid(min(self.run_cap or MOST_JOBS + 1, MOST_JOBS + 1))
        streams = {key: numpy_generator(seed, f"sweep {key}") for key in self.parameters}
        cap = self.run_cap or 0
        drawn = [{key: self._draw(key, streams[key]) for key in self.parameters} for _ in range(cap)]
        return list({repr(cell): cell for cell in drawn}.values())

    def _grid(self, most: int) -> list[dict[str, Any]]:
        """The first `most` cells of the grid; no axis needs more values than that."""
        axes = []
        for key, one in self.parameters.items():
            try:
                axes.append(listed(one.distribution, one.keys, most))
            except OverflowError:  # too many steps to count
                raise self._no_value(key, "cannot be listed: limits or q are too large or too small") from None
            if not axes[-1]:
                raise self._no_value(key, f"no multiple of q={one.keys.get('q', 1)} lies between min and max")
        cells = [
            dict(zip(self.parameters, values, strict=True))
            for values in itertools.islice(itertools.product(*axes), most)
        ]
        refuse_many(cells, f"{self.path}: the grid")
        return cells

    def _draw(self, key: str, stream: np.random.Generator) -> Any:
        parameter = self.parameters[key]
        try:
            value = DISTRIBUTIONS[parameter.distribution](stream, parameter.keys)
        except (OverflowError, ValueError):
            value = math.inf
        if isinstance(value, float) and not math.isfinite(value):
            raise self._no_value(key, "draws numbers that are not finite; allowed: narrower limits")
        return value

    def _no_value(self, key: str, why: str) -> Refused:
        return Refused(f"{self.path}: parameters.{key}: {why}")


def read_sweep(path: Path) -> SweepFile:
    """Read and validate a sweep file.

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
    parameters: dict[str, Parameter] = {}
    for key, spec in found.items():
        if (name := str(key).removeprefix("++")) in parameters:
            file.refuse(f"parameters.{key}", "{...}", f"{name} is given twice")
        parameters[name] = file.parameter(str(key), spec, method)
    if not parameters:
        file.refuse("parameters", "{}", "at least one")
    cap = file.content.get("run_cap")
    if (cap is None and method == "random") or not (cap is None or (type(cap) is int and cap > 0)):
        file.refuse("run_cap", cap, "how many cells to draw, a whole number, at least 1")
    if method == "random" and cap is not None and cap > MOST_JOBS:
        file.refuse("run_cap", cap, f"at most {MOST_JOBS:,}")
    for key in fixed.keys() & parameters.keys():
        file.refuse("command", fixed[key], "allowed either in the command or among the parameters")
    for key in RESUMES_ITSELF.keys() & {*fixed, *parameters}:
        raise Refused(f"{path}: {key}: {RESUMES_ITSELF[key]}")
    return SweepFile(path, program.removesuffix(".py"), method, parameters, fixed, cap)
