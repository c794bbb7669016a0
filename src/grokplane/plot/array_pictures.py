"""The table of the figures that show a run's arrays: a new figure is one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from grokplane.plot.activation_maps import activation_maps
from grokplane.plot.embeddings import embedding_circles, embedding_spectrum, has_frequencies
from grokplane.plot.histograms import weight_histograms
from grokplane.plot.logits import logit_components
from grokplane.plot.recorded import Arrays
from grokplane.plot.save import save_all
from grokplane.plot.titles import About

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ArrayPicture:
    """A figure of the arrays of one metric, in the folder `figures/` of a run that lists the metric.

    Attributes:
        name: file name without suffix.
        metric: the metric that records the arrays.
        figure: draws the arrays, with the keywords `marks` and `title`.
        filled: whether the arrays have what the figure shows.
    """

    name: str
    metric: str
    figure: Callable[..., Figure]
    filled: Callable[[Arrays], bool] = bool

    def draw(self, arrays: Arrays, facts: About) -> Figure:
        """Draw the figure of a run."""
        return self.figure(arrays, marks=facts.marks, title=facts.title)

    def write(self, arrays: Arrays, facts: About, folder: Path, formats: Sequence[str]) -> list[Path]:
        """Draw the figure, write it to a folder in each of the formats, and return the files."""
        return save_all(self.draw(arrays, facts), folder, self.name, formats)


def _with_frequencies(orders: str) -> Callable[[Arrays], bool]:
    return lambda arrays: has_frequencies(arrays, orders)


ARRAY_PICTURES = (
    ArrayPicture("activation_maps", "activation_maps", activation_maps),
    ArrayPicture("embedding_circles", "embeddings", embedding_circles, _with_frequencies("embedding_orders")),
    ArrayPicture("embedding_spectrum", "embeddings", embedding_spectrum, _with_frequencies("embedding_orders")),
    ArrayPicture("weight_histograms", "weight_histograms", weight_histograms),
    ArrayPicture("logit_components", "logit_slices", logit_components, _with_frequencies("slice_orders")),
)
ARRAY_METRICS = tuple(dict.fromkeys(picture.metric for picture in ARRAY_PICTURES))


def array_pictures(arrays: Mapping[str, Arrays]) -> Iterator[ArrayPicture]:
    """The figures whose arrays are there, by metric; `ARRAY_METRICS` has the metrics of all figures."""
    return (picture for picture in ARRAY_PICTURES if picture.filled(arrays.get(picture.metric, {})))
