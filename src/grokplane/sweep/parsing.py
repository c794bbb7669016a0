"""Parsing of sweep files. Errors name the file, the key, the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from grokplane.app.errors import Refused
from grokplane.options import DIGITS, one_of, shown
from grokplane.sweep.distributions import COUNTABLE, DISTRIBUTIONS, ROUNDING

LARGEST_WHOLE = 2**63 - 1  # largest whole number that can be drawn
LARGEST_LOG = 700  # largest number whose exponential is a float
DEEPEST, LARGEST = 20, 1_000_000  # limits on the nesting depth and on the number of parts of a file
_POSITIVE = ("q", "sigma", "a", "b")


@dataclass(frozen=True)
class Parameter:
    """A swept key: the name of its distribution and the distribution's keys."""

    distribution: str
    keys: Mapping[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML as W&B reads it, but repeated keys and numbers that no float can represent are errors."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """As in yaml.SafeLoader."""
        # The digits are counted first: Python is slow with many digits, and refuses more than 4,300.
        if len(node.value) > 2 * DIGITS or abs(value := super().construct_yaml_int(node)) >= 10**DIGITS:
            short = f"{node.value[:10]}..."
            raise yaml.constructor.ConstructorError(None, None, f"{short} has over {DIGITS} digits", node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As in yaml.SafeLoader."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def load_yaml(path: Path) -> Any:
    """The content of a file; Refused if it cannot be read."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        _check_size(content)
        return content
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    # Errors that PyYAML raises besides its own, for !!int x and for thousands of brackets.
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Refused(f"{path}: not YAML: {' '.join(str(error).split()) or type(error).__name__}") from None


def _check_size(content: Any) -> None:
    """Raise ValueError for content that contains itself, or that has more parts than any real file."""
    left, seen = [(content, 0)], 0
    while left:
        part, depth = left.pop()
        seen += 1
        if depth > DEEPEST or seen > LARGEST:
            raise ValueError("it contains itself, or is too large")
        inside = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        left += [(one, depth + 1) for one in inside]


class FileContent:
    """The content of a file, with errors that name the file."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path, self.content = path, content

    def refuse(self, key: str, value: object, allowed: str) -> NoReturn:
        """Raise Refused with this message."""
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

    def parameter(self, key: str, spec: Any, method: str) -> Parameter:
        """Parse a swept key."""
        place = f"parameters.{key}"
        if key.lstrip("+~").startswith("hydra"):
            self.refuse(place, "{...}", "Hydra's keys cannot be swept here")
        self.check_text(place, key)
        if not isinstance(spec, dict):
            self.refuse(place, spec, "a mapping with values, value or distribution")
        if "parameters" in spec:
            self.refuse(f"{place}.parameters", "{...}", "nested parameters; write flat dotted keys, optimizer.lr")
        name = str(spec.get("distribution") or _implied(spec))
        if name not in DISTRIBUTIONS:
            self.refuse(f"{place}.distribution", name, one_of(name, DISTRIBUTIONS))
        if method == "grid" and name not in COUNTABLE:
            self.refuse(f"{place}.distribution", name, f"allowed in a grid: {', '.join(COUNTABLE)}")
        distribution = DISTRIBUTIONS[name]
        keys = {part: value for part, value in spec.items() if part != "distribution"}
        quantum = ("q",) if distribution.quantised else ()
        self.check_known(f"{place}.", keys, (*distribution.needs, *distribution.takes, *quantum))
        for part in distribution.needs:
            if part not in keys:
                self.refuse(f"{place}.{part}", None, f"required by distribution {name}")
        self._check_values(place, keys)
        self._check_numbers(place, name, keys)
        return Parameter(name, keys)

    def _check_values(self, place: str, keys: Mapping[str, Any]) -> None:
        values = keys.get("values", [keys["value"]] if "value" in keys else [0])
        if not isinstance(values, list) or not values:
            self.refuse(f"{place}.values", values, "a list with at least one value")
        for value in values:
            self._check_value(f"{place}.{'values' if 'values' in keys else 'value'}", value)
        if len(set(map(hashable, values))) < len(values):
            self.refuse(f"{place}.values", values, "each value only once")

    def _check_numbers(self, place: str, name: str, keys: Mapping[str, Any]) -> None:
        for part, value in keys.items():
            if part in ("values", "value", "probabilities"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                self.refuse(f"{place}.{part}", value, "a number" + _hint(value))
            if not math.isfinite(value):
                self.refuse(f"{place}.{part}", value, "must be a finite number")
            if part in ("min", "max"):
                self._check_limit(f"{place}.{part}", name, value)
            if value <= 0 and (part in _POSITIVE or (part == "min" and name.endswith("log_uniform_values"))):
                self.refuse(f"{place}.{part}", value, "must be above 0")
        if "min" in keys and not keys["min"] < keys["max"]:
            self.refuse(f"{place}.max", keys["max"], f"must be above min, {keys['min']}")
        if "probabilities" in keys:
            self._check_chances(f"{place}.probabilities", keys["probabilities"], len(keys["values"]))

    def _check_limit(self, place: str, name: str, value: float) -> None:
        if name == "int_uniform" and (not isinstance(value, int) or abs(value) > LARGEST_WHOLE):
            self.refuse(place, value, f"must be a whole number of magnitude at most {LARGEST_WHOLE:,}")
        if name.endswith("log_uniform") and abs(value) > LARGEST_LOG:
            allowed = f"is a natural logarithm here, of magnitude at most {LARGEST_LOG}"
            self.refuse(place, value, f"{allowed}; for limits of the values themselves write {name}_values")

    def _check_chances(self, place: str, chances: Any, count: int) -> None:
        if not isinstance(chances, list) or len(chances) != count:
            self.refuse(place, chances, f"must be a list with one for each of the {count} values")
        for chance in chances:
            if not _is_finite(chance) or chance < 0:
                self.refuse(place, chance, "must be a number, at least 0")
        if abs(sum(chances) - 1) > ROUNDING * count:
            self.refuse(place, chances, f"must add up to 1, but for rounding; they add up to {sum(chances):.6g}")

    def check_text(self, place: str, text: str) -> None:
        """Refuse lookups (`${oc.env:HOME}`): a file from other people must not read this machine into a config."""
        if looks_up(text):
            self.refuse(place, text, "would be looked up on this machine; allowed: ${key}, the value of another key")

    def _check_value(self, place: str, value: Any) -> None:
        if value is None:
            self.refuse(place, value, 'becomes the text None; write "null" in quotes')
        if not isinstance(value, int | float | str | list):
            self.refuse(place, value, "a number, a word or a list; no mapping and no date")
        self.check_text(place, str(value))
        if isinstance(value, str) and _is_number(value):
            self.refuse(place, value, "YAML reads this as text" + _hint(value))


def hashable(value: Any) -> Any:
    """The value, or a hashable stand-in for a list or a mapping."""
    return repr(value) if isinstance(value, list | dict) else value


def looks_up(text: str) -> bool:
    """Whether an override is resolved outside the config (`${oc.env:HOME}`); `${key}` is another key's value."""
    plain = text.replace("\\", "")  # Hydra removes escapes when it reads
    return "${" in plain and ":" in plain


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _implied(spec: Mapping[str, Any]) -> str:
    """The distribution that W&B assumes if the file names none."""
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
    number = float(value) if isinstance(value, str) and _is_number(value) else math.inf
    if math.isfinite(number) and str(value).strip().isdecimal():
        return f"; write {str(value).strip()}, without quotes"
    return f"; write {yaml.safe_dump(number).split()[0]}" if math.isfinite(number) else ""
