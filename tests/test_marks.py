"""Marks of learning curves: of anybody's recorded run, of several seeds, and as a run makes them while it trains."""

from __future__ import annotations

import csv
import itertools
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from builders import finish, member, task, trained, training
from command import QUIET, Inside, assert_same_state, ended_well, refusal, rows, state, summary

from grokplane import metrics
from grokplane.marks import Marks, Track, marks, summarise
from grokplane.optim import AdamW
from grokplane.options import ConfigError
from grokplane.record.marked import NAMES
from grokplane.record.marked import main as marked
from grokplane.train import GrokOptions, LogOptions, Member, Stack, run
from grokplane.train.lasting import Lasting
from grokplane.train.trial import try_metrics

NAN = math.nan
NEVER = Marks(None, None, None, 0, None, 0, None)
# Accuracies in tenths at the steps 0, 10, ..., with threshold 0.9 and two evaluations that must follow.
CURVES: dict[str, tuple[list[float], Marks]] = {
    "empty": ([], NEVER),
    "never": ([1, 5, 8, 8], NEVER),
    "at once": ([9, 9, 10], Marks(0, 0, 0, 0, 0.9, 0, None)),
    "too short": ([0, 9, 9], Marks(10, None, 10, 0, None, 0, None)),
    "a spike first": ([0, 10, 2, 9, 9, 10], Marks(10, 30, 30, 0, 0.9, 0, None)),
    "two collapses": ([0, 9, 10, 10, 5, 4, 10, 8, 10], Marks(10, 10, 80, 3, 0.4, 2, 70)),
    "lost": ([0, 9, 10, 10, 10, 3, 2], Marks(10, 10, None, 2, 0.2, 1, 60)),
    "not a number": ([9, 9, 9, NAN, 10], Marks(0, 0, 40, 1, 0.9, 1, 30)),
    "not a number at first": ([NAN, 9, NAN, 9, 9, 10], Marks(10, 30, 30, 0, 0.9, 0, None)),
    "low before it is sustained": ([9, 1, 9, 10, 10], Marks(0, 20, 20, 0, 1.0, 0, None)),
}


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_of_known_marks(name: str) -> None:
    tenths, expected = CURVES[name]
    assert marks(range(0, 10 * len(tenths), 10), [one / 10 for one in tenths], 0.9, 2) == expected


def test_no_evaluation_need_follow() -> None:
    assert marks([3, 5], [0.2, 0.95], sustained=0) == Marks(5, 5, 5, 0, None, 0, None)


def by_definition(steps: list[int], accuracy: list[float], threshold: float, sustained: int) -> Marks:
    """Every mark from its own definition, in plain loops over the whole curve."""
    over = [one >= threshold for one in accuracy]
    there = range(len(over))
    first = [i for i in there if over[i]]
    lasting = [i for i in there if i + sustained < len(over) and all(over[i : i + sustained + 1])]
    stable = [i for i in there if all(over[i:])]
    after = range(lasting[0] + 1, len(over)) if lasting else range(0)
    below = [i for i in after if not over[i]]
    known = [accuracy[i] for i in after if not math.isnan(accuracy[i])]
    return Marks(
        steps[first[0]] if first else None,
        steps[lasting[0]] if lasting else None,
        steps[stable[0]] if stable else None,
        len(below),
        min(known, default=None),
        sum(over[i - 1] for i in below),
        steps[below[-1]] if below else None,
    )


def test_marks_and_their_incremental_form_follow_the_definitions_on_every_curve() -> None:
    drawn = np.random.default_rng(0)
    for _ in range(400):
        length, threshold, sustained = drawn.integers(0, 25), drawn.choice([0.3, 0.5, 1.0]), int(drawn.integers(0, 5))
        accuracy = drawn.choice([0.1, 0.29, 0.3, 0.5, 0.7, 1.0, NAN], size=length).tolist()
        steps = np.cumsum(drawn.integers(1, 50, size=length)).tolist()
        track = Track(float(threshold), sustained)
        for seen in range(length + 1):
            expected = by_definition(steps[:seen], accuracy[:seen], threshold, sustained)
            assert track.marks == expected
            if seen < length:
                track = Track(**track.state())  # as from a checkpoint
                track.see(steps[seen], accuracy[seen])
        whole = by_definition(steps, accuracy, threshold, sustained)
        assert marks(steps, accuracy, float(threshold), sustained) == whole


@pytest.mark.parametrize(
    "given",
    [
        (np.array([0, 10, 20]), np.array([0.1, 0.96, 0.97], dtype=np.float32)),
        (pandas.Series([0, 10, 20], index=[5, 3, 1]), pandas.Series([None, 0.96, 0.97], dtype="Float64")),
        ((0.0, 10.0, 20.0), (None, "0.96", 1)),
    ],
)
def test_columns_of_every_kind_are_taken(given: tuple[Any, Any]) -> None:
    found = marks(*given, sustained=1)
    assert (found.first, found.sustained, found.stable) == (10, 10, 10)
    assert type(found.first) is int


@pytest.mark.parametrize(
    ("steps", "accuracy", "more", "line"),
    [
        ([0, 1], [0.5], {}, "accuracy=1 values: must be as many as the 2 steps"),
        ([0, 5, 5], [0, 0, 0], {}, "steps=5 after 5: must be numbers that ascend, each step once"),
        ([0, NAN], [0, 0], {}, "steps=nan after 0: must be numbers that ascend, each step once"),
        ([0, 1], [50, 99], {}, "accuracy=50: must be from 0 to 1; divide percentages by 100"),
        ([0, 1], [0.5, "x"], {}, "accuracy=x: must be one number for each evaluation"),
        ([0], [0.5], {"threshold": 95}, "threshold=95: must be above 0 and at most 1"),
        ([0], [0.5], {"threshold": NAN}, "threshold=nan: must be above 0 and at most 1"),
        ([0], [0.5], {"sustained": -1}, "sustained=-1: must be a whole number, at least 0"),
        ([0], [0.5], {"sustained": 1.5}, "sustained=1.5: must be a whole number, at least 0"),
    ],
)
def test_a_wrong_curve_is_refused(steps: list[Any], accuracy: list[Any], more: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        marks(steps, accuracy, **more)
    assert str(refused.value) == line


def test_torch_is_not_needed() -> None:
    code = "import sys; from grokplane.marks import marks; print(marks([0], [1.0]).first, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 False\n"


# Runs recorded by others are no part of the project; GROKPLANE_RECORDED_RUNS names their folder.
RECORDED = Path(os.environ.get("GROKPLANE_RECORDED_RUNS", Path(__file__).parents[2] / "shared" / "marks"))
EXPECTED = {
    "muon_seed_0": (5_400, 5_400, 96_200, 216, 0.7605),
    "muon_seed_1": (5_300, 5_300, None, 137, 0.7418),
    "stable_muon_seed_0": (5_400, 5_400, 5_400, 0, 0.9700),
    "adamw_stable_seed_2": (4_000, 4_000, 68_800, 2, 0.5351),
    "adamw_unstable_seed_0": (None, None, None, 0, None),
    "adamw_unstable_seed_1": (1_300, 1_300, None, 956, 0.0072),
}


@pytest.mark.skipif(not RECORDED.is_dir(), reason="GROKPLANE_RECORDED_RUNS names no folder")
@pytest.mark.parametrize("name", EXPECTED)
def test_recorded_runs_of_others(name: str) -> None:
    frame = pandas.read_csv(RECORDED / f"{name}.csv")
    found = marks(frame["step"], frame["test_accuracy"])
    *exact, lowest = EXPECTED[name]
    assert [found.first, found.sustained, found.stable, found.below] == exact
    assert found.lowest == (None if lowest is None else pytest.approx(lowest, abs=5e-5))


# Several seeds


def test_censored_runs_count_as_later_than_all_others() -> None:
    assert summarise([300, 100, 200]).median == 200
    assert summarise([None, 100, 200]).median == 200
    assert summarise([None, 100, NAN, 200]).median is None  # half of them
    assert summarise([100, 100, None, 100, 100]) == summarise([100, 100, 100, None, 100])
    found = summarise([None, math.inf, NAN])
    assert (found.n, found.grokked, found.median, found.low, found.high) == (3, 0, None, None, None)
    found = summarise([7])
    assert (found.n, found.grokked, found.median, found.low, found.high) == (1, 1, 7, 7, 7)
    assert (summarise([]).n, summarise([]).median) == (0, None)


@pytest.mark.parametrize("steps", [[100, 200, 400], [100, 200, None], [100, None, None], [10, 20, 30, None, None]])
def test_the_interval_is_that_of_all_resamples(steps: list[float | None]) -> None:
    known = [math.inf if one is None else one for one in steps]
    medians = sorted(float(np.median(one)) for one in itertools.product(known, repeat=len(known)))
    low, high = medians[math.floor(0.025 * len(medians))], medians[math.ceil(0.975 * len(medians)) - 1]
    found = summarise(steps)
    assert (found.low or math.inf, found.high or math.inf) == (low, high)
    assert found == summarise(steps, seed=0)


def test_the_interval_of_many_runs_has_the_level_of_the_exact_law() -> None:
    """P(median <= k-th of n) = P(Binomial(n, k/n) >= (n + 1) / 2): 0.013 and 0.046 for k = 5, 6 of n = 19."""
    n, found = 19, summarise(range(1, 20))
    law = [
        sum(math.comb(n, i) * (k / n) ** i * (1 - k / n) ** (n - i) for i in range((n + 1) // 2, n + 1))
        for k in range(n + 1)
    ]
    low = next(k for k in range(n + 1) if law[k] >= 0.025)
    assert law[low - 1] < 0.014
    assert law[low] > 0.045
    assert (found.low, found.median, found.high) == (low, 10, n + 1 - low)


def test_seeds_in_words() -> None:
    assert str(summarise([2_388, 1_900, 3_000, None, 2_000])) == "4 of 5, median 2,388 (1,900 to never)"
    assert str(summarise([None, None])) == "0 of 2"


# In training

KEYS = ("data.p=5", "data.train_fraction=0.6", "model.hidden=[16]", "model.embedding_dim=8", "optimizer.lr=0.05")
KEYS += ("mi=off", *QUIET, "train.threads=1", "log.every=3", "log.dense_steps=5", "train.checkpoint_every=10")
KEYS += ("grok.threshold=0.4", "grok.thresholds=[0.3,0.2,0.4]", "grok.sustained=2", "data/split=random")
KEYS += ("grok.metrics=[Acc/unseen]", "metrics=[loss,accuracy,gradients]", "metrics.gradients.every=7")


def test_a_run_and_its_resumption_have_the_marks_of_the_recorded_curves(tmp_path: Path, inside: Inside) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = ended_well(inside, *KEYS, "train.steps=90", "hydra.run.dir=whole", cwd=tmp_path)
    ended_well(inside, *KEYS, "train.steps=37", "hydra.run.dir=parts", cwd=tmp_path)
    ended_well(inside, "train.steps=90", "hydra.run.dir=parts", "train.resume=true", cwd=tmp_path)
    grok = summary(whole)["grok"]
    check_curves(grok, rows(whole))
    check_rows_at_marks(summary(whole), rows(whole))
    assert summary(parts)["grok"] == grok
    assert_same_state(state(parts)["marks"], state(whole)["marks"])
    stays = "not at the end" if grok["stable_step"] is None else f"from step {grok['stable_step']:,} to the end"
    assert f"stable       {stays}" in done.stdout


def check_curves(grok: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """The marks in a summary are those of the curves in its rows."""
    curves = {"train": "Acc/train", "test": "Acc/test", "Acc/unseen": "Acc/unseen"}
    assert [*grok["at"]] == ["0.4", "0.3", "0.2"]
    for threshold, at in grok["at"].items():
        assert at.keys() == curves.keys()
        for curve, name in curves.items():
            expected = marks([row["step"] for row in found], [row[name] for row in found], float(threshold), 2)
            assert Marks(**at[curve]) == expected, (threshold, curve)
    own = grok["at"]["0.4"]
    assert (grok["train_step"], grok["test_step"]) == (own["train"]["first"], own["test"]["first"])
    names = {"sustained_step": "sustained", "stable_step": "stable", "below": "below", "lowest": "lowest"}
    names |= {"collapses": "collapses", "last_collapse": "last_collapse"}
    assert {name: grok[name] for name in names} == {name: own["test"][of] for name, of in names.items()}
    assert grok["sustained"] == 2


def check_rows_at_marks(found: dict[str, Any], recorded: list[dict[str, Any]]) -> None:
    """The rows at the first crossings have all metrics, and are in the summary."""
    grok, by_step = found["grok"], {row["step"]: row for row in recorded}
    crossed = {name: grok[name] for name in ("train_step", "test_step")}
    assert None not in crossed.values()
    assert found["at_marks"] == {name: by_step[step] for name, step in crossed.items()}
    having = [step for step, row in by_step.items() if "grad_norm_weight/layer 1" in row]
    due = [*by_step][::7]
    assert not set(crossed.values()) <= set(due)
    assert having == sorted({*due, *crossed.values(), 90})


def wobbly(seed: int, **grok: Any) -> Member:
    """Its accuracies rise and fall again at a high learning rate."""
    options = GrokOptions(**({"threshold": 0.5, "thresholds": [0.2], "sustained": 1} | grok))
    log = LogOptions(dense_steps=0, every=2)
    return member(seed=seed, grok=options, log=log, optimizer=AdamW(lr=0.3), train=training(steps=60))


def test_a_stack_has_the_marks_of_its_members_alone() -> None:
    both = trained(wobbly(0), wobbly(1))
    alone = [trained(wobbly(seed)).marks[0].summary() for seed in (0, 1)]
    assert [one.summary() for one in both.marks] == alone
    assert any(at["train"]["collapses"] for one in alone for at in one["at"].values())


def test_the_marks_do_not_depend_on_the_cadence_of_other_metrics() -> None:
    often, seldom = (
        trained(member(**vars(wobbly(0)) | {"metrics": {"weight_norms": metrics.WeightNorms(every=every)}}))
        for every in (1, 5)
    )
    assert often.marks[0].summary() == seldom.marks[0].summary()


def test_every_checkpoint_resumes_to_the_same_marks() -> None:
    whole = trained(wobbly(0))
    states = [point.state(0) for point in run(Stack([wobbly(0)])) if point.checkpoint]
    assert len(states) > 3
    for one in states:
        stack = Stack([wobbly(0)])
        stack.load_states([one])
        finish(stack)
        assert stack.marks[0].summary() == whole.marks[0].summary()


def test_marks_of_other_thresholds_and_of_earlier_versions_are_not_gone_on_with() -> None:
    saved = trained(wobbly(0)).state(0)
    other, old = Stack([wobbly(0, sustained=3)]), Stack([wobbly(0)])
    other.load_states([saved])
    old.load_states([{name: value for name, value in saved.items() if name != "marks"}])
    assert other.marks[0].lasting is old.marks[0].lasting is None
    assert old.marks[0].summary().keys() == {"train_step", "test_step", "delay"}


def test_a_state_of_another_kind_is_told_apart() -> None:
    good = trained(wobbly(0)).state(0)["marks"]
    assert Lasting.holds(good)
    assert Lasting.holds(wobbly(0).grok.lasting().state())
    track = good["now"]["test"]["0.5"]
    for bad in ({"below": "3"}, {"first": math.inf}, {"stable": "x"}, {"held": 1.5}, {"low": None}, {"more": 1}):
        assert not Lasting.holds(good | {"now": {**good["now"], "test": {"0.5": track | bad}}}), bad
    for bad in (None, {}, good | {"step": "4"}, good | {"before": {}}, good | {"now": {"test": 3}}):
        assert not Lasting.holds(bad), bad


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("grok.metrics=[Acc/unsen]", "grok.metrics=Acc/unsen: did you mean Acc/unseen"),
        ("grok.metrics=[grad_norm_weight/layer 1]", "needs a value at every log point: metrics.gradients.every=1"),
        ("grok.thresholds=[0.9,1.5]", "grok.thresholds=[0.9,1.5]: must be above 0 and at most 1"),
        ("grok.sustained=-1", "grok.sustained=-1: must be at least 0"),
    ],
)
def test_marks_that_cannot_be_made_are_refused(typed: str, line: str, tmp_path: Path, inside: Inside) -> None:
    assert line in refusal(inside(*KEYS, typed, "hydra.run.dir=run", cwd=tmp_path))
    assert not (tmp_path / "run").exists()


def test_a_metric_that_not_all_members_of_a_stack_have_is_refused() -> None:
    options = GrokOptions(metrics=["Acc/unseen"])
    both = [member(grok=options, data=task(operation=name)) for name in ("add", "sub")]
    try_metrics(Stack(both[:1]))
    with pytest.raises(ConfigError, match=r"grok\.metrics=Acc/unseen: did you mean Acc/test"):
        try_metrics(Stack(both))


def test_any_metric_of_every_log_point_gets_marks() -> None:
    options = GrokOptions(threshold=1.0, thresholds=[0.5], metrics=["sparsity/total"])
    stack = trained(member(grok=options, data=task(), metrics={"sparsity": metrics.Sparsity(threshold=1.0)}))
    assert stack.marks[0].summary()["at"]["0.5"]["sparsity/total"]["first"] is not None


# The command


def curve(path: Path, accuracy: list[Any], name: str = "test_accuracy") -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["step", name], *([10 * row, value] for row, value in enumerate(accuracy))])
    return path


def test_the_command_prints_a_row_for_each_file_and_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = curve(tmp_path / "one.csv", [0.1, 0.96, 1, 1, 0.5, "", 1])
    other = curve(tmp_path / "other.csv", [0.1, 0.2])
    typed = [str(one), str(other), "--threshold", "0.95,0.99", "--sustained", "1", "--csv", str(tmp_path / "out.csv")]
    assert marked(typed) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "threshold", *NAMES[:-1], "last", "collapse"]
    assert [line.split()[1:] for line in lines[:4]] == [
        ["0.95", "10", "10", "60", "2", "0.5", "1", "50"],
        ["0.99", "20", "20", "60", "2", "0.5", "1", "50"],
        ["0.95", "never", "never", "never", "0", "-", "0", "-"],
        ["0.99", "never", "never", "never", "0", "-", "0", "-"],
    ]
    told = "first 1 of 2, median never (10 to never); sustained 1 of 2, median never (10 to never); stable"
    assert lines[4] == f"0.95: {told} 1 of 2, median never (60 to never)"
    with open(tmp_path / "out.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["stable"] for row in read] == ["60", "60", "", ""]
    assert read[0]["lowest"] == "0.5"


def test_the_command_reads_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        lines = ['{"step": 0, "Acc/test": null}', '{"step": 2, "Acc/test": 1.0}', '{"step": 5}']
        lines += ['{"step": 7, "Acc/test": 1.0, "x": 0.99}']
        (tmp_path / name / "metrics.jsonl").write_text("\n".join([*lines, ""]))
    assert marked([str(tmp_path), "--sustained", "1"]) == 0
    found = [line.split()[:5] for line in capsys.readouterr().out.splitlines()[1:3]]
    assert found == [[str(tmp_path / name), "0.95", "2", "2", "2"] for name in ("a", "b")]
    assert marked([str(tmp_path / "b"), "--column", "x", "--sustained", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == [str(tmp_path / "b"), "0.95", "7"]


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["--column", "test_acuracy"], "one.csv: --column=test_acuracy: did you mean test_accuracy"),
        (["--steps", "epoch"], "one.csv: --steps=epoch: "),
        (["--threshold", "95"], "one.csv: threshold=95.0: must be above 0 and at most 1"),
        (["absent.csv"], "absent.csv: No such file or directory"),
        (["empty.csv"], "empty.csv: --steps=null: has no rows"),
        (["folder"], "RUN=folder: no run (a folder with metrics.jsonl) in folder"),
    ],
)
def test_what_the_command_cannot_read_is_one_line(
    typed: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    curve(tmp_path / "one.csv", [0.1])
    (tmp_path / "empty.csv").touch()
    (tmp_path / "folder").mkdir()
    assert marked(["one.csv", *typed]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(line)
    assert told.err.count("\n") == 1
