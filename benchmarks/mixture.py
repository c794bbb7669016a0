"""How long is one layer measured, and how long must it take? `grokplane.mi.mixture` beside its floor, on one thread.

`python benchmarks/mixture.py` times the layers of the shipped runs, five resolutions and all labellings. The floor is
what cannot be left out: the matrix product of drawn rows and noise with all rows, and an exponential for each drawn
row, sign, component and resolution, both timed alone on arrays that stay in the cache.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from grokplane.mi import mixture
from grokplane.mi.mixture_sums import WIDE
from grokplane.resources import keep_freed_memory

LADDER, DRAWS = (0.1, 0.2, 0.3, 0.5, 0.8), 200
# name: rows, units, classes, labellings
LAYERS = {
    "default, held out": (1123, 32, 53, 3),
    "peluche, held out": (1967, 32, 53, 3),
    "nanda, stream": (8939, 128, 113, 3),
    "nanda, neurons": (8939, 512, 113, 3),
    "power_division": (4656, 128, 97, 3),
    "MNIST, test": (10_000, 200, 10, 1),
    "MNIST, 60,000": (60_000, 200, 10, 1),
}


def seconds(call: Callable[[], object], rounds: int) -> float:
    """Median wall time of a call after one that does not count."""
    call()
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def rates(rounds: int) -> tuple[float, float, float]:
    """Multiplications and additions a second in float64 and float32, and exponentials a second."""
    products = []
    for dtype in (torch.float64, torch.float32):
        left, right = torch.randn(2 * DRAWS, 256, dtype=dtype), torch.randn(256, 2048, dtype=dtype)
        out = left @ right
        count = 2 * left.numel() * right.shape[1]
        products.append(count / seconds(lambda a=left, b=right, out=out: torch.mm(a, b, out=out), rounds))
    source = -10 * torch.rand(2**15)
    out = torch.empty_like(source)
    return products[0], products[1], source.numel() / seconds(lambda: torch.exp(source, out=out), 20 * rounds)


def main() -> None:
    """Print one row a layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    double, single, exponentials = rates(options.rounds)
    print(f"{double / 1e9:.0f} and {single / 1e9:.0f} GFLOP/s (float64, float32), {exponentials / 1e9:.2f} G exp/s\n")
    print("| layer | rows x units | ms | floor | of it products | exponentials |\n|---|---|---:|---:|---:|---:|")
    for name, (rows, units, classes, labellings) in LAYERS.items():
        random = torch.Generator().manual_seed(0)
        labels = {f"{n}": torch.randint(classes, (rows,), generator=random) for n in range(labellings)}
        x = torch.randn(rows, units, generator=random) + 2 * torch.randn(classes, units, generator=random)[labels["0"]]
        took = seconds(lambda x=x, labels=labels: mixture(x, labels, ladder=LADDER, draws=DRAWS), options.rounds)
        product = 4 * DRAWS * rows * units / (single if units >= WIDE else double)
        exp = 2 * DRAWS * rows * len(LADDER) / exponentials
        figures = " | ".join(f"{1000 * part:.1f}" for part in (took, product + exp, product, exp))
        print(f"| {name} | {rows:,} x {units} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
