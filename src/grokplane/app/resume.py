"""Resuming: the config with which the run in a folder continues, and whether anything is left to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from grokplane import config
from grokplane.app.exit_codes import DIVERGED, FINISHED
from grokplane.app.sources import ENTRIES, same
from grokplane.app.stored import composed, is_state, module_of
from grokplane.options import LISTS, ConfigError, shown
from grokplane.record import Checkpoints, NoCheckpoint, Saved
from grokplane.record.frames import stored_config
from grokplane.record.summary import read_summary
from grokplane.say import note

CHOICE = "._target_"  # the key that says which choice of its group a node is
SHOWN = 3
# What a resumed run may change: how long it is, what it is called and how it is recorded. train.resume and
# train.overwrite are the call's.
CHANGEABLE = ("name", "train.steps", "train.checkpoint_every", "train.keep_checkpoints", "train.resume")
CHANGEABLE += ("train.overwrite", "record.", "grokplane.")


class NothingLeft(NamedTuple):
    """A run with nothing left to do: the line to print, and the exit code with which the run ended."""

    line: str
    code: int


def saved(folder: Path) -> Saved | None:
    """Return the last checkpoint of a folder. The result is cached while the files do not change.

    Raises:
        ConfigError: a checkpoint cannot be read, and may be undamaged.
    """
    place = Checkpoints(folder)
    try:
        files = ((step, place.path(step).stat()) for step in place.steps())
        return _read(folder, tuple((step, file.st_mtime_ns, file.st_size) for step, file in files))
    except OSError as error:
        allowed = f"a checkpoint there cannot be read just now ({error}): try again, or delete it"
        raise ConfigError("hydra.run.dir", folder, allowed) from error


def forget_saved() -> None:
    """Clear the cache of checkpoints, because the states are large."""
    _read.cache_clear()


@cache
def _read(folder: Path, files: tuple[tuple[int, int, int], ...]) -> Saved | None:
    try:
        return Checkpoints(folder).latest() if files else None
    except NoCheckpoint:
        return None


def tell_start(folder: Path, one: DictConfig) -> None:
    """Report where a resumed run with this config starts if it has no checkpoint yet."""
    if saved(folder.absolute()) is None:
        where = "at step 0" if one.train.branch_from is None else f"from {one.train.branch_from}"
        note(f"{folder}: no checkpoint there yet: starts {where}")


def run_config(folder: Path) -> dict[str, Any] | None:
    """Return the config of the run in a folder: from the last checkpoint, or from `.hydra/` if there is none."""
    last = saved(folder.absolute())
    if last is None:
        stored = stored_config(folder)
        if not stored and (folder / ".hydra" / "config.yaml").exists():
            allowed = ".hydra/config.yaml there holds no config: allowed with train.overwrite=true"
            raise ConfigError("hydra.run.dir", folder, allowed)
        return stored or None
    if not is_state(last.state, last.step):
        raise ConfigError("hydra.run.dir", folder, f"the checkpoint of step {last.step} holds no state of a run")
    return last.state["config"]


def few(told: Sequence[str], separator: str = ", ") -> str:
    """Join the first differences, and count the others."""
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return f"{separator.join(told[:SHOWN])}{more}"


def disagreements(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Return the keys in which a config differs from that of a run, except those that a resumed run may change.

    Args:
        asked: the config, nested, see `grokplane.app.session.plain`.
        stored: the run's, see `run_config`.
    """
    ours, theirs = config.flat(asked), config.flat(stored)
    wrong = [key for key in ours | theirs if not key.startswith(CHANGEABLE) and _differ(ours, theirs, key)]
    return _told(wrong, ours, theirs, "there")


def _told(wrong: Sequence[str], ours: Mapping[str, Any], theirs: Mapping[str, Any], whose: str) -> list[str]:
    """Format the keys with both values. For a group with another choice, only the choices are shown."""
    groups = [key.removesuffix(CHOICE) for key in wrong if key.endswith(CHOICE)]
    told = {}
    for key in wrong:
        group = next((group for group in groups if key.startswith(f"{group}.")), None)
        our, their = (values.get(key if group is None else f"{group}{CHOICE}") for values in (ours, theirs))
        if group is not None:
            our, their = _name(our), _name(their)
        told[group or key] = f"{group or key}={shown(our)} ({whose}: {shown(their)})"
    return list(told.values())


def _name(target: str | None) -> str | None:
    return None if target is None else config.choice_names().get(target, target)


def _differ(ours: Mapping[str, Any], theirs: Mapping[str, Any], key: str) -> bool:
    return (key in ours) != (key in theirs) or not _equal(key, ours[key], theirs[key])


def _equal(key: str, our: object, their: object) -> bool:
    return same(our, their) if key in ENTRIES else our == their


def resumed_config(folder: Path, asked: DictConfig, overrides: Sequence[str], config_name: str) -> DictConfig:
    """Return the config with which the run in a folder continues: its own, with the changes that a call may make.

    Args:
        folder: the run's folder.
        asked: what this call's overrides compose to.
        overrides: what the user typed.
        config_name: the entry point's config file.

    Raises:
        ConfigError: naming keys in which the call disagrees with the run.
    """
    found = run_config(folder)
    if found is None:
        return asked
    merged = composed(found, [module for module in [module_of(asked)] if module is not None])
    stored: Any = OmegaConf.to_container(merged)
    ours, theirs = config.flat(asked), config.flat(stored)
    explicit = list(_explicit(ours, overrides, config_name))
    fixed = [key for key in explicit if not key.startswith(CHANGEABLE)]
    wrong = [key for key in fixed if not _equal(key, ours.get(key), theirs.get(key))]
    lists = list(_other_lists(asked, stored, overrides))
    told = [*lists, *_told([key for key in wrong if not (lists and _is_of_list(key))], ours, theirs, "the run")]
    if told:
        raise ConfigError("train.resume", True, f"{folder} holds a run with another config: {few(told)}")
    for key in explicit:
        if key.startswith(CHANGEABLE):
            OmegaConf.update(merged, key, ours[key])
    OmegaConf.update(merged, "train.resume", True)
    OmegaConf.update(merged, "train.overwrite", False)
    check_length(merged, stored)
    return merged


def _is_of_list(key: str) -> bool:
    return key.partition(".")[0] in LISTS


def _other_lists(asked: DictConfig, stored: Mapping[str, Any], overrides: Sequence[str]) -> Iterator[str]:
    """Yield list groups such as `rules=[...]` that were typed with other choices or in another order."""
    typed = {override.key_or_group for override in config.parse(overrides)}
    for group in LISTS:
        ours, theirs = list(asked[group]), list(stored.get(group, {}))
        if group in typed and ours != theirs:
            yield f"{group}=[{','.join(map(str, ours))}] (the run: [{','.join(theirs)}])"


def check_length(merged: DictConfig, stored: Mapping[str, Any]) -> None:
    """Raise ConfigError if a run cannot continue to the `train.steps` of the merged config."""
    before, after = stored["train"]["steps"], merged.train.steps
    if after < before:
        raise ConfigError("train.steps", after, f"only upward when resuming: the run has {before}")
    if after > before and config.member(merged).schedule.follows_train_steps:
        raise ConfigError("train.steps", after, f"the run's learning-rate schedule ends at its {before} steps")


def _explicit(ours: Mapping[str, Any], overrides: Sequence[str], config_name: str) -> Iterator[str]:
    """The keys that the overrides set, directly or through a config group."""
    parsed = config.parse(overrides)
    search = tuple(str(one.input_line) for one in parsed if one.key_or_group == "hydra.searchpath")
    default = _defaults(config_name, search)
    typed = [override.key_or_group.replace("/", ".") for override in parsed]
    for key in default | dict(ours):
        named = any(key == name or key.startswith(f"{name}.") for name in typed)
        # An experiment sets keys all over the config: those are the ones that differ from the defaults.
        if named or key not in default or key not in ours or default[key] != ours[key]:
            yield key


@cache
def _defaults(config_name: str, search: tuple[str, ...]) -> dict[str, Any]:
    return config.flat(config.compose(search, config_name))


def nothing_left(folder: Path, merged: DictConfig) -> NothingLeft | None:
    """Return the reason why nothing is left to do in a folder, or None."""
    summary = read_summary(folder)
    status = summary.get("status")
    if status == "diverged":
        return NothingLeft(
            f"{folder}: diverged at step {summary['diverged']}: there is nothing to go on with", DIVERGED
        )
    if status != "finished":
        return None
    last = saved(folder.absolute())
    if last is None or (last.step < merged.train.steps and last.state["alive"]):
        return None
    return NothingLeft(f"{folder}: finished at step {last.step:,}: there is nothing left to do", FINISHED)
