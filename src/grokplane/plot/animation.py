"""The information plane as a film over the steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokplane.files import atomic_file
from grokplane.plot import style
from grokplane.plot.path import END, START, Panel, mark
from grokplane.plot.plane import Planes, empty_planes

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

FRAMES, FRAME_MS, LAST_MS = 60, 120, 2500
DPI = 80
COLORS = 128


def plane_animation(
    rows: pd.DataFrame, path: Path, subset: str = "eval", *, noise: str | None = None, title: str = ""
) -> None:
    """Write `information_plane` as a GIF: a frame a log point (60 at most, evenly chosen), the way so far behind it.

    The file appears at `path` whole or not at all. What takes more than two seconds shows its progress on a terminal.

    Raises:
        ValueError, OSError: see `information_plane` and `save`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image
    from tqdm import tqdm

    planes = empty_planes(rows, (subset,), noise=noise, title=title)
    planes.figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(planes.figure)
    steps = _chosen(planes)
    progress = tqdm(steps, desc=path.name, unit=" frames", delay=2, leave=False, disable=None)
    images = list(_frames(canvas, planes, progress))
    palette = images[-1].quantize(COLORS)
    # One palette, taken from the frame that shows most: frames then differ in few pixels, and the file stays small.
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        durations = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)


def _chosen(planes: Planes) -> np.ndarray:
    """The steps of the frames: the log points at which some layer has values, thinned out evenly."""
    import numpy as np

    steps = np.unique(np.concatenate([one.path.steps[np.isfinite(one.path.x)] for one in planes.panels]))
    return steps[np.unique(np.linspace(0, len(steps) - 1, FRAMES).round().astype(int))]


def _frames(canvas: FigureCanvasAgg, planes: Planes, steps: Any) -> Iterator[Image.Image]:
    """One picture a step; what does not change is drawn once."""
    import numpy as np
    from PIL import Image

    # It has its room in the layout, but is drawn frame by frame.
    clock = planes.figure.supxlabel(f"step {planes.last_step:,}", fontsize=style.FONT + 2, animated=True)
    for panel in planes.panels:
        if np.isfinite(panel.path.x).any():
            mark(panel, 0, START, planes.last_step)
    canvas.draw()
    # A layout that moved from frame to frame would make every pixel new.
    planes.figure.set_layout_engine("none")
    background = canvas.copy_from_bbox(planes.figure.bbox)
    moving = [_Moving(panel, planes.last_step) for panel in planes.panels]
    for step in steps:
        canvas.restore_region(background)
        clock.set_text(f"step {step:,}")
        planes.figure.draw_artist(clock)
        for one in moving:
            one.draw(int(step))
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


class _Moving:
    """The trajectory of one panel up to a step."""

    def __init__(self, panel: Panel, last_step: int) -> None:
        from matplotlib.collections import LineCollection

        self._axes, self._path = panel.axes, panel.path
        self._colors, self._norm = style.step_colors(last_step)
        look = {"cmap": self._colors, "norm": self._norm, "animated": True}
        self._way = LineCollection([], linewidths=1.6, **look)
        self._axes.add_collection(self._way, autolim=False)
        self._dots = self._axes.scatter([], [], s=14, c=[], linewidths=0, **look)
        (self._head,) = self._axes.plot([], [], **END, animated=True)

    def draw(self, step: int) -> None:
        """Draw what happened up to a step, on what is already on the canvas."""
        import numpy as np

        path = self._path
        count = int(np.searchsorted(path.steps, step, side="right"))
        points = np.stack([path.x[:count], path.y[:count]], -1)
        self._way.set_segments(list(np.stack([points[:-1], points[1:]], 1)))
        self._way.set_array(path.steps[1:count])
        self._dots.set_offsets(points)
        self._dots.set_array(path.steps[:count])
        known = np.flatnonzero(np.isfinite(points[:, 0]))[-1:]
        self._head.set_data(points[known, 0], points[known, 1])
        self._head.set(color=self._colors(self._norm(path.steps[known[0]] if known.size else 0)))
        for artist in (self._way, self._dots, self._head):
            self._axes.draw_artist(artist)
