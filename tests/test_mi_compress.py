"""Compressors: PCA against a singular value decomposition, autoencoders by their required properties."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from grokplane.mi import PCA, ConvAutoencoder
from grokplane.mi.compress import noise_edge
from tests.test_mi_labels import normal

MNIST = Path(os.environ.get("GROKPLANE_MNIST", Path(__file__).parents[2] / "shared" / "mnist"))
IMAGES = MNIST / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"


def digits() -> Tensor:
    """8x8 images, [1797, 8, 8] between 0 and 1."""
    return torch.from_numpy(np.asarray(load_digits(return_X_y=True)[0])).view(-1, 8, 8) / 16


def mnist() -> Tensor:
    """The first 1,000 training images, [1000, 28, 28] between 0 and 1."""
    with gzip.open(IMAGES) as file:
        pixels = np.frombuffer(file.read(16 + 784_000), np.uint8, offset=16)
    return torch.from_numpy(pixels.reshape(-1, 28, 28).astype(np.float64)) / 255


DATA_SETS = [(digits, 400)] + ([(mnist, 150)] if IMAGES.exists() else [])


def tilted(count: int, columns: int, seed: int = 0) -> Tensor:
    """Normal rows with clearly different variances along hidden directions, off the origin."""
    turn = torch.linalg.qr(normal(columns, columns, seed=seed + 1)).Q
    return normal(count, columns, seed=seed) * torch.arange(columns, 0, -1) @ turn + 5


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_pca_against_numpy(whiten: bool, scale: float) -> None:
    x = scale * tilted(50, 6)
    code = PCA(3, whiten=whiten).fit(x)
    centred = x.numpy() - x.numpy().mean(0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :3] * (np.sqrt(49) if whiten else sizes[:3])
    found = code(x).numpy()
    found = found * np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())
    lost = centred - (left[:, :3] * sizes[:3]) @ right[:3]
    assert code.error.item() == pytest.approx((lost**2).mean(), rel=1e-9)
    assert code.linear
    assert torch.allclose((x - code.mean) @ code.matrix.T, code(x))
    assert (code(x).std(0) - 1).abs().max() < 1e-9 or not whiten


def test_pca_signs_and_new_rows() -> None:
    x = tilted(50, 6)
    code = PCA(3).fit(x)
    at = code.matrix.abs().argmax(1, keepdim=True)
    assert (code.matrix.gather(1, at) > 0).all()
    assert torch.allclose(PCA(3).fit(x.flip(0)).matrix, code.matrix)
    assert torch.allclose(code(x[:1]), code(x)[:1], atol=1e-12)


@pytest.mark.parametrize("choice", [PCA(3), PCA(3, whiten=True), PCA(4, noise_variance=9.0)])
def test_pca_batched_equals_looped(choice: PCA) -> None:
    x = torch.stack([tilted(40, 5, seed) for seed in range(6)]).view(2, 3, 40, 5)
    code = choice.fit(x)
    found = code(x)
    for i in range(2):
        for j in range(3):
            alone = choice.fit(x[i, j])
            assert torch.allclose(alone(x[i, j]), found[i, j], rtol=0, atol=1e-9)
            assert torch.allclose(alone.error, code.error[i, j], rtol=1e-9, atol=0)
            assert alone.kept == code.kept[i, j]


def test_noise_only_directions_are_dropped() -> None:
    signal = normal(400, 2) @ normal(2, 30, seed=3)
    noise = 1e-3 * normal(400, 30, seed=4)
    whitened = PCA(4, whiten=True, noise_variance=1e-6).fit(signal + noise)
    assert whitened.kept == 2
    assert torch.equal(whitened(signal + noise)[:, 2:], torch.zeros(400, 2, dtype=torch.float64))
    assert PCA(4, noise_variance=1e-6).fit(noise).kept == 0
    assert PCA(4).fit(signal + noise).kept == 4


@pytest.mark.parametrize(("count", "columns"), [(200, 10), (50, 50), (20, 60)])
def test_the_noise_edge_is_a_99_percent_point(count: int, columns: int) -> None:
    x = normal(400, count, columns)
    x = x - x.mean(1, keepdim=True)
    largest = torch.linalg.matrix_norm(x, 2).square() / (count - 1)
    above = (largest > noise_edge(count, columns)).double().mean().item()
    assert above < 0.03
    assert (largest > 0.93 * noise_edge(count, columns)).double().mean().item() > 0.03


def test_pca_of_degenerate_rows() -> None:
    x = normal(30, 2)
    columns = torch.cat([x, x[:, :1], torch.full((30, 2), 0.1)], 1)
    code = PCA(4, whiten=True).fit(columns)
    assert code.kept == 2
    assert torch.equal(code(columns)[:, 2:], torch.zeros(30, 2, dtype=torch.float64))
    assert code.error.item() < 1e-12
    assert PCA(4).fit(torch.full((30, 5), 0.1)).kept == 0
    assert PCA(4).fit(torch.cat([x, x])).kept == 2
    assert PCA(9).fit(x)(x).shape == (30, 2)
    far = PCA(2).fit(x + 1e6)
    assert torch.allclose(far(x + 1e6), PCA(2).fit(x)(x), atol=1e-6)


@pytest.mark.parametrize(("images", "steps"), DATA_SETS)
def test_conv_autoencoder_beats_pca_on_images(images: Callable[[], Tensor], steps: int) -> None:
    x = images()
    code = ConvAutoencoder(channels=4, steps=steps, batch_size=64, lr=1e-2).fit(x)
    assert code.curve[-20:].mean() < 0.7 * code.curve[:5].mean()
    assert code.error.item() < code.pca_error.item()
    assert code.pca_error.item() == pytest.approx(PCA(4).fit(x.flatten(1)).error.item(), rel=1e-9)
    assert code(x).shape == (len(x), 4)
    assert torch.equal(code(x.flatten(1)), code(x))
    assert code(x).dtype == torch.float64
    assert (code.linear, code.matrix) == (False, None)


def test_conv_autoencoder_is_trained_once_for_the_same_images(tmp_path: Path) -> None:
    x, choice = digits()[:200], ConvAutoencoder(channels=2, steps=5)
    before = torch.get_rng_state()
    first = choice.fit(x, tmp_path / "codes")
    assert torch.equal(before, torch.get_rng_state())
    (file,) = (tmp_path / "codes").iterdir()
    written = file.stat().st_mtime_ns
    again = choice.fit(x, tmp_path / "codes")
    assert file.stat().st_mtime_ns == written
    assert len(again.curve) == 0
    assert torch.equal(first(x), again(x))
    assert torch.equal(torch.stack([first.error, first.pca_error]), torch.stack([again.error, again.pca_error]))
    assert torch.equal(choice.fit(x)(x), first(x))
    for other in (ConvAutoencoder(channels=2, steps=6), ConvAutoencoder(channels=2, steps=5, seed=1)):
        other.fit(x, tmp_path / "codes")
    choice.fit(x + 1e-9, tmp_path / "codes")
    assert len(list((tmp_path / "codes").iterdir())) == 4


def test_a_damaged_cache_is_reported_and_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    x, choice = digits()[:20], ConvAutoencoder(channels=2, steps=1)
    choice.fit(x, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    choice.fit(x, tmp_path)
    assert [record.getMessage() for record in caplog.records] == [f"{file} is damaged (RuntimeError): it is replaced"]
    assert file.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


UNUSABLE = ["device", "file in its place", "nowhere", "name too long", "full"]


@pytest.mark.parametrize("how", UNUSABLE)
def test_a_cache_that_cannot_be_written_costs_a_warning(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    x, choice = digits()[:20], ConvAutoencoder(channels=2, steps=1)
    taken = tmp_path / "taken"
    taken.touch()
    places = [Path("/dev/null"), taken, Path("/proc/no/such"), tmp_path / ("n" * 300), tmp_path / "full"]
    if how == "full":
        monkeypatch.setattr("grokplane.mi.compress.cache.atomic_file", _full)
    code = choice.fit(x, dict(zip(UNUSABLE, places, strict=True))[how])
    assert torch.equal(code(x), choice.fit(x)(x))
    told = [record.getMessage() for record in caplog.records]
    assert any("cannot be written" in word and "trained again in every run" in word for word in told)
    assert len(told) <= 2
    assert taken.read_bytes() == b""


def _full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


UNREADABLE = ["folder", "pipe", "device", "not readable", "other tensors", "other types", "other values", "a list"]


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_cache_that_cannot_be_read_is_trained_anew(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    x, choice = digits()[:20], ConvAutoencoder(channels=2, steps=1)
    plain = choice.fit(x, tmp_path)
    (file,) = tmp_path.iterdir()
    kept = torch.load(file, weights_only=True)
    state = kept["tensors"]
    file.unlink()
    changed = {
        "other tensors": {**state, "conv1": state["conv2"]},
        "other types": {name: value.double() for name, value in state.items()},
        "other values": {**state, "conv1": state["conv1"] + 1},  # as in a file with one changed byte
    }
    contents = {name: {**kept, "tensors": tensors} for name, tensors in changed.items()} | {"a list": [1, 2]}
    if how == "folder":
        file.mkdir()
    elif how == "pipe":
        os.mkfifo(file)
    elif how == "device":
        file.symlink_to("/dev/zero")
    else:
        torch.save(contents.get(how, kept), file)
    if how == "not readable":
        monkeypatch.setattr(torch, "load", _forbidden)
    assert torch.equal(choice.fit(x, tmp_path)(x), plain(x))
    assert "cannot be read" in caplog.text or "is damaged" in caplog.text


def _forbidden(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_refusals() -> None:
    for shape in [(20, 65), (20, 6, 6), (20, 8, 4), (2, 20, 8, 8)]:
        with pytest.raises(ValueError, match="square images"):
            ConvAutoencoder().fit(torch.zeros(shape))
    for choice in (PCA(), ConvAutoencoder()):
        with pytest.raises(ValueError, match="finite"):
            choice.fit(torch.full((20, 64), torch.nan))
        with pytest.raises(ValueError, match="at least"):
            choice.fit(torch.zeros(1, 64))
        with pytest.raises(ValueError, match="dim=0"):
            type(choice)(dim=0)
