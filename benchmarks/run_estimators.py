"""One run, several estimators: I(X;L) of the held-out images at a run's checkpoints, beside the exact values.

`python benchmarks/run_estimators.py RUN` prints a table; RUN is the folder of a run of train_mnist.py. The codes of
images and layers are those of `mi=compressed`, so what differs between the estimators' columns is the estimator alone;
the exact values are of the whole noiseless layer, seen at two resolutions (docs/mi.md), by the run's own draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from grokplane import config
from grokplane.app.stored import composed
from grokplane.metrics import Compressed, LayerOutput
from grokplane.metrics.codes import encoder
from grokplane.metrics.measured import measured, sample
from grokplane.mi import KSG, PCA, Estimate, JointKL, LocalKL, Ross, WeightedKL, mixture, standardised
from grokplane.record.frames import stored_config
from grokplane.train import Stack, prepare_process
from grokplane.train.observe import observe

LADDER = (0.1, 0.2)
ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Estimate]] = {
    "LocalKL (mi=compressed)": LocalKL(),
    "KSG": KSG(),
    "JointKL": JointKL(shuffles=1),
    "WeightedKL (mi=infoplane)": WeightedKL(),
}
OPTIONS = Compressed(input_estimator=LocalKL(), label_estimator=Ross())


def main() -> None:
    """Print one row for each checkpoint and layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--after", type=int, default=10_000, help="checkpoints of this step and later")
    options = parser.parse_args()
    config.register_schemas()
    member = config.member(composed(stored_config(options.run)))
    prepare_process([member])
    stack = Stack([member])
    code = _code_of_inputs(stack)
    columns = [*(f"exact, r = {level:g}" for level in LADDER), *ESTIMATORS]
    print(f"| step | layer | {' | '.join(columns)} |\n|---|---|{'---:|' * len(columns)}")
    paths = sorted((options.run / "checkpoints").glob("step_*.pt"))
    for path in tqdm([path for path in paths if int(path.stem[5:]) >= options.after], disable=None):
        stack.load_states([torch.load(path, weights_only=True)])
        seen = observe(stack, None)
        noiseless, real = seen.noiseless()["eval"], seen.eval.mask[0]
        for name, output in seen.eval.layers.items():
            exact = mixture(
                noiseless[name].activations[0][real].flatten(1),
                {"Y": seen.eval.targets[0][real]},
                ladder=LADDER,
                seed=stack.members[0].seed,
                stream=f"mi/eval/{name}",
            )
            values = _code_of_layer(output, real, (stack.members[0].seed, name, stack.step))
            found = [float(estimate(code, values).value) for estimate in ESTIMATORS.values()]
            cells = [f"{value:.2f}" for value in [*exact.input.value.tolist(), *found]]
            tqdm.write(f"| {stack.step:,} | {name} | {' | '.join(cells)} |")


def _code_of_inputs(stack: Stack) -> Tensor:
    examples, population = stack.examples.test, stack.examples.population
    assert population is not None  # images
    settings = OPTIONS.code, OPTIONS.code_dim, OPTIONS.code_steps, Path(OPTIONS.cache)
    return standardised(encoder(*settings, population, None)(examples.inputs()[0][examples.mask[0]]))


def _code_of_layer(output: LayerOutput, real: Tensor, stream: tuple[int, str, int]) -> Tensor:
    layer = measured(sample(output, 0, real, stream), OPTIONS.noise)
    code = PCA(OPTIONS.layer_dim, whiten=True, noise_variance=layer.variance).fit(layer.noisy)
    return standardised(code(layer.noisy))


if __name__ == "__main__":
    main()
