"""Tasks on images, and scikit-learn's digits, which need no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from grokplane.answers import Labels
from grokplane.data import questions
from grokplane.data.noise import with_label_noise
from grokplane.data.table import Examples, Table, own_seed
from grokplane.options import ConfigError, checked, option
from grokplane.random import numpy_generator

GROUP = "data"
CLASSES = 10
SELECTIONS = ("random", "first")


class Images(NamedTuple):
    """Images [N, height, width] with integer pixels, and their labels [N]."""

    pixels: np.ndarray
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> Images:
        """The images of these rows."""
        return Images(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True, kw_only=True)
@checked
class ImageTask:
    """Base class of image tasks: selection of training and held-out images, normalisation of pixels."""

    train_points: int = option(1_000, "number of training images", at_least=1, stackable=True)
    selection: str = option("random", "training images: random by the seed, or the first ones", choices=SELECTIONS)
    balanced: bool = option(False, "equal numbers of each label among the training images")
    normalize: bool = option(True, "scale pixels to mean 0 and variance 1 over the data set; false: to 0 to 1")
    test_points: int | None = option(
        None, "number of held-out images, the first ones; null: all", at_least=1, stackable=True
    )
    label_noise: float = option(
        0.0, "replaced training labels: a fraction if below 1, else a number", at_least=0, stackable=True
    )
    seed: int | None = own_seed()

    largest: ClassVar[float]
    statistics: ClassVar[tuple[float, float]]

    def _sets(self) -> tuple[Images, Images | None]:
        """The images to train on, and the held-out ones; None: all images that are not in the training set."""
        raise NotImplementedError(f"{type(self).__name__} has no images")

    def table(self, seed: int) -> Table:
        """The images used, training images first; inputs [N, height, width] float32.

        Raises:
            ConfigError: more images than exist, or files that are missing or damaged.
        """
        return self._table(*self._split(seed))

    def examples(self, seed: int) -> Examples:
        """The table with its two subsets, and label noise in the training labels; errors as in `table`."""
        train, test = self._split(seed)
        table = self._table(train, test)
        rows = torch.arange(len(table.targets))
        chosen, held_out = rows[: len(train.labels)], rows[len(train.labels) :]
        noisy = with_label_noise(table.targets[chosen], self.label_noise, seed)
        return Examples(table, chosen, held_out, noisy)

    def ask(self, operands: Sequence[str]) -> torch.Tensor:
        """One image [height, width] by its number among the held-out images; for digits, among all images."""
        pool, held_out = self._sets()
        pixels, text = (held_out or pool).pixels, ",".join(operands).strip()
        row = int(text) if text.isascii() and text.isdigit() else len(pixels)
        if row >= len(pixels):
            raise questions.refused(operands, f"must be the number of an image, 0 to {len(pixels) - 1}")
        return self._scaled(pixels[row : row + 1])[0]

    def _split(self, seed: int) -> tuple[Images, Images]:
        pool, held_out = self._sets()
        rows = self._chosen(pool.labels, seed)
        if held_out is None:
            held_out = pool.take(np.setdiff1d(np.arange(len(pool.labels)), rows))
        available, wanted = len(held_out.labels), self.test_points
        if available == 0:
            raise ConfigError("data.train_points", self.train_points, f"must be below {len(pool.labels)}")
        if wanted is not None and wanted > available:
            raise ConfigError("data.test_points", wanted, f"must be at most {available}")
        return pool.take(rows), Images(held_out.pixels[:wanted], held_out.labels[:wanted])

    def _chosen(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """Rows of the training images; with the same seed, a larger set contains the smaller ones."""
        count, total, random = self.train_points, len(labels), self.selection == "random"
        if count > total:
            raise ConfigError("data.train_points", count, f"must be at most {total}")
        order = numpy_generator(seed, "split").permutation(total) if random else np.arange(total)
        if not self.balanced:
            return order[:count]
        each, fewest = count // CLASSES, int(np.bincount(labels, minlength=CLASSES).min())
        if count % CLASSES or each > fewest:
            allowed = f"with data.balanced a multiple of {CLASSES}, at most {CLASSES * fewest}"
            raise ConfigError("data.train_points", count, allowed)
        places = [np.flatnonzero(labels[order] == label)[:each] for label in range(CLASSES)]
        return order[np.sort(np.concatenate(places))]

    def _table(self, train: Images, test: Images) -> Table:
        pixels = self._scaled(np.concatenate([train.pixels, test.pixels]))
        labels = torch.from_numpy(np.concatenate([train.labels, test.labels]).astype(np.int64))
        return Table(pixels, labels, None, Labels(CLASSES), population=self._population)

    def _population(self) -> torch.Tensor:
        """All images to train on, in the data set's order: a code fitted to them does not depend on the seed."""
        return self._scaled(self._sets()[0].pixels)

    def _scaled(self, pixels: np.ndarray) -> torch.Tensor:
        scaled = torch.from_numpy(pixels.astype(np.float32)).div_(self.largest)
        mean, deviation = self.statistics
        return scaled.sub_(mean).div_(deviation) if self.normalize else scaled


@dataclass(frozen=True)
class Digits(ImageTask):
    """The 1,797 handwritten digits of 8 x 8 pixels in scikit-learn; images outside the training set are held out."""

    largest: ClassVar[float] = 16.0
    # Mean and standard deviation of all pixels in 0..1; those of the training images would depend on the seed.
    statistics: ClassVar[tuple[float, float]] = (0.3053, 0.3760)

    def _sets(self) -> tuple[Images, None]:
        return _digits(), None


@cache
def _digits() -> Images:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Images(bunch.images, bunch.target)  # type: ignore[attr-defined]


CHOICES = {"digits": Digits}
