"""The plot room: pure functions from a data frame to a matplotlib figure. It imports nothing of the other rooms."""

from grokplane.plot.accuracy import information_accuracy
from grokplane.plot.animation import plane_animation
from grokplane.plot.bands import mean_and_band
from grokplane.plot.curves import curves
from grokplane.plot.norms import weight_norms
from grokplane.plot.pictures import PICTURES, READS, About, Picture, about, noise, pictures
from grokplane.plot.plane import information_plane, information_planes
from grokplane.plot.prune import prune
from grokplane.plot.save import save
from grokplane.plot.sweeps import classify, landscape, phase, spread, sweep_figure

__all__ = [
    "PICTURES",
    "READS",
    "About",
    "Picture",
    "about",
    "classify",
    "curves",
    "information_accuracy",
    "information_plane",
    "information_planes",
    "landscape",
    "mean_and_band",
    "noise",
    "phase",
    "pictures",
    "plane_animation",
    "prune",
    "save",
    "spread",
    "sweep_figure",
    "weight_norms",
]
