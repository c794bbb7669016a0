"""The plug-ins that a call names: read from its overrides, and from the configs that the overrides choose.

The plug-ins must be known before Hydra composes the config, as their choices are part of the config groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from grokplane.config_files import ACROSS, parse
from grokplane.options import ConfigError
from grokplane.plugins import KEY
from grokplane.shipped import CONFIGS

_SEARCH = "hydra.searchpath"


def named_plugins(overrides: Sequence[str], config_name: str | None = None) -> list[str]:
    """The modules that `grokplane.plugins=[...]` names in a call, without duplicates.

    Args:
        overrides: as typed.
        config_name: the primary config, which may name plug-ins; so may the experiment, debug and local configs that
            the call reads. None: only the overrides count.

    Raises:
        ConfigError: the value is not a list of names.
        hydra.errors.HydraException: an override cannot be parsed.
    """
    # Other overrides may still need quotes, see `grokplane.app.typed`.
    read = [line for line in overrides if line.lstrip("+").partition("=")[0] in (KEY, _SEARCH, *ACROSS)]
    parsed = parse(read)
    typed = [one for one in parsed if one.key_or_group == KEY]
    lists = [str(one.input_line) if _swept(one) else one.value() for one in typed]
    if config_name is not None and not typed:  # an override replaces the list of a config
        lists = [_in_file(file) for file in _files(parsed, config_name)]
    return list(dict.fromkeys(name for value in lists for name in _names(value)))


def _names(value: object) -> list[str]:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return value
    raise ConfigError(KEY, value, "must be one list of module names, such as [my_nets]")


def _swept(override: Any) -> bool:
    return override.is_sweep_override()


def _files(parsed: Sequence[Any], config_name: str) -> Iterator[Path]:
    """The files that the call reads in configs/ and in the folders of its `hydra.searchpath`."""
    chosen = [config_name, "local/default"]
    for override in parsed:
        if override.key_or_group in ACROSS:
            values = override.sweep_string_iterator() if _swept(override) else _listed(override.value())
            chosen += [f"{override.key_or_group}/{name}" for name in values]
    places = [path for one in parsed if one.key_or_group == _SEARCH for path in _listed(one.value())]
    folders = [CONFIGS, *(Path(str(path).removeprefix("file://")) for path in places)]
    yield from (file for name in chosen for folder in folders if (file := folder / f"{name}.yaml").is_file())


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _in_file(file: Path) -> object:
    """The list of plug-ins that a YAML file names; Hydra reports a file that cannot be read."""
    import yaml

    try:
        node = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("grokplane") or {}
        return node.get("plugins", [])
    except (yaml.YAMLError, AttributeError, OSError, UnicodeDecodeError):
        return []
