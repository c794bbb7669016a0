"""Tasks on images, and scikit-learn's digits, which need no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
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
    mixing: float = option(
        1.0,
        "m in m x + (1 - m) t, the input for an image x; t: mean of all images of its label that may train",
        at_least=0,
        at_most=1,
        stackable=True,
    )

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
        return self._inputs((held_out or pool).take(np.array([row])))[0]

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
        both = Images(np.concatenate([train.pixels, test.pixels]), np.concatenate([train.labels, test.labels]))
        labels = torch.from_numpy(both.labels.astype(np.int64))
        return Table(self._inputs(both), labels, None, Labels(CLASSES), population=self._population)

    def _population(self) -> torch.Tensor:
        """All images to train on, in the data set's order: a code fitted to them does not depend on the seed."""
        return self._inputs(self._sets()[0])

    def _inputs(self, images: Images) -> torch.Tensor:
        """Scaled pixels [N, height, width], mixed with the template of each image's right label.

        Liu, Michaud and Tegmark 2023, "Omnigrok" (arXiv 2210.01117). The template of a label is the mean of the
        images of `_sets` to train on, not only of those that are chosen, so that it does not depend on the seed; for
        digits that is all images. The same template is used for held-out images.

        Raises:
            ConfigError: a label has no template.
        """
        pixels = self._scaled(images.pixels)
        if self.mixing == 1:
            return pixels
        pool = self._sets()[0]
        missing = np.setdiff1d(images.labels, pool.labels)
        if len(missing):
            raise ConfigError("data.mixing", self.mixing, f"must be 1: no image that can train has label {missing[0]}")
        templates = self._scaled(_means(_Same(pool.pixels), _Same(pool.labels)))
        parts = (templates * (1 - self.mixing))[torch.from_numpy(images.labels.astype(np.int64))]
        # In two operations: a fused one could round an image that is asked alone otherwise than the table does.
        return pixels.mul_(self.mixing).add_(parts)

    def _scaled(self, pixels: np.ndarray) -> torch.Tensor:
        scaled = torch.from_numpy(pixels.astype(np.float32)).div_(self.largest)
        mean, deviation = self.statistics
        return scaled.sub_(mean).div_(deviation) if self.normalize else scaled


class _Same:
    """An array as the key of a cache: equal to itself alone."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __hash__(self) -> int:
        return id(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.values is other.values


@lru_cache(maxsize=4)
def _means(pixels: _Same, labels: _Same) -> np.ndarray:
    """The mean image of each label [CLASSES, height, width] float64; 0 for a label without images."""
    means = np.zeros((CLASSES, *pixels.values.shape[1:]))
    for label in np.unique(labels.values):
        means[label] = pixels.values[labels.values == label].mean(0)
    return means


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
