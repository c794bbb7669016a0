"""The table of a run's figures: to add one is to add a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokplane.plot.accuracy import information_accuracy
from grokplane.plot.animation import plane_animation
from grokplane.plot.curves import curves
from grokplane.plot.information import has_information
from grokplane.plot.norms import weight_norms
from grokplane.plot.plane import information_plane, information_planes
from grokplane.plot.save import save

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RELATIVE = " x its deviation"


@dataclass(frozen=True)
class About:
    """What a figure says of its run beside the metrics.

    Attributes:
        title: the run's name.
        marks: `train_step` and `test_step`, as in a summary's `grok`.
        threshold: the accuracy that the marks stand for.
        noise: the noise after each layer in words; None where there is none.
    """

    title: str = ""
    marks: Mapping[str, int | None] = field(default_factory=dict)
    threshold: float | None = None
    noise: str | None = None


def about(config: Mapping[str, Any], grok: Mapping[str, Any] | None = None) -> About:
    """From a run's config (nested, or flat with dotted keys) and the `grok` of its summary."""
    marks = grok or {}
    return About(str(_get(config, "name") or ""), marks, marks.get("threshold"), noise(config))


def noise(config: Mapping[str, Any]) -> str | None:
    """The noise that makes the layers' information finite, in words; None where nothing is said of any.

    Args:
        config: a run's config, nested, or flat with dotted keys as in a row of `grokplane.record.load`.
    """
    sigma = _get(config, "model.noise_sigma") or 0
    if sigma > 0 and _get(config, "model.noise_in") != "train":
        scale = RELATIVE if _get(config, "model.noise_scale") == "relative" else ""
        return f"each layer with noise of sigma = {sigma:g}{scale}"
    added = _get(config, "mi.noise") or 0
    return f"each layer measured with noise of sigma = {added:g}{RELATIVE}" if added > 0 else None


@dataclass(frozen=True)
class Picture:
    """A file in a run's `figures/`.

    Attributes:
        file: its name.
        reads: beginnings of the columns that it draws.
        filled: whether a frame has what is to be drawn.
        write: draws the frame to a path.
    """

    file: str
    reads: tuple[str, ...]
    filled: Callable[[pd.DataFrame], bool]
    write: Callable[[pd.DataFrame, About, Path], None]


def _png(draw: Callable[[pd.DataFrame, About], Figure]) -> Callable[[pd.DataFrame, About, Path], None]:
    return lambda rows, facts, path: save(draw(rows, facts), path)


def _curves(rows: pd.DataFrame, facts: About) -> Figure:
    return curves(rows, marks=facts.marks, threshold=facts.threshold, title=facts.title)


def _planes(rows: pd.DataFrame, facts: About) -> Figure:
    return information_planes(rows, noise=facts.noise, title=facts.title)


def _plane(subset: str, rows: pd.DataFrame, facts: About) -> Figure:
    return information_plane(rows, subset, noise=facts.noise, title=facts.title)


def _accuracy(rows: pd.DataFrame, facts: About) -> Figure:
    return information_accuracy(rows, marks=facts.marks, noise=facts.noise, title=facts.title)


def _norms(rows: pd.DataFrame, facts: About) -> Figure:
    return weight_norms(rows, marks=facts.marks, title=facts.title)


def _film(rows: pd.DataFrame, facts: About, path: Path) -> None:
    plane_animation(rows, path, noise=facts.noise, title=facts.title)


def _any(prefix: str) -> Callable[[pd.DataFrame], bool]:
    return lambda rows: any(str(name).startswith(prefix) for name in rows.columns)


def _known(*subsets: str) -> Callable[[pd.DataFrame], bool]:
    return lambda rows: has_information(rows, subsets)


INFORMATION = ("MI(", "H(Y)_", "ln n_")
PICTURES = (
    Picture("curves.png", ("Acc/", "Loss/", "WN/"), _any("Acc/"), _png(_curves)),
    Picture("information_plane.png", INFORMATION, _known("train", "eval"), _png(_planes)),
    Picture("information_plane_train.png", INFORMATION, _known("train"), _png(partial(_plane, "train"))),
    Picture("information_plane_eval.png", INFORMATION, _known("eval"), _png(partial(_plane, "eval"))),
    Picture("information_accuracy.png", (*INFORMATION, "Acc/"), _known("train", "eval"), _png(_accuracy)),
    Picture("weight_norms.png", ("WN/",), _any("WN/"), _png(_norms)),
    Picture("information_plane.gif", INFORMATION, _known("eval"), _film),
)
READS = tuple({prefix: None for picture in PICTURES for prefix in picture.reads})


def pictures(rows: pd.DataFrame) -> Iterator[Picture]:
    """The pictures that a frame can fill; `READS` has the beginnings of all columns in use."""
    return (picture for picture in PICTURES if picture.filled(rows))


def _get(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key in a flat or nested config; None if it has none."""
    if key in config:
        return config[key]
    first, _, rest = key.partition(".")
    part = config.get(first)
    return _get(part, rest) if rest and isinstance(part, Mapping) else None
