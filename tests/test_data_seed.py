"""`data.seed`: the seed of the data apart from that of the weights, in every task, alone and in a stack."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import member, task, training, weights
from command import PRECISE, TINY, Forget, Inside, ended_well, finished, last_checkpoint, refusal, rows, state, summary
from idx_files import write_images
from sweeping import assert_close_rows, assert_close_weights, cells, sweep_file, table

from grokplane import config, open_run, plot
from grokplane.data import Digits, Examples, Modular, Parity, Permutations, RandomSplit, Sums, TeacherStudent
from grokplane.record import load
from grokplane.train import Member, Stack, check_stackable

RANDOM = RandomSplit()
TASKS: dict[str, tuple[type, dict[str, Any]]] = {
    "modular": (Modular, {"split": RANDOM, "p": 7, "label_noise": 0.2}),
    "drawn answers": (Modular, {"split": RANDOM, "p": 7, "operation": "random"}),
    "sums": (Sums, {"split": RANDOM, "p": 31, "residues": 6, "equations": 50}),
    "permutations": (Permutations, {"split": RANDOM, "train_fraction": 0.01}),
    "parity": (Parity, {"split": RANDOM, "bits": 12, "points": 100, "label_noise": 0.1}),
    "digits": (Digits, {"train_points": 20, "label_noise": 0.2}),
    "teacher_student": (TeacherStudent, {"hidden": [4], "train_points": 5, "test_points": 9}),
}
NOISY = (*TINY, *PRECISE, "data.label_noise=0.2", "train.steps=40", "train.batch_size=8", "metrics=[weight_norms]")
SEEDS = list(product(("null", "5", "6"), (0, 1)))  # data.seed and seed


def same(one: Examples, other: Examples) -> bool:
    """Whether two members have the same questions, answers, subsets and label noise."""
    parts = [(of.table.inputs, of.table.targets, of.train, of.test, of.train_targets.double()) for of in (one, other)]
    return all(ours.shape == theirs.shape and torch.equal(ours, theirs) for ours, theirs in zip(*parts, strict=True))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_drawn_by_it_and_by_the_seed_of_the_run_where_it_is_null(name: str) -> None:
    choice, keys = TASKS[name]
    plain = {seed: member(seed=seed, data=choice(**keys)).examples() for seed in (0, 5)}
    for seed in (0, 5):
        assert same(plain[seed], choice(**keys).examples(seed))
        assert same(member(seed=seed, data=choice(**keys, seed=5)).examples(), plain[5])
        assert same(member(seed=seed, data=choice(**keys, seed=0)).examples(), plain[0])
    assert not same(plain[0], plain[5])


def test_parity_has_the_relevant_bits_of_the_seed() -> None:
    data = Parity(RANDOM, bits=12, points=100, seed=5)
    table = member(seed=0, data=data).examples().table
    assert data.relevant_bits(5).tolist() != data.relevant_bits(0).tolist()
    assert torch.equal((table.inputs[:, data.relevant_bits(5)] < 0).sum(1) % 2, table.targets)


def test_batches_and_weights_follow_the_seed_of_the_run() -> None:
    """Two members with one seed and different data have the same weights and the same order of batches."""
    keys = {"train": training(batch_size=4)}
    seeds = [(0, None), (0, 5), (1, 5)]
    members = [member(seed=seed, data=task(seed=own), **keys) for seed, own in seeds]
    check_stackable(members)
    stack = Stack(members)
    order = stack.positions(0, 20)
    assert order is not None
    assert torch.equal(order[:, 0], order[:, 1])
    assert not torch.equal(order[:, 1], order[:, 2])
    assert torch.equal(weights(stack, 0), weights(stack, 1))
    assert not torch.equal(weights(stack, 1), weights(stack, 2))


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six runs of one stack, of three seeds of the data and two seeds; job k has SEEDS[k]."""
    cwd = tmp_path_factory.mktemp("stacked")
    grid = ("data.seed=null,5,6", "seed=0,1", "hydra.sweep.dir=sweep", "hydra/launcher=stacked")
    finished("-m", *NOISY, *grid, cwd=cwd)
    return cwd / "sweep"


def test_a_multirun_is_one_stack_with_the_split_and_noise_of_data_seed(stacked: Path) -> None:
    runs = {seeds: open_run(stacked / str(job)).at() for job, seeds in enumerate(SEEDS)}
    assert {summary(run.folder)["members"] for run in runs.values()} == {6}
    norms = {seeds: rows(run.folder)[0]["WN/global"] for seeds, run in runs.items()}
    for (one, ours), (other, theirs) in product(runs.items(), repeat=2):
        drawn = [seeds[1] if seeds[0] == "null" else int(seeds[0]) for seeds in (one, other)]
        assert same(ours.examples, theirs.examples) == (drawn[0] == drawn[1])
        assert (norms[one] == norms[other]) == (one[1] == other[1])
    five = runs["5", 0]
    assert int((five.examples.train_targets != five.table.targets[five.train]).sum()) == int(0.2 * len(five.train))


@pytest.mark.parametrize("job", [0, 3, 4])
def test_a_stacked_run_is_the_run_alone(job: int, stacked: Path, tmp_path: Path, inside: Inside) -> None:
    own, seed = SEEDS[job]
    ended_well(inside, *NOISY, f"data.seed={own}", f"seed={seed}", "hydra.run.dir=run", cwd=tmp_path)
    assert_close_rows(rows(stacked / str(job)), rows(tmp_path / "run"))
    assert_close_weights(stacked / str(job), tmp_path / "run")


def test_null_gives_the_numbers_of_before_and_equals_the_seed_itself(tmp_path: Path, inside: Inside) -> None:
    for name, typed in (("plain", ()), ("null", ("data.seed=null",)), ("three", ("data.seed=3",))):
        ended_well(inside, *NOISY, "seed=3", *typed, f"hydra.run.dir={name}", cwd=tmp_path)
    assert rows(tmp_path / "plain") == rows(tmp_path / "null") == rows(tmp_path / "three")
    for name in ("null", "three"):
        for key, value in state(tmp_path / "plain")["model"].items():
            assert torch.equal(value, state(tmp_path / name)["model"][key])


def test_mnist_draws_the_same_images_for_every_seed(tmp_path: Path, inside: Inside) -> None:
    write_images(tmp_path / "data/MNIST/raw", train=60, test=20)
    small = ("data.train_points=20", "data.label_noise=3", "model.hidden=[4]", "train.steps=2", "train.batch_size=10")
    grid = ("seed=0,1", "data.seed=null,5", "hydra/launcher=stacked", "hydra.sweep.dir=sweep")
    done = inside(*("-m", *PRECISE, *small, *grid), cwd=tmp_path, program="train_mnist.py")
    assert done.returncode == 0, done.stderr
    first, five, second, again = (open_run(tmp_path / "sweep" / str(job)).at() for job in range(4))
    assert same(five.examples, again.examples)
    assert not same(first.examples, second.examples)
    assert not same(first.examples, five.examples)
    assert [rows(run.folder)[0]["WN/global"] for run in (first, second)] == [
        rows(run.folder)[0]["WN/global"] for run in (five, again)
    ]


def test_a_sweep_file_tables_and_titles_have_it_as_any_key(tmp_path: Path, inside: Inside) -> None:
    grid = {"data.seed": {"values": [0, 1]}, "seed": {"values": [0, 1]}}
    path = sweep_file(tmp_path, parameters=grid)
    done = inside(str(path), "record.wandb=disabled", "hydra.sweep.dir=out", program="sweep.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = table(tmp_path / "out")
    assert [(row["data.seed"], row["seed"]) for row in found.values()] == [*product("01", "01")]
    assert [summary(cell)["members"] for cell in cells(tmp_path / "out")] == [4] * 4
    assert "data.seed=1" in json.dumps(sorted(found))
    frame = load(tmp_path / "out")
    assert set(frame["data.seed"]) == {0, 1}
    assert plot.about({"seed": 0, "data": {"seed": 5}}, None, ["data.seed=5"]).title == "data.seed=5, seed 0"
    assert list(plot.settings(frame)) == ["data.seed=0", "data.seed=1"]


def test_a_resumed_run_keeps_it(tmp_path: Path, inside: Inside) -> None:
    ended_well(inside, *NOISY, "data.seed=5", "hydra.run.dir=run", cwd=tmp_path)
    again = ("hydra.run.dir=run", "train.resume=true", "train.steps=50")
    assert "data.seed" in refusal(inside(*again, "data.seed=6", cwd=tmp_path))
    ended_well(inside, *again, cwd=tmp_path)
    assert torch.load(last_checkpoint(tmp_path / "run"), weights_only=True)["config"]["data"]["seed"] == 5
    assert rows(tmp_path / "run")[-1]["step"] == 50


PLAIN = """
from dataclasses import dataclass

from grokplane.data import Modular, RandomSplit

@dataclass(frozen=True)
class Plain:
    '''Addition modulo 7, without the key `seed`.'''

    def table(self, seed):
        return Modular(RandomSplit(), p=7).table(seed)

    def examples(self, seed):
        return Modular(RandomSplit(), p=7).examples(seed)

    def ask(self, operands):
        return Modular(RandomSplit(), p=7).ask(operands)

GROUP, CHOICES = "data", {"plain": Plain}
"""


def test_a_task_without_the_key_is_drawn_by_the_seed_of_the_run(
    tmp_path: Path,
    inside: Inside,
    forget: Forget,  # noqa: ARG001 (the process has no plug-in)
) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    typed = ("grokplane.plugins=[plain]", "data=plain", *TINY[2:], *PRECISE, "train.steps=5", "seed=4")
    ended_well(inside, *typed, "hydra.run.dir=run", cwd=tmp_path)
    assert same(open_run(tmp_path / "run").at().examples, Modular(RANDOM, p=7).examples(4))
    assert refusal(inside(*typed, "data.seed=1", cwd=tmp_path)).startswith("data.seed=1: no key of this choice of data")


def test_every_task_of_the_config_group_has_the_key() -> None:
    for group, name, choice in config.choices():
        if group == "data":
            spec = choice.__dataclass_fields__["seed"]
            assert spec.metadata["stackable"], name
            assert spec.default is None, name
    one: Member = config.member(config.compose(["data.seed=7"]))
    assert getattr(one.data, "seed") == 7  # noqa: B009 (a task need not have it)
