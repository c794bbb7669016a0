"""Many configs that differ in few keys, each composed in milliseconds."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from operator import not_
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from grokplane import config
from grokplane.app.branching import base, branch_of, check_changes, choices, take_over
from grokplane.hydra_node import hydra_is
from grokplane.models.module_factory import TARGET as MODULE
from grokplane.options import ConfigError


class Composer:
    """Composes the configs of many jobs and reads the config files once for each set of group choices.

    Hydra composes a config in a third of a second. Nearly all of that time goes into the defaults list, which only
    config groups decide. So this class composes the group choices once and sets the other keys on a copy. Overrides
    for which that is not enough (deletions, packages, errors of the group choices) are left to Hydra.

    Args:
        config_name: the entry point's file in configs/.
        whole: composes a config by itself, with Hydra's node; by default `grokplane.config.compose`.
        parse: makes Hydra's objects from overrides.
    """

    def __init__(
        self,
        config_name: str,
        whole: Callable[[Sequence[str]], DictConfig] | None = None,
        parse: Callable[[list[str]], list[Any]] = config.parse,
    ) -> None:
        self._whole = whole or partial(config.compose, config_name=config_name, with_hydra=True)
        self._parse = parse
        self._parsed: dict[str, Any] = {}
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def read(self, overrides: Sequence[str]) -> list[Any]:
        """The overrides as Hydra's own objects; those that are new are parsed together."""
        unknown = [line for line in dict.fromkeys(overrides) if line not in self._parsed]
        if unknown:
            self._parsed |= zip(unknown, self._parse(unknown), strict=True)
        return [self._parsed[line] for line in overrides]

    def compose(self, overrides: Sequence[str], with_hydra: bool = False, own: Path | None = None) -> DictConfig:
        """What `grokplane.config.compose` returns, with the same errors.

        With `train.branch_from` among the overrides the config is that of the run there, with the other overrides.

        Args:
            overrides: as on the command line.
            with_hydra: keep Hydra's own node, `hydra`.
            own: the folder of a branch, whose config serves if the run that it branches from is gone.
        """
        made = self.job(overrides, own)
        with hydra_is(made):
            config.validate(made)
        if not with_hydra:
            with read_write(made), open_dict(made):
                del made["hydra"]
        return made

    def job(self, overrides: Sequence[str], own: Path | None = None) -> DictConfig:
        """The config of a job with Hydra's node, as `whole` composes it; bounds of keys are not checked."""
        text = branch_of(self.read(overrides))
        made = self._job(overrides) if text is None else self._branch(overrides, text, own)
        with hydra_is(made):
            config.absolute_files(made, made.hydra.runtime.cwd)
        return made

    def _job(self, overrides: Sequence[str]) -> DictConfig:
        read = self.read(overrides)
        if any(one.is_delete() or one.is_sweep_override() or one.package or not one.key_or_group for one in read):
            return self._whole(overrides)
        grouped = [one.is_hydra_override() or _names_group(one) for one in read]
        lines = tuple(compress(overrides, grouped))
        try:
            if lines not in self._bases:
                self._bases[lines] = self._whole(lines)
            made = copy.deepcopy(self._bases[lines])
            for one in compress(read, map(not_, grouped)):
                _set(made, one)
        except (ConfigError, AssertionError, AttributeError, LookupError, TypeError):
            return self._whole(overrides)
        _note_overrides(made, [one for one in read if not one.is_hydra_override()])
        return made

    def _branch(self, overrides: Sequence[str], text: str, own: Path | None) -> DictConfig:
        """The config of the run that `train.branch_from` names, with the overrides applied to it."""
        read = self.read(overrides)
        check_changes(read)
        modules = [str(one.value()) for one in read if one.get_key_element().lstrip("+") == MODULE]
        stored = base(text, modules, own)
        groups = [one for one in read if _names_group(one)]
        typed = [one.key_or_group.replace("/", ".") for one in groups]
        hydra = [one.input_line for one in read if one.is_hydra_override()]
        lines = (*choices(stored, typed), *(one.input_line for one in groups), *hydra)
        if lines not in self._bases:
            self._bases[lines] = self._whole(lines)
        made = copy.deepcopy(self._bases[lines])
        with read_write(made), open_dict(made):
            take_over(made, stored, typed)
        for one in read:
            if one not in groups and not one.is_hydra_override():
                try:
                    _set(made, one)
                except (AssertionError, AttributeError, LookupError, TypeError) as error:
                    raise ConfigError(
                        one.key_or_group, one.value(), "cannot be set in the config of the run"
                    ) from error
        _note_overrides(made, [one for one in read if not one.is_hydra_override()])
        return made


def _names_group(override: Any) -> bool:
    return bool(config.group_names(override.key_or_group.replace(".", "/")))


def _set(made: DictConfig, override: Any) -> None:
    """Set the key of an override as Hydra does, with Hydra's errors; LookupError for what is left to Hydra."""
    key, value, line = override.key_or_group, override.value(), override.input_line
    add = override.is_add() or override.is_force_add()
    try:
        new = not override.is_add() or OmegaConf.select(made, key, throw_on_missing=False) is None
        if not (new or isinstance(value, dict | list)):
            raise LookupError(key)
        OmegaConf.update(made, key, value, merge=True, force_add=add)
    except OmegaConfBaseException as error:
        if isinstance(error, ConfigAttributeError | ConfigKeyError) and not add:
            told = f"Could not override '{key}'.\nTo append to your config use +{line}"
            raise ConfigCompositionException(told) from error
        raise ConfigCompositionException(f"Error merging override {line}") from error


def _note_overrides(made: DictConfig, typed: Sequence[Any]) -> None:
    """Put the overrides that were typed into Hydra's node, as Hydra does."""
    node = made.hydra
    style = node.job.config.override_dirname
    named = sorted(one.input_line for one in typed if one.key_or_group not in style.exclude_keys)
    with read_write(node), open_dict(node):
        node.overrides.task = [one.input_line for one in typed]
        node.job.override_dirname = re.sub("=", style.kv_sep, style.item_sep.join(named))
