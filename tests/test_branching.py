"""Branches: runs that continue another run from a checkpoint under other settings."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import member, training
from command import (
    QUIET,
    TINY,
    Inside,
    assert_same_state,
    digest,
    ended_well,
    refusal,
    rows,
    state,
    struck,
    summary,
)
from sweeping import SWEEP, assert_close_weights, cells, sweep_file, table

from grokplane import open_run, optim
from grokplane.models.mlp import MLP
from grokplane.options import ConfigError
from grokplane.record import copy_record, load_arrays
from grokplane.record.arrays import ArrayWriter
from grokplane.record.checkpoints import Checkpoints
from grokplane.sweep.branch_call import parse_branch_call
from grokplane.train import GrokOptions, Member, Parent, Stack, branch, needs_initial, run

BRANCH = "branch.py"
STEPS, AT = 40, 16
FIXED = (*TINY, *QUIET, "mi=off", f"train.steps={STEPS}", "log.dense_steps=2", "log.every=8", "metrics=[loss,accuracy]")
RULES = "rules=[grokfast_ma,initial_decay]"
BATCHES = (RULES, "rules.grokfast_ma.window=3", "train.batch_size=8", "schedule=cosine", "metrics=[loss,spectrum]")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    """Finished runs by their overrides, and the folder in which they lie."""
    return {("folder",): tmp_path_factory.mktemp("runs")}


@pytest.fixture
def parent(inside: Inside, made: dict[tuple[str, ...], Path], tmp_path: Path) -> Any:
    """Makes a finished run `parent` in the test's folder."""

    def copy(*typed: str) -> Path:
        if typed not in made:
            folder = made["folder",] / str(len(made))
            ended_well(inside, *FIXED, *typed, f"hydra.run.dir={folder}", cwd=tmp_path)
            made[typed] = folder
        return Path(shutil.copytree(made[typed], tmp_path / "parent"))

    return copy


def at(folder: Path, step: int) -> dict[str, Any]:
    """The checkpoint of a step, without its config."""
    found = Checkpoints(folder).read(step).state
    return {name: value for name, value in found.items() if name != "config"}


# To the last bit


@pytest.mark.parametrize("typed", [(), BATCHES], ids=["default", "batches and rules"])
def test_a_branch_without_changes_equals_its_run(inside: Inside, parent: Any, tmp_path: Path, typed: tuple[str, ...]):
    run_folder = parent(*typed)
    ended_well(inside, f"train.branch_from=parent@{AT}", "hydra.run.dir=arm", cwd=tmp_path)
    arm = tmp_path / "arm"
    assert rows(arm) == rows(run_folder)
    ours, theirs = state(arm), state(run_folder)
    if typed:
        assert set(ours["rules"]["initial_decay"].pop("start")) == set(ours["model"])  # which no seed gives
        for name, told in load_arrays(run_folder, "spectrum").items():
            again = load_arrays(arm, "spectrum")[name]
            assert np.array_equal(told.steps, again.steps)
            assert np.array_equal(told.values, again.values)
    assert_same_state(ours, theirs)
    assert summary(arm)["grok"] == summary(run_folder)["grok"]


def test_a_branch_names_its_run_and_takes_over_its_config(inside: Inside, parent: Any, tmp_path: Path):
    theirs = parent()
    done = ended_well(
        inside,
        f"train.branch_from=parent@{STEPS}",
        "optimizer.lr=0.01",
        "train.steps=44",
        "hydra.run.dir=arm",
        cwd=tmp_path,
    )
    arm, before = open_run(tmp_path / "arm"), open_run(theirs).config
    source = f"{tmp_path}/parent@{STEPS}"
    before["optimizer"]["lr"], before["train"]["branch_from"], before["train"]["steps"] = 0.01, source, 44
    assert arm.config == before
    digest_of_parent = summary(theirs)["config_hash"]
    assert arm.summary["parent"] == {"folder": str(theirs), "step": STEPS, "config_hash": digest_of_parent}
    assert "starts empty" not in done.stderr
    assert (arm.folder / ".hydra/overrides.yaml").read_text().splitlines() == [
        f"- train.branch_from=parent@{STEPS}",
        "- optimizer.lr=0.01",
        "- train.steps=44",
    ]
    assert [row for row in rows(arm.folder) if row["step"] < STEPS] == [
        row for row in rows(theirs) if row["step"] < STEPS
    ]
    assert rows(arm.folder)[-1]["step"] == 44
    first = arm.steps[0]
    assert first == STEPS
    assert_same_state(at(arm.folder, STEPS)["model"], at(theirs, STEPS)["model"])


def test_a_killed_branch_resumes_without_its_run(inside: Inside, parent: Any, tmp_path: Path):
    parent()
    arm = (f"train.branch_from=parent@{AT}", "rules=[grokfast_ema,initial_decay]", "seed=3", "train.steps=200")
    arm = (*arm, "train.checkpoint_every=50")
    ended_well(inside, *arm, "hydra.run.dir=whole", cwd=tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    struck(signal.SIGKILL, 40, killed, *arm, cwd=tmp_path)
    assert summary(killed)["steps"] < 200
    shutil.rmtree(tmp_path / "parent")
    ended_well(inside, "train.resume=true", "hydra.run.dir=killed", cwd=tmp_path)
    assert_same_state(state(killed), state(whole))
    assert rows(killed) == rows(whole)
    assert summary(killed)["parent"] == summary(whole)["parent"]


def test_a_branch_that_was_killed_before_its_first_checkpoint_begins_again(inside: Inside, parent: Any, tmp_path: Path):
    parent()
    ended_well(inside, f"train.branch_from=parent@{AT}", "seed=2", "hydra.run.dir=arm", cwd=tmp_path)
    arm = tmp_path / "arm"
    before, rows_before = state(arm), rows(arm)
    shutil.rmtree(arm / "checkpoints")
    (arm / "summary.json").write_text(json.dumps(summary(arm) | {"status": "running"}))
    done = ended_well(inside, "train.resume=true", "hydra.run.dir=arm", cwd=tmp_path)
    assert f"starts from {tmp_path}/parent@{AT}" in done.stderr
    assert_same_state(state(arm), before)
    assert rows(arm) == rows_before


# The command


def test_arms_are_one_stack_and_a_control_equals_the_run(inside: Inside, parent: Any, tmp_path: Path):
    theirs = parent("train.dtype=float64")
    call = ("parent", "--at", str(AT), "--control", "optimizer.weight_decay=0,3")
    ended_well(inside, *call, cwd=tmp_path, program=BRANCH)
    arms = cells(theirs / "branches")
    assert [arm.name for arm in arms] == [f"{AT}-control", *(f"{AT}-optimizer.weight_decay={w}" for w in (0, 3))]
    assert [summary(arm)["members"] for arm in arms] == [3, 3, 3]
    assert_close_weights(arms[0], theirs)
    norms = [rows_norm(arm) for arm in (arms[1], arms[0], arms[2])]
    assert norms == sorted(norms, reverse=True)
    typed = (f"train.branch_from=parent@{AT}", "optimizer.weight_decay=3", "hydra.run.dir=alone")
    ended_well(inside, *typed, cwd=tmp_path)
    assert_close_weights(arms[2], tmp_path / "alone")
    kept = digest(theirs / "branches")
    ended_well(inside, *call, cwd=tmp_path, program=BRANCH)
    assert digest(theirs / "branches") == kept


def rows_norm(folder: Path) -> float:
    """The norm of the last weights."""
    return float(sum(value.square().sum() for value in state(folder)["model"].values()))


def test_named_arms_form_stacks_by_the_keys_that_they_share(inside: Inside, parent: Any, tmp_path: Path):
    parent()
    typed = ("--at", f"{AT}", "train.steps=42", "--arm", "sgd", "optimizer=sgd")
    typed = (*typed, "--arm", "lr", "optimizer.lr=1e-2,.1")
    done = ended_well(inside, "parent", *typed, "--control", "--out", "out", cwd=tmp_path, program=BRANCH)
    assert done.stderr.count("the memory of the optimizer starts empty (adamw before, sgd now)\n") == 1
    names = ["control", "sgd", "lr,optimizer.lr=0.01", "lr,optimizer.lr=0.1"]
    found = cells(tmp_path / "out")
    assert sorted(arm.name for arm in found) == sorted(f"{AT}-{name}" for name in names)
    assert {summary(arm)["steps"] for arm in found} == {42}
    members = {arm.name.partition("-")[2]: summary(arm)["members"] for arm in found}
    assert members == dict(zip(names, (3, 1, 3, 3), strict=True))


def test_each_arm_of_a_grid_has_one_value_of_each_key(parent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.move(parent(), tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    monkeypatch.chdir(tmp_path)
    typed = ("--at=4,8", "seed=1,2", "optimizer.lr=0.10", "train.steps=50", "--control", "--out=out")
    arms = parse_branch_call(["a", "b", *typed]).arms
    grid = [("control", ("train.steps=50",))]
    grid += [
        (f"seed={seed},optimizer.lr=0.1,train.steps=50", (f"seed={seed}", "optimizer.lr=0.10", "train.steps=50"))
        for seed in (1, 2)
    ]
    assert [(str(arm.where), arm.lines, str(arm.folder)) for arm in arms] == [
        (f"{tmp_path}/{run}@{step}", lines, f"out/{run}/{step}-{name}")
        for run in "ab"
        for step in (4, 8)
        for name, lines in grid
    ]


BAD = {
    ("--at=15", "seed=1"): "that run has no checkpoint of step 15; the nearest ones are 2, 4, 8, 16",
    ("seed=1",): "--at: missing",
    (f"--at={AT}",): "key=value: missing",
    ("--at=last", "seed=1"): f"train.steps={STEPS}: the branch begins at step {STEPS}; allowed: more steps",
    (f"--at={AT}", "model.hidden=[9]"): "has shape [8, 8] in that run and [9, 8] here",
    (f"--at={AT}", "data.p=11"): "has shape [7, 8] in that run and [11, 8] here",
    (f"--at={AT}", "model.init_scale=2"): "model.init_scale=2.0: a branch has the weights of its run",
    (f"--at={AT}", "optimizer.momentum=0.4"): "optimizer.momentum=0.4: unknown key",
    (f"--at={AT}", "experiment=nanda"): "experiment=nanda: a branch has the config of its run",
    (f"--at={AT}", "train.start_from=x"): "train.start_from=x: excludes train.branch_from",
    (f"--at={AT}", "train.resume=true"): "train.resume=true: not allowed here, as the same call resumes",
    (f"--at={AT}", "log.dense_steps=4", "--arm", "a b"): "--arm a b: must be letters",
    (f"--at={AT}", "seed=1", "--arm", "a", "--arm", "a"): "two arms would land there",
}


@pytest.mark.parametrize("typed", BAD, ids=" ".join)
def test_a_bad_call_is_refused_and_writes_nothing(inside: Inside, parent: Any, tmp_path: Path, typed: tuple[str, ...]):
    parent()
    before = digest(tmp_path)
    assert BAD[typed] in refusal(inside("parent", *typed, cwd=tmp_path, program=BRANCH))
    assert digest(tmp_path) == before


def test_a_multirun_needs_the_stacked_launcher(inside: Inside, parent: Any, tmp_path: Path):
    parent()
    keys = (
        "-m",
        f"train.branch_from=parent@{AT},parent@32",
        "optimizer=sgd",
        "optimizer.momentum=0.5",
        "hydra.sweep.dir=m",
    )
    assert "needs hydra/launcher=stacked" in refusal(inside(*keys, cwd=tmp_path))
    assert "stack 2 of 2" in ended_well(inside, *keys, "hydra/launcher=stacked", cwd=tmp_path).stderr
    assert [summary(tmp_path / f"m/{number}")["parent"]["step"] for number in (0, 1)] == [AT, 32]


def test_a_sweep_over_the_step_keeps_its_cells_when_the_run_is_gone(inside: Inside, parent: Any, tmp_path: Path):
    theirs = parent()
    grid = {"train.branch_from": {"values": [f"parent@{AT}", "parent@32", "gone@8"]}}
    command = ["${env}", "${interpreter}", "${program}", "optimizer.weight_decay=0", "${args_no_hyphens}"]
    file = sweep_file(tmp_path, parameters=grid, command=command)
    assert inside(str(file), "hydra.sweep.dir=s", cwd=tmp_path, program=SWEEP).returncode == 1
    found = {name: row["status"] for name, row in table(tmp_path / "s").items()}
    assert sorted(found.values()) == ["failed", "finished", "finished"]
    done = {summary(tmp_path / "s" / name)["parent"]["step"] for name in found if found[name] == "finished"}
    assert done == {AT, 32}
    shutil.move(theirs, tmp_path / "gone")
    ended_well(inside, str(file), "hydra.sweep.dir=s", cwd=tmp_path, program=SWEEP)
    again = {name: row["status"] for name, row in table(tmp_path / "s").items()}
    assert list(again.values()) == ["finished"] * 3


# Memory, marks and initial weights


def trained(one: Member, steps: int = 5) -> dict[str, Any]:
    """The state of a member after some steps."""
    stack = Stack([replace(one, train=replace(one.train, steps=steps))])
    for _ in run(stack):
        pass
    return stack.state(0)


def arm(**parts: Any) -> Member:
    """A member that branches."""
    return member(**({"train": training(steps=9, branch_from="parent")} | parts))


def begun(members: list[Member], parents: list[Parent]) -> Stack:
    """The stack of branches at the step of their parents."""
    stack = Stack(members)
    branch(stack, parents)
    return stack


def stepped(stack: Stack) -> Stack:
    """The stack after one more step."""
    for _ in run(stack, lambda: True):
        pass
    return stack


SGD = optim.SGD(lr=0.1)


def test_the_first_mean_of_an_added_filter_is_the_first_gradient():
    """With lamb = 0 the filter changes nothing, and SGD's step is -lr g."""
    parent = Parent(trained(member(optimizer=SGD)), member(optimizer=SGD))
    stack = begun([arm(optimizer=SGD, rules={"grokfast_ema": optim.GrokfastEMA(lamb=0.0)})], [parent])
    before = {name: value.detach().clone() for name, value in stack.parameters.items()}
    stepped(stack)
    for name, mean in stack.rules["grokfast_ema"].memory["mean"].items():
        torch.testing.assert_close(mean, (before[name] - stack.parameters[name].detach()) / SGD.lr)


def test_an_added_moving_average_waits_for_its_window():
    parent = Parent(trained(member(optimizer=SGD)), member(optimizer=SGD))
    filtered = begun([arm(optimizer=SGD, rules={"grokfast_ma": optim.GrokfastMA(window=3)})], [parent])
    plain = begun([arm(optimizer=SGD)], [parent])
    for same in (True, True, False):
        stepped(filtered)
        stepped(plain)
        assert torch.equal(filtered.parameters["linears.0.weight"], plain.parameters["linears.0.weight"]) == same
    again = Stack(filtered.members)
    again.load_states([filtered.state(0)])
    assert again.rules["grokfast_ma"].since == [5]


@pytest.mark.parametrize("rule", [optim.GrokfastEMA(lamb=0.5), optim.GrokfastMA(window=3)], ids=["ema", "ma"])
def test_arms_with_kept_and_new_memory_equal_their_solo_runs(rule: Any):
    plain, filtered = member(), member(rules={"filter": rule}, seed=4)
    parents = [Parent(trained(plain), plain), Parent(trained(filtered), filtered)]
    members = [arm(rules={"filter": rule}), arm(rules={"filter": rule}, seed=4)]
    together = begun(members, parents)
    assert together.rules["filter"].since == [5, 0]
    alone = [begun([one], [parent]) for one, parent in zip(members, parents, strict=True)]
    for stack in (together, together, together, *alone, *alone, *alone):
        stepped(stack)
    for number, own in enumerate(alone):
        for name, value in own.state(0)["model"].items():
            torch.testing.assert_close(together.state(number)["model"][name], value)


KEPT = {
    "lr": (optim.AdamW(lr=0.5), True),
    "betas": (optim.AdamW(betas=[0.5, 0.9]), True),
    "class": (optim.Adam(), False),
}


@pytest.mark.parametrize("name", KEPT)
def test_the_memory_of_an_optimizer_goes_on_with_the_same_class(name: str):
    choice, kept = KEPT[name]
    parent = Parent(trained(member()), member())
    stack = Stack([arm(optimizer=choice)])
    told = branch(stack, [parent])
    assert bool(told[0]) != kept
    if kept:
        assert_same_state(stack.state(0)["optimizer"], parent.state["optimizer"])
    else:
        assert not any(stack.state(0)["optimizer"].values())


def test_another_layout_of_the_memory_starts_empty():
    momentum = optim.SGD(lr=0.1, momentum=0.9)
    parent = Parent(trained(member(optimizer=momentum)), member(optimizer=momentum))
    for choice, kept in ((optim.SGD(lr=0.1, momentum=0.5), True), (SGD, False)):
        stack = Stack([arm(optimizer=choice)])
        assert branch(stack, [parent]) == (
            [[]] if kept else [["the memory of the optimizer starts empty (another layout with other momentum)"]]
        )


def test_marks_go_on_unless_they_are_made_in_another_way():
    marked = trained(member()) | {"grok": {"train_step": 3, "test_step": None}}
    same = begun([arm(grok=GrokOptions(stop_after=7))], [Parent(marked, member())])
    assert same.marks[0].train_step == 3
    other = begun([arm(grok=GrokOptions(threshold=0.5))], [Parent(marked, member())])
    assert other.marks[0].train_step is None


def test_a_member_that_had_stopped_goes_on_and_one_that_diverged_is_refused():
    ended = trained(member()) | {"alive": False}
    assert begun([arm()], [Parent(ended, member())]).alive.tolist() == [True]
    with pytest.raises(ConfigError, match=r"^train.branch_from=parent: that run diverged at step 5"):
        begun([arm()], [Parent(ended | {"diverged": 5}, member())])


def test_a_network_that_subtracts_its_start_keeps_its_seed():
    centred = MLP(hidden=[8, 8], embedding_dim=6, centred=True)
    parent = Parent(trained(member(model=centred)), member(model=centred))
    begun([arm(model=centred)], [parent])
    with pytest.raises(ConfigError, match=r"^seed=1: model.centred"):
        begun([arm(model=centred, seed=1)], [parent])


def test_a_branch_of_a_branch_pulls_to_the_weights_of_the_first_seed(inside: Inside, parent: Any, tmp_path: Path):
    first = parent(*BATCHES)
    ended_well(inside, f"train.branch_from=parent@{AT}", "seed=5", "rules=[]", "hydra.run.dir=one", cwd=tmp_path)
    ended_well(
        inside, "train.branch_from=one@32", "rules=[constant_norm,initial_decay]", "hydra.run.dir=two", cwd=tmp_path
    )
    own = open_run(first).at(AT).member
    start = Stack([replace(own, train=replace(own.train, threads=None))]).parameters
    told = state(tmp_path / "two")["rules"]
    assert_same_state(told["initial_decay"]["start"], {name: value[0].detach() for name, value in start.items()})
    norm = torch.stack([value.detach().square().sum() for value in start.values()]).sum().sqrt()
    torch.testing.assert_close(told["constant_norm"]["held"]["norm"], norm)
    ended = torch.stack([value.square().sum() for value in state(tmp_path / "two")["model"].values()]).sum().sqrt()
    torch.testing.assert_close(ended, norm)
    assert not needs_initial(Stack([open_run(tmp_path / "one").at(32).member]))


def test_a_record_is_copied_up_to_the_step(tmp_path: Path):
    here, there = tmp_path / "parent", tmp_path / "arm"
    here.mkdir()
    lines = [json.dumps({"step": step, "Loss/train": 1.5}) for step in (0, 3, 5, 7)]
    (here / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 9, "Lo')
    writer = ArrayWriter(here)
    for step in (0, 5):
        writer.append(step, {"spectrum": {"layer 1": np.arange(3.0) + step}})
    copy_record(here, there, 5)  # while the run writes
    assert (there / "metrics.jsonl").read_text() == "\n".join(lines[:2]) + "\n"
    assert load_arrays(there, "spectrum")["layer 1"].steps.tolist() == [0]
    writer.close()
