"""MNIST and Fashion-MNIST, read from IDX files in torchvision's folder layout."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from grokplane.data import idx
from grokplane.data.images import CLASSES, Images, ImageTask
from grokplane.options import ConfigError, checked, option
from grokplane.pasting import folder_override, program

GROUP = "data"


@dataclass(frozen=True)
@checked
class MNIST(ImageTask):
    """Handwritten digits of 28 x 28 pixels (LeCun et al. 1998): 60,000 training candidates, 10,000 held out."""

    root: str = option(
        "data", "folder that holds MNIST/raw/ or FashionMNIST/raw/ with the IDX files, plain or .gz", folder=True
    )
    download: bool = option(False, "download missing files through torchvision")

    largest: ClassVar[float] = 255.0
    # Mean and standard deviation of the training file's pixels in 0..1.
    statistics: ClassVar[tuple[float, float]] = (0.1307, 0.3081)
    # The data set's name in torchvision, which is the name of its folder, and its name in the config group.
    named: ClassVar[str] = "MNIST"
    choice: ClassVar[str] = "mnist"

    def _sets(self) -> tuple[Images, Images]:
        folder = Path(self.root, self.named, "raw")
        names = [(f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")]
        if self.download and any(idx.find(folder / name) is None for pair in names for name in pair):
            self._download(folder)
        train, test = (
            Images(self._read(folder / images, 3), self._read(folder / labels, 1)) for images, labels in names
        )
        self._check(folder, train, test)
        return train, test

    def _read(self, plain: Path, axes: int) -> np.ndarray:
        path = idx.find(plain)
        if path is None:
            what = f"no file {plain}, nor {plain.name}.gz beside it, where {self.named} has one"
            raise ConfigError("data.root", self.root, f"{what}; download it with {self._command()}")
        try:
            return idx.read(path, axes)
        except idx.IdxError as error:
            raise self._damaged(str(error)) from error

    def _check(self, folder: Path, *parts: Images) -> None:
        """Raise ConfigError unless images and labels match, and both parts have the same shape."""
        for pixels, labels in parts:
            if len(pixels) != len(labels) or not len(pixels):
                raise self._damaged(f"{folder} holds {len(pixels)} images for {len(labels)} labels")
            if labels.max() >= CLASSES:
                raise self._damaged(f"{folder} holds the label {labels.max()}, and labels are 0 to {CLASSES - 1}")
        shapes = [part.pixels.shape[1:] for part in parts]
        if len(set(shapes)) > 1:
            raise self._damaged(f"{folder} holds images of shapes {shapes}, and one shape was expected")

    def _damaged(self, what: str) -> ConfigError:
        return ConfigError("data.root", self.root, f"{what}; delete it and download it again with {self._command()}")

    def _command(self) -> str:
        chosen = "" if self.choice == "mnist" else f"data={self.choice} "
        return f"`{program('train-mnist')} {chosen}data.download=true {folder_override('data.root', self.root)}`"

    def _download(self, folder: Path) -> None:
        try:
            datasets = import_module("torchvision.datasets")
        except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision was built for another torch
            why = f"torchvision cannot be imported ({_first_line(error)})"
            wanted = f"install the one that belongs to torch {torch.__version__}, or put the files into {folder}"
            raise ConfigError("data.download", True, f"{why}: {wanted}") from error
        try:
            getattr(datasets, self.named)(self.root, download=True)
        except (OSError, RuntimeError) as error:
            allowed = f"{self.named} could not be downloaded ({_first_line(error)}); put the files into {folder}"
            raise ConfigError("data.download", True, allowed) from error


@dataclass(frozen=True)
class FashionMNIST(MNIST):
    """Articles of clothing in MNIST's format (Xiao et al. 2017)."""

    statistics: ClassVar[tuple[float, float]] = (0.2860, 0.3530)
    named: ClassVar[str] = "FashionMNIST"
    choice: ClassVar[str] = "fashion_mnist"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


CHOICES = {"mnist": MNIST, "fashion_mnist": FashionMNIST}
