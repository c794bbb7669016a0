import json
import os
from pathlib import Path

import numpy as np
import pytest

from grokplane.options import ConfigError
from grokplane.record import find_runs, load, summaries


def make_run(folder: Path, seed: int, rows: list[dict], status: str = "finished") -> Path:
    (folder / ".hydra").mkdir(parents=True)
    config = f"seed: {seed}\noptimizer: {{lr: 0.001}}\nmodel: {{widths: [32, 32]}}\ncopy: ${{optimizer.lr}}\n"
    (folder / ".hydra" / "config.yaml").write_text(config)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {"status": status, "steps": 20, "grok": {"delay": 7}, "last": {"Acc/test": 1.0}}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def multirun(tmp_path):
    for job in (0, 1, 2, 10):
        rows = [{"step": 0, "Acc/test": 0.0, "x/y": None}, {"step": 10, "Acc/test": None if job else 0.5, "x/y": None}]
        make_run(tmp_path / "m" / str(job), job, rows)
    return tmp_path / "m"


def test_one_row_for_each_run_and_step(multirun):
    frame = load(multirun)
    assert list(frame["run"]) == ["0", "0", "1", "1", "2", "2", "10", "10"]
    assert list(frame["step"]) == [0, 10] * 4
    assert list(frame["seed"]) == [0, 0, 1, 1, 2, 2, 10, 10]
    assert set(frame["optimizer.lr"]) == set(frame["copy"]) == {0.001}
    assert set(frame["model.widths"]) == {(32, 32)}
    assert list(frame.columns[:4]) == ["run", "step", "Acc/test", "x/y"]
    np.testing.assert_array_equal(frame["Acc/test"], [0, 0.5, 0, np.nan, 0, np.nan, 0, np.nan])
    assert frame["x/y"].dtype == float
    assert list(frame["x/y"].isna()) == [True] * 8


def test_a_run_a_glob_and_a_list(multirun):
    assert set(load(multirun / "1")["run"]) == {"1"}
    assert set(load(str(multirun / "1*"))["run"]) == {"1", "10"}
    assert set(load(multirun.parent)["run"]) == {"m/0", "m/1", "m/2", "m/10"}
    assert set(load([multirun / "0", str(multirun / "2"), multirun / "0"])["run"]) == {"0", "2"}
    assert len(load([multirun / "0", multirun])) == 8
    assert find_runs(multirun / "10" / "metrics.jsonl") == {"10": multirun / "10"}


def test_runs_of_two_sweeps_keep_apart(multirun):
    make_run(multirun.parent / "n" / "0", 5, [{"step": 0}])
    frame = load([multirun, multirun.parent / "n"])
    assert set(frame["run"]) == {"m/0", "m/1", "m/2", "m/10", "n/0"}


def test_a_torn_row_is_left_out(multirun):
    with open(multirun / "0" / "metrics.jsonl", "a") as file:
        file.write('{"step": 20, "Acc')
    assert list(load(multirun / "0")["step"]) == [0, 10]


def test_numbers_anywhere_in_a_path_are_in_their_order(tmp_path):
    names = [
        *(f"2026-01-04/optimizer.weight_decay={value}" for value in ("-1", "-0.5", "0,seed=2", "1e-3,seed=2")),
        *(f"2026-01-04/optimizer.weight_decay={value}" for value in ("1e-3,seed=10", "0.01,seed=0", "2", "10")),
        *("2026-01-31/a", "2026-01-31/\u00b2", "20260131123000999999", "20260131123001000000", "run2", "run10"),
    ]
    for number, name in enumerate(reversed(names)):
        make_run(tmp_path / name, number, [{"step": 0}])
    assert list(load(tmp_path)["run"]) == names
    assert list(summaries(tmp_path)["run"]) == names


def test_a_damaged_row_is_refused_by_its_file_and_line(multirun):
    damaged = multirun / "1" / "metrics.jsonl"
    damaged.write_text('{"step": 0}\n{"step": 5, "Acc\n{"step": 10}\n')
    with pytest.raises(ConfigError) as refused:
        load(multirun)
    what = "line 2 of 3 is damaged (it is not a JSON object): delete that line, or the run's folder"
    assert str(refused.value) == f"hydra.run.dir={damaged.parent}: {damaged}: {what}"
    damaged.write_text('{"step": 0}\n\n{"step": 10}\n')  # somebody emptied it
    assert list(load(multirun / "1")["step"]) == [0, 10]


def test_a_run_without_rows_or_config_can_be_loaded(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    frame = load(tmp_path)
    assert list(frame.columns) == ["run", "step"]
    assert len(frame) == 0
    assert list(summaries(tmp_path)["status"]) == ["dead"]


def test_an_interpolation_of_the_run_stays_text(tmp_path):
    folder = make_run(tmp_path / "a", 0, [{"step": 0}])
    (folder / ".hydra" / "config.yaml").write_text("where: ${hydra:run.dir}\nseed: 3\n")
    frame = load(folder)
    assert list(frame["where"]) == ["${hydra:run.dir}"]
    assert list(frame["seed"]) == [3]


def test_summaries_have_one_row_a_run(multirun):
    (multirun / "1" / "summary.json").write_text('{"status": "running"}')
    frame = summaries(multirun)
    assert list(frame["run"]) == ["0", "1", "2", "10"]
    assert list(frame["status"]) == ["finished", "dead", "finished", "finished"]
    np.testing.assert_array_equal(frame["grok.delay"], [7, np.nan, 7, 7])
    assert frame["last.Acc/test"].iloc[0] == 1.0
    assert list(frame["seed"]) == [0, 1, 2, 10]


@pytest.mark.parametrize("path", ["absent", "absent/*", "."])
def test_no_run_is_a_clear_error(tmp_path, path):
    with pytest.raises(FileNotFoundError, match=r"no run \(a folder with metrics.jsonl\) in"):
        load(tmp_path / path)
    with pytest.raises(FileNotFoundError):
        summaries([])


def test_folders_with_odd_names_and_what_is_no_file_are_no_trouble(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "~nobodyhere", 0, [{"step": 0}])
    for name in ("pipe", "folder"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe" / "metrics.jsonl")
    (tmp_path / "folder" / "metrics.jsonl").mkdir()
    assert list(load("~nobodyhere")["step"]) == [0]
    assert list(load(tmp_path)["run"]) == ["~nobodyhere"]
    with pytest.raises(FileNotFoundError, match="no run"):
        load("folder")
