"""What stacks record of themselves, and what their gauge finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from grokplane.train import Member, Stack, run
from grokplane.train.observe import observe

Record = dict[str, Any]


def records(members: Sequence[Member]) -> list[list[Record]]:
    """Each member's records in the order in which they came, without empty ones."""
    points = [point.records for point in run(Stack(members)) if point.records]
    return [[point[number] for point in points if point[number]] for number in range(len(members))]


def looked_at(stack: Stack) -> list[Record]:
    seen = observe(stack, None)
    assert stack.gauge is not None
    with stack.gauge as gauge:
        return gauge.estimate(seen, range(len(stack.members))).result()


def own_points(stack: Stack, name: str, number: int) -> tuple[Tensor, Tensor]:
    """A member's questions and answers of one subset."""
    examples = stack.members[number].examples()
    rows = examples.subsets["test" if name == "eval" else name]
    targets = examples.train_targets if name == "train" else examples.table.targets[rows]
    return examples.table.inputs[rows], targets
