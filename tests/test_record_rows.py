import json
import math

import numpy as np
import pytest
import torch

from grokplane.files import TEMPORARY, atomic_file, write_text
from grokplane.options import ConfigError
from grokplane.record.rows import RowWriter, read_rows, rewind
from grokplane.strict_json import flatten, to_json


def test_json_is_strict_at_any_depth():
    value = {"a": math.nan, "b": [1.5, -math.inf, {"c": math.inf}], "d": (np.float32("nan"), np.int64(3))}
    assert json.loads(to_json(value)) == {"a": None, "b": [1.5, None, {"c": None}], "d": [None, 3]}
    assert json.loads(to_json({"t": torch.tensor(2.0), "none": None, "yes": True})) == {
        "t": 2.0,
        "none": None,
        "yes": True,
    }


def test_json_refuses_what_it_cannot_hold():
    with pytest.raises(TypeError):
        to_json({"a": {1, 2}})


def test_numbers_survive_exactly():
    values = torch.rand(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist()
    assert json.loads(to_json(values)) == values


def test_flatten_gives_dotted_keys():
    assert flatten({"a": {"b": {"c": 1}, "d": [2, 3]}, "e": None}) == {"a.b.c": 1, "a.d": [2, 3], "e": None}


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "f"
    write_text(path, "old")
    with pytest.raises(TypeError), atomic_file(path) as file:
        file.writelines([b"new", None])  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_the_old_file_stands_while_the_new_one_is_written(tmp_path):
    path = tmp_path / "f"
    write_text(path, "old")
    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
        assert (tmp_path / f"f{TEMPORARY}").exists()
    assert path.read_text() == "new"


@pytest.fixture
def rows_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = RowWriter(path)
    for step in (0, 1, 2, 10, 20):
        writer.append({"step": step, "Loss/train": math.nan if step == 2 else 1 / (step + 1)})
    writer.close()
    return path


def test_rows_are_read_back_in_order(rows_file):
    rows = read_rows(rows_file)
    assert [row["step"] for row in rows] == [0, 1, 2, 10, 20]
    assert rows[2]["Loss/train"] is None
    assert rows[3]["Loss/train"] == 1 / 11


def test_each_row_is_on_disk_at_once(tmp_path):
    writer = RowWriter(tmp_path / "m")
    writer.append({"step": 0})
    assert read_rows(tmp_path / "m") == [{"step": 0}]
    writer.close()


@pytest.mark.parametrize("tail", [b"{", b'{"step": 30, "Lo', b'{"step": 30}', b"\0\0\0", b'"step"\n'])
def test_a_torn_last_line_is_ignored_and_rewound(rows_file, tail):
    whole = rows_file.read_bytes()
    rows_file.write_bytes(whole + tail)
    assert len(read_rows(rows_file)) == 5
    rewind(rows_file, 1000)
    assert rows_file.read_bytes() == whole


def test_every_cut_of_the_file_can_be_read(rows_file):
    whole = rows_file.read_bytes()
    for cut in range(len(whole)):
        rows_file.write_bytes(whole[:cut])
        assert len(read_rows(rows_file)) == whole[:cut].count(b"\n")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{oops", "it is not a JSON object"),
        (b"[3]", "it is not a JSON object"),
        (b"{}", "it has no step"),
        (b'{"step": "3"}', "step='3'"),
        (b'{"step": 2.5}', "step=2.5"),
        (b'{"step": NaN}', "step=nan"),
        (b"\xff\xfe", "it is not a JSON object"),
        (b"[" * 100_000, "it is not a JSON object"),
    ],
)
def test_a_damaged_line_in_the_middle_is_named(rows_file, line, why):
    rows_file.write_bytes(line + b"\n" + rows_file.read_bytes())
    before = rows_file.read_bytes()
    for read in (read_rows, lambda path: rewind(path, 1)):
        with pytest.raises(
            ConfigError, match=r"metrics\.jsonl: line 1 of 6 is damaged .*: delete that line"
        ) as refused:
            read(rows_file)
        assert why in str(refused.value)
        assert "\n" not in str(refused.value)
    assert rows_file.read_bytes() == before


def test_a_last_line_that_has_its_end_is_not_torn(rows_file):
    rows_file.write_bytes(rows_file.read_bytes() + b'{"Acc/test": 1}\n')
    with pytest.raises(ConfigError, match=r"line 6 of 6 is damaged \(it has no step\): delete"):
        read_rows(rows_file)


@pytest.mark.parametrize(("step", "kept"), [(0, []), (1, [0]), (10, [0, 1, 2]), (11, [0, 1, 2, 10]), (21, None)])
def test_rewind_drops_the_step_and_what_follows(rows_file, step, kept):
    rewind(rows_file, step)
    assert [row["step"] for row in read_rows(rows_file)] == ([0, 1, 2, 10, 20] if kept is None else kept)


def test_rewind_of_no_file_does_nothing(tmp_path):
    rewind(tmp_path / "metrics.jsonl", 0)
    assert list(tmp_path.iterdir()) == []
