"""The cells of a sweep: values, overrides, folder and config of each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from grokplane.app.composing import Composer
from grokplane.app.errors import REFUSALS, Refused, one_line
from grokplane.app.stored import check_module
from grokplane.app.swept import values_of
from grokplane.app.typed import as_typed
from grokplane.app.untyped import known_keys
from grokplane.models.module_factory import TARGET as MODULE
from grokplane.sweep.parsing import Parameter, hashable
from grokplane.sweep.sweepfile import RESUMES_ITSELF, SweepFile

LONGEST_NAME = 120


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        values: values of its parameters by config key.
        overrides: the command line that trains this cell alone.
        folder: the folder of its run.
        config: the config composed from the overrides; None if they cannot be composed.
        error: one line with the reason of a failure to compose.
    """

    values: Mapping[str, Any]
    overrides: tuple[str, ...]
    folder: Path
    config: DictConfig | None
    error: str | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The overrides of this cell only, in the order of its values."""
        return self.overrides[len(self.overrides) - len(self.values) :]


def changed(sweep: SweepFile, typed: Sequence[str], composer: Composer) -> SweepFile:
    """The sweep changed by overrides from the command line.

    `key=a,b` gives the key these values, in the grid or as choices with equal probability. `key=value` fixes a key of
    the file's command, or a parameter, at one value.

    Raises:
        Refused: an override that only a single run accepts.
    """
    parameters, fixed = dict(sweep.parameters), dict(sweep.fixed)
    for one in composer.read(typed):
        line, key = str(one.input_line), one.get_key_element().removeprefix("++")
        if key in RESUMES_ITSELF:
            raise Refused(f"{line}: {RESUMES_ITSELF[key]}")
        if one.is_sweep_override():
            fixed.pop(key, None)
            parameters[key] = Parameter("categorical", {"values": values_of(one)})
        elif key in parameters:
            parameters[key] = Parameter("constant", {"value": line.partition("=")[2]})
        else:
            fixed[key] = line
    modules = tuple(named_modules(composer.read(typed)))
    return replace(sweep, parameters=parameters, fixed=fixed, modules=modules)


def named_modules(typed: Sequence[Any]) -> Iterator[str]:
    """The user's own modules that these overrides name."""
    for one in typed:
        if one.get_key_element().lstrip("+~") == MODULE:
            yield from one.sweep_string_iterator() if one.is_sweep_override() else [str(one.value())]


def make_cells(sweep: SweepFile, folder: Path, seed: int, composer: Composer) -> list[Cell]:
    """Compose every cell of a sweep. A cell that cannot be composed holds the error.

    Raises:
        Refused: no cell can be composed (the message is that of the first cell), or two cells have the same values.
    """
    cells = [_cell(sweep, values, folder, composer) for values in sweep.cells(seed)]
    seen = set()
    for cell in cells:
        told = tuple(map(hashable, cell.values.values()))
        if told in seen:
            raise Refused(f"{sweep.path}: {cell.folder.name} occurs twice; allowed: each value only once")
        seen.add(told)
    if all(cell.config is None for cell in cells):
        raise Refused(f"{sweep.path}: {cells[0].error}")
    return cells


def earlier_cell(lines: Sequence[str], folder: Path, composer: Composer) -> Cell:
    """A cell of which only the overrides and the folder are known; it has no config."""
    texts = dict(line.split("=", 1) for line in lines)
    try:
        told = _told(texts, lines, composer)
    except REFUSALS:  # the cell failed for this reason
        told = dict(texts)
    return Cell(told, tuple(lines), folder, None)


def _told(values: Mapping[str, Any], lines: Sequence[str], composer: Composer) -> dict[str, Any]:
    """The values as Hydra reads them, by key; Refused if a line gives several values."""
    read = composer.read(lines)
    for one in read:
        if one.is_sweep_override():
            raise Refused(f"{one.input_line}: only one value is allowed; write a list as [a,b]")
    return {key: one.value() for key, one in zip(values, read, strict=True)}


def cell_name(values: Mapping[str, Any]) -> str:
    """The folder name of a cell: its key=value pairs, in characters that every file system accepts.

    A name that had to be changed or cut ends in a hash of the full text.
    """
    whole = ",".join(f"{key}={text_of(value)}" for key, value in values.items())
    name = re.sub(r"[^\w.=,+\[\]-]", "_", whole, flags=re.ASCII)
    if name == whole and len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME]}~{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def text_of(value: Any) -> str:
    """A value as text for the command line, in the form that W&B's agent writes."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    return "[" + ",".join(map(text_of, value)) + "]" if isinstance(value, list | tuple) else str(value)


def _cell(sweep: SweepFile, values: Mapping[str, Any], folder: Path, composer: Composer) -> Cell:
    lines = as_typed([f"{key}={text_of(value)}" for key, value in values.items()])
    overrides = (*as_typed(list(sweep.fixed.values())), *lines)
    told = dict(values)
    try:
        told = _told(values, lines, composer)  # parsed values name the cell: 1e-5 and 0.00001 are the same
        made = composer.compose(overrides, own=folder / cell_name(told))
        check_module(made, sweep.modules)
        return Cell(told, overrides, folder / cell_name(told), made)
    except REFUSALS as error:
        line = one_line(error, overrides, known_keys(sweep.config_name))
        return Cell(told, overrides, folder / cell_name(told), None, line)
