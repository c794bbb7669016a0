"""The cost of one log point's mutual information: grokplane.mi against scikit-learn's BallTree, entropy by entropy.

A log point is that of the MNIST run: I(X;L) and I(L;Y) of three layers L, 10,000 and 1,000 samples, code of the input
and of the layer 4 numbers each, ten labels. `mi=infoplane` is compared, its values to 1e-9; `mi=compressed` is timed
besides. One process times all in turn, every round with new layers; X stays the same, as in a run. On a machine with
CUDA its brute force is timed too. At the end: sliced information, a thousand projections of a thousand points.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from report import machine
from scipy.special import digamma, gammaln
from sklearn.neighbors import BallTree
from torch import Tensor

from grokplane.mi import ClassKL, Estimator, Ross, Sliced, WeightedKL, forget
from grokplane.mi.entropy import neighbour_weights
from grokplane.mi.local_kl import LocalKL
from grokplane.random import generator

SIZES = (10_000, 1_000)
LAYERS, DIMS, CLASSES, K = 3, 4, 10, 20
REQUIRED, TOLERANCE = 6.0, 1e-9


@dataclass(frozen=True)
class Sample:
    """One subset: the code of the input [n, d], the labels [n], the layers [n, d] each."""

    x: Tensor
    y: Tensor
    layers: list[Tensor]


def log_point(number: int) -> list[Sample]:
    """Both subsets; X and Y are the same for every number, the layers are new ones."""
    samples = []
    for count in SIZES:
        fixed, fresh = generator(0, f"input/{count}"), generator(number, f"layers/{count}")
        x = torch.randn(count, DIMS, dtype=torch.float64, generator=fixed)
        y = torch.randint(CLASSES, (count,), generator=fixed)
        layers = []
        for _ in range(LAYERS):
            noise, places = (torch.randn(n, DIMS, dtype=torch.float64, generator=fresh) for n in (count, CLASSES))
            layers.append(torch.tanh(x + places[y]) + 0.3 * noise)
        samples.append(Sample(x, y, layers))
    return samples


def entropy(x: np.ndarray) -> float:
    """Rescaled weighted entropy: whiten, one BallTree, one query of k neighbours."""
    n, d = x.shape
    values, vectors = np.linalg.eigh(np.cov(x.T))
    white = (x - x.mean(0)) @ vectors / np.sqrt(values)
    reach = BallTree(white).query(white, k=K + 1)[0][:, 1:]
    number = np.arange(1, K + 1)
    ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)
    terms = np.log(n - 1) - digamma(number) + ball + d * np.log(reach)
    return float(terms.mean(0) @ neighbour_weights(d, K) + np.log(values).sum() / 2)


def by_ball_trees(samples: list[Sample]) -> list[float]:
    """Every information as a sum of entropies, each for itself."""
    found = []
    for sample in samples:
        x, y = sample.x.numpy(), sample.y.numpy()
        for layer in sample.layers:
            t = layer.numpy()
            found.append(entropy(x) + entropy(t) - entropy(np.hstack([x, t])))
            found.append(entropy(t) - sum(np.mean(y == label) * entropy(t[y == label]) for label in np.unique(y)))
    return found


def by(of_input: Estimator, of_labels: Estimator) -> Callable[[list[Sample]], list[float]]:
    """The same quantities by grokplane's estimators."""

    def estimate(samples: list[Sample]) -> list[float]:
        found = []
        for sample in samples:
            for layer in sample.layers:
                found += [of_input(sample.x, layer).value, of_labels(layer, sample.y).value]
        return torch.stack(found).tolist()

    return estimate


def first(estimate: Callable[[list[Sample]], list[float]]) -> Callable[[list[Sample]], list[float]]:
    """The first log point of a run, which knows no entropy of X yet."""

    def fresh(samples: list[Sample]) -> list[float]:
        forget()
        return estimate(samples)

    return fresh


def contenders() -> dict[str, Callable[[list[Sample]], list[float]]]:
    """What is timed, by name; the first one is what the others are compared with."""
    published = by(WeightedKL(K), ClassKL(K, weighted=True, rescale=True))
    chosen = by(LocalKL(), Ross())
    found = {
        "BallTree": by_ball_trees,
        "infoplane, first log point": first(published),
        "infoplane": published,
        "compressed": chosen,
    }
    if torch.cuda.is_available():
        found |= {"infoplane, GPU": on_gpu(published), "compressed, GPU": on_gpu(chosen)}
    return found


def on_gpu(estimate: Callable[[list[Sample]], list[float]]) -> Callable[[list[Sample]], list[float]]:
    """With the transfer to the GPU, which the end of `tolist` waits for."""

    def moved(samples: list[Sample]) -> list[float]:
        return estimate([Sample(s.x.cuda(), s.y.cuda(), [layer.cuda() for layer in s.layers]) for s in samples])

    return moved


def timed(rounds: int) -> tuple[dict[str, list[float]], float]:
    """Seconds a log point of each contender in every round, and the largest difference of infoplane from BallTree."""
    seconds: dict[str, list[float]] = {}
    difference = 0.0
    for number in range(rounds + 1):
        values = {}
        samples = log_point(number)
        for name, estimate in contenders().items():
            start = time.perf_counter()
            values[name] = np.array(estimate(samples))
            if number:  # the first round warms up
                seconds.setdefault(name, []).append(time.perf_counter() - start)
        same = [name for name in values if name.startswith("infoplane")]
        difference = max(difference, *(float(abs(values[name] - values["BallTree"]).max()) for name in same))
    return seconds, difference


def sliced() -> float:
    """Seconds for a thousand projections of a thousand points, 32 numbers on each side."""
    x, y = torch.randn(2, 1_000, 32, dtype=torch.float64, generator=generator(0, "sliced")).unbind()
    estimate = Sliced(projections=1_000)
    estimate(x[:99], y[:99])
    start = time.perf_counter()
    estimate(x, y)
    return time.perf_counter() - start


def main() -> int:
    """Print medians and verdicts; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="of the neighbour searches and of torch")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seconds, difference = timed(options.rounds)
    print(f"{machine()}; {options.threads} threads, {options.rounds} rounds\n")
    print("contender | s a log point | least-most | times as fast\n--- | ---: | ---: | ---:")
    slow = statistics.median(seconds["BallTree"])
    for name, each in seconds.items():
        median = statistics.median(each)
        print(f"{name} | {median:.3f} | {min(each):.3f}-{max(each):.3f} | {slow / median:.1f}")
    print(f"\nSliced, 1,000 projections of 1,000 points: {sliced():.2f} s")
    ratio = slow / statistics.median(seconds["infoplane"])
    kept = {
        f"BallTree / infoplane {ratio:.1f}, must be at least {REQUIRED:g}": ratio >= REQUIRED,
        f"largest difference {difference:.1e}, must be at most {TOLERANCE:g}": difference <= TOLERANCE,
    }
    for text, passed in kept.items():
        print(f"{'pass' if passed else 'FAIL'}: {text}")
    return int(not all(kept.values()))


if __name__ == "__main__":
    sys.exit(main())
