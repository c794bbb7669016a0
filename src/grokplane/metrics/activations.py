"""Mean and variance of each layer's values before and after its activation function."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import LayerOutput, Observation, Subset
from grokplane.metrics.reduce import masked_mean_and_variance


@dataclass(frozen=True)
class Activations(Metric):
    """`{logits,activations}_{mean,var}_{train,eval,ood}/<layer>`: over points and units.

    `logits` in a name stands for values before the activation function, `activations` for those after it.
    """

    needs_layers: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Means and population variances [E] by subset and layer."""
        return {
            f"{statistic}_{subset_name}/{layer}": value
            for subset_name, subset in seen.subsets.items()
            for layer, output in subset.layers.items()
            for statistic, value in _statistics(output, subset).items()
        }


def _statistics(output: LayerOutput, subset: Subset) -> dict[str, Tensor]:
    """The four statistics [E] of one layer; without an activation function, two of them are reused."""
    preactivations = masked_mean_and_variance(output.preactivations, subset)
    same = output.activations is output.preactivations
    activations = preactivations if same else masked_mean_and_variance(output.activations, subset)
    names = ("logits_mean", "logits_var", "activations_mean", "activations_var")
    return dict(zip(names, (*preactivations, *activations), strict=True))


GROUP = "metrics"
CHOICES = {"activations": Activations}
