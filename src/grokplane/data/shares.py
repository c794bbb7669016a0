"""Which of their questions the tasks of a mixture train on: shares of the training subset, held-out operands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from grokplane.data.splits import part_of
from grokplane.data.table import Examples
from grokplane.options import ConfigError
from grokplane.random import generator

COMBINATIONS = "combinations"  # the group of held-out questions with an operand that their task never trains on


def in_shares(examples: Mapping[str, Examples], shares: Mapping[str, float], seed: int) -> dict[str, Examples]:
    """Every task's training questions, or a random part of them, so that their numbers are in these proportions.

    The total is the largest one for which no task needs more training questions than it has; a number that is not whole
    is rounded down. With the same seed, a smaller number of a task's questions is contained in a larger one.

    Raises:
        ConfigError: a share that gives no question.
    """
    weights = {name: Fraction(str(shares[name])) for name in examples}
    total = min(len(own.train) / weights[name] for name, own in examples.items())
    found = {}
    for name, own in examples.items():
        count = int(total * weights[name])
        if count < 1:
            raise ConfigError(f"data.shares.{name}", shares[name], "gives no training question; use a larger share")
        chosen = torch.randperm(len(own.train), generator=generator(seed, f"shares/{name}"))[:count]
        found[name] = _training(own, chosen.sort().values)
    return found


def held_out_operands(examples: Mapping[str, Examples], fraction: float, seed: int) -> dict[str, Examples]:
    """Hold out a set of operands from each task: all its questions with such an operand are held out.

    They are appended to the held-out questions and form the group `combinations` there.

    Raises:
        ConfigError: a task without operands, or without training questions that are left.
    """
    sets = operand_sets(examples, fraction, seed)
    found = {}
    for name, own in examples.items():
        hit = torch.isin(_operands(name, own), sets[name]).any(1)
        moved = hit[own.train]
        left = torch.nonzero(~moved).flatten()
        if len(left) == 0:
            raise ConfigError("data.held_out_operands", fraction, f"leaves no training question of {name}")
        test = torch.cat([own.test, own.train[moved]])
        later = torch.zeros(int(moved.sum()), dtype=torch.bool)
        of_test = {group: torch.cat([flags, later]) for group, flags in own.groups.get("test", {}).items()}
        groups = {**own.groups, "test": of_test | {COMBINATIONS: hit[test]}}
        found[name] = replace(_training(replace(own, groups=groups), left), test=test)
    return found


def operand_sets(examples: Mapping[str, Examples], fraction: float, seed: int) -> dict[str, Tensor]:
    """The operands that each task never trains on [.] int64: this fraction of its operands, rounded down.

    Tasks choose in turn, each time the operand that the fewest tasks have chosen, in a random order. So the sets
    overlap only where the operands do not suffice, and a larger fraction contains a smaller one.

    Raises:
        ConfigError: a task without operands, or a fraction that gives no operand.
    """
    own = {name: set(_operands(name, one).flatten().tolist()) for name, one in examples.items()}
    counts = {name: part_of(len(values), fraction) for name, values in own.items()}
    for name, count in counts.items():
        if count < 1:
            allowed = f"gives none of the {len(own[name])} operands of {name}; use a larger fraction"
            raise ConfigError("data.held_out_operands", fraction, allowed)
    values = sorted(set[int]().union(*own.values()))
    order = [values[place] for place in torch.randperm(len(values), generator=generator(seed, "held-out operands"))]
    taken = dict.fromkeys(order, 0)
    chosen: dict[str, dict[int, None]] = {name: {} for name in own}
    for turn in range(max(counts.values())):
        for name in (name for name, count in counts.items() if turn < count):
            free = (value for value in order if value in own[name] and value not in chosen[name])
            value = min(free, key=taken.__getitem__)
            taken[value] += 1
            chosen[name][value] = None
    return {name: torch.tensor(list(some)) for name, some in chosen.items()}


def held_out_together(examples: Examples) -> Examples:
    """The joint examples with one group `combinations` beside those of the tasks."""
    of_tasks = [flags for name, flags in examples.groups["test"].items() if name.endswith(f".{COMBINATIONS}")]
    together = torch.stack(of_tasks).any(0)
    return replace(examples, groups={**examples.groups, "test": {COMBINATIONS: together, **examples.groups["test"]}})


def _operands(name: str, examples: Examples) -> Tensor:
    operands = examples.table.operands
    if operands is None:
        raise ConfigError("data.held_out_operands", f"with {name}", "needs tasks with operands; must be 0")
    return operands


def _training(examples: Examples, places: Tensor) -> Examples:
    """The examples with these places of the training subset alone."""
    groups = dict(examples.groups)
    if "train" in groups:
        groups["train"] = {name: flags[places] for name, flags in groups["train"].items()}
    return replace(examples, train=examples.train[places], train_targets=examples.train_targets[places], groups=groups)
