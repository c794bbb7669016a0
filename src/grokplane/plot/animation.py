"""The information plane as an animation over the steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grokplane.files import atomic_file
from grokplane.plot import style
from grokplane.plot.path import END, START, Panel, mark
from grokplane.plot.plane import Planes, empty_planes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

FRAMES, FRAME_MS, LAST_MS = 40, 150, 2500
DPI = 80
COLORS = 128


def plane_animation(rows: pd.DataFrame, path: str | Path, subset: str = "eval", *, title: str = "") -> None:
    """Write `information_plane` as an animated GIF that shows the trajectory up to each frame's step.

    There is one frame per log point; if there are more than 40 log points, 40 are evenly selected. The file is written
    atomically. Drawing that takes more than two seconds shows a progress bar on a terminal.

    Args:
        rows, subset, title: as for `information_plane`.
        path: file name with the suffix `.gif`.

    Raises:
        ValueError, OSError: see `information_plane` and `save`.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() != ".gif":
        raise ValueError(f"{path}: an animation is a GIF, its name must end in .gif")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image
    from tqdm import tqdm

    planes = empty_planes(rows, (subset,), title=title)
    planes.figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(planes.figure)
    steps = _chosen(planes)
    progress = tqdm(steps, desc=path.name, unit=" frames", delay=2, leave=False, disable=None)
    images = list(_frames(canvas, planes, progress))
    palette = images[-1].quantize(COLORS)
    # All frames share the palette of the last, fullest frame: frames then differ in few pixels and the file is small.
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        durations = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)


def _chosen(planes: Planes) -> np.ndarray:
    """Steps of the frames: evenly selected log points at which some layer has values."""
    steps = np.unique(np.concatenate([one.path.steps[np.isfinite(one.path.x)] for one in planes.panels]))
    return steps[np.unique(np.linspace(0, len(steps) - 1, FRAMES).round().astype(int))]


def _frames(canvas: FigureCanvasAgg, planes: Planes, steps: Any) -> Iterator[Image.Image]:
    """Render one image per step; the canvas accumulates the trajectories, so that each part is drawn once."""
    from PIL import Image

    look = {"ha": "center", "va": "bottom", "fontsize": style.FONT + 2, "animated": True}
    clock = planes.figure.text(0.5, 0.02, "", **look)
    for panel in planes.panels:
        if np.isfinite(panel.path.x).any():
            mark(panel, 0, START, planes.last_step)
    canvas.draw()
    moving = [_Moving(panel, planes.last_step) for panel in planes.panels]
    for step in steps:
        for one in moving:
            one.go_on(int(step))
        behind = canvas.copy_from_bbox(planes.figure.bbox)
        clock.set_text(f"step {step:,}")
        planes.figure.draw_artist(clock)
        for one in moving:
            one.draw_head()
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        canvas.restore_region(behind)


class _Moving:
    """The trajectory of one panel up to a step."""

    def __init__(self, panel: Panel, last_step: int) -> None:
        from matplotlib.collections import LineCollection

        self._axes, self._path = panel.axes, panel.path
        self._colors, self._norm = style.step_colors(last_step)
        self._count = 0
        look = {"cmap": self._colors, "norm": self._norm, "animated": True}
        self._way = LineCollection([], linewidths=1.6, **look)
        self._axes.add_collection(self._way, autolim=False)
        self._dots = self._axes.scatter([], [], s=14, c=[], linewidths=0, **look)
        (self._head,) = self._axes.plot([], [], **END, animated=True)

    def go_on(self, step: int) -> None:
        """Extend the trajectory on the canvas up to a step."""
        path, count = self._path, int(np.searchsorted(self._path.steps, step, side="right"))
        new = slice(max(0, self._count - 1), count)
        points, self._count = np.stack([path.x[new], path.y[new]], -1), count
        self._way.set_segments(list(np.stack([points[:-1], points[1:]], 1)))
        self._way.set_array(path.steps[new][1:])
        self._dots.set_offsets(points)
        self._dots.set_array(path.steps[new])
        for artist in (self._way, self._dots):
            self._axes.draw_artist(artist)

    def draw_head(self) -> None:
        """Draw the star on the last point so far with finite values."""
        path = self._path
        known = np.flatnonzero(np.isfinite(path.x[: self._count]))[-1:]
        self._head.set_data(path.x[known], path.y[known])
        self._head.set(color=self._colors(self._norm(path.steps[known[0]] if known.size else 0)))
        self._axes.draw_artist(self._head)
