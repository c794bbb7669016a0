"""One run, several estimators: I(X;L) of the held-out images at a run's checkpoints.

`python benchmarks/run_estimators.py RUN` prints a table; RUN is the folder of a run of train_mnist.py. The codes of
images and layers are those of the run's own log points, so what differs between the columns is the estimator alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor
from tqdm import tqdm

from grokplane import config
from grokplane.metrics.gauge import Gauge
from grokplane.metrics.measured import measured, sample
from grokplane.mi import KSG, PCA, Estimate, JointKL, LocalKL, WeightedKL, standardised
from grokplane.record.load import stored_config
from grokplane.train import Stack
from grokplane.train.observe import observe

ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Estimate]] = {
    "LocalKL (mi=compressed)": LocalKL(),
    "KSG": KSG(),
    "JointKL": JointKL(shuffles=1),
    "WeightedKL (mi=infoplane)": WeightedKL(),
}


def main() -> None:
    """Print one row for each checkpoint and layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--after", type=int, default=10_000, help="checkpoints of this step and later")
    options = parser.parse_args()
    config.register_schemas()
    made = OmegaConf.create(stored_config(options.run))
    assert OmegaConf.is_dict(made)
    stack = Stack([config.member(made)])
    mi, examples = stack.members[0].mi, stack.examples.test
    code = _code_of_inputs(stack)
    print(f"| step | layer | {' | '.join(ESTIMATORS)} |\n|---|---|{'---:|' * len(ESTIMATORS)}")
    paths = sorted((options.run / "checkpoints").glob("step_*.pt"))
    for path in tqdm([path for path in paths if int(path.stem[5:]) >= options.after], disable=None):
        stack.load([torch.load(path, weights_only=True)])
        seen = observe(stack, None)
        for name, output in seen.eval.layers.items():
            noise, most = mi.noise, mi.layer_dim  # type: ignore[attr-defined]
            stream = stack.members[0].seed, name, stack.step
            layer = measured(sample(output, 0, examples.mask[0], stream), noise, None)
            code_of_layer = PCA(most, whiten=True, noise_variance=layer.variance).fit(layer.noisy)
            values = standardised(code_of_layer(layer.noisy))
            found = [f"{float(estimate(code, values).value):.2f}" for estimate in ESTIMATORS.values()]
            tqdm.write(f"| {stack.step:,} | {name} | {' | '.join(found)} |")


def _code_of_inputs(stack: Stack) -> Tensor:
    assert isinstance(stack.gauge, Gauge)
    examples = stack.examples.test
    return standardised(stack.gauge.code(0, examples.inputs()[0][examples.mask[0]]))


if __name__ == "__main__":
    main()
