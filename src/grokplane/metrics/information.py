"""The config group `mi`: which mutual information is estimated at every log point, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from grokplane.metrics.codes import CODES
from grokplane.metrics.gauge import Gauge, Inputs
from grokplane.options import option

# Keys that are read for one kind of input alone.
FOR_NUMBERS: tuple[str, ...] = ("input", "code", "code_dim", "code_steps", "cache", "layer_dim")
FOR_TOKENS: tuple[str, ...] = ("token_layer_dim",)


class InformationChoice(Protocol):
    """A choice of the config group `mi`."""

    @property
    def workers(self) -> int:
        """How many threads or processes estimate beside training."""
        ...

    def gauge(self, inputs: Inputs) -> Gauge | None:
        """What estimates for a stack that is asked these inputs; None: nothing does."""
        ...

    def unread(self, discrete: bool, own_noise: bool) -> dict[str, str]:
        """The keys of the choice that mean nothing for such a stack, and why."""
        ...


@dataclass(frozen=True)
class Information:
    """I(X;L), I(L;Y) of every layer L on both subsets, and I(L;a), I(L;b) for tasks of two operands (docs/mi.md).

    A layer is measured with the model's own noise where it has some at log points, else with Gaussian noise of `noise`
    times the standard deviation of its values, added to the measured layer alone. Discrete input: I(X;L) is bracketed
    by Kolchinsky and Tracey's pair of bounds, and the layer is taken whole if it has at most `token_layer_dim` values,
    else in so many principal components. Continuous input: X is a code of the input, L the layer's first `layer_dim`
    principal components, whitened.
    """

    input: Any = option(help="estimator of I(X;L) for continuous input; of I(L;Y) too where answers are numbers")
    labels: Any = option(help="estimator of I(L;Y) for class labels, and of I(L;a), I(L;b)")
    code: str = option("autoencoder", "how images become a few numbers", choices=CODES)
    code_dim: int = option(4, "numbers in the code of an image", at_least=1)
    code_steps: int = option(1000, "training steps of the autoencoder", at_least=1)
    cache: str = option("outputs/codes", "folder that keeps trained autoencoders")
    layer_dim: int = option(4, "principal components of a layer, for continuous input", at_least=1)
    token_layer_dim: int = option(64, "principal components of a wider layer, for tokens", at_least=1)
    noise: float = option(
        0.5,
        "noise of the measured layer, relative to its values, for models without noise of their own",
        above=0,
        at_most=1e6,
    )
    workers: int = option(
        1,
        "threads, in long runs processes, that estimate while training goes on; 0, and images on a GPU: training waits",
        at_least=0,
        at_most=64,
    )

    def gauge(self, inputs: Inputs) -> Gauge:
        """See `InformationChoice`."""
        return Gauge(self, inputs)

    def unread(self, discrete: bool, own_noise: bool) -> dict[str, str]:
        """See `InformationChoice`."""
        why = "inputs are tokens" if discrete else "inputs are not tokens"
        unread = dict.fromkeys(FOR_NUMBERS if discrete else FOR_TOKENS, why)
        if not discrete and self.code != "autoencoder":
            unread |= dict.fromkeys(("code_steps", "cache"), f"mi.code={self.code} is not trained")
        return unread | ({"noise": "the model has noise of its own"} if own_noise else {})


@dataclass(frozen=True)
class Off:
    """No mutual information."""

    @property
    def workers(self) -> int:
        """None."""
        return 0

    def gauge(self, inputs: Inputs) -> None:  # noqa: ARG002 (the signature of a choice)
        """See `InformationChoice`."""
        return None

    def unread(self, discrete: bool, own_noise: bool) -> dict[str, str]:  # noqa: ARG002 (the signature of a choice)
        """None: it has none."""
        return {}


GROUP = "mi"
CHOICES = {"information": Information, "off": Off}
