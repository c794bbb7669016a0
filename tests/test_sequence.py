"""Arithmetic in digits: every row against Python's integers and plain loops, splits, draws, noise, refusals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from grokplane import resources
from grokplane.answers import NOT_SCORED
from grokplane.data import DigitSequence, LabelHoldout, OrderedSplit, RandomSplit, Table, UnorderedSplit
from grokplane.data.arithmetic import Pairs, square_root
from grokplane.data.numerals import Numerals
from grokplane.data.split_task import SplitTask
from grokplane.losses import MSE, CrossEntropy
from grokplane.options import ConfigError
from grokplane.unread import Surroundings, unread

SPLIT = RandomSplit()
PLAIN: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "abs_diff": lambda a, b: abs(a - b),
    "mul": lambda a, b: a * b,
    "average": lambda a, b: (a + b) // 2,
    "sqrt_product": lambda a, b: math.isqrt(a * b),
    "max": max,
    "min": min,
}
MODULAR: dict[str, Callable[[int, int], int]] = {
    "x2_plus_y2": lambda x, y: x * x + y * y,
    "x2_plus_y2_plus_xy": lambda x, y: x * x + y * y + x * y,
    "x2_plus_y2_plus_xy_plus_x": lambda x, y: x * x + y * y + x * y + x,
    "x3_plus_xy": lambda x, y: x**3 + x * y,
    "x3_plus_xy2_plus_y": lambda x, y: x**3 + x * y * y + y,
    "x2_plus_y": lambda x, y: x * x + y,
    "x3_plus_y": lambda x, y: x**3 + y,
    "add_even_mul_odd": lambda x, y: x + y if x % 2 == 0 else x * y,
    "add_even_sub_odd": lambda x, y: x + y if x % 2 == 0 else x - y,
}
COMMUTATIVE = {"add", "abs_diff", "mul", "average", "sqrt_product", "max", "min", "x2_plus_y2", "x2_plus_y2_plus_xy"}
CASES = [(name, None) for name in PLAIN] + [(name, 7) for name in (*PLAIN, *MODULAR)]


def task(**keys: Any) -> DigitSequence:
    given: dict[str, Any] = {"split": SPLIT} | keys
    return DigitSequence(**given)


def digits(number: int, base: int, width: int | None, backwards: bool) -> list[int]:
    """The digits of a number, one at a time; `width`: with leading zeros."""
    found: list[int] = []
    while number or not found:
        found.append(number % base)
        number //= base
    found += [0] * ((width or 0) - len(found))
    return found if backwards else found[::-1]


def wanted(operation: str, modulus: int | None, a: int, b: int) -> int:
    if modulus is None:
        return PLAIN[operation](a, b)
    if operation in PLAIN:
        return PLAIN[operation](a, b) % modulus
    return MODULAR[operation](a % modulus, b % modulus) % modulus


@pytest.mark.parametrize(("operation", "modulus"), CASES)
@pytest.mark.parametrize("written", ["fixed", "variable"])
@pytest.mark.parametrize(("base", "backwards"), [(2, (False, True)), (3, (True, False)), (10, (True, True))])
def test_every_row_is_that_of_pythons_integers(
    operation: str, modulus: int | None, written: str, base: int, backwards: tuple[bool, bool]
) -> None:
    inside, outside = (1, 2) if base == 10 else (2, 3)
    made = task(
        base=base,
        digits=inside,
        ood_digits=outside,
        ood_questions=None,
        format=written,
        operation=operation,
        modulus=modulus,
        operands_reversed=backwards[0],
        answer_reversed=backwards[1],
    )
    table, fixed = made.table(0), written == "fixed"
    ranges = range(base**inside), range(base**inside, base**outside)
    pairs = [pair for numbers in ranges for pair in itertools.product(numbers, numbers)]
    if operation == "sub" and modulus is None:
        pairs = [(a, b) for a, b in pairs if a >= b]
    assert table.operands is not None
    assert table.operands.tolist() == [list(pair) for pair in pairs]
    plus, equals, end, padding = range(base, base + 4)
    # The longest answer that can be asked for, of operands of two lengths, too; modulo p, the largest residue.
    every = itertools.product(range(base**outside), repeat=2)
    largest = max(wanted(operation, None, a, b) for a, b in every) if modulus is None else modulus - 1
    longest = len(digits(largest, base, None, False))
    width = outside if fixed else None
    rows = []
    for a, b in pairs:
        question = [*digits(a, base, width, backwards[0]), plus, *digits(b, base, width, backwards[0]), equals]
        answer = digits(wanted(operation, modulus, a, b), base, longest if fixed else None, backwards[1])
        rows.append((question, answer if fixed else [*answer, end]))
    total = 2 * outside + 2 + longest + (not fixed)
    length, first = total - 1, min(len(question) for question, _ in rows if fixed) - 1 if fixed else 3
    assert table.inputs.shape == (len(pairs), length)
    assert table.answers.positions == length - first
    for number, (question, answer) in enumerate(rows):
        whole = question + answer + [padding] * (total - len(question) - len(answer))
        target = [NOT_SCORED] * length
        for place in range(len(answer)):
            target[len(question) - 1 + place] = answer[place]
        assert table.inputs[number].tolist() == whole[:-1]
        assert table.targets[number].tolist() == target[first:]
    lengths = [len(digits(wanted(operation, modulus, a, b), base, None, False)) for a, b in pairs]
    assert {name: flags.tolist() for name, flags in table.groups.items()} == {
        f"length_{length}": [one == length for one in lengths] for length in sorted(set(lengths))
    }
    assert table.vocabulary == base + table.symbols == base + (2 if fixed else 4)
    for place in range(length):
        same = len(set(table.inputs[:, place].tolist())) == 1
        assert place not in table.fixed or (same and int(table.inputs[0, place]) == table.fixed[place])
    assert list(table.fixed) == ([outside, 2 * outside + 1] if fixed else [])


@pytest.mark.parametrize(("operation", "modulus"), CASES)
def test_mirrors_are_pairs_that_are_swapped(operation: str, modulus: int | None) -> None:
    table = task(digits=1, operation=operation, modulus=modulus).table(0)
    assert (table.mirrors is not None) == (operation in COMMUTATIVE)
    if table.mirrors is not None:
        assert table.operands is not None
        pairs = [tuple(sorted(pair)) for pair in table.operands.tolist()]
        classes = table.mirrors.tolist()
        assert len(set(zip(pairs, classes, strict=True))) == len(set(pairs)) == len(set(classes))


def test_square_roots_and_triangular_numbers_are_exact_where_floats_are_not() -> None:
    roots = [0, 1, 2, 3, 94_906_266, 999_999_999, 2**31 - 1, 2**31]
    numbers = [number for root in roots for number in (root * root - 1, root * root, root * root + 1) if number >= 0]
    assert square_root(torch.tensor(numbers)).tolist() == [math.isqrt(number) for number in numbers]
    pairs = Pairs(5, 10**9, descending=True)
    assert len(pairs) == (10**9 - 5) * (10**9 - 4) // 2
    for first in (0, 1, 2, 94_906_266, 10**9 - 6):
        start = first * (first + 1) // 2
        places = torch.tensor([start, start + first])
        assert pairs.at(places).tolist() == [[first + 5, 5], [first + 5, first + 5]]
    assert Pairs(2, 5, descending=True).at(torch.arange(6)).tolist() == [[2, 2], [3, 2], [3, 3], [4, 2], [4, 3], [4, 4]]


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
def test_numerals_are_read_as_they_are_written_and_nothing_else_is(padded: bool, backwards: bool) -> None:
    numerals, read = Numerals(3, 3, backwards, padded), {}
    for length in range(5):
        for tokens in itertools.product(range(4), repeat=length):
            number = numerals.read(tokens)
            if number is not None:
                assert number not in read
                read[number] = list(tokens)
    assert read == {number: digits(number, 3, 3 if padded else None, backwards) for number in range(27)}


@pytest.mark.parametrize("written", ["fixed", "variable"])
@pytest.mark.parametrize("loss", [CrossEntropy(), MSE()], ids=["cross_entropy", "mse"])
def test_the_first_digit_counts(written: str, loss: Any) -> None:
    """Right in all tokens but one: wrong as a whole, and the loss is that of the one token, for every token."""
    table = task(digits=1, ood_digits=2, format=written).table(0)
    answers, targets = table.answers, table.targets
    assert table.vocabulary is not None
    scored, length = targets != NOT_SCORED, table.inputs.shape[1]
    first = scored.int().argmax(1)
    rows = torch.arange(len(targets))
    assert (table.inputs[rows, length - targets.shape[1] + first] == 11).all()  # read at the =
    right = 40.0 * torch.eye(table.vocabulary, dtype=torch.float64)[targets.clamp(min=0)]
    assert answers.correct(right[None], targets[None]).all()
    assert answers.loss(loss)(right[None], targets[None]).max() < (1e-9 if isinstance(loss, CrossEntropy) else 200)
    for token in range(int(scored.sum(1).min())):
        outputs = right.clone()
        outputs[rows, first + token] = outputs[rows, first + token].roll(1, -1)
        scores = answers.scores(outputs[None], targets[None])
        assert not scores["Acc"].any()
        torch.testing.assert_close(scores["Acc_token"][0], 1 - 1 / scored.sum(1).double())
        paid = answers.loss(loss)(outputs[None], targets[None]) - answers.loss(loss)(right[None], targets[None])
        of_token = 40.0 if isinstance(loss, CrossEntropy) else (40**2 + 1 - 39**2) / table.vocabulary
        torch.testing.assert_close(paid[0], of_token / scored.sum(1).double())


def test_draws_are_nested_and_by_the_seed() -> None:
    few, more, other = (
        task(digits=3, questions=questions, ood_digits=4, ood_questions=ood).table(seed)
        for questions, ood, seed in ((50, 20, 0), (200, 90, 0), (200, 90, 1))
    )
    sets = []
    for table, inside in ((few, 50), (more, 200), (other, 200)):
        assert table.operands is not None
        rows = [tuple(pair) for pair in table.operands.tolist()]
        assert rows[:inside] == sorted(set(rows[:inside]))
        assert rows[inside:] == sorted(set(rows[inside:]))
        assert all(max(pair) < 1_000 for pair in rows[:inside])
        assert all(1_000 <= number < 10_000 for pair in rows[inside:] for number in pair)
        sets.append((set(rows[:inside]), set(rows[inside:])))
    assert sets[0][0] < sets[1][0]
    assert sets[0][1] < sets[1][1]
    assert sets[1][0] != sets[2][0]
    assert sets[1][1] != sets[2][1]


@pytest.mark.parametrize("written", ["fixed", "variable"])
@pytest.mark.parametrize("split", [SPLIT, UnorderedSplit(), OrderedSplit()])
def test_splits_share_the_domain_and_nothing_out_of_it(split: Any, written: str) -> None:
    made = task(split=split, digits=1, ood_digits=2, ood_questions=30, format=written, train_fraction=0.3)
    examples = made.examples(0)
    assert examples.ood is not None
    assert sorted(torch.cat([examples.train, examples.test]).tolist()) == list(range(100))
    assert examples.ood.tolist() == list(range(100, 130))
    assert len(examples.train) in (30, 31)
    assert torch.equal(examples.train_targets, examples.table.targets[examples.train])
    assert task(digits=1).examples(0).ood is None


@pytest.mark.parametrize("written", ["fixed", "variable"])
def test_label_noise_is_in_the_inputs_too(written: str) -> None:
    """The input after the one from which a token is read is that token, for wrong answers as for right ones."""
    made = task(digits=2, ood_digits=3, format=written, operation="mul", label_noise=40, train_fraction=0.1)
    clean, noisy = task(digits=2, ood_digits=3, format=written, operation="mul", train_fraction=0.1), made.examples(3)
    reference = clean.examples(3)
    assert torch.equal(reference.test, noisy.test)
    assert torch.equal(reference.table.inputs, noisy.table.inputs[: len(reference.table.inputs)])
    assert torch.equal(noisy.table.targets[noisy.train], reference.train_targets)
    wrong = (noisy.train_targets != reference.train_targets).any(1)
    assert int(wrong.sum()) == 40
    assert torch.equal(noisy.train[~wrong], reference.train[~wrong])
    length, positions = noisy.table.inputs.shape[1], noisy.table.targets.shape[1]
    question = 8 if written == "fixed" else None
    texts = set()
    for row, target, before in zip(noisy.train, noisy.train_targets, reference.train, strict=True):
        inputs, places = noisy.table.inputs[row].tolist(), (target != NOT_SCORED).nonzero().flatten().tolist()
        first = length - positions + places[0]
        assert question in (None, first + 1)
        assert inputs[first] == 11
        assert inputs[: first + 1] == reference.table.inputs[before].tolist()[: first + 1]
        for place in places:
            if length - positions + place + 1 < length:
                assert inputs[length - positions + place + 1] == int(target[place])
        texts.add(made.spell(target[places].tolist()))
    assert all(text.isdecimal() for text in texts)


@pytest.mark.parametrize("written", ["fixed", "variable"])
def test_questions_that_are_typed(written: str) -> None:
    made = task(digits=2, ood_digits=3, format=written, answer_reversed=True)
    table = made.table(0)
    assert table.operands is not None
    for row in (0, 7, 1234, 9_999, 10_500):
        a, b = table.operands[row].tolist()
        asked = made.ask([str(a), f" {b}"]).tolist()
        assert asked == table.inputs[row].tolist()[: len(asked)]
        assert asked[-1] == 11
        target = table.targets[row]
        assert made.spell(target[target != NOT_SCORED].tolist()) == str(a + b)
    assert len(made.ask(["7", "345"])) == (8 if written == "fixed" else 6)  # of two lengths
    for operands in (["1"], ["1", "1000"], ["-1", "2"], ["a", "2"], ["1", "2", "3"]):
        with pytest.raises(ConfigError, match=r"^question="):
            made.ask(operands)
    with pytest.raises(ConfigError, match=r"^question=3,4: the first operand must not be below the second$"):
        task(operation="sub").ask(["3", "4"])
    assert task(operation="sub", modulus=7).ask(["3", "4"]).tolist() == [0, 3, 10, 0, 4, 11]


def test_what_is_no_number_is_spelled_token_by_token() -> None:
    fixed, variable = task(operation="mul"), task(format="variable")
    assert fixed.spell([0, 0, 4, 2]) == "42"
    assert fixed.spell([0, 10, 4, 11]) == "0 mul 4 ="
    assert variable.spell([4, 2, 12]) == "42"
    assert variable.spell([0, 4, 2, 12]) == "0 4 2 end"
    assert variable.spell([4, 2]) == "4 2"
    assert variable.spell([12]) == "end"
    assert variable.spell([13, 12]) == "pad end"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"base": 1}, r"^data.base=1: must be at least 2"),
        ({"modulus": 1}, r"^data.modulus=1: must be at least 2"),
        ({"ood_digits": 2}, r"^data.ood_digits=2: must be above data.digits \(2\), .* or null$"),
        ({"digits": 10}, r"^data.digits=10: must be at most 9 in base 10$"),
        ({"base": 100, "ood_digits": 5}, r"^data.ood_digits=5: must be at most 4 in base 100$"),
        ({"operation": "x2_plus_y"}, r"^data.operation=x2_plus_y: needs a data.modulus; without one: add, sub, "),
        ({"operation": "div"}, r"^data.operation=div: .*allowed: add, "),
        ({"format": "padded"}, r"^data.format=padded: "),
    ],
)
def test_keys_that_do_not_fit_together_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task(**keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"questions": 10_001}, r"^data.questions=10001: must be at most 10000, the number of questions$"),
        ({"operation": "sub", "questions": 5_051}, r"^data.questions=5051: must be at most 5050, "),
        ({"base": 2, "digits": 1, "ood_digits": 2}, r"^data.ood_questions=1000: must be at most 4, "),
        (
            {"operation": "mul", "answer_digits": 3},
            r"^data.answer_digits=3: the answer to 99,99 is 9801, which does not fit; must be at least 4, or null$",
        ),
        (
            {"ood_digits": 3, "answer_digits": 3},
            r"^data.answer_digits=3: the answer to \d+,\d+ is 1\d+, which",
        ),
        ({"train_fraction": None}, r"^data.train_fraction=null"),
        ({"split": UnorderedSplit(), "operation": "sub", "modulus": 7}, r"^data/split=unordered: needs operands that"),
        ({"split": UnorderedSplit(), "operation": "sub"}, r"^data/split=unordered: needs operands that"),
        ({"split": LabelHoldout()}, r"^data/split=label_holdout: needs answers that are single labels"),
    ],
)
def test_populations_that_cannot_be_had_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task(**keys).examples(0)


def test_answers_may_have_more_digits_than_they_need() -> None:
    wide = task(answer_digits=30, digits=1).table(0)
    assert wide.targets.shape == (100, 30)
    assert wide.targets[99].tolist() == [0] * 28 + [1, 8]


def test_a_table_that_does_not_fit_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "available_bytes", lambda: 2**30)
    with pytest.raises(ConfigError, match=r"^data.questions=null: a table of 1000000000000 rows would take"):
        task(digits=6).table(0)


def test_the_number_of_questions_out_of_the_domain_is_not_read_where_there_are_none() -> None:
    around = cast("Surroundings", None)  # the task's own keys decide
    assert list(unread(task(), around)) == ["ood_questions"]
    assert unread(task(ood_digits=3), around) == {}


def test_label_noise_is_refused_where_it_would_be_in_the_targets_alone() -> None:
    class Plain(SplitTask):
        def table(self, seed: int) -> Table:
            return task(digits=1).table(seed)

    assert len(Plain(SPLIT).examples(0).train) == 50
    with pytest.raises(ConfigError, match=r"^data.label_noise=3: must be 0: the inputs contain the right answers$"):
        Plain(SPLIT, label_noise=3).examples(0)
