"""Metrics of a log point: one small dataclass per metric, selected by name in the config group `metrics`."""

from grokplane.metrics.accuracy import Accuracy, of_truth
from grokplane.metrics.activation_maps import ActivationMaps
from grokplane.metrics.activations import Activations
from grokplane.metrics.autoregressive import Autoregressive
from grokplane.metrics.cka import CKA
from grokplane.metrics.class_geometry import ClassGeometry
from grokplane.metrics.collected import ARRAYS, Collected, collected
from grokplane.metrics.compressed import Compressed
from grokplane.metrics.dead_neurons import DeadNeurons
from grokplane.metrics.digit_accuracy import DigitAccuracy
from grokplane.metrics.distance import Distance
from grokplane.metrics.distance_irrelevance import DistanceIrrelevance
from grokplane.metrics.embeddings import Embeddings
from grokplane.metrics.fourier import Fourier
from grokplane.metrics.gauge import Gauge, Inputs
from grokplane.metrics.gradient_symmetry import GradientSymmetry
from grokplane.metrics.gradients import Gradients
from grokplane.metrics.hessian import Hessian
from grokplane.metrics.information import Information, InformationChoice, Off
from grokplane.metrics.irreps import Irreps
from grokplane.metrics.kernel import Kernel
from grokplane.metrics.learning_rate import LearningRate
from grokplane.metrics.linearised import Linearised
from grokplane.metrics.local_complexity import LocalComplexity
from grokplane.metrics.logit_scale import LogitScale
from grokplane.metrics.logit_slices import LogitSlices
from grokplane.metrics.loss import Loss
from grokplane.metrics.metric import Array, Metric
from grokplane.metrics.observation import LayerOutput, Observation, Subset
from grokplane.metrics.pending import Job, Pending
from grokplane.metrics.perplexity import Perplexity
from grokplane.metrics.probes import Probes
from grokplane.metrics.ranks import Ranks
from grokplane.metrics.reduce import masked_fraction
from grokplane.metrics.rqi import RQI
from grokplane.metrics.softmax_collapse import SoftmaxCollapse
from grokplane.metrics.source import Parameters, Source
from grokplane.metrics.sparsity import Sparsity
from grokplane.metrics.spectrum import Spectrum
from grokplane.metrics.spikes import Spikes
from grokplane.metrics.step_time import StepTime
from grokplane.metrics.subset import Look, joined, parts
from grokplane.metrics.weight_histograms import WeightHistograms
from grokplane.metrics.weight_norms import WeightNorms
from grokplane.metrics.within_class import WithinClass

__all__ = [
    "ARRAYS",
    "CKA",
    "RQI",
    "Accuracy",
    "ActivationMaps",
    "Activations",
    "Array",
    "Autoregressive",
    "ClassGeometry",
    "Collected",
    "Compressed",
    "DeadNeurons",
    "DigitAccuracy",
    "Distance",
    "DistanceIrrelevance",
    "Embeddings",
    "Fourier",
    "Gauge",
    "GradientSymmetry",
    "Gradients",
    "Hessian",
    "Information",
    "InformationChoice",
    "Inputs",
    "Irreps",
    "Job",
    "Kernel",
    "LayerOutput",
    "LearningRate",
    "Linearised",
    "LocalComplexity",
    "LogitScale",
    "LogitSlices",
    "Look",
    "Loss",
    "Metric",
    "Observation",
    "Off",
    "Parameters",
    "Pending",
    "Perplexity",
    "Probes",
    "Ranks",
    "SoftmaxCollapse",
    "Source",
    "Sparsity",
    "Spectrum",
    "Spikes",
    "StepTime",
    "Subset",
    "WeightHistograms",
    "WeightNorms",
    "WithinClass",
    "collected",
    "joined",
    "masked_fraction",
    "of_truth",
    "parts",
]
