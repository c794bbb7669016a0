"""Grouping members into stacks, the cost of a stack, and a stack as a job that survives failing members."""

from __future__ import annotations

import itertools
import logging
import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from command import QUIET, TINY, assert_same_state, digest, last_checkpoint, rows, state, summary
from omegaconf import DictConfig, OmegaConf
from sweeping import assert_close_weights

from grokplane import config
from grokplane.app import session
from grokplane.app.composing import Composer
from grokplane.app.session import plain
from grokplane.options import ConfigError
from grokplane.record import FolderLock
from grokplane.record.checkpoints import Checkpoints
from grokplane.sweep.cost import NEVER, Memory, Pace, memory, pace
from grokplane.sweep.groups import evenly, grouped, signature
from grokplane.sweep.plan import Remaining, stacks
from grokplane.sweep.stack_job import StackJob, run_stack
from grokplane.train import LogOptions, Stack, check_stackable

COMMON = (*TINY, *QUIET, "mi=off", "train.steps=60", "log.every=20", "log.dense_steps=2", "train.checkpoint_every=20")
# Configs of which some can be trained together and some cannot.
CONFIGS = [
    ["seed=1"],
    ["seed=2", "optimizer.lr=0.1"],
    ["optimizer.weight_decay=3", "data.operation=sub"],
    ["data.train_fraction=0.4"],
    ["optimizer=sgd"],
    ["optimizer=sgd", "seed=7"],
    ["optimizer.betas=[0.9,0.9]"],
    ["data.p=11"],
    ["rules=[sam]"],
    ["rules=[sam]", "rules.sam.rho=0.2"],
    ["rules=[sam,orthograd]"],
    ["metrics=[loss]"],
    ["record.project=other", "seed=3"],
    ["model.hidden=[8,8]"],
    ["log.every=7"],
]


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer("train")


def job(folder: Path, *configs: DictConfig) -> StackJob:
    """The configs as one stack in folders 0, 1, ..."""
    texts = tuple(OmegaConf.to_yaml(one, resolve=True) for one in configs)
    return StackJob(texts, tuple(str(folder / str(number)) for number in range(len(configs))), label="stack 1 of 1")


def test_signatures_are_equal_where_members_can_be_stacked(composer: Composer) -> None:
    composed = [composer.compose([*COMMON, *one]) for one in CONFIGS]
    members, signatures = [config.member(one) for one in composed], [signature(plain(one)) for one in composed]
    together = 0
    for one, other in itertools.combinations(range(len(CONFIGS)), 2):
        try:
            check_stackable([members[one], members[other]])
            stackable = True
        except ConfigError:
            stackable = False
        assert (signatures[one] == signatures[other]) == stackable, (CONFIGS[one], CONFIGS[other])
        together += stackable
    assert 5 < together < 30
    orders = [plain(composer.compose([*COMMON, f"rules=[{names}]"])) for names in ("sam,orthograd", "orthograd,sam")]
    assert signature(orders[0]) != signature(orders[1])  # rules act in the order of the list


@pytest.mark.parametrize(
    "typed",
    [
        ["data.p=11", "seed=3"],
        ["experiment=nanda", "optimizer.lr=0.1", "data.p=13"],
        ["optimizer=sgd", "optimizer.momentum=0.5", "rules=[sam,update_noise]", "rules.sam.rho=0.1"],
        ["model.hidden=[3,4,5]", "metrics=[loss]", "record.tags=[a,b]"],
        ["data=sums", "model=transformer", "data/split=ordered"],
    ],
)
def test_the_fast_composer_composes_what_hydra_does(typed: list[str], composer: Composer) -> None:
    ours, theirs = composer.compose(typed), config.compose(typed)
    assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(theirs)
    assert OmegaConf.get_type(ours.train) is OmegaConf.get_type(theirs.train)


def test_groups_are_cut_evenly_and_keep_their_order() -> None:
    assert grouped(list("abacaaa"), at_most=lambda group: 2 if len(group) > 1 else 1) == [[0], [2, 4], [5, 6], [1], [3]]
    for count, most in itertools.product(range(1, 20), range(1, 8)):
        parts = evenly(list(range(count)), most)
        assert list(itertools.chain(*parts)) == list(range(count))
        assert len(parts) == -(-count // most)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_tasks_of_other_steps_are_other_stacks(composer: Composer, tmp_path: Path) -> None:
    made = [composer.compose([*COMMON, f"seed={seed}"]) for seed in range(4)]
    tasks = [Remaining(one, tmp_path, step) for one, step in zip(made, (-1, 20, -1, 20), strict=True)]
    planned = stacks(tasks, max_members=8)
    assert [[task.config.seed for task in stack.tasks] for stack in planned] == [[0, 2], [1, 3]]


def test_memory_is_linear_in_the_members_and_a_stack_fits_it(
    composer: Composer, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = config.member(composer.compose([*COMMON, "model.hidden=[64]", "data.p=23"]))
    floor = 4 * 4 * sum(value.numel() for value in Stack([member]).parameters.values())
    found = memory(member)  # after a first stack, which makes the tables that all stacks share
    assert found.each > floor  # parameters, gradients and Adam's two moments
    assert found.each < 40 * floor
    assert memory(member) == found
    monkeypatch.setattr("grokplane.sweep.plan.free_bytes", lambda device: 2 * found.of(3) + found.each)  # noqa: ARG005
    tasks = [
        Remaining(composer.compose([*COMMON, "model.hidden=[64]", "data.p=23", f"seed={n}"]), Path(), -1)
        for n in range(7)
    ]
    assert [len(stack.tasks) for stack in stacks(tasks, None)] == [2, 2, 3]
    assert Memory(10**9, 10).fitting(1000) == 1


def test_members_share_data_unless_they_differ_in_the_seed_that_draws_them(
    composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the questions take on the device; the host has each member's own table while a stack is built."""
    monkeypatch.setattr("grokplane.sweep.cost._peak", lambda members: Stack(members).examples.nbytes)
    typed = ["data=parity", "data.points=100", "data.bits=50", "data/split=random", "model.embedding=none"]
    each = []
    for grid in (("data.seed=1 seed=0", "data.seed=1 seed=1"), ("data.seed=0", "data.seed=1"), ("seed=0", "seed=1")):
        made = [composer.compose([*COMMON[2:], *typed, "model.embedding_dim=null", *one.split()]) for one in grid]
        (stack,) = stacks([Remaining(one, tmp_path, -1) for one in made], max_members=8, measure=True)
        assert stack.memory is not None
        each.append(stack.memory.each)
    assert each == [1, 4 * 50 * 100, 4 * 50 * 100]


def test_a_member_that_cannot_be_built_is_no_measure_of_the_others(composer: Composer, tmp_path: Path) -> None:
    """In any order the first member that can be built is measured, and the one with most data first."""
    sizes = ("data.train_fraction=0.2", "data.train_fraction=0.6", "data.train_fraction=0.4")
    configs = [composer.compose([*COMMON, "train.batch_size=15", size]) for size in sizes]
    tasks = [Remaining(one, tmp_path / str(number), -1) for number, one in enumerate(configs)]
    (together,) = stacks(tasks, None)
    (largest,) = stacks(tasks[1:2], None, measure=True)
    assert (together.memory, len(together.tasks)) == (largest.memory, 3)
    hopeless = stacks(tasks[:1] * 2, None)
    assert [(stack.memory, len(stack.tasks)) for stack in hopeless] == [(None, 1), (None, 1)]


def test_the_time_of_a_run_is_that_of_its_steps_and_log_points(composer: Composer) -> None:
    assert Pace(0.1, 1.0).seconds(0, 100, LogOptions(dense_steps=10, every=50)) == pytest.approx(0.1 * 100 + 10 + 2)
    assert Pace(0.1, 1.0).seconds(60, 100, NEVER) == pytest.approx(0.1 * 40 + 2)
    found = pace([config.member(composer.compose([*COMMON, "train.steps=100000"]))] * 2, seconds=0.1)
    assert 0 < found.step < 0.1
    assert 0 <= found.point < 1


def test_a_job_is_plain_data_and_leaves_what_a_session_leaves(composer: Composer, tmp_path: Path) -> None:
    made = [composer.compose([*COMMON, f"seed={seed}"]) for seed in range(2)]
    result = run_stack(pickle.loads(pickle.dumps(job(tmp_path / "job", *made))))
    assert pickle.loads(pickle.dumps(result)) == result
    assert (result.exit_code, result.errors) == (0, (None, None))
    session.execute(made, [tmp_path / "session" / str(number) for number in range(2)])
    for number in ("0", "1"):
        ours, theirs = tmp_path / "job" / number, tmp_path / "session" / number
        assert result.summaries[int(number)] == summary(ours)
        assert rows(ours) == rows(theirs)
        assert Checkpoints(ours).steps() == Checkpoints(theirs).steps()
        assert_same_state(*(torch.load(last_checkpoint(folder), weights_only=True) for folder in (ours, theirs)))
        log = (ours / "train.log").read_text()
        assert log.count("INFO finished at step 60") == 1


def test_a_stack_outlives_a_member_that_cannot_be_built(
    composer: Composer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    typed = [["seed=0"], ["data.operation=div", "data.p=8"], ["optimizer.lr=1e30"], ["seed=1"]]
    made = [composer.compose([*COMMON, *one]) for one in typed]
    result = run_stack(job(tmp_path / "all", *made))
    line = "data.operation=div: needs a prime data.p, not 8"
    assert result.exit_code == 1
    assert result.errors == (None, line, None, None)
    assert [told and told["status"] for told in result.summaries] == ["finished", "failed", "diverged", "finished"]
    assert summary(tmp_path / "all" / "1")["error"] == line
    assert config.flat(OmegaConf.load(tmp_path / "all" / "1" / ".hydra" / "config.yaml"))["data.p"] == 8
    run_stack(job(tmp_path / "good", made[0], made[3]))
    assert_close_weights(tmp_path / "all" / "0", tmp_path / "good" / "0")
    assert_close_weights(tmp_path / "all" / "3", tmp_path / "good" / "1")
    mended = composer.compose([*COMMON, "train.resume=true"])
    again = run_stack(StackJob(job(tmp_path, mended).configs, (str(tmp_path / "all" / "1"),)))
    assert again.exit_code == 0
    assert "error" not in summary(tmp_path / "all" / "1")


def test_a_stack_that_breaks_on_the_way_goes_on_in_parts(
    composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any stack with the member of seed 3 fails at step 40."""
    made = [composer.compose([*COMMON, f"seed={seed}"]) for seed in range(5)]
    original, seen = Checkpoints.save, list[int]()

    def save(self: Checkpoints, step: int, *others: object, **named: bool) -> Path:
        if step == 40 and self.folder.parent.name == "3":
            raise OSError("no space\nleft")
        return original(self, step, *others, **named)  # type: ignore[arg-type]

    def execute(
        configs: Sequence[DictConfig], folders: Sequence[Path], label: str, locks: Sequence[FolderLock]
    ) -> session.Outcome:
        seen.append(len(configs))
        return session.execute(configs, folders, label, locks=locks)

    monkeypatch.setattr(Checkpoints, "save", save)
    monkeypatch.setattr("grokplane.sweep.stack_job.execute", execute)
    result = run_stack(job(tmp_path / "broken", *made))
    assert result.errors == (None, None, None, "OSError: no space left", None)
    assert summary(tmp_path / "broken" / "3")["error"] == "OSError: no space left"
    assert Checkpoints(tmp_path / "broken" / "3").latest().step == 32
    assert seen[0] == 5
    assert len(seen) < 8
    monkeypatch.undo()
    run_stack(job(tmp_path / "whole", *made))
    for name in ("0", "1", "2", "4"):
        assert_close_weights(tmp_path / "broken" / name, tmp_path / "whole" / name)
        assert [row["step"] for row in rows(tmp_path / "broken" / name)] == [0, 1, 20, 40, 60]


def test_somebody_elses_folder_is_left_alone(composer: Composer, tmp_path: Path) -> None:
    made = [composer.compose([*COMMON, f"seed={seed}"]) for seed in range(3)]
    run_stack(job(tmp_path, made[0]))
    lock = FolderLock(tmp_path / "1")
    before = {name: digest(tmp_path / name) for name in ("0", "1")}
    result = run_stack(job(tmp_path, *made))
    lock.release()
    assert [error and error.partition(":")[0] for error in result.errors] == [
        f"hydra.run.dir={tmp_path / '0'}",
        f"hydra.run.dir={tmp_path / '1'}",
        None,
    ]
    assert result.exit_code == 1
    assert state(tmp_path / "2")["step"] == 60
    for name in before:
        assert {file: value for file, value in digest(tmp_path / name).items() if file != "train.log"} == {
            file: value for file, value in before[name].items() if file != "train.log"
        }


def test_a_run_that_is_to_be_overwritten_is_gone_even_if_the_stack_breaks(composer: Composer, tmp_path: Path) -> None:
    run_stack(job(tmp_path, composer.compose([*COMMON, "seed=5"])))
    made = [composer.compose([*COMMON, "train.overwrite=true", *one]) for one in (["seed=1"], ["model.hidden=[9]"])]
    result = run_stack(job(tmp_path, *made))  # these two cannot be one stack
    assert result.exit_code == 0
    assert torch.load(Checkpoints(tmp_path / "0").path(60), weights_only=True)["config"]["seed"] == 1
