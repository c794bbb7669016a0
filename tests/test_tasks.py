"""Permutations, sums, sparse parity and teacher-student: tables compared with slow code, questions, regression."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import NEVER, finish, member, trained, training, weights
from torch import Tensor, nn

from grokplane import metrics, resources
from grokplane.answers import Labels, Numbers
from grokplane.data import (
    LAYOUTS,
    Addition,
    LabelHoldout,
    Modular,
    OrderedSplit,
    Parity,
    Permutations,
    RandomSplit,
    Sums,
    Task,
    TeacherStudent,
    draws,
    stack,
)
from grokplane.losses import MSE, CrossEntropy, StableMax
from grokplane.metrics import Subset
from grokplane.models.mlp import MLP
from grokplane.optim import AdamW
from grokplane.options import ConfigError
from grokplane.train import Member, Stack
from grokplane.train.observe import measure, observe

Permutation = tuple[int, ...]
PERMUTATIONS = list(itertools.permutations(range(5)))
SPLIT = RandomSplit()


# Plain addition


def test_plain_addition_has_every_unordered_pair_once_and_no_modulus() -> None:
    task = Addition(SPLIT, p=10, train_fraction=0.8182)
    table, examples = task.table(0), task.examples(0)
    rows = torch.cat([table.inputs, table.targets[:, None]], 1).tolist()
    assert rows == [[a, b, a + b] for a in range(10) for b in range(a, 10)]
    assert (table.vocabulary, table.answers) == (10, Labels(19))
    assert (len(examples.train), len(examples.test)) == (45, 10)
    assert task.ask(["9", "3"]).tolist() == [9, 3]
    with pytest.raises(ConfigError, match="operands must be 0 to 9"):
        task.ask(["3", "10"])


# Layouts


@pytest.mark.parametrize("count", [2, 3, 5])
def test_layouts_of_any_number_of_operands(count: int) -> None:
    operands = torch.arange(2 * count).reshape(2, count)
    for name, layout in LAYOUTS.items():
        rows = []
        for row in operands.tolist():
            between = [token for operand in row for token in (operand, 50)]
            rows.append({"operands": row, "equals": [*row, 50], "equation": [*between[:-1], 51]}[name])
        assert layout.write(operands, 50).tolist() == rows
        assert layout.length(count) == len(rows[0])
        assert layout.symbols == len({token for token in rows[0] if token >= 50})


def test_the_form_of_nanda() -> None:
    table = Modular(SPLIT, p=5, layout="equals").table(0)
    assert table.inputs[13].tolist() == [2, 3, 5]
    assert (table.vocabulary, table.answers) == (6, Labels(6))


# Permutations


def after(a: Permutation, b: Permutation) -> Permutation:
    """a∘b, one element at a time."""
    return tuple(a[b[i]] for i in range(5))


def inverse(a: Permutation) -> Permutation:
    return next(b for b in PERMUTATIONS if after(a, b) == (0, 1, 2, 3, 4))


TWINS = {
    "s5": after,
    "s5_conjugate": lambda a, b: after(after(a, b), inverse(a)),
    "s5_aba": lambda a, b: after(after(a, b), a),
}


@pytest.mark.parametrize("operation", TWINS)
def test_permutations_are_those_of_itertools(operation: str) -> None:
    table = Permutations(SPLIT, operation=operation, layout="equation").table(0)
    assert table.inputs.shape == (14_400, 4)
    assert (table.vocabulary, table.answers) == (122, Labels(122))
    for row in (*range(0, 14_400, 37), 14_399):
        a, b = divmod(row, 120)
        assert table.inputs[row].tolist() == [a, 120, b, 121]
        answer = TWINS[operation](PERMUTATIONS[a], PERMUTATIONS[b])
        assert PERMUTATIONS[int(table.targets[row])] == answer


# Sums


@pytest.mark.parametrize(("p", "operands"), [(5, 2), (4, 3), (3, 5)])
def test_all_sums_are_those_of_brute_force(p: int, operands: int) -> None:
    table = Sums(SPLIT, p=p, operands=operands, layout="equals").table(0)
    every = list(itertools.product(range(p), repeat=operands))
    assert table.inputs.tolist() == [[*numbers, p] for numbers in every]
    assert table.targets.tolist() == [sum(numbers) % p for numbers in every]
    assert (table.vocabulary, table.answers) == (p + 1, Labels(p + 1))


def test_two_operands_are_modular_addition() -> None:
    sums, pairs = Sums(SPLIT, p=7, operands=2).table(0), Modular(SPLIT, p=7).table(0)
    assert torch.equal(sums.inputs, pairs.inputs)
    assert torch.equal(sums.targets, pairs.targets)


@pytest.mark.parametrize(("p", "operands", "equations"), [(5, 3, 40), (5, 3, 120), (5, 3, 125), (1999, 5, 1000)])
def test_a_subset_of_the_sums(p: int, operands: int, equations: int) -> None:
    """1999^5 is 3.2e16: the draw must not allocate memory for all equations."""
    task = Sums(SPLIT, p=p, operands=operands, equations=equations)
    first, again, other = (task.table(seed) for seed in (0, 0, 1))
    rows = [tuple(row) for row in first.inputs.tolist()]
    assert len(rows) == len(set(rows)) == equations
    assert rows == sorted(rows)
    assert {number for row in rows for number in row} <= set(range(p))
    assert first.targets.tolist() == [sum(row) % p for row in rows]
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.inputs, other.inputs) == (equations == p**operands)


def test_operands_from_a_subset_of_the_residues() -> None:
    task = Sums(SPLIT, p=31, operands=3, residues=4)
    table = task.table(0)
    chosen = task.operand_set(0).tolist()
    assert len(set(chosen)) == 4
    assert set(chosen) < set(range(31))
    assert table.inputs.tolist() == [list(row) for row in itertools.product(sorted(chosen), repeat=3)]
    assert table.targets.tolist() == [sum(row) % 31 for row in table.inputs.tolist()]
    assert task.operand_set(1).tolist() != chosen
    few = replace(task, equations=20).table(0)
    assert {number for row in few.inputs.tolist() for number in row} <= set(chosen)


@pytest.mark.parametrize(("total", "count"), [(10, 4), (10, 9), (7, 3)])
def test_every_number_is_drawn_equally_often(total: int, count: int) -> None:
    random = np.random.default_rng(0)
    drawn = np.stack([draws.distinct(total, count, random) for _ in range(3000)])
    assert all(len(set(row)) == count for row in drawn.tolist())
    for numbers in (drawn, drawn[:, :1]):
        counts, expected = np.bincount(numbers.ravel(), minlength=total), numbers.size / total
        assert len(counts) == total
        assert abs(counts - expected).max() < 5 * math.sqrt(expected)


def test_a_smaller_drawn_table_is_part_of_a_larger_one() -> None:
    for few, many in ((Sums(SPLIT, p=31, equations=90), 700), (Sums(SPLIT, p=1999, operands=5, equations=500), 501)):
        rows = [{tuple(row) for row in one.table(1).inputs.tolist()} for one in (few, replace(few, equations=many))]
        assert rows[0] < rows[1]
    points = [Parity(SPLIT, bits=40, points=count)._points(1)[:, :32] for count in (60, 90)]
    assert torch.equal(points[0], points[1][:60])


def test_a_table_beyond_memory_is_refused_with_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "available_bytes", lambda: 2**34)
    with pytest.raises(ConfigError, match=r"^data.equations=null: .*8587340257 rows would take 2\.7 TiB, .* 16\.0 GiB"):
        Sums(SPLIT, p=97, operands=5, layout="equation").table(0)
    monkeypatch.setattr(resources, "available_bytes", lambda: 2 * 4 * 4 * 8 * 1000)
    with pytest.raises(ConfigError, match=r"^data.equations=null: .* 166\.4 KiB, .* 250\.0 KiB .* at most 1000$"):
        Sums(SPLIT, p=11).table(0)
    with pytest.raises(ConfigError, match=r"^data.equations=1001: .*1001 rows would take 125\.1 KiB"):
        Sums(SPLIT, p=11, equations=1001).table(0)
    assert len(Sums(SPLIT, p=11, equations=1000).table(0).targets) == 1000


def test_bytes_are_told_in_units_that_people_read() -> None:
    sizes = {0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 3 * 2**29: "1.5 GiB", 2**62: "4096.0 PiB"}
    assert [resources.human(size) for size in sizes] == list(sizes.values())


def test_available_memory_is_that_of_a_real_machine() -> None:
    assert 2**27 < resources.available_bytes() < 2**50


# Sparse parity


@pytest.mark.parametrize(("bits", "relevant", "points"), [(9, 3, 200), (6, 6, 64), (40, 1, 300), (70, 5, 300)])
def test_parity_is_that_of_the_relevant_bits(bits: int, relevant: int, points: int) -> None:
    task = Parity(SPLIT, bits=bits, relevant=relevant, points=points)
    table, chosen = task.table(3), task.relevant_bits(3).tolist()
    rows = [tuple(row) for row in table.inputs.tolist()]
    assert len(set(chosen)) == relevant
    assert len(set(rows)) == len(rows) == points
    assert {bit for row in rows for bit in row} == {-1.0, 1.0}
    products = [math.prod(row[bit] for bit in chosen) for row in rows]
    assert table.targets.tolist() == [{1.0: 0, -1.0: 1}[product] for product in products]
    assert (table.vocabulary, table.answers) == (None, Labels(2))


def test_parity_comes_from_the_seed_and_is_balanced() -> None:
    task = Parity(SPLIT, bits=70, relevant=4, points=4000)
    first, again, other = (task.table(seed) for seed in (0, 0, 1))
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)
    assert len({tuple(task.relevant_bits(seed).tolist()) for seed in range(20)}) == 20
    assert abs(first.targets.double().mean() - 0.5) < 0.04
    assert first.inputs.mean(0).abs().max() < 5 / math.sqrt(4000)


# Teacher and student


@pytest.mark.parametrize("activation", ["Tanh", "ReLU"])
def test_the_teacher_is_a_torch_network(activation: str) -> None:
    task = TeacherStudent(activation=activation, hidden=[7, 6], train_points=20, test_points=30)
    twin = nn.Sequential(nn.Linear(5, 7), getattr(nn, activation)(), nn.Linear(7, 6), getattr(nn, activation)())
    twin = twin.append(nn.Linear(6, 5)).double()
    linears = [module for module in twin if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for linear, (weight, bias) in zip(linears, task.teacher(4), strict=True):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        table = task.table(4)
        torch.testing.assert_close(table.targets, twin(table.inputs), rtol=1e-13, atol=1e-13)
    assert (table.inputs.dtype, table.targets.dtype, table.answers) == (torch.float64, torch.float64, Numbers(5, 1e-3))
    assert table.targets.shape == (50, 5)


def test_the_teachers_weights_have_torchs_distribution_and_the_points_are_standard_normal() -> None:
    task = TeacherStudent(hidden=[300, 300])
    for (weight, bias), fan_in in zip(task.teacher(0), (5, 300, 300), strict=True):
        bound = fan_in**-0.5
        assert 0.9 * bound < max(weight.abs().max(), bias.abs().max()) <= bound
        assert float(weight.var()) == pytest.approx(bound**2 / 3, rel=0.1)
    points = task.table(0).inputs
    assert abs(points.mean()) < 0.06
    assert float(points.var()) == pytest.approx(1, rel=0.06)


def test_train_and_test_points_do_not_depend_on_each_others_number() -> None:
    few, many = (TeacherStudent(train_points=n, test_points=40).examples(2) for n in (10, 20))
    for one, n in ((few, 10), (many, 20)):
        assert one.train.tolist() == list(range(n))
        assert one.test.tolist() == list(range(n, n + 40))
    torch.testing.assert_close(few.table.targets[few.test], many.table.targets[many.test], rtol=0, atol=1e-14)
    other = TeacherStudent(train_points=10, test_points=40).examples(3)
    assert not torch.equal(few.table.inputs, other.table.inputs)
    assert len({float(number) for number in many.table.inputs.flatten()}) == 60 * 5


def test_a_student_of_the_same_seed_starts_elsewhere() -> None:
    alike = Stack([student(seed=1, data=TeacherStudent(), model=MLP([100, 100], embedding="none"))])
    (weight, _), *_ = TeacherStudent().teacher(1)
    own = alike.parameters["linears.0.weight"][0]
    assert own.shape == weight.shape
    assert not torch.isclose(own.flatten()[:, None], weight.flatten(), rtol=1e-6, atol=0).any()


# Questions


ASKED: dict[str, Task] = {
    "modular": Modular(SPLIT, p=7),
    "modular, equals": Modular(SPLIT, p=7, operation="div", layout="equals"),
    "permutations": Permutations(SPLIT, layout="equation"),
    "sums": Sums(SPLIT, p=11, operands=3, layout="equation"),
    "sums, drawn": Sums(SPLIT, p=1000, operands=4, equations=50, residues=9),
    "parity": Parity(SPLIT, bits=6, points=40),
    "teacher_student": TeacherStudent(),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_typed_question_is_the_tables_own_row(name: str) -> None:
    task, table = ASKED[name], ASKED[name].table(0)
    for row in (0, 17, len(table.inputs) - 1):
        tokens = table.inputs[row].tolist()
        symbols = 10**6 if table.vocabulary is None else {"m": 7, "p": 120, "s": getattr(task, "p", 0)}[name[0]]
        asked = task.ask([str(token) for token in tokens if table.vocabulary is None or token < symbols])
        assert torch.equal(asked, table.inputs[row])
        assert asked.dtype == table.inputs.dtype


UNANSWERABLE = [
    (Modular(SPLIT), "3,99", "operands must be 0 to 52"),
    (Modular(SPLIT), "-1,3", "operands must be 0 to 52"),
    (Modular(SPLIT), "3,x", "operands must be 0 to 52"),
    (Modular(SPLIT), "3,1.0", "operands must be 0 to 52"),
    (Modular(SPLIT), "3," + "9" * 5000, "operands must be 0 to 52"),
    (Modular(SPLIT), "3", "must be 2 numbers with commas between them, not 1"),
    (Modular(SPLIT, operation="div"), "3,0", "the second operand must be 1 to 52"),
    (Permutations(SPLIT), "120,0", "operands must be 0 to 119"),
    (Permutations(SPLIT), "1,2,3", "must be 2 numbers with commas between them, not 3"),
    (Sums(SPLIT), "1,2,31", "operands must be 0 to 30"),
    (Sums(SPLIT), "1,2", "must be 3 numbers with commas between them, not 2"),
    (Parity(SPLIT, bits=2), "1,0", "bits must be 1 or -1"),
    (Parity(SPLIT, bits=2), "1,1,1", "must be 2 numbers with commas between them, not 3"),
    (TeacherStudent(inputs=2), "1,nan", "must be finite numbers"),
    (TeacherStudent(inputs=2), "1,one", "must be finite numbers"),
    (TeacherStudent(inputs=2), "1", "must be 2 numbers with commas between them, not 1"),
]


@pytest.mark.parametrize(("task", "typed", "allowed"), UNANSWERABLE, ids=[typed[:9] for _, typed, _ in UNANSWERABLE])
def test_a_question_that_cannot_be_asked(task: Task, typed: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        task.ask(typed.split(","))
    assert str(caught.value) == f"question={typed}: {allowed}"


# What is refused


REFUSED = {
    "equations": (Sums(SPLIT, p=7, equations=344), "data.equations=344: must be at most 343, the number of equations"),
    "equations of few": (Sums(SPLIT, p=7, residues=2, equations=9), "data.equations=9: must be at most 8, "),
    "residues": (Sums(SPLIT, p=7, residues=8), "data.residues=8: must be at most 7, the modulus data.p"),
    "relevant": (Parity(SPLIT, bits=4, relevant=5), "data.relevant=5: must be at most 4, the number of bits"),
    "points": (Parity(SPLIT, bits=4, points=17), "data.points=17: must be at most 16, the number of points of 4 bits"),
    "memory": (Parity(SPLIT, bits=10_000, points=10**9), "data.points=1000000000: a table of 1000000000 rows .* TiB"),
    "students": (TeacherStudent(train_points=10**12), "data.train_points=1000000000000: .* TiB"),
    "fraction": (Permutations(SPLIT, train_fraction=1e-9), "data.train_fraction=1e-09: leaves the training subset"),
    "label noise": (Parity(SPLIT, points=20, label_noise=11), "data.label_noise=11: .* 10 training answers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_tasks_are_refused_in_one_line(case: str) -> None:
    task, message = REFUSED[case]
    with pytest.raises(ConfigError, match=f"^{message}") as caught:
        task.examples(0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "task",
    [
        Permutations(SPLIT, label_noise=0.1),
        Sums(SPLIT, p=13, equations=900, label_noise=0.1),
        Parity(SPLIT, points=400, label_noise=0.1),
    ],
    ids=lambda task: type(task).__name__,
)
def test_splits_and_label_noise_work_as_for_modular_tasks(task: Permutations | Sums | Parity) -> None:
    one = task.examples(0)
    total = len(one.table.targets)
    assert len(one.train) == int(task.train_fraction * total)  # type: ignore[operator]
    assert sorted(torch.cat([one.train, one.test]).tolist()) == list(range(total))
    assert int((one.train_targets != one.table.targets[one.train]).sum()) == int(0.1 * len(one.train))
    assert replace(task, split=OrderedSplit()).examples(0).train.tolist() == list(range(len(one.train)))
    held = replace(task, split=LabelHoldout(below=1), train_fraction=None, label_noise=0.0).examples(0)
    assert not held.table.targets[held.test].any()
    assert held.train_targets.all()


# Regression


def student(**parts: Any) -> Member:
    """A student that trains in milliseconds."""
    tiny = {
        "data": TeacherStudent(hidden=[6, 6], train_points=12, test_points=20, tolerance=0.3),
        "model": MLP(hidden=[8, 8], embedding="none", activation="Tanh", init_scale=2.0),
        "loss": MSE(),
        "log": NEVER,
        "train": training(),
    }
    return member(**(tiny | parts))


def outputs_of(stack: Stack, inputs: Tensor, number: int) -> list[list[float]]:
    """Outputs of one member's network, in plain torch."""
    layers = [roles.values() for roles in stack.network.layers().values()]
    for depth, (weight, bias) in enumerate(layers):
        inputs = nn.functional.linear(inputs if depth == 0 else inputs.tanh(), weight[number], bias[number])
    return inputs.tolist()


@pytest.mark.parametrize("tolerance", [0.002, 0.6, 20.0])
def test_regression_loss_and_accuracy_are_those_of_plain_lines(tolerance: float) -> None:
    data = TeacherStudent(train_points=12, test_points=20, tolerance=tolerance)
    stack = Stack([student(seed=seed, data=replace(data, train_points=12 - 5 * seed)) for seed in range(2)])
    records = measure(stack, observe(stack, None))
    accuracies = set()
    for number, one in enumerate(stack.members):
        examples = one.data.examples(one.seed)
        for split, rows in (("train", examples.train), ("test", examples.test)):
            answers = examples.table.targets[rows].tolist()
            found = outputs_of(stack, examples.table.inputs[rows], number)
            errors = [
                math.fsum((z - y) ** 2 for z, y in zip(*pair, strict=True)) / 5
                for pair in zip(found, answers, strict=True)
            ]
            right = [error < tolerance for error in errors]
            assert records[number][f"Loss/{split}"] == pytest.approx(math.fsum(errors) / len(errors), rel=1e-9)
            assert records[number][f"Acc/{split}"] == pytest.approx(sum(right) / len(right), rel=1e-12)
            accuracies.add(sum(right) / len(right))
    assert len(accuracies) == (4 if tolerance == 0.6 else 1)


def test_a_nan_or_an_error_of_just_the_tolerance_is_not_right() -> None:
    outputs = torch.tensor([[[1.0, 1.0], [math.nan, 0.0], [0.5, 0.5], [0.5, 0.25], [0.0, math.inf]]])
    points = torch.zeros(1, 5)
    subset = Subset(outputs, torch.zeros(1, 5, 2), points, points == 0, {}, Numbers(2, tolerance=0.25))
    assert subset.correct.tolist() == [[False, False, False, True, False]]


def test_mse_of_numbers_is_torchs_and_of_labels_that_of_their_one_hot_codes() -> None:
    random = torch.Generator().manual_seed(0)
    outputs, targets = (torch.randn(2, 6, 3, generator=random, dtype=torch.float64) for _ in range(2))
    expected = nn.MSELoss(reduction="none")(outputs, targets).mean(-1)
    torch.testing.assert_close(MSE()(outputs, targets), expected, rtol=1e-14, atol=0)
    labels = torch.randint(3, (2, 6), generator=random)
    one_hot = torch.eye(3, dtype=torch.float64)[labels]
    torch.testing.assert_close(Labels(3).loss(MSE())(outputs, labels), MSE()(outputs, one_hot), rtol=0, atol=0)
    assert MSE(dtype="float64")(outputs.float(), targets.float()).dtype == torch.float64


@pytest.mark.parametrize(("loss", "name"), [(CrossEntropy(), "cross_entropy"), (StableMax(), "stablemax")])
def test_a_loss_for_labels_is_refused_where_answers_are_numbers(loss: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=f"^loss={name}: needs class labels, .* use loss=mse$"):
        Stack([student(loss=loss)])


def test_metrics_for_labels_are_refused_where_answers_are_numbers() -> None:
    chosen = {
        "loss": metrics.Loss(),
        "perplexity": metrics.Perplexity(),
        "sparsity": metrics.Sparsity(),
        "softmax_collapse": metrics.SoftmaxCollapse(),
    }
    with pytest.raises(ConfigError) as caught:
        Stack([student(metrics=chosen)])
    assert str(caught.value) == (
        "metrics=[loss,perplexity,sparsity,softmax_collapse]: perplexity and softmax_collapse need class labels, "
        "and this task's answers are numbers; write metrics=[loss,sparsity]"
    )
    rest = {name: metric for name, metric in chosen.items() if name in ("loss", "sparsity")}
    assert "sparsity/total" in measure(stack := Stack([student(metrics=rest)]), observe(stack, None))[0]


def test_numbers_are_stacked_padded_and_gathered_in_the_stacks_dtype() -> None:
    tasks = [TeacherStudent(train_points=n, test_points=15) for n in (9, 4)]
    examples = [task.examples(seed) for seed, task in enumerate(tasks)]
    got = stack(examples, "cpu", torch.float32)
    assert got.train.targets.shape == (2, 9, 5)
    assert got.train.targets.dtype == got.train.inputs().dtype == torch.float32
    assert got.answers == Numbers(5, 1e-3)
    positions = torch.tensor([[8, 0, 3], [3, 1, 1]])
    inputs, targets = got.train.batch(positions)
    for place, one in enumerate(examples):
        rows = one.train[positions[place]]
        assert torch.equal(inputs[place], one.table.inputs[rows].float())
        assert torch.equal(targets[place], one.table.targets[rows].float())
        assert torch.equal(got.test.targets[place], one.table.targets[one.test].float())
    assert torch.equal(got.train.targets[1, 4:], got.train.targets[1, :1].expand(5, 5))


@pytest.mark.parametrize("batch_size", ["full", 5])
def test_a_stacked_student_equals_its_solo_run(batch_size: int | str) -> None:
    train = training(steps=50, batch_size=batch_size)
    data = TeacherStudent(hidden=[6, 6], test_points=20)
    students = [student(seed=seed, data=replace(data, train_points=12 - seed), train=train) for seed in range(3)]
    together, start = Stack(students), Stack(students)
    finish(together)
    for number, one in enumerate(students):
        alone = trained(one)
        assert (weights(alone) - weights(start, number)).abs().max() > 1e-3
        torch.testing.assert_close(weights(together, number), weights(alone), rtol=0, atol=1e-9)


def test_members_with_different_tables_drawn_by_their_seeds_equal_their_solo_runs() -> None:
    sums = [Sums(SPLIT, p=7, equations=60), Sums(SPLIT, p=7, equations=90, residues=5)]
    parities = [Parity(SPLIT, bits=8, points=60)] * 2
    for tasks, embedding in ((sums, "concat"), (parities, "none")):
        model = MLP(hidden=[8], embedding=embedding)
        members = [member(seed=seed, data=task, model=model) for seed, task in enumerate(tasks)]
        together = trained(*members)
        for number, one in enumerate(members):
            torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-9)


TINY: dict[str, tuple[Task, str]] = {
    "permutations": (Permutations(SPLIT, train_fraction=0.002), "concat"),
    "sums": (Sums(SPLIT, p=5, train_fraction=0.2), "concat"),
    "parity": (Parity(SPLIT, bits=10, points=40), "none"),
}


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_training_set_is_learnt_by_heart(name: str) -> None:
    data, embedding = TINY[name]
    one = member(data=data, model=MLP(hidden=[32], embedding=embedding), train=training(steps=300, dtype="float32"))
    last = finish(Stack([one]))[-1]
    assert last.records[0]["Acc/train"] == 1.0


def test_a_student_learns_its_few_points_to_the_tolerance() -> None:
    data = TeacherStudent(train_points=4, test_points=10)
    last = finish(Stack([student(data=data, optimizer=AdamW(lr=0.01, weight_decay=0), train=training(steps=600))]))[-1]
    assert last.records[0]["Acc/train"] == 1.0


def test_only_symbols_are_fixed_even_where_all_drawn_questions_share_an_operand() -> None:
    task = Sums(RandomSplit(), p=5, operands=2, equations=2, residues=2, layout="equation")
    tables = [task.table(seed) for seed in range(20)]
    assert any(len(set(table.inputs[:, 0].tolist())) == 1 for table in tables)
    assert all(table.fixed == {1: 5, 3: 6} for table in tables)
    assert Sums(RandomSplit(), p=5).table(0).fixed == {}


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    assert resources.container_bytes(tmp_path) > 2**50
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("300\n")
    assert resources.container_bytes(tmp_path) > 2**50
    (tmp_path / "memory.max").write_text("1000\n")
    assert resources.container_bytes(tmp_path) == 700


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ({"test_points": 10**11}, "data.test_points=100000000000: a table of"),
        ({"train_points": 10**11}, "data.train_points=100000000000: a table of"),
        ({"hidden": [10**6], "inputs": 10**6}, "data.hidden=[1000000]: a teacher of"),
    ],
    ids=str,
)
def test_a_teacher_or_points_beyond_memory_are_refused(keys: dict[str, Any], refused: str) -> None:
    with pytest.raises(ConfigError) as found:
        TeacherStudent(**keys).table(0)
    assert str(found.value).startswith(refused)


def test_the_limits_of_all_enclosing_control_groups_count(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/slurm/job_1/step_0\n")
    groups = resources.control_groups(tmp_path, own)
    assert groups == [tmp_path / "slurm/job_1/step_0", tmp_path / "slurm/job_1", tmp_path / "slurm", tmp_path]
    assert resources.control_groups(tmp_path, tmp_path / "missing") == [tmp_path]
