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
from grokplane.process_settings import set_up_process

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


def rates(rounds: int) -> tuple[float, float]:
    """Multiplications and additions a second in float64, and exponentials a second in float32."""
    left, right = torch.randn(2 * DRAWS, 256, dtype=torch.float64), torch.randn(256, 2048, dtype=torch.float64)
    product = left @ right
    multiplied = 2 * left.numel() * right.shape[1] / seconds(lambda: torch.mm(left, right, out=product), rounds)
    source = -10 * torch.rand(2**15)
    out = torch.empty_like(source)
    return multiplied, source.numel() / seconds(lambda: torch.exp(source, out=out), 20 * rounds)


def main() -> None:
    """Print one row a layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    set_up_process(1)
    products, exponentials = rates(options.rounds)
    print(f"{products / 1e9:.0f} GFLOP/s in float64, {exponentials / 1e9:.2f} G exponentials/s in float32\n")
    print("| layer | rows x units | ms | floor | of it products | exponentials |\n|---|---|---:|---:|---:|---:|")
    for name, (rows, units, classes, labellings) in LAYERS.items():
        random = torch.Generator().manual_seed(0)
        labels = {f"{n}": torch.randint(classes, (rows,), generator=random) for n in range(labellings)}
        x = torch.randn(rows, units, generator=random) + 2 * torch.randn(classes, units, generator=random)[labels["0"]]
        took = seconds(lambda x=x, labels=labels: mixture(x, labels, ladder=LADDER, draws=DRAWS), options.rounds)
        product = 4 * DRAWS * rows * units / products
        exp = 2 * DRAWS * rows * len(LADDER) / exponentials
        figures = " | ".join(f"{1000 * part:.1f}" for part in (took, product + exp, product, exp))
        print(f"| {name} | {rows:,} x {units} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
