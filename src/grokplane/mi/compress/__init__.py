"""Compressors: from many coordinates to the few that an estimator can handle.

`choice.fit(x)` gives a fitted map that is called on rows, says whether it is `linear` (then it has its `matrix`), and
carries the `error` of its reconstruction.
"""

from grokplane.mi.compress.base import Fitted, LinearCode
from grokplane.mi.compress.conv import ConvAutoencoder
from grokplane.mi.compress.fitting import Code
from grokplane.mi.compress.pca import PCA, noise_edge

__all__ = [
    "PCA",
    "Code",
    "ConvAutoencoder",
    "Fitted",
    "LinearCode",
    "noise_edge",
]
