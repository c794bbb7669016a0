"""What a sweep file says, part by part, and refusals that name the file, the key, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from grokplane.app.errors import Refused
from grokplane.options import one_of, shown
from grokplane.sweep.distributions import COUNTABLE, DISTRIBUTIONS

# Overrides in a command that mean something to W&B's agent alone.
IGNORED = ("record.wandb",)
_POSITIVE = ("q", "sigma", "a", "b")


@dataclass(frozen=True)
class Parameter:
    """A swept key: the name of its distribution and what the file says of it."""

    distribution: str
    keys: Mapping[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML as W&B reads it, but a key that is given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As in yaml.SafeLoader."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> Any:
    """What a file holds; Refused where it cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    # What PyYAML raises beside its own errors, of !!int x and of thousands of brackets.
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Refused(f"{path}: not YAML: {' '.join(str(error).split()) or type(error).__name__}") from None


class FileContent:
    """The content of a file, and refusals that name it."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path, self.content = path, content

    def refuse(self, key: str, value: object, allowed: str) -> NoReturn:
        """Raise Refused with this line."""
        raise Refused(f"{self.path}: {key}={shown(value)}: {allowed}")

    def check_known(self, prefix: str, content: Mapping[str, Any], known: Sequence[str]) -> None:
        """Refuse the first key that is not known."""
        for key in content:
            if key == "early_terminate":
                self.refuse(key, content[key], "leave it out: it ends runs before they grok")
            if key not in known:
                self.refuse(f"{prefix}{key}", content[key], f"unknown key; {one_of(str(key), known)}")

    def one_of(self, key: str, names: Sequence[str]) -> str:
        """The value of a key that must be one of these names."""
        value = self.content.get(key)
        if key == "method" and value == "bayes":
            self.refuse(key, value, "needs W&B's server; use method: random with run_cap, or method: grid")
        if value not in names:
            self.refuse(key, value, one_of(str(value), names))
        return str(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """The value of a key that must be a mapping."""
        value = self.content.get(key)
        if not isinstance(value, dict):
            self.refuse(key, value, "a mapping of config keys")
        return value

    def command(self) -> Iterator[tuple[str, str]]:
        """Key and text of each override in the `command`."""
        parts = self.content.get("command") or []
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            self.refuse("command", parts, "a list of texts")
        after = parts[parts.index("${program}") + 1 :] if "${program}" in parts else []
        for part in after:
            key, equals, _ = part.partition("=")
            if part.startswith("${") or key in IGNORED:
                continue
            if not equals or part.startswith("-") or key.lstrip("+~").startswith("hydra"):
                self.refuse("command", part, "key=value after ${program}; flags and Hydra's keys cannot be run here")
            self._check_text("command", part)
            yield key, part

    def parameter(self, key: str, spec: Any, method: str) -> Parameter:
        """A swept key as the file describes it."""
        place = f"parameters.{key}"
        if key.lstrip("+~").startswith("hydra"):
            self.refuse(place, "{...}", "Hydra's keys cannot be swept here")
        self._check_text(place, key)
        if not isinstance(spec, dict):
            self.refuse(place, spec, "a mapping with values, value or distribution")
        if "parameters" in spec:
            self.refuse(f"{place}.parameters", "{...}", "nested parameters; write flat dotted keys, optimizer.lr")
        name = str(spec.get("distribution") or _implied(spec))
        if name not in DISTRIBUTIONS:
            self.refuse(f"{place}.distribution", name, one_of(name, DISTRIBUTIONS))
        if method == "grid" and name not in COUNTABLE:
            self.refuse(f"{place}.distribution", name, f"a grid can list {', '.join(COUNTABLE)}")
        distribution = DISTRIBUTIONS[name]
        keys = {part: value for part, value in spec.items() if part != "distribution"}
        quantum = ("q",) if distribution.quantised else ()
        self.check_known(f"{place}.", keys, (*distribution.needs, *distribution.takes, *quantum))
        for part in distribution.needs:
            if part not in keys:
                self.refuse(f"{place}.{part}", None, f"needed by distribution {name}")
        self._check_values(place, keys)
        self._check_numbers(place, name, keys)
        return Parameter(name, keys)

    def _check_values(self, place: str, keys: Mapping[str, Any]) -> None:
        values = keys.get("values", [keys["value"]] if "value" in keys else [0])
        if not isinstance(values, list) or not values:
            self.refuse(f"{place}.values", values, "a list with at least one value")
        for value in values:
            self._check_value(f"{place}.{'values' if 'values' in keys else 'value'}", value)
        if any(values.count(value) > 1 for value in values):
            self.refuse(f"{place}.values", values, "each only once")

    def _check_numbers(self, place: str, name: str, keys: Mapping[str, Any]) -> None:
        for part, value in keys.items():
            if part in ("values", "value", "probabilities"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                self.refuse(f"{place}.{part}", value, "a number" + _hint(value))
            if value <= 0 and (part in _POSITIVE or (part == "min" and name.endswith("log_uniform_values"))):
                self.refuse(f"{place}.{part}", value, "must be above 0")
        if "min" in keys and not keys["min"] < keys["max"]:
            self.refuse(f"{place}.max", keys["max"], f"must be above min, {keys['min']}")
        chances = keys.get("probabilities")
        if "probabilities" in keys and not _are_chances(chances, len(keys["values"])):
            self.refuse(f"{place}.probabilities", chances, "one for each value, adding up to 1")

    def _check_text(self, place: str, text: str) -> None:
        """A file may be somebody's: it must not have what is no part of it (`${oc.env:HOME}`) put into a config."""
        plain = text.replace("\\", "")  # Hydra takes escapes out of what it reads
        if "${" in plain and ":" in plain:
            self.refuse(place, text, "would be looked up on this machine; allowed: ${key}, the value of another key")

    def _check_value(self, place: str, value: Any) -> None:
        if value is None:
            self.refuse(place, value, 'arrives as the text None; write "null" in quotes')
        if isinstance(value, dict):
            self.refuse(place, value, "a number, a word or a list; no mapping")
        self._check_text(place, str(value))
        if isinstance(value, str) and _is_number(value):
            self.refuse(place, value, "YAML reads this as text" + _hint(value))


def _are_chances(chances: Any, count: int) -> bool:
    listed = isinstance(chances, list) and len(chances) == count
    return listed and all(isinstance(one, int | float) and one >= 0 for one in chances) and abs(sum(chances) - 1) < 1e-6


def _implied(spec: Mapping[str, Any]) -> str:
    """The distribution that W&B takes where none is named."""
    if "values" in spec:
        return "categorical_w_probabilities" if "probabilities" in spec else "categorical"
    if "value" in spec:
        return "constant"
    whole = all(type(spec.get(key)) is int for key in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _hint(value: object) -> str:
    return f"; write {yaml.safe_dump(float(value)).split()[0]}" if isinstance(value, str) and _is_number(value) else ""
