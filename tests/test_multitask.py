"""Several tasks at once: the joint table, shares, held-out operands, the marks of each task, stacks, refusals."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import NEVER, assert_same_stacks, finish, member, trained, training, weights
from command import Inside, digest, refusal
from omegaconf import OmegaConf

from grokplane import config
from grokplane.answers import NOT_SCORED, Labels, LabelSequence
from grokplane.app.composing import Composer
from grokplane.app.session import plain
from grokplane.app.stored import composed, is_state
from grokplane.data import Modular, Multitask, OrderedSplit, Parity, RandomSplit, Sums, Table, UnorderedSplit
from grokplane.data.joined import joined_table
from grokplane.data.joint import joint
from grokplane.data.mirrors import unseen
from grokplane.data.shares import operand_sets
from grokplane.models.mlp import MLP
from grokplane.models.transformer import Transformer
from grokplane.optim import AdamW
from grokplane.options import ConfigError
from grokplane.sweep.groups import signature
from grokplane.train import GrokMarks, GrokOptions, LogOptions, Stack, check_stackable, run

SPLIT = RandomSplit()


def modular(operation: str = "add", p: int = 5, **keys: Any) -> Modular:
    return Modular(
        **({"split": SPLIT, "p": p, "operation": operation, "layout": "equals", "train_fraction": 0.6} | keys)
    )


def three(**keys: Any) -> Multitask:
    """Addition of two, subtraction modulo 7 as an equation, sums of three: questions of lengths 3, 4 and 4."""
    tasks = {
        "add": modular(split=UnorderedSplit()),
        "sub": modular("sub", p=7, layout="equation", label_noise=3),
        "sum": Sums(SPLIT, p=3, operands=3, layout="equals", train_fraction=0.4),
    }
    parts: dict[str, Any] = {"tasks": tasks}
    return Multitask(**(parts | keys))


def two(**keys: Any) -> Multitask:
    parts: dict[str, Any] = {"tasks": {"add": modular(p=7), "mul": modular("mul", p=7)}}
    return Multitask(**(parts | keys))


# The table


def words(task: str, table: Table, tokens: list[int]) -> list[str]:
    """A question of one task alone: numbers, and symbols with the name of the task."""
    assert table.vocabulary is not None
    operands = table.vocabulary - table.symbols
    return [str(token) if token < operands else f"{task} {token - operands}" for token in tokens]


def test_the_table_is_that_of_a_slow_twin() -> None:
    task = three()
    table, alone = task.table(0), {name: one.table(0) for name, one in task.tasks.items()}
    longest = max(one.inputs.shape[1] for one in alone.values())
    meanings = [str(number) for number in range(7)]  # by the number of a token
    meanings += [f"{name} {symbol}" for name, one in alone.items() for symbol in range(one.symbols)] + ["padding"]
    questions, answers, classes, groups = [], [], [], []
    for name, one in alone.items():
        for row, tokens in enumerate(one.inputs.tolist()):
            written = words(name, one, tokens)
            questions.append(["padding"] * (longest - len(written)) + written)
            answers.append(int(one.targets[row]))
            classes.append((name, row if one.mirrors is None else int(one.mirrors[row])))
            groups.append(name)
    assert [[meanings[token] for token in row] for row in table.inputs.tolist()] == questions
    assert table.targets.tolist() == answers
    assert (table.vocabulary, table.answers, table.symbols) == (12, Labels(12), 5)
    assert table.mirrors is not None
    numbers = table.mirrors.tolist()
    assert len(set(zip(numbers, classes, strict=True))) == len(set(numbers)) == len(set(classes))
    assert {name: flags.tolist() for name, flags in table.groups.items()} == {
        name: [name == other for other in groups] for name in task.tasks
    }
    assert (tuple(table.parts), dict(table.fixed), table.operands) == (("add", "sub", "sum"), {}, None)


def test_operands_are_joined_where_all_tasks_have_as_many() -> None:
    table = two().table(0)
    assert table.operands is not None
    assert table.operands.tolist() == 2 * [[a, b] for a in range(7) for b in range(7)]
    assert table.inputs[:, :2].tolist() == table.operands.tolist()
    assert table.inputs[:, 2].tolist() == 49 * [7] + 49 * [8]


def test_a_single_task_is_that_task() -> None:
    alone, one = modular().table(0), Multitask({"add": modular()}).table(0)
    for name in ("inputs", "targets", "mirrors", "operands"):
        assert torch.equal(getattr(one, name), getattr(alone, name))
    assert (one.vocabulary, one.symbols, one.fixed) == (alone.vocabulary, alone.symbols, alone.fixed)


def test_no_mirrors_and_no_unseen_questions_where_no_task_has_mirrors() -> None:
    task = Multitask({"sub": modular("sub"), "div": modular("div")})
    assert task.table(0).mirrors is None


def test_a_task_keeps_its_split_and_its_noise() -> None:
    task, seed = three(seed=3), 8
    together = task.examples(seed)
    start = 0
    rows: dict[str, list[int]] = {"train": [], "test": []}
    taught: list[int] = []
    for one in task.tasks.values():
        alone = one.examples(seed)
        for subset, own in rows.items():
            own += [start + row for row in alone.subsets[subset].tolist()]
        taught += alone.train_targets.tolist()
        start += len(alone.table.targets)
    assert {name: own.tolist() for name, own in together.subsets.items()} == rows
    assert together.train_targets.tolist() == taught
    assert int((together.train_targets != together.table.targets[together.train]).sum()) == 3
    assert bool(unseen(together)[together.table.groups["sub"][together.test]].all())


def test_a_tasks_own_seed_is_used() -> None:
    task = Multitask({"add": modular(seed=5), "sub": modular("sub")})
    one, other = task.examples(0), task.examples(1)
    of_add = [examples.train[examples.train < 25].tolist() for examples in (one, other)]
    assert of_add[0] == of_add[1] == modular().examples(5).train.tolist()
    assert one.train.tolist() != other.train.tolist()


class Spelled:
    """Questions of some digits and `=`, with answers of up to three digits that are fed back; -1 ends a short one."""

    def __init__(self, base: int, pairs: list[tuple[list[int], list[int]]], positions: int) -> None:
        self.base, self.pairs, self.positions = base, pairs, positions

    def table(self, seed: int) -> Table:  # noqa: ARG002
        end, equals = self.base, self.base + 1
        length = max(len(question) + len(answer) for question, answer in self.pairs)
        inputs, targets = [], []
        for question, answer in self.pairs:
            tokens = [*question, equals, *answer, end]
            tokens += [end] * (length + 2 - len(tokens))
            inputs.append(tokens[:-1])
            scored = range(len(question) + 1, len(question) + len(answer) + 2)
            wanted = [token if place in scored else NOT_SCORED for place, token in enumerate(tokens)]
            targets.append(wanted[-self.positions :])
        kinds = self.base + 2
        sequences = LabelSequence(kinds, self.positions, fed_back=True)
        return Table(torch.tensor(inputs), torch.tensor(targets), kinds, sequences, symbols=2)


def test_sequences_are_padded_behind_and_stay_where_they_are_read() -> None:
    one = Spelled(2, [([0, 1], [1]), ([1, 1], [1, 0])], 3).table(0)
    other = Spelled(5, [([4, 3, 2], [4, 0, 1]), ([0, 0, 1], [3])], 4).table(0)
    tables = {"one": one, "other": other}
    form = joint(tables)
    table = joined_table(tables, form)
    length, positions = table.inputs.shape[1], table.targets.shape[1]
    assert table.answers == LabelSequence(10, positions, fed_back=True)
    assert (table.vocabulary, table.symbols, length) == (10, 5, 7)
    # 0 to 4 are digits, 5 and 6 end and = of the first task, 7 and 8 those of the second, 9 padding.
    assert table.inputs.tolist() == [
        [0, 1, 6, 1, 5, 9, 9],
        [1, 1, 6, 1, 0, 9, 9],
        [4, 3, 2, 8, 4, 0, 1],
        [0, 0, 1, 8, 3, 7, 7],
    ]
    none = NOT_SCORED
    assert table.targets.tolist() == [
        [1, 5, none, none, none],
        [1, 0, 5, none, none],
        [none, 4, 0, 1, 7],
        [none, 3, 7, none, none],
    ]
    for row, wanted in zip(table.inputs.tolist(), table.targets.tolist(), strict=True):
        scored = [place for place, token in enumerate(wanted) if token != none]
        for place in scored[:-1]:  # what is fed back is the token that was wanted before
            assert row[length - positions + place + 1] == wanted[place]


# Shares and held-out operands


@pytest.mark.parametrize("shares", [{"add": 1, "sub": 1, "sum": 1}, {"add": 0.8, "sub": 0.7, "sum": 2.5}])
def test_shares_are_the_largest_that_no_task_exceeds(shares: dict[str, float]) -> None:
    examples, everything = three(shares=shares).examples(0), three().examples(0)
    groups = examples.table.groups
    counts = {name: int(groups[name][examples.train].sum()) for name in shares}
    available = {name: int(groups[name][everything.train].sum()) for name in shares}
    total = min(available[name] / share for name, share in shares.items())
    assert counts == {name: int(total * share + 1e-9) for name, share in shares.items()}
    assert any(counts[name] == available[name] for name in shares)
    assert examples.test.tolist() == everything.test.tolist()
    taught = dict(zip(everything.train.tolist(), everything.train_targets.tolist(), strict=True))
    assert all(
        taught[row] == target
        for row, target in zip(examples.train.tolist(), examples.train_targets.tolist(), strict=True)
    )


def test_a_smaller_share_is_contained_in_a_larger_one_and_the_seed_draws_it() -> None:
    few, many = (set(two(shares={"add": share, "mul": 1}).examples(0).train.tolist()) for share in (0.2, 0.7))
    assert few < many < set(two().examples(0).train.tolist())
    other = set(two(shares={"add": 0.2, "mul": 1}).examples(1).train.tolist())
    assert len(other) == len(few)
    assert other != few


def test_a_task_never_trains_on_its_held_out_operands_and_the_others_do() -> None:
    task = two(held_out_operands=0.3)
    before, found = two().examples(0), task.examples(0)
    sets = operand_sets({name: one.examples(0) for name, one in task.tasks.items()}, 0.3, 0)
    assert [len(one) for one in sets.values()] == [2, 2]
    assert not set(sets["add"].tolist()) & set(sets["mul"].tolist())
    combinations = found.groups["test"]["combinations"].tolist()
    trained_on: dict[str, set[int]] = {"add": set(), "mul": set()}
    expected: set[int] = set()
    for row, (name, (a, b)) in enumerate(itertools.product(trained_on, itertools.product(range(7), range(7)))):
        if a in sets[name].tolist() or b in sets[name].tolist():
            expected.add(row)
        elif row in before.train.tolist():
            trained_on[name] |= {a, b}
    assert {row for row, flag in zip(found.test.tolist(), combinations, strict=True) if flag} == expected
    assert set(found.train.tolist()) == set(before.train.tolist()) - expected
    assert sorted([*found.train.tolist(), *found.test.tolist()]) == list(range(98))
    for name, other in (("add", "mul"), ("mul", "add")):
        assert set(sets[name].tolist()) <= trained_on[other]
        flags = found.groups["test"][f"{name}.combinations"]
        assert flags.tolist() == [
            flag and bool(found.table.groups[name][row])
            for flag, row in zip(combinations, found.test.tolist(), strict=True)
        ]


def test_operand_sets_overlap_only_where_operands_do_not_suffice_and_grow() -> None:
    examples = {name: one.examples(0) for name, one in two().tasks.items()}
    sets = {fraction: operand_sets(examples, fraction, 4) for fraction in (0.15, 0.3, 0.45, 0.75)}
    counts = [len(set(one["add"].tolist()) & set(one["mul"].tolist())) for one in sets.values()]
    assert counts == [0, 0, 0, 3]  # of 7 operands 1, 2, 3, and 5 for each task
    for small, large in itertools.pairwise(sets.values()):
        assert all(set(small[name].tolist()) < set(large[name].tolist()) for name in examples)


def test_shares_are_of_the_questions_that_held_out_operands_leave() -> None:
    found = two(held_out_operands=0.3, shares={"add": 1, "mul": 1}).examples(0)
    left = two(held_out_operands=0.3).examples(0)
    counts = [[int(one.table.groups[name][one.train].sum()) for name in ("add", "mul")] for one in (found, left)]
    assert counts[0] == [min(counts[1])] * 2
    assert found.test.tolist() == left.test.tolist()


# Refusals

REFUSED: list[tuple[Mapping[str, Any], str]] = [
    ({"tasks": {}}, r"^data\.tasks={}: must hold at least one task"),
    ({"tasks": {"a/b": modular()}}, r"^data\.tasks\.a/b=a/b: a task's name"),
    ({"tasks": {"add": 3}}, r"^data\.tasks\.add=3: must be a single task"),
    ({"tasks": {"add": two()}}, r"^data\.tasks\.add=multitask: must be a single task"),
    ({"tasks": {"add": modular(layout="operands")}}, r"^data\.tasks\.add\.layout=operands: .* use layout=equals"),
    ({"tasks": {"bits": Parity(SPLIT)}}, r"^data\.tasks\.bits=features: has continuous inputs"),
    ({"held_out_operands": 0.1}, r"^data\.held_out_operands=0\.1: gives none of the 7 operands of add"),
    (
        {"tasks": {"add": modular()}, "held_out_operands": 0.5},
        r"^data\.held_out_operands=0\.5: must be 0 with a single",
    ),
    ({"shares": {"add": 1}}, r"^data\.shares\.mul=null: must hold a number above 0"),
    ({"shares": {"add": 1, "mul": 1e-9}}, r"^data\.shares\.mul=1e-09: gives no training question"),
    ({"shares": {"add": 1, "mul": True}}, r"^data\.shares\.mul=true: must be a number above 0"),
]


@pytest.mark.parametrize(("keys", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_tasks_that_do_not_fit_are_refused(keys: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        two(**keys).examples(0)


def test_answers_of_other_kinds_are_refused() -> None:
    tables = {"add": modular().table(0), "spelled": Spelled(2, [([0], [1])], 2).table(0)}
    with pytest.raises(ConfigError, match=r"^data\.tasks\.spelled=LabelSequence.*answers of one kind"):
        joint(tables)


TYPED = [
    ("data.tasks.ad.p=53", "data.tasks.ad.p=53: unknown key; did you mean data.tasks.add.p"),
    ("data.tasks.add.p=1", "data.tasks.add.p=1: must be at least 2"),
    ("data.tasks.add.split=random", "data.tasks.add.split=random: written data/split@data.tasks.add.split=NAME"),
    ("data/split=random", "data/split=random: did you mean data/split@data.tasks.add.split or"),
    ("data.tasks.mul.operation=sub", "data/split@data.tasks.mul.split=unordered: needs operands that can be swapped"),
    ("data.tasks.add.train_fraction=0.0001", "data.tasks.add.train_fraction=0.0001: leaves the training subset"),
    ("+data@data.tasks.mul2=modulr", "data=modulr: did you mean modular?"),
    ("+data@data.tasks.bits=parity", "data.tasks.bits=features: has continuous inputs"),
    ("data.shares={ad:1,mul:1}", "data.shares.ad=1: no such task; did you mean add?"),
    ("data.shares={add:-1,mul:1}", "data.shares.add=-1: must be a number above 0"),
    ("data.shares=half", "data.shares=half: must hold a number above 0 for each task"),
    ("data.train_fraction=0.5", "data.train_fraction=0.5: no key of this choice of data"),
    ("grok.questions=test/sub", "grok.questions=test/sub: did you mean test/"),
]


@pytest.mark.parametrize(("typed", "beginning"), TYPED, ids=[typed for typed, _ in TYPED])
def test_a_refused_call_says_why_in_one_line(typed: str, beginning: str, inside: Inside, tmp_path: Path) -> None:
    assert refusal(inside("data=multitask", typed, cwd=tmp_path)).startswith(beginning)
    assert digest(tmp_path) == {}


# Configs


def test_a_config_adds_tasks_and_sets_their_keys() -> None:
    typed = ["data=multitask", "+data@data.tasks.s5=permutations", "data.tasks.s5.layout=equals", "data.tasks.add.p=7"]
    made = config.compose([*typed, "data/split@data.tasks.mul.split=ordered", "data.shares={add:1,mul:2,s5:3}"])
    task = config.member(made).data
    assert isinstance(task, Multitask)
    assert [type(one).__name__ for one in task.tasks.values()] == ["Modular", "Modular", "Permutations"]
    assert (task.tasks["add"].p, task.tasks["mul"].split, dict(task.shares)) == (
        7,
        OrderedSplit(),
        {"add": 1, "mul": 2, "s5": 3},
    )
    assert config.member(composed(_plain(made))).data == task


def _plain(made: Any) -> Any:
    return OmegaConf.to_container(made, resolve=True)


def test_a_file_of_ones_own_with_three_tasks(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "mine/data").mkdir(parents=True)
    tasks = "".join(f"  - /data@tasks.{name}: modular\n" for name in ("add", "mul", "both"))
    values = "".join(f"  {name}: {{p: 5, layout: equals}}\n" for name in ("add", "mul", "both"))
    text = f"defaults:\n  - schema/multitask@_here_\n{tasks}  - _self_\ntasks:\n{values}"
    (tmp_path / "mine/data/ours.yaml").write_text(text)
    arguments = ("--config-dir", "mine", "data=ours", "data.tasks.mul.operation=mul", "--cfg", "job")
    done = inside(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("p: 5\n") == 3


def test_a_question_begins_with_the_name_of_its_task() -> None:
    task = three()
    table = task.table(0)
    assert task.ask(["add", "3", "4"]).tolist() == table.inputs[3 * 5 + 4].tolist()
    assert task.ask(["sub", "6", "1"]).tolist() == table.inputs[25 + 6 * 7 + 1].tolist()
    for operands, message in (
        (["3", "4"], "must begin with the name"),
        (["ad", "3", "4"], "did you mean add"),
        (["add", "5", "1"], "0 to 4"),
    ):
        with pytest.raises(ConfigError, match=message):
            task.ask(operands)


# Training

TRANSFORMER = Transformer(layers=1, heads=2, width=16, mlp_width=32, norm="none")
MODELS = {"mlp": MLP(hidden=[64], embedding_dim=16, embedding="concat"), "transformer": TRANSFORMER}


@pytest.mark.parametrize("model", MODELS)
def test_a_stack_trains_its_members_as_they_train_alone(model: str) -> None:
    tasks = {"add": modular(p=7), "mul": modular("mul", p=7, train_fraction=0.4, label_noise=2)}
    members = [
        member(model=MODELS[model], data=two(), seed=1),
        member(model=MODELS[model], data=two(shares={"add": 1, "mul": 3}), seed=2),
        member(model=MODELS[model], data=two(held_out_operands=0.3, seed=5), seed=3),
        member(model=MODELS[model], data=Multitask(tasks), seed=4),
    ]
    together = trained(*members)
    for number, one in enumerate(members):
        alone = trained(one)
        assert torch.equal(
            together.examples.train.rows[number][together.examples.train.mask[number]], alone.examples.train.rows[0]
        )
        torch.testing.assert_close(weights(together, number), weights(alone), rtol=1e-9, atol=1e-12)


def test_members_with_other_tasks_are_no_stack() -> None:
    with pytest.raises(ConfigError, match=r"^data\.tasks=\[add,sub\]: members of one stack cannot differ"):
        Stack([member(data=two()), member(data=Multitask({"add": modular(p=7), "sub": modular("sub", p=7)}))])


@pytest.mark.parametrize("model", MODELS)
def test_a_network_learns_all_tasks_by_heart(model: str) -> None:
    task = Multitask({"add": modular(train_fraction=0.4), "sub": modular("sub", layout="equation", train_fraction=0.4)})
    optimizer, log = AdamW(lr=0.01, weight_decay=0.0), LogOptions(dense_steps=0, every=25)
    one = member(model=MODELS[model], data=task, optimizer=optimizer, log=log, train=training(steps=400))
    *_, last = (point.records[0] for point in finish(Stack([one])) if point.records)
    assert [last[name] for name in ("Acc/train", "Acc/train/add", "Acc/train/sub")] == [1, 1, 1]


# Marks


def runner(**keys: Any) -> Any:
    parts = {"model": MODELS["mlp"], "data": two(), "grok": GrokOptions(threshold=0.6), "optimizer": AdamW(lr=0.01)}
    log = LogOptions(dense_steps=0, every=5)
    return member(**(parts | {"train": training(steps=60), "log": log} | keys))


def first(records: Sequence[Mapping[str, Any]], name: str, threshold: float) -> int | None:
    """The first step with a value of at least the threshold, by a slow search."""
    for record in records:
        if record[name] >= threshold:
            return int(record["step"])
    return None


def test_marks_of_parts_are_the_first_log_points_at_the_threshold() -> None:
    members = [runner(seed=0), runner(seed=1, data=two(shares={"add": 1, "mul": 3}), grok=GrokOptions(threshold=0.6))]
    stack = Stack(members)
    records = [point.records for point in finish(stack) if point.records]
    seen = set()
    for number in range(2):
        own = [record[number] for record in records]
        for name, marks in stack.marks[number].parts.items():
            expected = [first(own, f"Acc/{split}/{name}", 0.6) for split in ("train", "test")]
            assert [marks.train_step, marks.test_step] == expected
            seen |= {tuple(expected)}
    assert len(seen) > 2
    assert any(step is not None and step > 0 for marks in seen for step in marks)
    state = stack.state(0)
    assert state["parts"].keys() == {"add", "mul"}
    assert state["grok"].keys() == {"train_step", "test_step"}  # as earlier versions read it


def reached(stack: Stack, step: int) -> bool:
    return stack.step >= step


def test_a_resumed_run_ends_with_the_same_bits_and_marks() -> None:
    for stop in (20, 33):
        whole, first_half, second = Stack([runner()]), Stack([runner()]), Stack([runner()])
        finish(whole)
        for point in run(first_half, partial(reached, first_half, stop)):
            assert point.step <= stop
        assert first_half.step == stop
        second.load_states([first_half.state(0)])
        finish(second)
        assert_same_stacks(whole, second)
        assert second.marks == whole.marks
        assert any(marks.train_step not in (None, 0) for marks in whole.marks[0].parts.values())


def test_states_without_marks_of_parts_are_read_and_runs_without_parts_have_none() -> None:
    stack = Stack([runner()])
    finish(stack)
    state = {name: value for name, value in stack.state(0).items() if name != "parts"}
    other = Stack([runner()])
    other.load_states([state])
    assert other.marks[0].parts == {"add": GrokMarks(), "mul": GrokMarks()}
    assert "parts" not in trained(member(log=NEVER)).state(0)
    assert GrokMarks.of(stack.state(0)) == stack.marks[0]


@pytest.mark.parametrize("parts", [3, {"add": 3}, {"add": {"train_step": "x"}}])
def test_a_foreign_state_is_no_state(parts: object) -> None:
    state: dict[str, Any] = {**trained(member()).state(0), "config": {}}
    assert is_state(state, state["step"])
    assert not is_state(state | {"parts": parts}, state["step"])


def test_a_run_reports_the_marks_of_its_tasks(inside: Inside, tmp_path: Path) -> None:
    typed = (
        "data=multitask",
        "data.tasks.add.p=5",
        "data.tasks.mul.p=5",
        "model.embedding=concat",
        "model.hidden=[32]",
    )
    quiet = ("model.embedding_dim=8", "mi=off", "metrics=[loss]", "record.wandb=disabled", "record.figures=false")
    where = ("hydra.run.dir=one", "optimizer.lr=0.01", "train.threads=1", "log.every=50")
    done = inside(*typed, *quiet, *where, "train.steps=100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    grok = json.loads((tmp_path / "one/summary.json").read_text())["grok"]
    assert grok["parts"].keys() == {"add", "mul"}
    fitted = grok["parts"]["add"]["train_step"]
    assert f"task         add: fitted at step {fitted:,}, never generalised\n" in done.stdout
    again = inside(*where, "train.resume=true", "train.steps=120", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "one/summary.json").read_text())["grok"]["parts"]["add"]["train_step"] == fitted


# Stacks of configs

CONFIGS = [
    [],
    ["seed=3", "data.tasks.add.train_fraction=0.4", "data.tasks.mul.label_noise=2", "data.tasks.add.operation=mul"],
    ["data.shares={add:1,mul:2}", "data.held_out_operands=0.2", "data.seed=4"],
    ["data.shares={mul:2,add:1}"],
    ["data.tasks.add.p=11"],
    ["+data@data.tasks.more=modular", "data.tasks.more.layout=equals"],
    ["data@data.tasks.mul=modular", "data/split@data.tasks.mul.split=random"],
]


def test_configs_are_of_one_stack_where_their_members_are() -> None:
    composer = Composer("train")
    made = [composer.compose(["data=multitask", *one]) for one in CONFIGS]
    assert [OmegaConf.to_yaml(one) for one in made] == [
        OmegaConf.to_yaml(config.compose(["data=multitask", *one])) for one in CONFIGS
    ]
    members, signatures = [config.member(one) for one in made], [signature(plain(one)) for one in made]
    together = []
    for one, other in itertools.combinations(range(len(CONFIGS)), 2):
        try:
            check_stackable([members[one], members[other]])
            together.append((one, other))
        except ConfigError:
            pass
        assert (signatures[one] == signatures[other]) == ((one, other) in together), (CONFIGS[one], CONFIGS[other])
    assert together == list(itertools.combinations(range(4), 2))
