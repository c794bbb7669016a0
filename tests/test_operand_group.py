"""The groups of operands: elements of tokens and answers, and their way to metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from builders import member, training
from torch import Tensor

from grokplane.data import Group, Modular, RandomSplit, Sums
from grokplane.data.lists import Sort
from grokplane.data.operations import OPERATIONS
from grokplane.data.residues import discrete_logarithms
from grokplane.metrics import Metric, Observation
from grokplane.options import ConfigError
from grokplane.train import LogOptions, Stack, run, train
from grokplane.train.observe import observe

SPLIT = RandomSplit()


@pytest.mark.parametrize("p", [3, 5, 7, 13, 97])
def test_discrete_logarithms_turn_products_into_sums(p: int) -> None:
    logarithm = discrete_logarithms(p).tolist()
    assert logarithm[0] == -1
    assert sorted(logarithm[1:]) == list(range(p - 1))
    for a in range(1, p):
        for b in range(1, p):
            assert logarithm[a * b % p] == (logarithm[a] + logarithm[b]) % (p - 1)


def answered(task: Any) -> tuple[Tensor, Tensor, Tensor, Any]:
    """Elements of both operands and of the answer, for questions where all three are elements, and the group."""
    table = task.table(0)
    group = table.group
    assert group is not None
    assert table.operands is not None
    a, b = group.elements[table.operands].unbind(1)
    c = group.elements[table.targets]
    real = (a >= 0) & (b >= 0) & (c >= 0)
    return a[real], b[real], c[real], group


@pytest.mark.parametrize("operation", ["add", "mul"])
@pytest.mark.parametrize("layout", ["operands", "equals", "equation"])
def test_answers_are_products(operation: str, layout: str) -> None:
    a, b, c, group = answered(Modular(SPLIT, p=7, operation=operation, layout=layout))
    assert torch.equal(group.products[a, b], c)
    assert len(a) == {"add": 49, "mul": 36}[operation]


@pytest.mark.parametrize("operation", ["sub", "div"])
def test_answers_are_quotients(operation: str) -> None:
    a, b, c, group = answered(Modular(SPLIT, p=7, operation=operation))
    assert torch.equal(group.products[c, b], a)


def test_a_modulus_that_is_not_prime_has_the_additive_group() -> None:
    group = Modular(SPLIT, p=6, operation="mul").table(0).group
    assert group is not None
    assert group.orders == (6,)
    assert group.elements.tolist() == list(range(6))


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_operation_has_a_group(operation: str) -> None:
    group = Modular(SPLIT, p=7, operation=operation).table(0).group
    assert group is not None
    assert group.orders in {(7,), (6,)}
    assert len(group.elements) == 7


@pytest.mark.parametrize("name", ["Z6", "Z2xZ3", "Z2xZ4xZ3", "S3", "D4", "Z2xS3"])
def test_coordinates_of_a_product_of_cyclic_groups_add(name: str) -> None:
    group = Group(SPLIT, group=name).table(0).group
    assert group is not None
    if "S" in name or "D" in name:
        assert group.orders == ()
        return
    coordinates = [[]]
    for n in group.orders:
        coordinates = [[*one, k] for one in coordinates for k in range(n)]
    for a, first in enumerate(coordinates):
        for b, second in enumerate(coordinates):
            total = [(x + y) % n for x, y, n in zip(first, second, group.orders, strict=True)]
            assert coordinates[int(group.products[a, b])] == total


def test_sums_of_more_operands_are_sums_of_elements() -> None:
    table = Sums(SPLIT, p=5, operands=3, layout="equals").table(0)
    assert table.group is not None
    assert table.operands is not None
    elements = table.group.elements[table.operands]
    assert torch.equal(elements.sum(1) % 5, table.group.elements[table.targets])
    assert table.group.elements.tolist() == [0, 1, 2, 3, 4, -1]


@dataclass(frozen=True)
class Needs(Metric):
    """A metric of groups and of initial weights."""

    needs_group: ClassVar[bool] = True
    needs_initial: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """The orders of the groups, and the distance of the weights to the initial ones."""
        orders = torch.tensor([float(group.order) for group in seen.operand_groups if group is not None])
        moved = [(seen.all_parameters[name] - value).flatten(1).square().sum(1) for name, value in seen.initial.items()]
        return {"order": orders, "moved": torch.stack(moved).sum(0)}


def test_a_metric_sees_operands_groups_and_initial_weights() -> None:
    tasks = [
        Modular(SPLIT, p=5, operation="add"),
        Modular(SPLIT, p=5, operation="mul"),
        Modular(SPLIT, p=5, operation="div"),
    ]
    members = [
        member(data=task, train=training(steps=3), log=LogOptions(every=1, dense_steps=0), metrics={"needs": Needs()})
        for task in tasks
    ]
    stack = Stack(members)
    seen = observe(stack)
    assert seen.operands is not None
    assert seen.operands.shape == (3, 25, 2)
    assert torch.equal(seen.operands[1, 7], torch.tensor([1, 2]))
    assert seen.operands[2, 20:].eq(-1).all()
    assert not seen.operands[2, :20].eq(-1).any()
    found = {}
    for point in train(members):
        for row, record in enumerate(point.records):
            found.setdefault((row, record["step"]), record)
    assert [found[row, 0]["order"] for row in range(3)] == [5, 4, 4]
    assert all(found[row, 0]["moved"] == 0 < found[row, 3]["moved"] for row in range(3))


def test_a_task_without_a_group_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs operands that are elements of a group"):
        Stack([member(data=Sort(SPLIT, values=3, length=2), metrics={"needs": Needs()})])


def weights_of(stack: Stack, row: int) -> dict[str, Tensor]:
    return {name: value[row].clone() for name, value in stack.initial.items()}


def test_initial_weights_of_members_that_start_elsewhere_are_saved_with_them() -> None:
    """The other member of the stack leaves; a resumed stack has the same initial weights, which no seed gives."""
    metrics = {"needs": Needs()}
    source = Stack([member(seed=9)]).state(0)
    started = member(metrics=metrics, train=training(start_from="other", steps=6))
    plain = member(metrics=metrics, train=training(steps=6), seed=1)
    stack = Stack([plain, started])
    stack.start([None, source])
    expected = {name: value for name, value in source["model"].items() if name in stack.parameters}
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(stack, 1).items())
    for _ in run(stack):
        pass
    stack.alive[0] = False
    stack.narrow()
    again = Stack([started])
    again.load_states([stack.state(1)])
    for found in (weights_of(stack, 0), weights_of(again, 0)):
        assert found.keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in found.items())
    assert "initial" not in Stack([plain]).state(0)
    assert not Stack([member()]).initial
