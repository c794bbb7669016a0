"""Branches: runs that continue another run from a checkpoint, with its config and the changes of a call."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from grokplane import config
from grokplane.app.resume import run_config
from grokplane.app.sources import BRANCH, START, checkpoint, source, with_sources
from grokplane.app.stored import composed
from grokplane.config_files import ACROSS, group_names
from grokplane.making import TARGET
from grokplane.metrics import Off
from grokplane.options import LISTS, ConfigError
from grokplane.record import copy_record
from grokplane.train import Parent, Stack, needs_initial


def branch_of(overrides: Sequence[Any]) -> str | None:
    """The value of `train.branch_from` among Hydra's parsed overrides; None if there is none, or several values."""
    found = [one for one in overrides if one.key_or_group == BRANCH]
    value = None if not found or found[-1].is_sweep_override() else found[-1].value()
    return value if isinstance(value, str) and value else None


def parents(stack: Stack) -> list[Parent]:
    """The run of every member of a stack of branches; members with the same run share one.

    Raises:
        ConfigError: a run, a step or a checkpoint that is not there.
    """
    texts = [member.train.branch_from for member in stack.members]
    modules = {str(node[TARGET]) for one in stack.members if TARGET in (node := getattr(one.model, "module", {}))}
    initial = needs_initial(stack)
    found = {text: _parent(text, modules, initial) for text in dict.fromkeys(texts) if text is not None}
    if None in texts:
        raise ConfigError(BRANCH, None, "members of one stack begin at one step: all of them branch, or none")
    return [found[text] for text in texts if text is not None]


def _parent(text: str, modules: Collection[str], initial: bool) -> Parent:
    state = checkpoint(BRANCH, text)
    member = config.member(composed(state["config"], modules))
    return Parent(state, member, _initial(text, state, modules) if initial else None)


def _initial(text: str, state: Mapping[str, Any], modules: Collection[str]) -> Mapping[str, Tensor]:
    """The initial weights of a run: from its checkpoint, from the runs that it started from, or those of its seed."""
    if "initial" in state:
        return state["initial"]
    one = composed(state["config"], modules)
    try:
        if one.train.branch_from is not None:
            return _initial(one.train.branch_from, checkpoint(BRANCH, one.train.branch_from), modules)
        if one.train.start_from is not None:
            return checkpoint(START, one.train.start_from)["model"]
    except ConfigError as error:
        allowed = f"a rule or a metric needs the initial weights of that run, which are not there ({error})"
        raise ConfigError(BRANCH, text, allowed) from error
    member = config.member(one)
    plain = replace(member, train=replace(member.train, device="cpu"), metrics={}, rules={}, callbacks={}, mi=Off())
    return {name: value.detach()[0] for name, value in Stack([plain]).parameters.items()}


def base(text: str, modules: Collection[str], own: Path | None = None) -> DictConfig:
    """The config of the run that a branch continues, typed and checked, without the keys that say how it began.

    Args:
        text: the value of `train.branch_from`.
        modules: the modules of the user's own that this call names.
        own: the branch's folder, whose config serves if the run is gone.

    Raises:
        ConfigError: there is no such run or checkpoint, or a stored config that is refused.
    """
    try:
        stored: Any = checkpoint(BRANCH, text)["config"]
    except ConfigError:
        stored = None if own is None else run_config(own)
        if stored is None:
            raise
    made = with_sources(composed(stored, modules), {START: None, BRANCH: None})
    made.train.start_with = "weights"
    return made


def check_changes(overrides: Sequence[Any]) -> None:
    """Refuse overrides that cannot change the config of a run: deletions, packages, whole experiments.

    Raises:
        ConfigError: naming the override.
    """
    for one in overrides:
        key, value = one.key_or_group, one.value()
        if one.is_delete() and not one.is_hydra_override():
            raise ConfigError(
                f"~{key}", value, "a branch has the config of its run; rules=[...] lists the rules that stay"
            )
        if key in ACROSS:
            raise ConfigError(key, value, "a branch has the config of its run; name the keys that change")
        if one.package:
            raise ConfigError(f"{key}@{one.package}", value, "a branch changes keys, and groups without a package")


def choices(stored: DictConfig, typed: Collection[str]) -> list[str]:
    """The overrides that choose what the config of a run has, except in the config groups that were typed."""
    names = config.choice_names()
    found = {
        str(group): names.get(str(node.get(TARGET)), "")
        for group, node in stored.items()
        if group not in (*LISTS, *typed) and OmegaConf.is_dict(node) and TARGET in node
    }
    return [f"{group}={name}" for group, name in found.items() if name in group_names(group)]


def take_over(made: DictConfig, stored: DictConfig, typed: Collection[str]) -> None:
    """Give a composed config the values of a run, in place.

    Args:
        made: what the typed config groups compose to, beside the choices of the run.
        stored: the config of the run.
        typed: the typed config groups, dotted. One with the same choice as the run keeps the run's values.
    """
    for key in stored:
        made[key] = _taken(made.get(key), stored[key], str(key), typed)


def _taken(ours: Any, theirs: Any, at: str, typed: Collection[str]) -> Any:
    if not OmegaConf.is_dict(ours) or not OmegaConf.is_dict(theirs):
        return theirs
    if at in LISTS:
        return {name: _same(ours[name], theirs.get(name)) for name in ours} if at in typed else theirs
    if at in typed and ours.get(TARGET) != theirs.get(TARGET):
        return ours
    for key in theirs:
        place = f"{at}.{key}"
        if any(group == place or group.startswith(f"{place}.") for group in typed):
            theirs[key] = _taken(ours.get(key), theirs[key], place, typed)
    return theirs


def _same(ours: Any, theirs: Any) -> Any:
    return theirs if theirs is not None and ours.get(TARGET) == theirs.get(TARGET) else ours


def begin_record(one: DictConfig, folder: Path) -> None:
    """Give the folder of a branch what its run had recorded before the step of the branch.

    Args:
        one: a pinned config.
        folder: the branch's, whose lock the caller holds.
    """
    where = source(one.train.branch_from)
    assert where.step is not None
    copy_record(where.folder, folder, where.step)
