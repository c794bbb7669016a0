"""Mutual information and entropies of samples, in nats.

The package can be used on its own: it takes tensors or NumPy arrays and returns tensors.
"""

from grokplane.mi.base import Estimate, Estimator, HalfCheck, half_check
from grokplane.mi.binning import Binning
from grokplane.mi.ceiling import heard
from grokplane.mi.class_kl import ClassKL
from grokplane.mi.compress import (
    PCA,
    Code,
    ConvAutoencoder,
    Fitted,
    LinearCode,
)
from grokplane.mi.discrete import Discrete, label_entropy
from grokplane.mi.external import Mutinfo
from grokplane.mi.external_labels import MutinfoLabels
from grokplane.mi.info_nce import InfoNCE
from grokplane.mi.joint_kl import JointKL
from grokplane.mi.kde_bounds import KDE, Bracket, bracket
from grokplane.mi.known_noise import KnownNoise
from grokplane.mi.ksg import KSG
from grokplane.mi.local_kl import LocalKL
from grokplane.mi.memory import forget
from grokplane.mi.mixture import MixtureInformation, mixture
from grokplane.mi.neighbours import counts, distances, nearest
from grokplane.mi.ross import Ross
from grokplane.mi.scale import standardised
from grokplane.mi.sliced import Sliced
from grokplane.mi.weighted_kl import WeightedKL

__all__ = [
    "KDE",
    "KSG",
    "PCA",
    "Binning",
    "Bracket",
    "ClassKL",
    "Code",
    "ConvAutoencoder",
    "Discrete",
    "Estimate",
    "Estimator",
    "Fitted",
    "HalfCheck",
    "InfoNCE",
    "JointKL",
    "KnownNoise",
    "LinearCode",
    "LocalKL",
    "MixtureInformation",
    "Mutinfo",
    "MutinfoLabels",
    "Ross",
    "Sliced",
    "WeightedKL",
    "bracket",
    "counts",
    "distances",
    "forget",
    "half_check",
    "heard",
    "label_entropy",
    "mixture",
    "nearest",
    "standardised",
]
