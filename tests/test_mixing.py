"""Images that are mixed with the mean image of their label (`data.mixing`)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import finish, member, trained, training, weights
from command import QUIET, Inside, ended_well, refusal, rows, summary
from idx_files import GENUINE, idx_bytes, write_images

from grokplane.app.runs import load_trained
from grokplane.data import MNIST, Digits, images
from grokplane.data.images import ImageTask
from grokplane.models.mlp import MLP
from grokplane.optim import AdamW
from grokplane.options import ConfigError
from grokplane.predict import predict
from grokplane.record import load
from grokplane.train import Member, Stack

TRAIN, TEST, SIDE = 60, 30, 4
PROGRAM = "train_mnist.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_images(tmp_path / "data" / "MNIST" / "raw", TRAIN, TEST, SIDE, zipped=False)
    return tmp_path / "data"


def mnist(root: Path, **keys: Any) -> MNIST:
    return MNIST(**({"root": str(root), "train_points": 40} | keys))


def plain(task: MNIST, part: str) -> tuple[list[list[float]], list[int]]:
    """The scaled pixels of a file's images, and their labels, byte by byte."""
    folder = Path(task.root, "MNIST", "raw")
    pixels = list((folder / f"{part}-images-idx3-ubyte").read_bytes()[16:])
    mean, deviation = task.statistics if task.normalize else (0.0, 1.0)
    flat = [(pixel / 255 - mean) / deviation for pixel in pixels]
    size = SIDE * SIDE
    labels = list((folder / f"{part}-labels-idx1-ubyte").read_bytes()[8:])
    return [flat[first : first + size] for first in range(0, len(flat), size)], labels


def mixed(task: MNIST, part: str) -> list[list[float]]:
    """m x + (1 - m) times the mean over the training file's images with the label of x, in Python's floats."""
    train, train_labels = plain(task, "train")
    m, found = task.mixing, []
    for x, label in zip(*plain(task, part), strict=True):
        own = [image for image, other in zip(train, train_labels, strict=True) if other == label]
        template = [sum(pixel) / len(own) for pixel in zip(*own, strict=True)]
        found.append([m * a + (1 - m) * b for a, b in zip(x, template, strict=True)])
    return found


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("m", [0.0, 0.3, 0.9])
def test_mixed_images_are_those_of_a_slow_twin(m: float, normalize: bool, root: Path) -> None:
    task = mnist(root, mixing=m, normalize=normalize, selection="first", label_noise=0.5)
    examples = task.examples(0)
    table = examples.table.inputs.flatten(1).double()
    expected = torch.tensor(mixed(task, "train")[:40] + mixed(task, "t10k"), dtype=torch.float64)
    torch.testing.assert_close(table, expected, rtol=0, atol=1e-6)
    assert examples.table.targets.tolist() == plain(task, "train")[1][:40] + plain(task, "t10k")[1]
    assert task._population().shape == (TRAIN, SIDE, SIDE)
    whole = torch.tensor(mixed(task, "train"), dtype=torch.float64)
    torch.testing.assert_close(task._population().flatten(1).double(), whole, rtol=0, atol=1e-6)


def test_no_mixing_leaves_the_pixels_as_they_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_means", None)  # it is not even asked for
    task = mnist(root, mixing=1.0, selection="first")
    raw = (root / "MNIST" / "raw" / "train-images-idx3-ubyte").read_bytes()[16:]
    pixels = torch.tensor(list(raw), dtype=torch.float32).view(TRAIN, SIDE, SIDE)[:40]
    assert torch.equal(task.examples(0).table.inputs[:40], pixels.div(255).sub(0.1307).div(0.3081))


def test_without_a_share_of_its_own_an_image_is_its_labels_template(root: Path) -> None:
    for task in (mnist(root, mixing=0), Digits(mixing=0)):
        table = task.examples(3).table
        assert len(table.inputs.unique(dim=0)) == 10
        for label in range(10):
            own = table.inputs[table.targets == label]
            assert len(own) > 1
            assert bool((own == own[0]).all())


def test_templates_depend_neither_on_the_seed_nor_on_what_is_chosen(root: Path) -> None:
    few, many = mnist(root, mixing=0, train_points=10), mnist(root, mixing=0, test_points=3)
    one, other = few.table(0), many.table(5)
    for label in one.targets.unique().tolist():
        if bool((other.targets == label).any()):
            assert torch.equal(one.inputs[one.targets == label][0], other.inputs[other.targets == label][0])


def test_templates_are_computed_once_for_unchanged_files(root: Path) -> None:
    images._means.cache_clear()
    for seed in range(3):
        mnist(root, mixing=0.5).examples(seed)
    assert images._means.cache_info().misses == 1
    first = mnist(root, mixing=0).table(0).inputs
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(idx_bytes(np.zeros((TRAIN, SIDE, SIDE))))
    assert not torch.equal(mnist(root, mixing=0).table(0).inputs, first)
    assert images._means.cache_info().misses == 2


@pytest.mark.parametrize("m", [0.0, 0.1, 0.37, 0.9, 1.0])
def test_a_question_is_mixed_as_its_row_of_the_table(m: float, root: Path) -> None:
    task = mnist(root, mixing=m)
    examples = task.examples(0)
    for row in (0, 7, TEST - 1):
        assert torch.equal(task.ask([str(row)]), examples.table.inputs[examples.test[row]])
    digits = Digits(mixing=m)
    every = {tuple(row) for row in digits.table(0).inputs.flatten(1).tolist()}
    assert all(tuple(digits.ask([str(row)]).flatten().tolist()) in every for row in range(0, 1_797, 200))


def test_a_label_without_a_template_is_refused(root: Path) -> None:
    labels = root / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.arange(TRAIN) % 4))
    with pytest.raises(ConfigError) as caught:
        mnist(root, mixing=0.5).examples(0)
    assert str(caught.value) == "data.mixing=0.5: must be 1: no image that can train has label 4"
    mnist(root).examples(0)


@pytest.mark.parametrize("m", [-0.1, 1.5, float("nan")])
def test_a_share_is_from_0_to_1(m: float) -> None:
    with pytest.raises(ConfigError, match=r"^data.mixing=.*: must be .*at least 0 and at most 1$"):
        Digits(mixing=m)


def pupils(tasks: Sequence[ImageTask], **parts: Any) -> list[Member]:
    model = MLP(hidden=[16], embedding="none")
    return [member(seed=seed, data=task, model=model, **parts) for seed, task in enumerate(tasks)]


def test_members_with_other_shares_equal_their_solo_runs() -> None:
    tasks = [Digits(train_points=60, test_points=50, mixing=m) for m in (1.0, 0.5, 0.0)]
    members = pupils(tasks, train=training(batch_size=20))
    together = trained(*members)
    assert together.examples.test.values.shape == (3 * 50, 8, 8)  # each has held-out images of its own
    for number, one in enumerate(members):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-9)


def test_the_smaller_the_share_the_better_held_out_images_are_answered() -> None:
    tasks = [Digits(train_points=60, selection="first", mixing=m) for m in (1.0, 0.5, 0.0)]
    last = finish(Stack(pupils(tasks, optimizer=AdamW(lr=0.01), train=training(steps=150))))[-1].records
    assert [record["Acc/train"] for record in last] == [1.0, 1.0, 1.0]
    whole, half, none = (record["Acc/test"] for record in last)
    assert whole < 0.95 < half <= none == 1.0


LOGS = ("train.threads=1", "log.dense_steps=2", "log.every=20", *QUIET)


@pytest.mark.parametrize("m", ["0.5", "0"])
def test_a_run_with_mixed_digits_obeys_the_laws_of_information(
    m: str, tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ("data=digits", "data.train_points=200", "data.test_points=100", "model.hidden=[20,20]", "train.steps=40")
    run = tmp_path / "run"
    ended_well(inside, *typed, *LOGS, f"data.mixing={m}", "hydra.run.dir=run", cwd=tmp_path, program=PROGRAM)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    checked, broken = importlib.import_module("laws").broken(load(run))
    assert (checked > 300, broken) == (True, [])
    if m == "0":
        assert rows(run)[-1]["H(X)_eval"] == pytest.approx(rows(run)[-1]["H(Y)_eval"])
        found = predict(load_trained(run), ["0", "1796"])
        assert all(one["right_answer"] is not None for one in found)
    again = ("hydra.run.dir=run", "train.resume=true", "train.steps=60", *QUIET)
    ended_well(inside, *again, cwd=tmp_path, program=PROGRAM)
    whole = ("train.steps=60", f"data.mixing={m}", "hydra.run.dir=whole")
    ended_well(inside, *typed, *LOGS, *whole, cwd=tmp_path, program=PROGRAM)
    assert rows(run)[-1] == rows(tmp_path / "whole")[-1]


def test_shares_are_swept_over_as_one_stack(tmp_path: Path, inside: Inside, root: Path) -> None:
    small = ("data.train_points=20", "train.batch_size=full", "model.hidden=[8,8]", "train.steps=3", "mi=off", *LOGS)
    swept = ("-m", "hydra/launcher=stacked", "data.mixing=0,0.5,1", f"data.root={root}", "hydra.sweep.dir=sweep")
    ended_well(inside, *swept, *small, cwd=tmp_path, program=PROGRAM)
    folders = [tmp_path / "sweep" / str(job) for job in range(3)]
    assert [summary(folder)["members"] for folder in folders] == [3, 3, 3]
    losses = {rows(folder)[0]["Loss/train"] for folder in folders}
    assert len(losses) == 3


def test_mnist_is_mixed_from_the_genuine_files_where_they_are_there(tmp_path: Path, inside: Inside) -> None:
    write_images(tmp_path / "data" / "MNIST" / "raw", train=1_000, test=100)
    where = GENUINE if GENUINE.exists() else tmp_path / "data"
    typed = (f"data.root={where}", "data.mixing=0.25", "train.steps=5", "mi=off", *LOGS, "hydra.run.dir=run")
    ended_well(inside, *typed, cwd=tmp_path, program=PROGRAM)
    first, *_, last = rows(tmp_path / "run")
    assert last["Loss/train"] < first["Loss/train"]


def test_a_share_above_1_is_refused_on_the_command_line(tmp_path: Path, inside: Inside) -> None:
    line = refusal(inside("data=digits", "data.mixing=1.5", cwd=tmp_path, program=PROGRAM))
    assert line == "data.mixing=1.5: must be at least 0 and at most 1"
