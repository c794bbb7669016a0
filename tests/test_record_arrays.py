"""Arrays of metrics: what is written is read back, through crashes, resumptions and stacks."""

from __future__ import annotations

import json
import resource
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import ALWAYS, member, training
from command import QUIET, TINY, Inside, digest, ended_well, refusal
from looking import records

from grokplane import config
from grokplane.metrics import Array, Metric, Observation, Spectrum
from grokplane.options import ConfigError
from grokplane.record import load_arrays
from grokplane.record.arrays import ArrayWriter, rewind_arrays
from grokplane.record.recorder import Recorder
from grokplane.train import Stack, run
from grokplane.train.record_queue import RecordQueue

TYPED = (*TINY, *QUIET, "mi=off", "metrics=[loss,accuracy,spectrum]", "log.every=1")


@dataclass(frozen=True)
class Both(Metric):
    """A number, complex numbers, flags and a matrix for each member."""

    def __call__(self, seen: Observation) -> dict[str, Any]:
        """All of a member's own."""
        losses = seen.train.losses[:, :2]
        matrix = Array(losses[:, :, None] * losses[:, None])
        return {"both/n": losses[:, 0], "both/a": Array(losses + 1j), "both/b": Array(losses > 0), "both/m": matrix}


def entries(step: int) -> dict[str, dict[str, np.ndarray]]:
    values = np.random.default_rng(step).normal(size=(3, 2))
    return {"mine": {"a/b c": values, "d": values[0].astype(np.float32)}}


def written(folder: Path, steps: range, close: bool = True) -> Path:
    """The file of these steps; as a killed run leaves it where it is not closed."""
    writer, path = ArrayWriter(folder), folder / "arrays/mine.npz"
    for step in steps:
        writer.append(step, entries(step))
    killed = path.read_bytes()
    writer.close()
    if not close:
        path.write_bytes(killed)
    return path


def check(folder: Path, steps: range, torn: bool = False) -> None:
    """The arrays of these steps are there, to the last bit; of the last step one of the two may be missing."""
    for name, found in load_arrays(folder, "mine").items():
        assert found.steps.tolist() in ([*steps], [*steps][:-1] if torn else [*steps])
        for step, values in zip(found.steps.tolist(), found.values, strict=True):
            wanted = entries(step)["mine"][name]
            assert values.dtype == wanted.dtype
            assert np.array_equal(values, wanted)


def test_what_is_written_is_read_back_also_by_numpy(tmp_path: Path) -> None:
    path = written(tmp_path, range(5))
    check(tmp_path, range(5))
    with np.load(path) as plain:
        assert set(plain) == {f"{step}/{name}" for step in range(5) for name in ("a/b c", "d")}
        assert np.array_equal(plain["3/a/b c"], entries(3)["mine"]["a/b c"])
    written(tmp_path, range(5, 7))  # behind the others
    check(tmp_path, range(7))


@pytest.mark.parametrize("resumed", [False, True])
def test_an_append_torn_at_any_byte_costs_the_last_entry_at_most(resumed: bool, tmp_path: Path) -> None:
    """Bytes are written over the file's directory where a run was resumed, else behind the last entry."""
    before = written(tmp_path, range(2), close=resumed).read_bytes()
    (tmp_path / "whole").mkdir()
    after = written(tmp_path / "whole", range(3), close=False).read_bytes()
    path, start, end = tmp_path / "arrays/mine.npz", _end_of_entries(before), len(after)
    assert after.startswith(before[:start])
    assert end > start + 300
    for cut in range(start, end + 1):
        path.write_bytes(after[:cut] + (before if resumed else b"")[cut:])
        check(tmp_path, range(3), torn=True)
    header = after.rindex(b"PK\3\4") + 14
    path.write_bytes(after[:header] + bytes(8) + after[header + 8 :])  # checksum and size are written last
    check(tmp_path, range(3), torn=True)
    path.write_bytes(after[:end])
    check(tmp_path, range(3))
    rewind_arrays(tmp_path, 2)
    check(tmp_path, range(2))
    with np.load(path) as plain:
        assert len(plain.files) == 4


def _end_of_entries(content: bytes) -> int:
    found = content.find(b"PK\1\2")
    return len(content) if found < 0 else found


@pytest.mark.parametrize("close", [True, False])
def test_damage_is_named_and_nothing_is_lost_in_silence(close: bool, tmp_path: Path) -> None:
    path = written(tmp_path, range(3), close=close)
    content = bytearray(path.read_bytes())
    content[content.index(entries(1)["mine"]["a/b c"].tobytes()) + 3] ^= 1
    path.write_bytes(content)
    before = digest(tmp_path)
    for act in (lambda: load_arrays(tmp_path, "mine"), lambda: rewind_arrays(tmp_path, 1)):
        with pytest.raises(ConfigError, match=r"arrays/mine.npz is damaged \(.*1/a/b c"):
            act()
    assert digest(tmp_path) == before


def test_a_full_disk_costs_the_array_that_did_not_fit(tmp_path: Path) -> None:
    written(tmp_path, range(2))
    writer, limits = ArrayWriter(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            writer.append(2, {"mine": {"a/b c": np.zeros((30, 20))}})
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    check(tmp_path, range(2))
    rewind_arrays(tmp_path, 2)
    check(tmp_path, range(2))


def test_arrays_that_are_not_there_and_shapes_that_differ_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the run has none"):
        load_arrays(tmp_path, "mine")
    written(tmp_path, range(1))
    with pytest.raises(FileNotFoundError, match="did you mean mine"):
        load_arrays(tmp_path, "mime")
    writer = ArrayWriter(tmp_path)
    writer.append(1, {"mine": {"d": np.zeros(5)}})
    writer.close()
    with pytest.raises(ValueError, match="same shape"):
        load_arrays(tmp_path, "mine")


def test_a_stack_gives_each_member_its_own_arrays_as_alone() -> None:
    members = [
        member(seed=seed, metrics={"both": Both(every=2), "spectrum": Spectrum()}, log=ALWAYS) for seed in (0, 1)
    ]
    together = records(members)
    for number, one in enumerate(members):
        (alone,) = records([one])
        for ours, theirs in zip(together[number], alone, strict=True):
            assert ours["arrays"].keys() == theirs["arrays"].keys()
            assert ("both" in ours["arrays"]) == ("both/n" in ours) == (ours["step"] % 2 == 0)
            for metric, named in ours["arrays"].items():
                for name, values in named.items():
                    assert values.base is None
                    np.testing.assert_allclose(values, theirs["arrays"][metric][name], rtol=1e-7, atol=1e-9)
    first = together[0][0]["arrays"]
    assert first["both"]["both/a"].dtype == np.complex128
    assert first["both"]["both/m"].shape == (2, 2)
    assert first["both"]["both/b"].dtype == bool


def test_singular_values_are_numpys_and_nan_where_weights_are_not_finite() -> None:
    stack = Stack([member(seed=seed, metrics={"spectrum": Spectrum()}, train=training(steps=1)) for seed in (0, 1)])
    with torch.no_grad():
        next(iter(stack.parameters.values()))[1, 0, 0] = torch.inf
    point = next(iter(run(stack)))
    found = [record["arrays"]["spectrum"] for record in point.records]
    assert list(found[0]) == [
        f"singular_values_weight/{name}" for name in ("embedding", "layer 1", "layer 2", "layer 3")
    ]
    for name, roles in stack.network.layers().items():
        wanted = np.linalg.svd(roles["weight"][0].detach().numpy(), compute_uv=False)
        np.testing.assert_allclose(found[0][f"singular_values_weight/{name}"], wanted, rtol=1e-10)
    assert np.isnan(found[1]["singular_values_weight/embedding"]).all()
    assert np.isfinite(found[1]["singular_values_weight/layer 2"]).all()


def test_a_run_without_arrays_has_no_folder_and_a_new_one_begins_anew(inside: Inside, tmp_path: Path) -> None:
    quick = ("train.steps=3", "hydra.run.dir=run")
    ended_well(inside, *TYPED, *quick, cwd=tmp_path)
    assert load_arrays(tmp_path / "run", "spectrum")["singular_values_weight/layer 1"].steps.tolist() == [0, 1, 2, 3]
    plain = [one for one in TYPED if not one.startswith("metrics")]
    ended_well(inside, *plain, *quick, "train.overwrite=true", cwd=tmp_path)
    assert not (tmp_path / "run/arrays").exists()


def test_arrays_elsewhere_are_refused_as_a_link_is(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/arrays").symlink_to(tmp_path)
    assert "arrays in it is a link" in refusal(inside(*TYPED, "hydra.run.dir=run", cwd=tmp_path))


def test_the_recorder_sends_numbers_alone_to_wandb_and_to_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("grokplane.record.tracking.Tracker.log", lambda _, row: sent.append(row))
    options = config.made("record", config.compose(["record.wandb=disabled"]).record)
    with Recorder(tmp_path, {"record": {}}, options) as recorder:
        recorder.log({"step": 0, "Acc/test": 1.0, "arrays": entries(0)})
        recorder.finish("finished")
    assert sent == [{"step": 0, "Acc/test": 1.0}]
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == sent[0]
    check(tmp_path, range(1))


def test_records_that_wait_count_the_bytes_of_their_arrays() -> None:
    queue = RecordQueue()
    queue.put(0, [{"step": 0, "arrays": {"m": {"a": np.zeros(1000)}}}, {}], None)
    assert [entry.held for entry in queue._waiting] == [8000]


def test_arrays_follow_log_points_of_every(tmp_path: Path, inside: Inside) -> None:
    typed = ("metrics.spectrum.every=3", "train.steps=8", "hydra.run.dir=run")
    ended_well(inside, *TYPED, *typed, cwd=tmp_path)
    found = load_arrays(tmp_path / "run", "spectrum")
    assert found["singular_values_weight/layer 1"].steps.tolist() == [0, 3, 6, 8]
