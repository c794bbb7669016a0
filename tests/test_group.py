"""Finite groups as tasks, each compared with slow loops: families, Cayley tables of files, cosets, training."""

from __future__ import annotations

import hashlib
import importlib
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import member, trained, weights
from command import QUIET, Inside, assert_same_state, ended_well, refusal, rows, state, summary
from omegaconf import OmegaConf
from torch import Tensor

from grokplane import config, open_run, resources
from grokplane.app.composing import Composer
from grokplane.data import CosetSplit, Examples, Group, Modular, Permutations, RandomSplit, Table, UnorderedSplit
from grokplane.data.cayley import FiniteGroup, checked_group, generated
from grokplane.data.families import FAMILIES, named, order
from grokplane.models.mlp import MLP
from grokplane.options import ConfigError
from grokplane.record import load

SPLIT = RandomSplit()
ORDERS = {
    "Z2": 2,
    "Z6": 6,
    "D1": 2,
    "D2": 4,
    "D3": 6,
    "D7": 14,
    "S2": 2,
    "S3": 6,
    "S4": 24,
    "S5": 120,
    "A3": 3,
    "A4": 12,
    "A5": 60,
    "Q8": 8,
    "Q12": 12,
    "Q20": 20,
    "Z2xZ3": 6,
    "Z1xZ4": 4,
    "Z2xZ2xZ2": 8,
    "S3xZ2": 12,
    "D4xZ3xS3": 144,
}
ABELIAN = {"Z2", "Z6", "D1", "D2", "S2", "A3", "Z2xZ3", "Z1xZ4", "Z2xZ2xZ2"}
# A loop: every row and column has each number once, 0 is the identity, and a∘a = 0. It is not associative.
LOOP = [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]


def twin_inverse(table: list[list[int]], a: int, identity: int = 0) -> int:
    return next(b for b in range(len(table)) if table[a][b] == identity == table[b][a])


def power(table: list[list[int]], a: int, exponent: int) -> int:
    found = 0
    for _ in range(exponent):
        found = table[found][a]
    return found


def order_of(table: list[list[int]], a: int) -> int:
    return next(n for n in itertools.count(1) if power(table, a, n) == 0)


def is_associative(table: Sequence[Sequence[int]]) -> bool:
    every = range(len(table))
    return all(table[table[a][b]][c] == table[a][table[b][c]] for a in every for b in every for c in every)


def lists(name: str) -> list[list[int]]:
    return named(name).products.tolist()


# Families


@pytest.mark.parametrize("name", ORDERS)
def test_every_family_obeys_the_axioms(name: str) -> None:
    group = named(name)
    n, products = group.order, group.products
    every = torch.arange(n)
    assert n == ORDERS[name] == order(name)
    assert products.dtype == torch.int64
    assert 0 <= int(products.min()) <= int(products.max()) < n
    assert torch.equal(products[0], every)
    assert torch.equal(products[:, 0], every)
    assert torch.equal(products[products], products[every[:, None, None], products])  # (a∘b)∘c and a∘(b∘c)
    assert group.inverses.tolist() == [twin_inverse(lists(name), a) for a in range(n)]
    assert (name in ABELIAN) == torch.equal(products, products.T)


def test_every_letter_was_tried() -> None:
    assert {name[0] for name in ORDERS} == FAMILIES.keys()


@pytest.mark.parametrize("n", [3, 4, 7, 10])
def test_the_relations_of_dihedral_groups(n: int) -> None:
    table, r, s = lists(f"D{n}"), 1, n
    assert order_of(table, r) == n
    assert order_of(table, s) == 2
    assert table[table[s][r]][s] == twin_inverse(table, r) == n - 1
    for k, j in itertools.product(range(n), range(2)):
        assert table[power(table, r, k)][power(table, s, j)] == k + n * j


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_the_relations_of_dicyclic_groups(n: int) -> None:
    table, x, y = lists(f"Q{4 * n}"), 1, 2 * n
    assert order_of(table, x) == 2 * n
    assert power(table, y, 2) == power(table, x, n)
    assert table[table[y][x]][twin_inverse(table, y)] == twin_inverse(table, x)
    for k, j in itertools.product(range(2 * n), range(2)):
        assert table[power(table, x, k)][power(table, y, j)] == k + 2 * n * j
    assert [order_of(table, a) for a in range(4 * n)].count(2) == 1


def is_even(images: Sequence[int]) -> bool:
    """By its number of cycles."""
    seen, cycles = set[int](), 0
    for start in images:
        cycles += start not in seen
        while start not in seen:
            seen.add(start)
            start = images[start]
    return (len(images) - cycles) % 2 == 0


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("letter", ["S", "A"])
def test_permutations_are_those_of_itertools(letter: str, n: int) -> None:
    every = [one for one in itertools.permutations(range(n)) if letter == "S" or is_even(one)]
    number = {images: place for place, images in enumerate(every)}
    table = FAMILIES[letter].make(n).products.tolist()
    assert len(table) == len(every) == FAMILIES[letter].order(n)
    for (a, left), (b, right) in itertools.islice(itertools.product(enumerate(every), repeat=2), 0, None, 7):
        assert table[a][b] == number[tuple(left[right[i]] for i in range(n))]


def test_the_even_permutations_are_half_of_the_group_and_closed() -> None:
    even = [place for place, images in enumerate(itertools.permutations(range(5))) if is_even(images)]
    inside = named("S5").products[even][:, even]
    assert torch.equal(torch.tensor(even)[named("A5").products], inside)


def test_cyclic_groups_are_modular_addition() -> None:
    ours, known = Group(SPLIT, group="Z13").examples(4), Modular(SPLIT, p=13, train_fraction=0.5).examples(4)
    for one, other in zip(tensors(ours), tensors(known), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(mirrors(ours.table), mirrors(known.table))


def mirrors(table: Table) -> Tensor:
    assert table.mirrors is not None
    return table.mirrors


def tensors(one: Examples) -> list[Tensor]:
    return [one.table.inputs, one.table.targets, one.train, one.test, one.train_targets]


@pytest.mark.parametrize(("m", "n"), [(2, 3), (3, 4), (5, 7), (4, 9)])
def test_products_of_coprime_cyclic_groups_are_cyclic(m: int, n: int) -> None:
    table, cyclic = lists(f"Z{m}xZ{n}"), lists(f"Z{m * n}")
    image = [(k % m) * n + k % n for k in range(m * n)]
    assert sorted(image) == list(range(m * n))
    for a, b in itertools.product(range(m * n), repeat=2):
        assert table[image[a]][image[b]] == image[cyclic[a][b]]


def test_products_of_other_cyclic_groups_are_not() -> None:
    assert max(order_of(lists("Z4xZ6"), a) for a in range(24)) == math.lcm(4, 6)


def test_a_product_is_by_factors_with_the_last_one_fastest() -> None:
    names = ("D4", "Z3", "S3")
    tables = [lists(name) for name in names]
    every = list(itertools.product(*(range(len(table)) for table in tables)))
    number = {factors: place for place, factors in enumerate(every)}
    found = lists("x".join(names))
    for (a, left), (b, right) in itertools.islice(itertools.product(enumerate(every), repeat=2), 0, None, 11):
        assert found[a][b] == number[tuple(table[i][j] for table, i, j in zip(tables, left, right, strict=True))]


FAMILY_LIST = (
    "must be Z1 to Z5040 (cyclic), D1 to D2520 (dihedral), S1 to S7 (symmetric), A1 to A7 (alternating), "
    "Q8, Q12, ... to Q5040 (dicyclic), or a direct product such as Z2xD4"
)


@pytest.mark.parametrize(
    "name", ["S8", "s5", "Z0", "Z05", "Z", "5", "", "Z6x", "Z2 x Z3", "Q4", "Q10", "D2521", "E8", "Z" + "9" * 5000]
)
def test_a_name_of_no_group_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Group(SPLIT, group=name).examples(0)
    assert str(caught.value) == f"data.group={name}: {FAMILY_LIST}"


@pytest.mark.parametrize("name", ["Z1", "S1xA2", "Z71xZ71", "x".join(["Z5040"] * 300)])
def test_a_group_that_is_too_small_or_too_large_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Group(SPLIT, group=name).examples(0)
    assert str(caught.value) == f"data.group={name}: must have 2 to 5,040 elements"


def test_a_table_that_does_not_fit_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "available_bytes", lambda: 2**30)
    named.cache_clear()
    with pytest.raises(ConfigError, match=r"^data.group=S7: a table of 25401600 rows would take 2.3 GiB, more than"):
        Group(SPLIT, group="S7").table(0)
    assert named.cache_info().currsize == 0


# Operations


def answers(table: list[list[int]], operation: str, identity: int = 0) -> Iterator[int]:
    """The answers of all pairs, one pair at a time."""
    for a, b in itertools.product(range(len(table)), repeat=2):
        third = {"product": identity, "conjugate": twin_inverse(table, a, identity), "aba": a}[operation]
        yield table[table[a][b]][third]


@pytest.mark.parametrize("name", ["Z5", "D5", "S3", "A4", "Q8", "S3xZ2"])
@pytest.mark.parametrize("operation", ["product", "conjugate", "aba"])
def test_answers_are_those_of_slow_loops(name: str, operation: str) -> None:
    n, table = order(name), Group(SPLIT, group=name, operation=operation, layout="equation").table(0)
    assert table.inputs.tolist() == [[a, n, b, n + 1] for a in range(n) for b in range(n)]
    assert table.operands is not None
    assert table.operands.tolist() == [[a, b] for a in range(n) for b in range(n)]
    assert (table.vocabulary, table.symbols, table.fixed) == (n + 2, 2, {1: n, 3: n + 1})
    assert table.targets.tolist() == list(answers(lists(name), operation))


@pytest.mark.parametrize("name", ["Z6", "D2", "D5", "S3", "Q8", "Z2xZ2xZ2"])
def test_mirrors_are_those_of_the_product_of_an_abelian_group(name: str) -> None:
    product, *others = (Group(SPLIT, group=name, operation=one).table(0) for one in ("product", "conjugate", "aba"))
    assert [one.mirrors for one in others] == [None, None]
    assert (product.mirrors is None) == (name not in ABELIAN)
    if product.mirrors is None:
        with pytest.raises(ConfigError, match=r"^data/split=unordered: needs operands that can be swapped"):
            Group(UnorderedSplit(), group=name).examples(0)
        return
    one = Group(UnorderedSplit(), group=name).examples(0)
    train, test = ({tuple(sorted(pair)) for pair in one.table.inputs[own].tolist()} for own in (one.train, one.test))
    assert train
    assert test
    assert not train & test


# What `data=permutations` gave before it was a group: the first letters of SHA-256 over the bytes of all tensors.
BEFORE = {"s5": "714daa5d6fe0d682", "s5_conjugate": "82aa816654748c98", "s5_aba": "9acc83628212c4e2"}


@pytest.mark.parametrize(("name", "operation"), [*zip(BEFORE, ["product", "conjugate", "aba"], strict=True)])
def test_permutations_are_as_they_were_and_are_the_group_s5(name: str, operation: str) -> None:
    keys: dict[str, Any] = {"layout": "equation", "label_noise": 0.1, "train_fraction": 0.3}
    old = Permutations(SPLIT, operation=name, **keys).examples(3)
    found = hashlib.sha256(b"".join(one.contiguous().numpy().tobytes() for one in tensors(old))).hexdigest()
    assert found.startswith(BEFORE[name])
    new = Group(SPLIT, group="S5", operation=operation, **keys).examples(3)
    default = Group(SPLIT, operation=operation, **keys).examples(3)
    for one, other, third in zip(tensors(old), tensors(new), tensors(default), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


@pytest.mark.parametrize(
    ("typed", "allowed"),
    [
        ("14,0", "operands must be 0 to 13"),
        ("-1,0", "operands must be 0 to 13"),
        ("r,s", "operands must be 0 to 13"),
        ("3", "must be 2 numbers with commas between them, not 1"),
    ],
)
def test_questions_are_numbers_of_elements(typed: str, allowed: str) -> None:
    task = Group(SPLIT, group="D7", layout="equals")
    assert torch.equal(task.ask(["3", "12"]), task.table(0).inputs[3 * 14 + 12])
    with pytest.raises(ConfigError) as caught:
        task.ask(typed.split(","))
    assert str(caught.value) == f"question={typed}: {allowed}"


# Cayley tables of files


def as_spaces(path: Path, table: np.ndarray) -> Path:
    np.savetxt(path, table, fmt="%d")
    return path


def as_commas(path: Path, table: np.ndarray) -> Path:
    path.write_text("\n" + "\n\n".join(", ".join(map(str, row)) for row in table.tolist()))
    return path


def as_npy(kind: type) -> Callable[[Path, np.ndarray], Path]:
    def write(path: Path, table: np.ndarray) -> Path:
        np.save(path.with_suffix(".npy"), table.astype(kind))
        return path.with_suffix(".npy")

    return write


WRITERS = {
    "spaces": as_spaces,
    "commas": as_commas,
    "int8": as_npy(np.int8),
    "uint32": as_npy(np.uint32),
    ">i4": as_npy(np.dtype(">i4").type),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", ["D7", "Z2xZ3"])
def test_a_table_comes_back_from_a_file(name: str, writer: str, tmp_path: Path) -> None:
    path = WRITERS[writer](tmp_path / "table.txt", named(name).products.numpy())
    for operation in ("product", "conjugate"):
        ours = Group(SPLIT, cayley=str(path), operation=operation).examples(2)
        known = Group(SPLIT, group=name, operation=operation).examples(2)
        assert all(torch.equal(*both) for both in zip(tensors(ours), tensors(known), strict=True))


def shuffled(name: str, seed: int) -> list[list[int]]:
    """The table of a group with its elements numbered at random."""
    table = lists(name)
    new = random.Random(seed).sample(range(len(table)), len(table))
    old = [new.index(a) for a in range(len(table))]
    return [[new[table[old[a]][old[b]]] for b in range(len(table))] for a in range(len(table))]


def test_the_identity_of_a_file_need_not_be_0(tmp_path: Path) -> None:
    table = shuffled("S3", 1)
    identity = next(e for e in range(6) if table[e] == list(range(6)))
    assert identity != 0
    path = as_spaces(tmp_path / "t", np.array(table))
    for operation in ("product", "conjugate", "aba"):
        found = Group(SPLIT, cayley=str(path), operation=operation).table(0).targets
        assert found.tolist() == list(answers(table, operation, identity))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = as_spaces(tmp_path / "t", named("Z6").products.numpy())
    assert Group(SPLIT, cayley=str(path)).table(0).mirrors is not None
    as_spaces(path, named("Z12").products.numpy())
    assert Group(SPLIT, cayley=str(path)).table(0).vocabulary == 12


Z3 = [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
# 1 has no inverse: 1∘2 = 0 and 2∘1 = 1.
ONE_SIDED = [[0, 1, 2, 3], [1, 3, 0, 2], [2, 1, 3, 0], [3, 0, 1, 2]]
BROKEN = {
    "closure": ([[0, 1, 2], [1, 2, 3], [2, 0, 1]], "closure fails: 1∘2 = 3, and the elements are 0 to 2"),
    "closure below": ([[0, 1, 2], [1, 2, 0], [-1, 0, 1]], "closure fails: 2∘0 = -1, and the elements are 0 to 2"),
    "identity": (
        [[1, 2, 0], [2, 0, 1], [0, 1, 1]],
        "identity fails: no element e has e∘a = a∘e = a for every a; the nearest is 2, with 2∘2 = 1",
    ),
    "identity on the right": (
        [[0, 1, 2], [0, 1, 2], [0, 1, 2]],
        "identity fails: no element e has e∘a = a∘e = a for every a; the nearest is 0, with 1∘0 = 0",
    ),
    "inverses": (
        [[0, 1, 2], [1, 1, 1], [2, 1, 0]],
        "inverses fail: no b has 1∘b = b∘1 = 0, the identity",
    ),
    "inverses on one side": (
        ONE_SIDED,
        "inverses fail: no b has 1∘b = b∘1 = 0, the identity; 1∘2 = 0, and 2∘1 = 1",
    ),
    "associativity": (LOOP, "associativity fails: (1∘1)∘2 = 2, and 1∘(1∘2) = 4"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_axiom_is_named_with_its_elements(case: str, tmp_path: Path) -> None:
    table, told = BROKEN[case]
    path = as_spaces(tmp_path / "t", np.array(table))
    with pytest.raises(ConfigError) as caught:
        Group(SPLIT, cayley=str(path)).examples(0)
    assert str(caught.value) == f"data.cayley={path}: must be the Cayley table of a group; {told}"


def verdict(table: Sequence[Sequence[int]]) -> str:
    found = checked_group(torch.tensor(table))
    return found if isinstance(found, str) else ""


def test_associativity_is_exact_for_all_small_tables_with_an_identity() -> None:
    """Every table of two elements, and all of three whose identity is 0."""
    tables = [[list(one[:2]), list(one[2:])] for one in itertools.product(range(2), repeat=4)]
    tables += [[[0, 1, 2], [1, *one[:2]], [2, *one[2:]]] for one in itertools.product(range(3), repeat=4)]
    groups = [table for table in tables if not verdict(table)]
    for table in tables:
        told = verdict(table)
        assert told.startswith(("identity", "inverses")) or is_associative(table) == (told == "")
    assert groups == [[[0, 1], [1, 0]], [[1, 0], [0, 1]], Z3]


def test_associativity_is_exact_for_loops_near_a_group() -> None:
    """Tables of Z2 x Z2 x Z2 in which two values are exchanged in two rows, away from the identity and the inverses."""
    found, drawn = Counter[bool](), random.Random(0)
    for _ in range(60):
        table = shuffled("Z2xZ2xZ2", drawn.randrange(10**6)) if drawn.random() < 0.5 else lists("Z2xZ2xZ2")
        e = next(e for e in range(8) if table[e] == list(range(8)))
        for _ in range(drawn.randrange(3)):
            a, c = drawn.sample([one for one in range(8) if one != e], 2)
            b = drawn.choice([one for one in range(8) if e not in (one, table[a][one], table[c][one])])
            d = table[a].index(table[c][b])
            if table[c][d] == table[a][b] and d != e:
                for row in (a, c):
                    table[row][b], table[row][d] = table[row][d], table[row][b]
        told = verdict(table)
        assert is_associative(table) == (told == "")
        found[told == ""] += 1
        if told:
            check_triple(table, told)
    assert min(found.values()) > 5


def check_triple(table: list[list[int]], told: str) -> None:
    """The elements and the values of the message are those of the table."""
    digits = [int(one) for one in told if one.isdigit()]
    a, b, c, left, *again, right = digits
    assert told == f"associativity fails: ({a}∘{b})∘{c} = {left}, and {a}∘({b}∘{c}) = {right}"
    assert again == [a, b, c]
    assert left == table[table[a][b]][c] != right == table[a][table[b][c]]


def test_one_wrong_pair_in_a_large_table_is_found() -> None:
    products = named("D150").products.clone()
    products[3, [5, 200]] = products[3, [200, 5]]
    told = checked_group(products)
    assert isinstance(told, str)
    assert told.startswith("associativity fails: ")
    known = checked_group(named("D150").products)
    assert isinstance(known, FiniteGroup)
    assert known.identity == 0


UNREADABLE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (Path.exists, "cannot be read (No such file or directory)"),
    "a folder": (Path.mkdir, "cannot be read (Is a directory)"),
    "empty": (Path.touch, "must have 2 to 5,040 rows, one for each element, and has 0"),
    "one": (lambda path: path.write_text("0"), "must have 2 to 5,040 rows, one for each element, and has 1"),
    "not square": (
        lambda path: path.write_text("0 1 2\n1 0\n"),
        "must have as many numbers in each row as rows: row 0 of 2 has 3",
    ),
    "words": (
        lambda path: path.write_text("0 1\n\n1 e"),
        "must hold whole numbers, with spaces or commas between them; line 3 has e",
    ),
    "fractions": (
        lambda path: path.write_text("0 1\n1 0.0"),
        "must hold whole numbers, with spaces or commas between them; line 2 has 0.0",
    ),
    "large": (
        lambda path: path.write_text("0 1\n1 " + "9" * 5000),
        "must hold whole numbers, with spaces or commas between them; line 2 has 99999999999999999999",
    ),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe"), "must be text with whole numbers, or a .npy file"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_without_a_table_is_refused(case: str, tmp_path: Path) -> None:
    write, told = UNREADABLE[case]
    write(tmp_path / "t")
    with pytest.raises(ConfigError) as caught:
        Group(SPLIT, cayley=str(tmp_path / "t")).examples(0)
    assert str(caught.value) == f"data.cayley={tmp_path / 't'}: {told}"


SQUARE = "must be a square array of whole numbers of at most 64 bits with a sign"


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.array([[0.0, 1.0], [1.0, 0.0]]), f"{SQUARE}, and has shape (2, 2) of float64"),
        (np.arange(4), f"{SQUARE}, and has shape (4,) of int64"),
        (np.zeros((2, 3), int), f"{SQUARE}, and has shape (2, 3) of int64"),
        (np.zeros((2, 2), np.uint64), f"{SQUARE}, and has shape (2, 2) of uint64"),
        (np.array([[None]]), "is no .npy file ("),
    ],
)
def test_an_array_without_a_table_is_refused(array: np.ndarray, told: str, tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    np.save(path, array)
    with pytest.raises(ConfigError) as caught:
        Group(SPLIT, cayley=str(path)).examples(0)
    assert str(caught.value).startswith(f"data.cayley={path}: {told}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY"])
def test_a_damaged_array_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.npy").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^data.cayley=.*/t.npy: is no .npy file \(.+\)$"):
        Group(SPLIT, cayley=str(tmp_path / "t.npy")).examples(0)


def test_a_name_and_a_file_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"^data.group=Z6: excludes data.cayley; leave one of them out$"):
        Group(SPLIT, group="Z6", cayley="t")


# Cosets


def closed(table: list[list[int]], generators: Sequence[int]) -> list[int]:
    """The subgroup, by multiplying until nothing is new."""
    found = {0, *generators}
    while more := {table[a][b] for a in found for b in found} - found:
        found |= more
    return sorted(found)


SUBGROUPS = [("Z12", [4]), ("Z12", [8, 6]), ("D7", [7]), ("D7", [1]), ("S4", [1]), ("S4", [1, 6]), ("Q8", [2])]
SUBGROUPS += [("A5", [3]), ("S3xZ2", [1]), ("S4", []), ("S4", [1, 9]), ("Z12", [5])]


@pytest.mark.parametrize(("name", "generators"), SUBGROUPS)
def test_cosets_are_a_partition(name: str, generators: list[int]) -> None:
    group, table = named(name), lists(name)
    subgroup = closed(table, generators)
    assert group.subgroup(generators).tolist() == subgroup
    cosets = [sorted(table[a][h] for h in subgroup) for a in range(group.order)]
    every = sorted({tuple(coset) for coset in cosets})
    assert sorted(itertools.chain(*every)) == list(range(group.order))
    assert {len(coset) for coset in every} == {len(subgroup)}
    assert group.cosets(generators).tolist() == [every.index(tuple(coset)) for coset in cosets]
    if generators:
        assert torch.nonzero(generated(group.products, generators)).flatten().tolist() == subgroup


FRACTIONS = (0.35, 0.5, 0.6, 0.99)


def blocks(one: Examples, cosets: Tensor, subset: Tensor) -> Counter[tuple[int, ...]]:
    """Number of questions of each block."""
    return Counter(tuple(cosets[pair].tolist()) for pair in one.table.inputs[subset])


@pytest.mark.parametrize(("name", "generators"), SUBGROUPS[:9])
@pytest.mark.parametrize("operation", ["product", "aba"])
def test_whole_blocks_are_held_out(name: str, generators: list[int], operation: str) -> None:
    n, subgroup = order(name), closed(lists(name), generators)
    index = n // len(subgroup)
    cosets = named(name).cosets(generators)
    split = CosetSplit(generators)
    for seed in range(3):
        before = torch.empty(0)
        for fraction in (0.5, 0.6, 0.99):
            one = Group(split, group=name, operation=operation, train_fraction=fraction).examples(seed)
            train, test = blocks(one, cosets, one.train), blocks(one, cosets, one.test)
            assert not train.keys() & test.keys()
            assert len(train) == math.floor(round(fraction * 100) * index**2 / 100)
            assert len(train) + len(test) == index**2
            assert {*train.values(), *test.values()} == {len(subgroup) ** 2}
            assert sorted(torch.cat([one.train, one.test]).tolist()) == list(range(n * n))
            for position in range(2):
                assert set(one.table.inputs[one.train][:, position].tolist()) == set(range(n))
            assert torch.equal(one.train[: len(before)], before)
            before = one.train


def test_the_seed_draws_the_blocks_and_every_block_trains_equally_often() -> None:
    split, table, runs = CosetSplit([3]), Group(SPLIT, group="Z9").table(0), 400
    cosets = named("Z9").cosets([3])
    counts = Counter[tuple[int, ...]]()
    for seed in range(runs):
        train = table.inputs[split(table, 5 / 9 + 1e-9, seed)[0]]
        counts.update({tuple(cosets[pair].tolist()) for pair in train})
    assert sum(counts.values()) == 5 * runs
    assert len(counts) == 9
    spread = math.sqrt(runs * 5 / 9 * 4 / 9)
    assert all(abs(count - runs * 5 / 9) < 4 * spread for count in counts.values())


@pytest.mark.parametrize(
    ("name", "generators", "fraction", "told"),
    [
        (
            "D7",
            [],
            0.5,
            "data.split.generators=[]: must generate a proper, non-trivial subgroup; they generate one of order 1 in a "
            "group of order 14",
        ),
        (
            "D7",
            [1, 9],
            0.5,
            "data.split.generators=[1,9]: must generate a proper, non-trivial subgroup; they generate one of order 14 "
            "in a group of order 14",
        ),
        ("D7", [0, 14], 0.5, "data.split.generators=[0,14]: elements are numbered 0 to 13"),
        ("D7", [7], 0.1, "data.train_fraction=0.1: trains 4 of 49 blocks; 7 are needed for every element to train"),
        ("D7", [7], None, "data.train_fraction=null: this split needs a number above 0 and below 1"),
    ],
)
def test_a_coset_split_that_cannot_be_is_refused(
    name: str, generators: list[int], fraction: float | None, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Group(CosetSplit(generators), group=name, train_fraction=fraction).examples(0)
    assert str(caught.value) == told


def test_a_coset_split_needs_a_group() -> None:
    with pytest.raises(ConfigError, match=r"^data/split=cosets: needs the elements of a group, data=group; use "):
        Modular(CosetSplit([2]), p=8).examples(0)
    old = Permutations(CosetSplit([1])).examples(0)
    new = Group(CosetSplit([1]), group="S5").examples(0)
    assert torch.equal(old.train, new.train)


def test_label_noise_works_with_it() -> None:
    one = Group(CosetSplit([4]), group="Z12", label_noise=0.25).examples(0)
    assert int((one.train_targets != one.table.targets[one.train]).sum()) == int(0.25 * len(one.train))


# Training


def test_members_of_a_stack_equal_their_solo_runs() -> None:
    tasks = [
        Group(SPLIT, group="D4", operation="product"),
        Group(SPLIT, group="D4", operation="conjugate", train_fraction=0.7),
        Group(SPLIT, group="D4", operation="aba", label_noise=0.2),
        Group(SPLIT, group="D4", operation="product"),
    ]
    members = [
        member(seed=seed, data=task, model=MLP(hidden=[8], embedding="concat")) for seed, task in enumerate(tasks)
    ]
    together = trained(*members)
    for number, one in enumerate(members):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-9)


def test_members_with_coset_splits_equal_their_solo_runs() -> None:
    members = [
        member(seed=seed, data=Group(CosetSplit(generators), group="Z12", train_fraction=fraction))
        for seed, (generators, fraction) in enumerate([([3], 0.4), ([4], 0.7), ([8, 6], 0.6), ([3], 0.4)])
    ]
    together = trained(*members)
    for number, one in enumerate(members):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-9)


SMALL = (*QUIET, "train.threads=1", "data=group", "data/split=random", "model.embedding=concat", "model.hidden=[32]")
SMALL += ("model.embedding_dim=16", "optimizer.lr=0.01", "optimizer.weight_decay=0.0")
LEARNT = {
    "Z31": ("data.train_fraction=0.05",),
    "D7": ("data.train_fraction=0.2", "data.layout=equation"),
    "S5": ("data.train_fraction=0.003", "data.operation=conjugate"),
    "A5": ("data.train_fraction=0.01", "data.operation=aba"),
    "Q8": ("data.train_fraction=0.5", "data/split=cosets", "data.split.generators=[2]"),
    "D4xZ3": ("data.train_fraction=0.05", "data.layout=equals"),
    "table.csv": ("data.train_fraction=0.3",),
}


@pytest.mark.parametrize("name", LEARNT)
def test_the_command_line_learns_a_tiny_training_set(name: str, inside: Inside, tmp_path: Path) -> None:
    as_commas(tmp_path / "table.csv", np.array(shuffled("Z4xZ2", 3)))
    which = f"data.{'cayley' if '.' in name else 'group'}={name}"
    typed = (*SMALL, which, *LEARNT[name], "mi=off", "train.steps=300", "log.every=100", "hydra.run.dir=run")
    ended_well(inside, *typed, cwd=tmp_path)
    assert rows(tmp_path / "run")[-1]["Acc/train"] == 1.0
    assert summary(tmp_path / "run")["grok"]["train_step"] > 0


def test_the_informations_of_a_group_obey_their_laws(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    typed = (*SMALL, "data.group=D4", "train.steps=60", "log.dense_steps=2", "log.every=20", "hydra.run.dir=run")
    ended_well(inside, *typed, cwd=tmp_path)
    checked, broken = importlib.import_module("laws").broken(load(tmp_path / "run"))
    assert broken == []
    assert checked > 300


FILED = (*SMALL, "mi=off", "train.dtype=float64", "data.cayley=tables/my d4, [x].txt", "log.every=5")


def with_table(folder: Path, name: str = "my d4, [x].txt") -> Path:
    (folder / "tables").mkdir(exist_ok=True)
    return as_spaces(folder / "tables" / name, named("D4").products.numpy())


def test_a_resumed_run_is_the_same_to_the_bit_from_any_folder(inside: Inside, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    path = with_table(here)
    ended_well(inside, *FILED, "train.steps=20", "hydra.run.dir=whole", cwd=here)
    ended_well(inside, *FILED, "train.steps=10", "hydra.run.dir=parts", cwd=here)
    ended_well(inside, "train.resume=true", "train.steps=20", f"hydra.run.dir={here / 'parts'}", cwd=there)
    assert_same_state(state(here / "parts"), state(here / "whole"))
    run = open_run(here / "parts")
    assert run.config["data"]["cayley"] == str(path)
    assert torch.equal(run.at().table.targets, named("D4").products.flatten())
    again = (*FILED, "train.resume=true", "train.steps=20", "hydra.run.dir=parts")
    assert "there is nothing left to do" in ended_well(inside, *again, cwd=here).stdout
    (there / "tables").mkdir()
    line = refusal(inside(*again[:-1], "train.steps=30", f"hydra.run.dir={here / 'parts'}", cwd=there))
    assert line.startswith("train.resume=true: ")
    assert f"data.cayley={there / 'tables'}" in line


@pytest.mark.parametrize("launcher", ["basic", "stacked"])
def test_files_of_a_multirun_are_stored_as_absolute_paths(launcher: str, inside: Inside, tmp_path: Path) -> None:
    paths = [with_table(tmp_path, name) for name in ("a.txt", "b.txt")]
    swept = (*FILED[:-2], "data.cayley=tables/a.txt,./tables/b.txt", "train.steps=2", "hydra.sweep.dir=sweep")
    ended_well(inside, "-m", *swept, f"hydra/launcher={launcher}", cwd=tmp_path)
    assert [open_run(tmp_path / "sweep" / str(n)).config["data"]["cayley"] for n in range(2)] == list(map(str, paths))


def test_a_file_is_found_though_jobs_change_their_folder(inside: Inside, tmp_path: Path) -> None:
    path = with_table(tmp_path)
    ended_well(inside, *FILED, "train.steps=2", "hydra.run.dir=run", "hydra.job.chdir=true", cwd=tmp_path)
    assert open_run(tmp_path / "run").config["data"]["cayley"] == str(path)


def test_a_file_may_be_named_by_the_folder_of_the_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    typed = ["data=group", "data/split=random", r"data.cayley='${hydra:runtime.cwd}/t'"]
    assert config.compose(typed).data.cayley == Composer("train").compose(typed).data.cayley == str(tmp_path / "t")


def test_null_is_no_file(inside: Inside, tmp_path: Path) -> None:
    ended_well(inside, *SMALL, "mi=off", "data.cayley=null", "train.steps=2", "hydra.run.dir=run", cwd=tmp_path)
    stored = open_run(tmp_path / "run").config["data"]
    assert (stored["cayley"], stored["group"]) == (None, None)


def test_a_name_that_looks_like_an_interpolation_is_a_name() -> None:
    made = OmegaConf.create({"data": {"cayley": r"a\${b}.txt"}})
    config.absolute_files(made, "/here")
    assert made.data.cayley == "/here/a${b}.txt"
    config.absolute_files(made, "/there")
    assert made.data.cayley == "/here/a${b}.txt"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("data.group=S9",), "data.group=S9: must be Z1 to Z5040 (cyclic)"),
        (("data.cayley=no",), "data.cayley={cwd}/no: cannot be read (No such file or directory)"),
        (("data.cayley=no", "data.group=Z6"), "data.group=Z6: excludes data.cayley; leave one of them out"),
        (("data.operation=times",), "data.operation=times: allowed: product, conjugate, aba"),
        (("data/split=cosets",), "data.split.generators=[]: must generate a proper"),
        (("data/split=unordered",), "data/split=unordered: needs operands that can be swapped"),
    ],
)
def test_bad_input_is_refused_in_one_line(typed: tuple[str, ...], told: str, inside: Inside, tmp_path: Path) -> None:
    line = refusal(inside(*SMALL, *typed, "hydra.run.dir=run", cwd=tmp_path))
    assert line.startswith(told.format(cwd=tmp_path))
    assert not (tmp_path / "run").exists()


def test_a_larger_fraction_contains_a_smaller_one() -> None:
    parts = [
        set(Group(CosetSplit([1]), group="S4", train_fraction=fraction).examples(5).train.tolist())
        for fraction in FRACTIONS
    ]
    assert all(small < large for small, large in pairwise(parts))
    other = replace(Group(CosetSplit([1]), group="S4", train_fraction=0.5))
    assert set(other.examples(6).train.tolist()) != parts[1]
