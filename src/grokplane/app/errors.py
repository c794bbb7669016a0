"""Errors as one line: the key, the value and the allowed values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from grokplane.config_files import ACROSS, group_choices, group_names
from grokplane.options import ConfigError, one_of


class Refused(Exception):  # noqa: N818 (reads as what happened)
    """A refused call; the message is the whole line that the user sees."""


class Failed(Exception):  # noqa: N818 (reads as what happened)
    """A job that failed while it ran; the message is the whole line that the user sees."""


REFUSALS = (Refused, ConfigError, HydraException, OmegaConfBaseException, YAMLError)

_UNKNOWN = re.compile(r"Could not override '(?P<key>[^']+)'|Key '(?P<short>[^']+)' is not in struct")
_PLACES = re.compile(r"Did you mean to override (?:one of )?(?P<places>[^?]*@[^?]*)\?")
_CHOICE = re.compile(r"Could not (?:find|load) '(?P<group>.+)/(?P<name>[^/']+)'")
_LISTED = re.compile(r"expected one of \[(?P<names>[^]]+)\]")
_TYPES = (
    (re.compile(r"could not be converted to Integer"), "must be a whole number"),
    (re.compile(r"could not be converted to Float"), "must be a number"),
    (re.compile(r"is not a valid bool"), "must be true or false"),
    (re.compile(r"not a ListConfig, list or tuple|is not a list"), "must be a list such as [32,32]"),
    (re.compile(r"Union\[int, str\]"), "must be a whole number or a word"),
    (re.compile(r"not Optional"), "must not be null"),
    (
        re.compile(r"Ambiguous value for argument"),
        "one value is allowed; -m sweeps over several, [a,b] is a list of them",
    ),
    (re.compile(r"ConfigKeyError raised while composing"), "no key of this choice"),
    (
        re.compile(r"Error merging override ~|^Key '.+' not in '"),
        "a key of a fixed schema cannot be deleted; allowed: key=value",
    ),
    (re.compile(r"Interpolation key '.*' not found"), "${...} must name a key that exists"),
    (re.compile(r"HydraConfig was not set"), "${hydra:...} is known inside a job alone; allowed: ${hydra.KEY}"),
    (re.compile(r"Missing mandatory value"), "must be given a value"),
    (re.compile(r"Environment variable '.+' not found"), "no such variable; ${oc.env:NAME,DEFAULT} has a default"),
    (re.compile(r"BRACE_CLOSE|token recognition|no viable alternative"), r"${...} cannot be read; \${ is the text ${"),
    (re.compile(r"Could not append to config"), "is there already; write it without the +"),
)


def one_line(error: Exception, overrides: Sequence[str], keys: Iterable[str]) -> str:
    """Return the error of a refused call as one line.

    Args:
        error: an instance of one of REFUSALS.
        overrides: the overrides that the user typed.
        keys: all existing keys; the nearest ones are suggested.
    """
    if isinstance(error, Refused | ConfigError):
        return str(error)
    text = f"{error} {error.__cause__ or ''}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read; allowed: key=value, with odd characters in quotes"
    if choice := _CHOICE.search(text):
        return _no_choice(choice["group"], choice["name"], text)
    typed = _blamed(text, overrides)
    if places := _PLACES.search(text):  # a group of several choices, such as the split of each task
        return f"{typed or _full_key(text)}: did you mean {places['places'].replace(', ', ' or ')}?"
    if unknown := _UNKNOWN.search(text):
        key = unknown["key"] or unknown["short"]
        return _no_key(typed or key, key, keys)
    if "ConfigKeyError raised while composing" in text and typed is None:
        return _no_key_of_choice(_full_key(text), overrides)
    for pattern, allowed in _TYPES:
        if pattern.search(text):
            return f"{typed or _full_key(text)}: {allowed}"
    if listed := _LISTED.search(text):
        return f"{typed or _full_key(text)}: allowed: {listed['names']}"
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip() and "https://" not in line)


def _blamed(text: str, overrides: Sequence[str]) -> str | None:
    """Return the override that caused a Hydra error, as typed."""
    for override in reversed(overrides):  # the last value of a repeated key wins
        key = override.lstrip("+~").partition("=")[0]
        if override in text or f"'{key}'" in text or f"full_key: {key}\n" in text:
            return override.lstrip("+")
    return None


def _full_key(text: str) -> str:
    found = re.search(r"full_key: (\S+)", text)
    return found[1] if found else "config"


def _no_key(typed: str, key: str, keys: Iterable[str]) -> str:
    keys = list(keys)
    if key in keys:
        group = key.rpartition(".")[0]
        whose = f"choice of {group}" if group else "config"
        return f"{typed}: no key of this {whose}; --help with the same choices lists the keys"
    groups = group_choices()
    near = difflib.get_close_matches(key, [*keys, *groups], n=3, cutoff=0.6)
    if near and near[0] in groups:
        near = [f"the config group {near[0]}"]
    near = [name for name in near if name not in groups]
    near = near or [known for known in keys if known.rpartition(".")[2] == key.rpartition(".")[2]][:3]
    value = typed.partition("=")[2]
    near = near or [f"{group}={value}" for group, names in groups.items() if value in names]
    meant = f"did you mean {' or '.join(near)}?" if near else "--help lists the keys"
    return f"{typed}: unknown key; {meant}"


def _no_key_of_choice(key: str, overrides: Sequence[str]) -> str:
    """A config, such as an experiment, sets a key of another choice than the one that the call takes."""
    typed = {line.lstrip("+~").partition("=")[0].replace("/", "."): line for line in overrides}
    chosen = typed.get(key.rpartition(".")[0])
    if key in typed or chosen is None:
        return f"{key}: no key of this choice"
    setting = next((typed[group] for group in ACROSS if group in typed), "the default experiment")
    return (
        f"{key}: set by {setting}, but no key of {chosen}; leave one of the two out (~experiment takes no experiment)"
    )


def _no_choice(group: str, name: str, text: str) -> str:
    _, _, listed = text.partition("Available options in")
    names = [line.strip() for line in listed.splitlines()[1:]]
    names = names[: next((number for number, line in enumerate(names) if not line or ":" in line), len(names))]
    names = names or group_names(group)
    return f"{group}={name}: {one_of(name, names)}"
