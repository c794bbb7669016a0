"""A sweep file's `command`: the program that W&B's agent starts, and overrides that are the same for every cell.

The agent replaces macros such as `${program}` and passes every other part unchanged. Without a `command` it starts
`/usr/bin/env python PROGRAM --key=value ...`, with no overrides but the parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from grokplane.options import one_of
from grokplane.sweep.parsing import FileContent

PROGRAMS = ("train.py", "train_mnist.py")
PROGRAM = "${program}"
CONSOLE = "grokplane"  # the installed command, of which `train` and `train-mnist` are the programs
# Macros for a cell's parameters, which are passed on unchanged here. The agent needs the first one: no other macro
# gives arguments that `train.py` reads.
ARGUMENTS = tuple(
    f"${{{name}}}"
    for name in (
        "args_no_hyphens",
        "args",
        "args_no_equals",
        "args_no_boolean_flags",
        "args_json",
        "args_json_file",
        "args_append_hydra",
        "args_override_hydra",
    )
)
# Overrides that only the agent needs: its runs must be online. Any other mode is the choice of the file's author.
AGENTS_OWN = {"record.wandb": "online"}


def read_command(file: FileContent) -> tuple[str, dict[str, str]]:
    """The program of a file (a name in PROGRAMS), and its fixed overrides by key.

    Raises:
        Refused: a command that this program cannot run as the agent would.
    """
    parts = file.content.get("command") or ()  # the agent treats an empty command as none
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        file.refuse("command", parts, "a list of strings")
    if not parts:
        return _declared(file), {}
    at, program = _program(file, parts)
    _check_before(file, parts[:at])
    return program, _fixed(file, parts[at + 1 :])


def is_agents_own(key: str, value: object) -> bool:
    """Whether a key with this value is meant only for W&B's agent."""
    return AGENTS_OWN.get(key.lstrip("+")) == str(value).strip(" '\"")


def _declared(file: FileContent) -> str:
    """The program that the file's `program` names, by path or by name."""
    value = file.content.get("program")
    name = Path(str(value)).name
    if name not in PROGRAMS:
        file.refuse("program", value, one_of(name, PROGRAMS))
    return name


def _program(file: FileContent, parts: Sequence[str]) -> tuple[int, str]:
    """Index of the program in the command, and its name: the macro, a path, `-m` and a name, or `grokplane train`."""
    for at, part in enumerate(parts):
        named = at > 0 and (parts[at - 1] == "-m" or Path(parts[at - 1]).name == CONSOLE)
        name = f"{part.replace('-', '_')}.py" if named else Path(part).name
        if part == PROGRAM:
            return at, _declared(file)
        if name in PROGRAMS and not _assigns(part):
            if "program" in file.content and _declared(file) != name:
                file.refuse("program", file.content["program"], f"the command starts {name}; name the same")
            return at, name
    file.refuse("command", list(parts), f"names no program; allowed: {PROGRAM}, {', '.join(PROGRAMS)}")


def _assigns(part: str) -> bool:
    return re.match(r"\w+=", part) is not None


def _check_before(file: FileContent, parts: Sequence[str]) -> None:
    """Check the parts before the program. They start it and are not needed, but a variable would change the run."""
    for part in parts:
        if _assigns(part):
            allowed = (
                f"a variable of the environment; leave it out and set it for this call: {part} python sweep.py ..."
            )
            file.refuse("command", part, allowed)


def _fixed(file: FileContent, parts: Sequence[str]) -> dict[str, str]:
    """The overrides after the program, by key."""
    fixed: dict[str, str] = {}
    for key, part in _overrides(file, parts):
        if key in fixed:
            file.refuse("command", part, f"{key} is given twice")
        if not is_agents_own(key, part.partition("=")[2]):
            fixed[key] = part
    return fixed


def _overrides(file: FileContent, parts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for part in parts:
        if part in ARGUMENTS:
            continue
        if re.fullmatch(r"\$\{\w+\}", part):
            file.refuse("command", part, f"unknown macro here; {one_of(part, ARGUMENTS)}")
        file.check_text("command", part)
        key, equals, _ = part.partition("=")
        if not equals or part.startswith("-") or key.lstrip("+~").startswith("hydra"):
            file.refuse("command", part, "only key=value is allowed after the program, no flags and no Hydra keys")
        yield key.removeprefix("++"), part


def without_agents_own(parameters: Mapping[str, object]) -> dict[str, object]:
    """The specifications of the parameters, without a key that is fixed at a value meant only for W&B's agent."""
    kept = dict(parameters)
    for key, spec in parameters.items():
        values = spec.get("values", [spec.get("value")]) if isinstance(spec, dict) else []
        if isinstance(values, list) and len(values) == 1 and is_agents_own(str(key), values[0]):
            del kept[key]
    return kept
