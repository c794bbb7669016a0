"""IDX files are read, or refused in one line; selection of training and held-out images; pixel values."""

from __future__ import annotations

import gzip
import struct
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import member, training
from idx_files import GENUINE, idx_bytes, write_images

from grokplane.data import MNIST, Digits, FashionMNIST, idx
from grokplane.data.images import ImageTask
from grokplane.models.mlp import MLP
from grokplane.options import ConfigError
from grokplane.train import Stack

TRAIN, TEST, SIDE = 120, 30, 4
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "MNIST" / "raw"
    write_images(folder, TRAIN, TEST, SIDE, zipped=False)
    return folder


def mnist(raw: Path, **keys: Any) -> MNIST:
    return MNIST(**({"root": str(raw.parents[1]), "train_points": 40, "normalize": False} | keys))


def parsed(path: Path) -> list[int]:
    """The numbers of an IDX file, byte by byte."""
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    axes = content[3]
    return list(content[4 + 4 * axes :])


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_is_read_as_a_byte_by_byte_reader_reads_it(tmp_path: Path, zipped: bool) -> None:
    write_images(tmp_path / "raw", 7, 3, 5, zipped)
    for name, axes, shape in ((IMAGES, 3, (7, 5, 5)), (LABELS, 1, (7,))):
        path = idx.find(tmp_path / "raw" / name)
        assert path is not None
        assert path.name == (f"{name}.gz" if zipped else name)
        found = idx.read(path, axes)
        assert (found.shape, found.dtype) == (shape, np.uint8)
        assert found.flatten().tolist() == parsed(path)


def test_the_plain_file_comes_before_the_gzipped_one_and_a_folder_is_none(tmp_path: Path) -> None:
    assert idx.find(tmp_path) is None
    for name in ("x.gz", "x"):
        (tmp_path / name).write_bytes(b"")
        assert idx.find(tmp_path / "x") == tmp_path / name


def test_the_genuine_files_hold_what_is_known_of_them_where_they_are_there(raw: Path) -> None:
    """10,000 held-out images, 980 of them zeros; the first training labels; the mean pixel that is subtracted."""
    for task in [MNIST(root=str(GENUINE), selection="first")] if GENUINE.exists() else []:
        examples = task.examples(0)
        assert examples.table.inputs.shape == (11_000, 28, 28)
        assert examples.table.targets[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
        assert int((examples.table.targets[examples.test] == 0).sum()) == 980
        whole = MNIST(root=str(GENUINE), train_points=60_000, test_points=1).table(0).inputs[:-1].double()
        assert (abs(float(whole.mean())), abs(float(whole.std()) - 1)) < (1e-3, 1e-3)
    assert len(mnist(raw).table(0).inputs) == 40 + TEST


# Changes to the training images' content, and the expected messages.
DAMAGE: dict[str, tuple[Callable[[bytes], bytes] | bytes, str]] = {
    "truncated": (lambda content: content[:-1], "1919"),
    "longer": (lambda content: content + b"\0", "1921"),
    "header alone": (lambda content: content[:9], "ends in its header"),
    "empty": (b"", "begins with 0x,"),
    "wrong magic": (lambda content: b"\0\0\x0d" + content[3:], "begins with 0x00000d03, where"),
    "labels": (idx_bytes(np.arange(9)), "begins with 0x00000801, where"),
    "zipped, truncated": (lambda content: gzip.compress(content)[:-20], "ends too early"),
    "zipped, wrong sum": (lambda content: gzip.compress(content)[:-8] + bytes(8), "cannot be read (CRC"),
    "too few": (idx_bytes(np.zeros((5, SIDE, SIDE))), "5 images for 120 labels"),
    "other shape": (idx_bytes(np.zeros((TRAIN, 5, 5))), "one shape was expected"),
    "huge": (struct.pack(">I3I", 0x803, 2**31, 2**31, 2**31) + b"\0", "holds 1"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_with_what_is_wrong_and_the_command_that_gets_it(raw: Path, damage: str) -> None:
    change, wrong = DAMAGE[damage]
    content = (raw / IMAGES).read_bytes()
    (raw / IMAGES).write_bytes(change if isinstance(change, bytes) else change(content))
    with pytest.raises(ConfigError) as refused:
        mnist(raw).examples(0)
    line = str(refused.value)
    root = raw.parents[1]
    assert line.startswith(f"data.root={root}: {raw}")
    assert wrong in line
    assert line.endswith(f"download it again with `python train_mnist.py data.download=true data.root={root}`")
    assert "\n" not in line


def test_labels_above_9_are_refused(raw: Path) -> None:
    (raw / LABELS).write_bytes(idx_bytes(np.arange(TRAIN)))
    with pytest.raises(ConfigError, match="holds the label 119"):
        mnist(raw).examples(0)


def test_a_missing_file_is_named_with_its_command(raw: Path) -> None:
    (raw / IMAGES).unlink()
    with pytest.raises(ConfigError, match=f"no file {raw / IMAGES}, nor {IMAGES}.gz beside it.* data.download=true"):
        mnist(raw).examples(0)
    with pytest.raises(ConfigError, match=r"FashionMNIST/raw/.* data=fashion_mnist data.download=true"):
        FashionMNIST(root=str(raw.parents[1])).examples(0)


def fake_torchvision(monkeypatch: pytest.MonkeyPatch, get: Callable[..., None]) -> None:
    module = types.ModuleType("torchvision.datasets")
    module.MNIST = get  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)


def test_missing_files_are_downloaded_once_and_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, bool]] = []

    def get(root: str, download: bool) -> None:
        calls.append((root, download))
        write_images(Path(root, "MNIST", "raw"), TRAIN, TEST, SIDE)

    fake_torchvision(monkeypatch, get)
    with pytest.raises(ConfigError, match="no file"):
        MNIST(root=str(tmp_path), train_points=5).examples(0)
    for _ in range(2):
        MNIST(root=str(tmp_path), train_points=5, download=True).examples(0)
    assert calls == [(str(tmp_path), True)]


@pytest.mark.parametrize("error", [OSError("no route to host\nmore"), RuntimeError("Error downloading x")])
def test_a_download_that_fails_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def get(root: str, download: bool) -> None:  # noqa: ARG001 (torchvision's signature)
        raise error

    fake_torchvision(monkeypatch, get)
    with pytest.raises(ConfigError) as refused:
        MNIST(root=str(tmp_path), download=True).examples(0)
    told = str(error).partition("\n")[0]
    assert str(
        refused.value
    ) == f"data.download=true: MNIST could not be downloaded ({told}); put the files into " + str(
        tmp_path / "MNIST" / "raw"
    )


def test_a_torchvision_that_cannot_be_imported_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(ConfigError) as refused:
        MNIST(root=str(tmp_path), download=True).examples(0)
    line = str(refused.value)
    assert line.startswith("data.download=true: torchvision cannot be imported (")
    assert f"belongs to torch {torch.__version__}" in line
    assert "\n" not in line


def rows_in_file(task: MNIST, seed: int, raw: Path) -> list[int]:
    """Indices of the training images in the training file, found by their pixels."""
    every = torch.tensor(parsed(raw / IMAGES)).view(TRAIN, -1) / 255
    examples = task.examples(seed)
    chosen = examples.table.inputs[examples.train].flatten(1)
    return [int((every == one).all(1).nonzero()) for one in chosen]


def test_the_first_images_train_or_random_ones_by_the_seed(raw: Path) -> None:
    assert rows_in_file(mnist(raw, selection="first"), 3, raw) == list(range(40))
    chosen = [rows_in_file(mnist(raw), seed, raw) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(set(chosen[0])) == 40
    assert max(chosen[0]) >= 100  # from the whole file
    assert set(rows_in_file(mnist(raw, train_points=10), 0, raw)) < set(chosen[0])


def test_labels_go_with_their_images(raw: Path) -> None:
    examples = mnist(raw).examples(0)
    assert examples.table.targets[examples.train].tolist() == [row % 10 for row in rows_in_file(mnist(raw), 0, raw)]
    assert examples.table.targets[examples.test].tolist() == [row % 10 for row in range(TEST)]


def test_held_out_are_all_images_of_the_test_file_or_its_first(raw: Path) -> None:
    every = torch.tensor(parsed(raw / "t10k-images-idx3-ubyte")).view(TEST, SIDE, SIDE) / 255
    for wanted in (None, 7):
        examples = mnist(raw, test_points=wanted).examples(0)
        assert torch.equal(examples.table.inputs[examples.test], every[:wanted])
        assert len(examples.table.targets) == 40 + len(every[:wanted])


def test_balanced_images_have_equal_numbers_of_each_label(raw: Path) -> None:
    (raw / LABELS).write_bytes(idx_bytes(np.minimum(np.arange(TRAIN) // 4, 9)))  # 4 of each, and all others 9
    for selection in ("random", "first"):
        examples = mnist(raw, balanced=True, selection=selection).examples(0)
        assert torch.bincount(examples.train_targets).tolist() == [4] * 10
        assert torch.bincount(mnist(raw).examples(0).train_targets).max() > 10
    with pytest.raises(ConfigError, match=r"data.train_points=50: .* at most 40"):
        mnist(raw, balanced=True, train_points=50).examples(0)
    with pytest.raises(ConfigError, match=r"data.train_points=25: .* a multiple of 10"):
        mnist(raw, balanced=True, train_points=25).examples(0)


@pytest.mark.parametrize(("kind", "mean", "deviation"), [(MNIST, 0.1307, 0.3081), (FashionMNIST, 0.2860, 0.3530)])
def test_pixels_are_normalised(tmp_path: Path, kind: type[MNIST], mean: float, deviation: float) -> None:
    write_images(tmp_path / kind.named / "raw", TRAIN, TEST, SIDE)
    plain, normal = (kind(root=str(tmp_path), train_points=9, normalize=on).table(0).inputs for on in (False, True))
    assert plain.dtype == torch.float32
    assert (float(plain.min()), float(plain.max())) == (0.0, 1.0)
    torch.testing.assert_close(normal.double(), (plain.double() - mean) / deviation, rtol=0, atol=1e-5)


def test_digits_hold_out_what_does_not_train() -> None:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    examples = Digits(train_points=1_000, normalize=False).examples(4)
    assert (len(examples.train), len(examples.test)) == (1_000, 797)
    images = torch.from_numpy(bunch.images / 16).float()
    ours, theirs = (one.flatten(1).double().sum(0) for one in (examples.table.inputs, images))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    normal = Digits(train_points=1_000).table(4).inputs.double()
    assert abs(float(normal.mean())) < 1e-3
    assert abs(float(normal.std()) - 1) < 1e-3


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"train_points": 1_798}, "data.train_points=1798: must be at most 1797"),
        ({"train_points": 1_797}, "data.train_points=1797: must be below 1797"),
        ({"train_points": 1_000, "test_points": 798}, "data.test_points=798: must be at most 797"),
    ],
)
def test_more_images_than_there_are_are_refused(keys: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Digits(**keys).examples(0)
    assert str(refused.value) == line


def test_label_noise_is_in_the_training_labels_alone(raw: Path) -> None:
    examples = mnist(raw, label_noise=0.25).examples(0)
    assert int((examples.train_targets != examples.table.targets[examples.train]).sum()) == 10
    assert torch.equal(examples.table.targets, mnist(raw).table(0).targets)


def asked(task: ImageTask, number: int) -> torch.Tensor:
    return task.ask([f" {number} "])


def test_a_question_is_the_number_of_an_image(raw: Path) -> None:
    task = mnist(raw, normalize=True)
    examples = task.examples(0)
    assert torch.equal(asked(task, 17), examples.table.inputs[examples.test][17])
    inputs = Digits().table(0).inputs
    assert bool((inputs == asked(Digits(), 1_796)).flatten(1).all(1).any())
    assert not torch.equal(asked(Digits(), 1_796), asked(Digits(), 0))


@pytest.mark.parametrize("question", ["30", "-1", "1,2", "x", "", "1.0", "²"])
def test_what_is_no_image_is_refused(raw: Path, question: str) -> None:
    with pytest.raises(ConfigError, match=f"question={question}: must be the number of an image, 0 to 29"):
        mnist(raw).ask(question.split(","))


def test_a_stack_of_seeds_reads_each_file_once(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path.name), whole(path))[1])
    model = MLP(hidden=[4], embedding="none")
    seeds = [member(seed=seed, data=mnist(raw), model=model, train=training(batch_size=20)) for seed in range(4)]
    stack = Stack(seeds)
    expected = [f"{part}-{what[6:]}" for part in ("train", "t10k") for what in (IMAGES, LABELS)]
    assert sorted(name for name in read if name.endswith("ubyte")) == sorted(expected)
    assert stack.examples.train.values.shape == (4 * 40, SIDE, SIDE)
    assert stack.examples.test.values.shape == (TEST, SIDE, SIDE)  # held-out images are kept once
    assert stack.examples.test.inputs().untyped_storage().nbytes() == TEST * SIDE * SIDE * 8
    (raw / LABELS).write_bytes(idx_bytes(np.full(TRAIN, 3)))  # a changed file is read again
    assert set(mnist(raw).examples(0).train_targets.tolist()) == {3}
