"""`train.start_from`: runs that begin with the weights of another run, through the command line and as stacks."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import OPTIMIZERS, member, training
from command import (
    QUIET,
    TINY,
    Inside,
    Submit,
    assert_same_state,
    digest,
    ended_well,
    finished,
    last_checkpoint,
    refusal,
    rows,
    state,
    struck,
    summary,
)
from sweeping import SWEEP, assert_close_rows, assert_close_weights, cells, sweep_file, table

from grokplane import measure, open_run, optim, predict, prune
from grokplane.app import sources as starting
from grokplane.options import ConfigError
from grokplane.record import Checkpoints
from grokplane.train import Stack, run

STEPS, AT = 40, 16
BOTH = "train.start_with=weights_and_optimizer"
SERIES = ("train.keep_checkpoints=log_points", "train.checkpoint_every=100", "log.dense_steps=2", "log.every=8")
FIXED = (*TINY, *QUIET, *SERIES, "mi=off", f"train.steps={STEPS}")
INITIAL = "rules=[initial_decay,constant_norm]"
# What a run remembers from step to step, besides its weights.
REMEMBER = {
    "adamw": (),
    "muon": ("optimizer=muon", "model.hidden=[8,8]"),
    "sgd": ("optimizer=sgd", "optimizer.momentum=0.9"),
    "rmsprop": ("optimizer=rmsprop", "optimizer.momentum=0.5"),
    "grokfast": ("rules=[grokfast_ema]", "rules.grokfast_ema.lamb=0.5"),
}


@pytest.fixture(scope="module", autouse=True)
def sources(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Path]]:
    """A finished run of each setting."""
    return {name: submit(_run, tmp_path_factory.mktemp("source"), *REMEMBER[name]) for name in REMEMBER}


def _run(cwd: Path, *typed: str) -> Path:
    finished(*FIXED, *typed, "hydra.run.dir=source", cwd=cwd)
    return cwd / "source"


@pytest.fixture
def source(sources: dict[str, Future[Path]]) -> Path:
    return sources["adamw"].result()


def at(folder: Path, step: int) -> dict[str, Any]:
    """The checkpoint of a step."""
    return Checkpoints(folder).read(step).state


def measured(folder: Path, start: int = 0) -> dict[int, dict[str, Any]]:
    """The rows from a step on, by the number of steps behind it, at multiples of 8."""
    return {row.pop("step") - start: row for row in rows(folder) if row["step"] >= start and row["step"] % 8 == 0}


# What is taken


def test_the_weights_at_step_0_are_those_of_the_source_and_the_moments_are_fresh(
    inside: Inside, source: Path, tmp_path: Path
):
    typed = (f"train.start_from={source}@{AT}", "seed=3", "optimizer.weight_decay=0.1", "hydra.run.dir=run")
    ended_well(inside, *FIXED, *typed, cwd=tmp_path)
    first, theirs = at(tmp_path / "run", 0), at(source, AT)
    assert_same_state(first["model"], theirs["model"])
    assert not any(first["optimizer"].values())
    assert first["step"] == 0
    assert at(tmp_path / "run", 1)["optimizer"]["linears.0.weight"]["step"] == 1


def test_the_first_row_is_that_of_the_source_at_its_step(inside: Inside, source: Path, tmp_path: Path):
    ended_well(inside, *FIXED, f"train.start_from={source}@{AT}", "hydra.run.dir=run", cwd=tmp_path)
    ours, theirs = measured(tmp_path / "run"), measured(source, AT)
    assert ours[0] == theirs[0]
    assert ours[8]["Loss/train"] != theirs[8]["Loss/train"]  # fresh moments


@pytest.mark.parametrize("name", REMEMBER)
def test_with_the_optimizer_the_same_config_goes_on_as_the_source_to_the_last_bit(
    inside: Inside, sources: dict[str, Future[Path]], name: str, tmp_path: Path
):
    folder = sources[name].result()
    typed = (*FIXED, *REMEMBER[name], BOTH, f"train.start_from={folder}@{AT}", f"train.steps={STEPS - AT}")
    ended_well(inside, *typed, "hydra.run.dir=run", cwd=tmp_path)
    assert measured(tmp_path / "run") == measured(folder, AT)
    for part in ("model", "optimizer", "rules"):
        assert_same_state(state(tmp_path / "run")[part], state(folder)[part])


def test_without_a_step_the_last_checkpoint_is_taken_and_stored_with_its_step(
    inside: Inside, source: Path, tmp_path: Path
):
    shutil.copytree(source, tmp_path / "here")
    ended_well(inside, *FIXED, "train.start_from=here", "hydra.run.dir=run", cwd=tmp_path)
    assert_same_state(at(tmp_path / "run", 0)["model"], at(source, STEPS)["model"])
    assert open_run(tmp_path / "run").config["train"]["start_from"] == f"{tmp_path}/here@{STEPS}"
    origin = {"folder": f"{tmp_path}/here", "step": STEPS, "config_hash": summary(source)["config_hash"]}
    assert summary(tmp_path / "run")["start_from"] == origin
    assert "start_from" not in summary(source)


def test_another_dtype_takes_weights_and_moments(inside: Inside, source: Path, tmp_path: Path):
    typed = (*FIXED, f"train.start_from={source}@{AT}", BOTH, "train.dtype=float64", "train.steps=2")
    ended_well(inside, *typed, "hydra.run.dir=run", cwd=tmp_path)
    ours, theirs = at(tmp_path / "run", 0), at(source, AT)
    for name, value in theirs["model"].items():
        assert torch.equal(ours["model"][name], value.double())
        assert torch.equal(ours["optimizer"][name]["exp_avg"], theirs["optimizer"][name]["exp_avg"].double())


# Going on without the source

WAYS = {
    "initial weights": (INITIAL, "rules.constant_norm.alpha=0.9"),
    "memory": ("rules=[grokfast_ema]", BOTH),
}


@pytest.fixture(scope="module", autouse=True)
def whole_and_killed(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[tuple[Path, Path]]]:
    return {name: submit(_whole_and_killed, tmp_path_factory.mktemp("killed"), *typed) for name, typed in WAYS.items()}


def _whole_and_killed(cwd: Path, *typed: str) -> tuple[Path, Path]:
    """An uninterrupted run, and one that was killed, whose source was deleted, and that then went on."""
    rules = next(one for one in typed if one.startswith("rules="))
    finished(*FIXED, rules, "hydra.run.dir=source", cwd=cwd)
    keys = (*TINY, *QUIET, *typed, "mi=off", "train.steps=400", "train.checkpoint_every=10", "log.every=5")
    keys = (*keys, f"train.start_from=source@{AT}", "seed=1")
    finished(*keys, "hydra.run.dir=whole", cwd=cwd)
    struck(signal.SIGKILL, 30, cwd / "killed", *keys, cwd=cwd)
    shutil.rmtree(cwd / "source")
    assert summary(cwd / "killed")["steps"] < 400
    finished(*keys, "train.resume=true", "hydra.run.dir=killed", cwd=cwd)
    return cwd / "whole", cwd / "killed"


@pytest.mark.parametrize("name", WAYS)
def test_a_killed_run_goes_on_without_its_source(whole_and_killed: dict[str, Future[tuple[Path, Path]]], name: str):
    whole, killed = whole_and_killed[name].result()
    assert_same_state(state(killed), state(whole))
    assert rows(killed) == rows(whole)
    assert summary(killed)["start_from"] == summary(whole)["start_from"]
    assert summary(killed)["start_from"]["config_hash"]


def test_a_run_without_a_checkpoint_starts_again_from_the_same_step(inside: Inside, source: Path, tmp_path: Path):
    shutil.copytree(source, tmp_path / "source")
    typed = (*FIXED, "train.start_from=source", "hydra.run.dir=run")
    ended_well(inside, *typed, cwd=tmp_path)
    before = rows(tmp_path / "run")
    killed(tmp_path / "run")
    longer = ("hydra.run.dir=source", "train.resume=true", f"train.steps={STEPS + 2}")
    ended_well(inside, *longer, cwd=tmp_path)  # its last checkpoint is another one now
    ended_well(inside, *typed, "train.resume=true", cwd=tmp_path)
    assert rows(tmp_path / "run") == before
    killed(tmp_path / "run")
    shutil.rmtree(tmp_path / "source")
    told = refusal(inside(*typed, "train.resume=true", cwd=tmp_path))
    assert told.startswith(f"train.start_from={tmp_path}/source@{STEPS}: no such folder")


def killed(folder: Path) -> None:
    """Make a finished run one that was killed before its first checkpoint."""
    shutil.rmtree(folder / "checkpoints")
    told = summary(folder) | {"status": "running"}
    (folder / "summary.json").write_text(json.dumps(told))


@pytest.mark.parametrize("other", ["train.start_from=source@8", "train.start_from=other", "train.start_from=null"])
def test_a_resumed_run_keeps_its_source(inside: Inside, source: Path, tmp_path: Path, other: str):
    shutil.copytree(source, tmp_path / "source")
    ended_well(inside, *FIXED, f"train.start_from=source@{AT}", "hydra.run.dir=run", cwd=tmp_path)
    again = ("hydra.run.dir=run", "train.resume=true", f"train.steps={STEPS + 1}")
    told = refusal(inside(*again, other, cwd=tmp_path))
    assert f"the run: {tmp_path}/source@{AT}" in told
    ended_well(inside, *again, "train.start_from=source", cwd=tmp_path)


def test_readers_need_no_source(inside: Inside, source: Path, tmp_path: Path):
    shutil.copytree(source, tmp_path / "source")
    ended_well(inside, *FIXED, INITIAL, "train.start_from=source", "hydra.run.dir=run", cwd=tmp_path)
    shutil.rmtree(tmp_path / "source")
    opened = open_run(tmp_path / "run")
    assert opened.at(0).member.train.start_from == f"{tmp_path}/source@{STEPS}"
    for step in (0, AT, STEPS):
        run_at = opened.at(step)
        assert_same_state(dict(run_at.network.state_dict()), run_at.state["model"])
    run = str(tmp_path / "run")
    for command, *typed in (
        (predict, run, "3,4"),
        (prune, run, "--steps", "3"),
        (measure, run, "--metrics", "perplexity"),
    ):
        assert command.main(typed) == 0


# Stacks


@pytest.mark.parametrize("how", [(), (BOTH,)], ids=["weights", "memory"])
def test_a_stack_of_runs_with_different_sources_equals_the_runs_alone(
    inside: Inside, tmp_path: Path, how: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    read: list[Path] = []
    original = Checkpoints.read
    monkeypatch.setattr(Checkpoints, "read", lambda self, step: read.append(self.path(step)) or original(self, step))
    keys = (*FIXED, "train.dtype=float64", "rules=[grokfast_ema,initial_decay,constant_norm]")
    ended_well(inside, *keys, "hydra.run.dir=other", "seed=7", cwd=tmp_path)
    starts = (f"other@{AT}", "null", "other@8", "./other")
    jobs = ("-m", "hydra/launcher=stacked", f"train.start_from={','.join(starts)}", "seed=0,1", "hydra.sweep.dir=m")
    ended_well(inside, *keys, *how, *jobs, cwd=tmp_path)
    assert len(read) == 2 * 3  # each once in the check of the call, and once for the stack
    for number in (1, 2, 7):
        start, seed = starts[number // 2], number % 2
        alone = (f"train.start_from={start}", f"seed={seed}", f"hydra.run.dir=alone{number}")
        ended_well(inside, *keys, *(how if start != "null" else ()), *alone, cwd=tmp_path)
        ours, theirs = tmp_path / f"m/{number}", tmp_path / f"alone{number}"
        assert summary(ours)["members"] == 8
        assert_close_weights(ours, theirs)
        assert_close_rows(rows(ours), rows(theirs))
        for name, value in state(theirs)["optimizer"].items():
            assert state(ours)["optimizer"][name]["step"] == value["step"]


def test_a_stack_with_different_counts_goes_on_from_its_checkpoints(inside: Inside, tmp_path: Path):
    keys = (*FIXED, BOTH, INITIAL, "train.dtype=float64", "train.start_from=other@16,null,other@32")
    ended_well(inside, *FIXED, INITIAL, "hydra.run.dir=other", "seed=7", cwd=tmp_path)
    jobs = ("-m", "hydra/launcher=stacked")
    ended_well(inside, *keys, *jobs, "hydra.sweep.dir=whole", cwd=tmp_path)
    ended_well(inside, *keys, *jobs, "hydra.sweep.dir=parts", "train.steps=10", cwd=tmp_path)
    shutil.rmtree(tmp_path / "other")
    again = ("hydra.sweep.dir=parts", "train.resume=true")
    ended_well(inside, *keys, *jobs, *again, cwd=tmp_path)
    for number in range(3):
        assert_same_state(state(tmp_path / f"parts/{number}"), state(tmp_path / f"whole/{number}"))


def test_a_sweep_starts_each_cell_from_its_own_run_and_keeps_the_cells_that_are_done(
    inside: Inside, source: Path, tmp_path: Path
):
    shutil.copytree(source, tmp_path / "source")
    starts = {"train.start_from": {"values": ["source@8", "source", "gone"]}}
    file = sweep_file(tmp_path, parameters=starts)
    done = inside(str(file), "hydra.sweep.dir=s", cwd=tmp_path, program=SWEEP)
    assert done.returncode == 1
    statuses = {Path(name).name: row["status"] for name, row in table(tmp_path / "s").items()}
    assert sorted(statuses.values()) == ["failed", "finished", "finished"]
    failed = next(folder for folder in cells(tmp_path / "s") if "gone" in folder.name)
    assert summary(failed)["error"].startswith(f"train.start_from={tmp_path}/gone: no such folder")
    kept = {folder.name: digest(folder / "checkpoints") for folder in cells(tmp_path / "s") if folder != failed}
    shutil.copytree(source, tmp_path / "gone")
    shutil.rmtree(tmp_path / "source")
    ended_well(inside, str(file), "hydra.sweep.dir=s", cwd=tmp_path, program=SWEEP)
    assert {row["status"] for row in table(tmp_path / "s").values()} == {"finished"}
    assert kept == {name: digest(tmp_path / "s" / name / "checkpoints") for name in kept}
    shutil.rmtree(tmp_path / "gone")
    longer = inside(str(file), "hydra.sweep.dir=s", "train.steps=70", cwd=tmp_path, program=SWEEP)
    assert longer.returncode == 0, longer.stderr  # every cell goes on from its own checkpoint
    assert {state(folder)["step"] for folder in cells(tmp_path / "s")} == {70}


OPTIMIZER_CHOICES = {name: kind(**keys) for name, (kind, keys) in OPTIMIZERS.items()} | {"muon": optim.Muon()}


@pytest.mark.parametrize("name", OPTIMIZER_CHOICES)
def test_members_with_the_memory_of_different_runs_equal_their_solo_runs(name: str):
    choice = OPTIMIZER_CHOICES[name]
    keys = {"optimizer": choice, "rules": {"grokfast_ema": optim.GrokfastEMA(lamb=0.5)}}
    sources = [other(5, **keys).state(0), other(7, **keys).state(0), None]
    how = "weights_and_optimizer"
    trains = [training(steps=6, start_with=how, start_from=one and f"run@{one['step']}") for one in sources]
    members = [member(**keys, seed=seed, train=train) for seed, train in enumerate(trains)]
    together, again = begun(*members, states=sources), Stack(members)
    again.load_states([together.state(number) for number in range(3)])  # from a checkpoint of step 0
    for stack in (together, again):
        for _ in run(stack):
            pass
    for number, (one, source) in enumerate(zip(members, sources, strict=True)):
        alone = begun(one, states=[source])
        for _ in run(alone):
            pass
        ours, theirs = together.state(number), alone.state(0)
        for key, value in theirs["model"].items():
            torch.testing.assert_close(ours["model"][key], value)
            counts = [state["optimizer"].get(key, {}).get("step") for state in (ours, theirs)]
            assert counts[0] == counts[1]
        assert_same_state(again.state(number), ours)


# Rules that need the initial weights


def begun(*members: Any, states: list[Any] | None = None) -> Stack:
    stack = Stack(list(members))
    stack.start(states or [other().state(0)] * len(members))
    return stack


def other(steps: int = 5, **parts: Any) -> Stack:
    """A stack of one member with another seed, trained for some steps."""
    stack = Stack([member(seed=9, train=training(steps=steps), **parts)])
    for _ in run(stack):
        pass
    return stack


def starter(**parts: Any) -> Any:
    return member(**({"train": training(start_from="other", steps=6)} | parts))


def norms(stack: Stack) -> torch.Tensor:
    return torch.stack([value.flatten(1).square().sum(1) for value in stack.parameters.values()]).sum(0).sqrt()


def test_the_norm_that_is_held_is_that_of_the_weights_at_step_0():
    held = optim.ConstantNorm(alpha=0.5)
    stack = begun(starter(rules={"constant_norm": held}), starter(rules={"constant_norm": held}, seed=4))
    start = norms(stack)
    for _ in run(stack):
        pass
    torch.testing.assert_close(norms(stack), 0.5 * start)
    assert not torch.isclose(norms(Stack([member()]))[0], start[0], rtol=1e-2)


def test_the_decay_pulls_towards_the_weights_at_step_0():
    """With lr * strength = 1 every update of SGD begins at the start: w_2 = start - lr g(w_1)."""
    lr, sgd = 0.1, optim.SGD(lr=0.1)
    pulled = {"initial_decay": optim.InitialDecay(strength=1 / lr)}
    stack = begun(starter(optimizer=sgd, rules=pulled, train=training(start_from="other", steps=2)))
    start, seen = {name: value.detach().clone() for name, value in stack.parameters.items()}, []
    for point in run(stack, lambda: True):
        seen.append(point.state(0))
        break
    one = begun(starter(optimizer=sgd, train=training(start_from="other", steps=1)))
    two = Stack([starter(optimizer=sgd, train=training(start_from="other", steps=1))])
    for _ in run(one):
        pass
    two.start([one.state(0)])
    for _ in run(two):
        pass
    for _ in run(stack):
        pass
    for name, value in stack.parameters.items():
        expected = start[name] + (two.parameters[name] - one.parameters[name])
        torch.testing.assert_close(value, expected)


RULES = {"initial_decay": optim.InitialDecay(), "constant_norm": optim.ConstantNorm(alpha=0.9)}


@pytest.mark.parametrize("step", [0, 3])
def test_a_state_remembers_the_initial_weights_that_cannot_be_drawn_again(step: int):
    whole, parts = begun(starter(rules=RULES)), begun(starter(rules=RULES))
    for _ in run(parts, lambda: parts.step >= step):
        if parts.step >= step:
            break
    again = Stack([starter(rules=RULES)])
    again.load_states([parts.state(0)])
    assert again.step == step
    for stack in (whole, again):
        for _ in run(stack):
            pass
    assert_same_state(again.state(0), whole.state(0))


def test_a_state_of_a_run_that_starts_from_its_seed_holds_no_initial_weights():
    assert Stack([member(rules=RULES)]).state(0)["rules"] == {"initial_decay": {}, "constant_norm": {}}
    mixed = begun(
        starter(rules=RULES), replace(starter(rules=RULES), train=training(steps=6)), states=[other().state(0), None]
    )
    assert mixed.state(1)["rules"] == {"initial_decay": {}, "constant_norm": {}}
    assert set(mixed.state(0)["rules"]["initial_decay"]["start"]) == set(mixed.parameters)


def test_members_that_stay_keep_their_initial_weights_when_another_one_leaves():
    states = [other().state(0), other(7).state(0), None]
    seedling = replace(starter(rules=RULES, seed=2), train=training(steps=6))
    stack = begun(starter(rules=RULES), starter(rules=RULES, seed=1), seedling, states=states)
    before = {name: rule.state(1) for name, rule in stack.rules.items()}
    held = stack.rules["constant_norm"].initial["held"]["norm"][1:].clone()
    stack.alive[0] = False
    stack.narrow()
    assert stack.rows == [1, 2]
    assert_same_state({name: rule.state(0) for name, rule in stack.rules.items()}, before)
    assert torch.equal(stack.rules["constant_norm"].initial["held"]["norm"], held)


def test_a_rule_whose_source_held_another_norm_holds_its_own():
    """The memory that goes on is that between steps; the norm is that of the run's own step 0."""
    holding = starter(rules=RULES)
    first = begun(holding)
    for _ in run(first):
        pass
    both = replace(holding, train=training(start_from="first", start_with="weights_and_optimizer"))
    second = begun(both, states=[first.state(0)])
    torch.testing.assert_close(second.rules["constant_norm"].initial["held"]["norm"], 0.9 * norms(second))


def test_a_stack_trains_only_with_the_states_to_start_from():
    with pytest.raises(ConfigError, match=r"^train.start_from=other: .*Stack.start"):
        next(run(Stack([starter()])))
    with pytest.raises(ValueError, match="no other"):
        Stack([member()]).start([other().state(0)])


# Refusals


def _damaged(folder: Path) -> None:
    file = Checkpoints(folder).path(AT)
    file.write_bytes(file.read_bytes()[:-200])


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoints")


def _no_state(folder: Path) -> None:
    torch.save({"step": AT}, Checkpoints(folder).path(AT))


def _edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        saved = torch.load(last_checkpoint(folder), weights_only=True)
        change(saved)
        torch.save(saved, last_checkpoint(folder))

    return edit


def _nothing(_: Path) -> None:
    pass


BAD: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "no folder": (_nothing, ("train.start_from=away@3",), "no such folder {here}/away; allowed: the folder of a run"),
    "no run": (
        _nothing,
        ("train.start_from=.",),
        "{here} must be the folder of a run, with a metrics.jsonl and checkpoints",
    ),
    "a long name": (_nothing, (f"train.start_from={'a' * 5000}",), "no such folder"),
    "no value": (_nothing, ("train.start_from=",), "must be RUN@STEP or RUN, or null"),
    "no checkpoint": (_emptied, ("train.start_from=source",), "{here}/source has no checkpoint yet"),
    "no step": (
        _nothing,
        ("train.start_from=source@41",),
        "that run has no checkpoint of step 41; the nearest ones are 16, 24, 32, 40",
    ),
    "damaged": (
        _damaged,
        (f"train.start_from=source@{AT}",),
        f"step_000000{AT}.pt is damaged (File is not a zip file); the nearest ones are 2, 4, 8, 24",
    ),
    "no state": (
        _no_state,
        (f"train.start_from=source@{AT}",),
        "holds no state of a run; allowed: another step or run",
    ),
    "another shape": (
        _nothing,
        ("train.start_from=source", "model.hidden=[9]"),
        "linears.0.weight has shape [8, 8] in that run and [9, 8] here; a run with the same model",
    ),
    "another task": (
        _nothing,
        ("train.start_from=source", "data.p=11"),
        "input.embedding.weight has shape [7, 8] in that run and [11, 8] here",
    ),
    "missing": (
        _nothing,
        ("train.start_from=source", "model.hidden=[8,7]"),
        "that run has no linears.2.weight, which has shape [7, 7] here",
    ),
    "lacking": (
        _edited(lambda saved: saved["model"].pop("linears.1.bias")),
        ("train.start_from=source",),
        "that run has no linears.1.bias, which has shape [7] here",
    ),
    "more": (
        _edited(lambda saved: saved["model"].update(extra=torch.zeros(2, 3))),
        ("train.start_from=source",),
        "that run has extra of shape [2, 3], which this model does not have",
    ),
    "another optimizer": (
        _nothing,
        ("train.start_from=source", BOTH, "optimizer=sgd"),
        "the run source has adamw; allowed with train.start_with=weights",
    ),
    "other betas": (
        _nothing,
        ("train.start_from=source", BOTH, "optimizer.betas=[0.8,0.9]"),
        "optimizer.betas=[0.8,0.9]: the run source has [0.9,0.999]; allowed with train.start_with=weights",
    ),
    "other rules": (
        _nothing,
        ("train.start_from=source", BOTH, "rules=[sam]"),
        "rules=[sam]: the run source has rules=[], and its memory is theirs; allowed with train.start_with=weights",
    ),
    "step 0": (
        _nothing,
        ("train.start_from=source@0", BOTH),
        "at step 0 a run has no memory of its optimizer; a later step, or allowed with",
    ),
    "lacking moments": (
        _edited(lambda saved: saved["optimizer"].pop("linears.1.bias")),
        ("train.start_from=source", BOTH),
        "the memory of its optimizer does not fit ('linears.1.bias'); allowed with train.start_with=weights",
    ),
    "nothing to take": (_nothing, (BOTH,), "would not be read, as train.start_from=null takes nothing"),
    "unknown way": (_nothing, ("train.start_from=source", "train.start_with=moments"), "allowed: weights, weights_and"),
    "itself": (
        _nothing,
        ("train.start_from=source", "hydra.run.dir=source", "train.overwrite=true"),
        "is the folder of this run; choose another one with hydra.run.dir=FOLDER",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_started_from_is_refused_in_one_line_before_anything_is_written(
    inside: Inside, source: Path, tmp_path: Path, name: str
):
    prepare, typed, told = BAD[name]
    shutil.copytree(source, tmp_path / "source")
    prepare(tmp_path / "source")
    before = digest(tmp_path)
    line = refusal(inside(*FIXED, "hydra.run.dir=run", *typed, cwd=tmp_path))
    assert told.format(here=tmp_path) in line
    assert digest(tmp_path) == before


def test_the_memory_of_a_window_of_gradients_is_refused(inside: Inside, tmp_path: Path):
    keys = (*FIXED, "rules=[grokfast_ma]", "rules.grokfast_ma.window=3", "train.steps=4")
    ended_well(inside, *keys, "hydra.run.dir=source", cwd=tmp_path)
    line = refusal(inside(*keys, "train.start_from=source", BOTH, "hydra.run.dir=run", cwd=tmp_path))
    assert line == (
        "train.start_with=weights_and_optimizer: the memory of grokfast_ma belongs to the steps of its run;"
        " allowed with train.start_with=weights"
    )
    ended_well(inside, *keys, "train.start_from=source", "hydra.run.dir=run", cwd=tmp_path)


@pytest.mark.parametrize(
    ("text", "folder", "step"),
    [
        ("/a/b@12", "/a/b", 12),
        ("/a/b", "/a/b", None),
        ("/a@x", "/a@x", None),
        ("/a@1@2", "/a@1", 2),
        ("/a@", "/a@", None),
    ],
)
def test_a_number_behind_the_last_at_sign_is_a_step(text: str, folder: str, step: int | None):
    assert starting.source(text) == (Path(folder), step)


def test_a_value_without_a_step_names_any_step_of_the_run():
    assert starting.same("/a", "/a@3")
    assert starting.same("/a@3", "/a@3")
    assert not starting.same("/a@2", "/a@3")
    assert not starting.same("/b", "/a@3")
    assert not starting.same(None, "/a@3")
    assert starting.same(None, None)
