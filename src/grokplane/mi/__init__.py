"""Mutual information and entropies of samples, in nats. Usable alone: torch in, torch out, nothing of training."""

from grokplane.mi.base import Estimate, Estimator, HalfCheck, half_check
from grokplane.mi.binning import Binning
from grokplane.mi.class_kl import ClassKL
from grokplane.mi.compress import (
    PCA,
    Code,
    Compressor,
    ConvAutoencoder,
    DenseAutoencoder,
    FirstCoordinates,
    Fitted,
    LinearCode,
)
from grokplane.mi.discrete import Discrete, label_entropy
from grokplane.mi.entropy import KozachenkoLeonenko, WeightedEntropy
from grokplane.mi.external import Mutinfo
from grokplane.mi.external_labels import MutinfoLabels
from grokplane.mi.info_nce import InfoNCE
from grokplane.mi.joint_kl import JointKL
from grokplane.mi.kde_bounds import KDE, Bracket, bracket
from grokplane.mi.kde_entropy import KDEEntropy
from grokplane.mi.known_noise import KnownNoise
from grokplane.mi.ksg import KSG
from grokplane.mi.local_kl import LocalKL
from grokplane.mi.memory import forget
from grokplane.mi.mixture import MixtureInformation, mixture
from grokplane.mi.neighbours import counts, distances, nearest
from grokplane.mi.ross import Ross, ross_all
from grokplane.mi.ross_pairs import Classes, classes
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
    "Classes",
    "Code",
    "Compressor",
    "ConvAutoencoder",
    "DenseAutoencoder",
    "Discrete",
    "Estimate",
    "Estimator",
    "FirstCoordinates",
    "Fitted",
    "HalfCheck",
    "InfoNCE",
    "JointKL",
    "KDEEntropy",
    "KnownNoise",
    "KozachenkoLeonenko",
    "LinearCode",
    "LocalKL",
    "MixtureInformation",
    "Mutinfo",
    "MutinfoLabels",
    "Ross",
    "Sliced",
    "WeightedEntropy",
    "WeightedKL",
    "bracket",
    "classes",
    "counts",
    "distances",
    "forget",
    "half_check",
    "label_entropy",
    "mixture",
    "nearest",
    "ross_all",
    "standardised",
]
