import logging

import pytest
import torch

from grokplane.options import ConfigError
from grokplane.record import Checkpoints, NoCheckpoint
from grokplane.record.checkpoints import FORMAT, is_power_of_two

torch.set_num_threads(1)


def state(step: int) -> dict:
    weights = torch.rand(50, 20, generator=torch.Generator().manual_seed(step))
    return {"weights": {"layer 1": weights}, "step": step, "seeds": [1, 2], "config": {"a": None, "b": "x"}}


def equal(left: dict, right: dict) -> bool:
    return torch.equal(left["weights"]["layer 1"], right["weights"]["layer 1"]) and all(
        left[key] == right[key] for key in ("step", "seeds", "config")
    )


def test_powers_of_two():
    assert [n for n in range(-2, 70) if is_power_of_two(n)] == [1, 2, 4, 8, 16, 32, 64]


def test_the_newest_is_read_back(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 10):
        assert checkpoints.save(step, state(step)) == tmp_path / "checkpoints" / f"step_{step:08d}.pt"
    saved = Checkpoints(tmp_path).latest()
    assert saved.step == 10
    assert equal(saved.state, state(10))


@pytest.mark.parametrize(("keep", "kept"), [(1, [1, 2, 4, 8, 50, 16, 32]), (2, [1, 2, 4, 8, 16, 32, 40, 50])])
def test_pruning_keeps_powers_of_two_and_the_last_regular_ones(tmp_path, keep, kept):
    checkpoints = Checkpoints(tmp_path, keep)
    for step in range(1, 51):
        if step % 10 == 0 or is_power_of_two(step):
            checkpoints.save(step, {"step": step})
    assert checkpoints.steps() == sorted(kept)


def test_the_final_one_stays_beside_the_last_regular_ones(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (10, 20, 30):
        checkpoints.save(step, {"step": step})
    checkpoints.save(33, {"step": 33}, regular=False)
    assert checkpoints.steps() == [20, 30, 33]


def damage_truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def damage_empty(content: bytes) -> bytes:
    return content[:0]


def damage_garbage(content: bytes) -> bytes:
    return b"not a checkpoint" * (len(content) // 16)


def damage_one_bit(content: bytes) -> bytes:
    # in the middle of the weights, where torch.load itself would notice nothing
    at = content.index(state(20)["weights"]["layer 1"].numpy().tobytes()) + 1000
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [damage_truncate, damage_empty, damage_garbage, damage_one_bit])
def test_a_damaged_one_falls_back_with_one_line(tmp_path, caplog, damage):
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20):
        checkpoints.save(step, state(step))
    path = checkpoints.path(20)
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        saved = checkpoints.latest()
    assert saved.step == 10
    assert equal(saved.state, state(10))
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert str(path) in message
    assert "\n" not in message


def test_a_damaged_later_one_never_crowds_out_good_ones(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(20, {"step": 20})
    checkpoints.path(20).write_bytes(b"")
    checkpoints.save(10, {"step": 10})
    checkpoints.save(15, {"step": 15})
    assert checkpoints.steps() == [15]
    assert checkpoints.latest().state == {"step": 15}


def test_none_is_an_error(tmp_path, caplog):
    with pytest.raises(NoCheckpoint):
        Checkpoints(tmp_path).latest()
    assert list(tmp_path.iterdir()) == []
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"step": 1}).write_bytes(b"")
    with pytest.raises(NoCheckpoint):
        checkpoints.latest()
    assert len(caplog.records) == 1


def test_leftovers_of_a_kill_are_ignored_and_cleaned(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(10, {"step": 10})
    leftover = checkpoints.folder / "step_00000020.pt.tmp"
    leftover.write_bytes(b"half")
    assert checkpoints.latest().step == 10
    checkpoints.save(30, {"step": 30})
    assert not leftover.exists()


def test_the_same_state_gives_the_same_bytes(tmp_path):
    first = Checkpoints(tmp_path / "a").save(7, state(7)).read_bytes()
    assert Checkpoints(tmp_path / "b").save(7, state(7)).read_bytes() == first
    assert Checkpoints(tmp_path / "b").save(9, state(7)).read_bytes() == first


def test_only_plain_state_is_loaded(tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"code": print})
    with pytest.raises(NoCheckpoint):
        checkpoints.latest()
    assert "damaged" in caplog.text


def test_one_that_cannot_be_read_is_not_damaged(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(10, {"step": 10})
    checkpoints.path(20).mkdir()
    with pytest.raises(IsADirectoryError):
        checkpoints.latest()


def test_steps_of_nine_digits(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (99_999_999, 100_000_000, 1 << 27):
        checkpoints.save(step, {"step": step})
    assert checkpoints.steps() == [100_000_000, 1 << 27]
    assert checkpoints.latest().step == 1 << 27


def test_the_format_of_a_later_version_is_refused_and_not_passed_over(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(10, {"step": 10})
    monkeypatch.setattr("grokplane.record.checkpoints.FORMAT", FORMAT + 1)
    checkpoints.save(20, {"step": 20})
    assert checkpoints.latest() == (20, {"step": 20})
    assert torch.load(checkpoints.path(20), weights_only=True)["format"] == FORMAT + 1
    monkeypatch.undo()
    for read in (checkpoints.latest, lambda: checkpoints.read(20)):
        with pytest.raises(ConfigError, match=rf"step_00000020.pt there has format {FORMAT + 1} .*up to {FORMAT}: upd"):
            read()
    assert checkpoints.read(10) == (10, {"step": 10})


def test_a_damaged_one_that_is_asked_for_is_an_error(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(10, state(10)).write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigError, match=r"^step=10: .*step_00000010.pt is damaged \("):
        checkpoints.read(10)


def test_steps_that_always_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, 1, stays=lambda step: step in (3, 10))
    for step in (3, 6, 10, 12, 15):
        checkpoints.save(step, {"step": step})
    assert checkpoints.steps() == [3, 10, 15]
    everything = Checkpoints(tmp_path / "all", None)
    for step in (3, 6, 10):
        everything.save(step, {"step": step})
    assert everything.steps() == [3, 6, 10]
