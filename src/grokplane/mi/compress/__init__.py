"""Compressors: they reduce many coordinates to the few that an estimator can handle.

`choice.fit(x)` returns a fitted map. It is called on rows, has a flag `linear` (with a `matrix` if True), and has the
`error` of its reconstruction.
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
