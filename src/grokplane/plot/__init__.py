"""Pure functions from a data frame, or from arrays, to a matplotlib figure.

This package does not import the other packages.
"""

from grokplane.plot.accuracy import information_accuracy
from grokplane.plot.activation_maps import activation_maps
from grokplane.plot.animation import plane_animation
from grokplane.plot.array_pictures import ARRAY_METRICS, ARRAY_PICTURES, ArrayPicture, array_pictures
from grokplane.plot.bands import mean_and_band
from grokplane.plot.curves import curves
from grokplane.plot.embeddings import embedding_circles, embedding_spectrum
from grokplane.plot.histograms import weight_histograms
from grokplane.plot.information import has_information
from grokplane.plot.logits import logit_components
from grokplane.plot.map import has_map, information_map
from grokplane.plot.measured import KEYS, measured
from grokplane.plot.norms import weight_norms
from grokplane.plot.pictures import PICTURES, READS, Picture, pictures
from grokplane.plot.plane import information_plane, information_planes
from grokplane.plot.prune import prune
from grokplane.plot.save import save, save_all
from grokplane.plot.settings import settings
from grokplane.plot.sweeps import classify, landscape, phase, phases_figure, spread, sweep_figure
from grokplane.plot.titles import About, about

__all__ = [
    "ARRAY_METRICS",
    "ARRAY_PICTURES",
    "KEYS",
    "PICTURES",
    "READS",
    "About",
    "ArrayPicture",
    "Picture",
    "about",
    "activation_maps",
    "array_pictures",
    "classify",
    "curves",
    "embedding_circles",
    "embedding_spectrum",
    "has_information",
    "has_map",
    "information_accuracy",
    "information_map",
    "information_plane",
    "information_planes",
    "landscape",
    "logit_components",
    "mean_and_band",
    "measured",
    "phase",
    "phases_figure",
    "pictures",
    "plane_animation",
    "prune",
    "save",
    "save_all",
    "settings",
    "spread",
    "sweep_figure",
    "weight_histograms",
    "weight_norms",
]
