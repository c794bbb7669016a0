"""What the whole of `python train_mnist.py` costs beside a bare training loop of as many steps.

`python benchmarks/mnist_run.py data.root=FOLDER` first times a loop that one would write by hand (torch.nn, fused
AdamW, images in memory, noise after each layer as in the run, nothing measured), then the real command: all log points
with mutual information, records, checkpoints, figures and the start of the process included. `--keep FOLDER` is where
the run lands; `train.steps=2000` shortens both.
"""

from __future__ import annotations

import argparse
import itertools
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from cases import perceptron

from grokplane import config
from grokplane.record.rows import METRICS, read_rows
from grokplane.train import Member, Stack, prepare_process

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = 2.0
EARLY, SLACK = 5_000, 0.05
LAYERS = ("layer 1", "layer 2", "layer 3")
SECONDS_BETWEEN_LINES = 30.0


def bare_seconds(member: Member) -> float:
    """Wall time of the hand-written loop over one member's steps, on as many threads as its run has."""
    prepare_process([member])
    stack = Stack([member])
    images = stack.examples.train.inputs()[0].flatten(1)
    targets = F.one_hot(stack.examples.train.targets[0], 10).float()
    torch.manual_seed(member.seed)
    model = perceptron([784, 200, 200, 10])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
    size, steps = member.train.batch_size, member.train.steps
    assert isinstance(size, int)
    began = told = time.perf_counter()
    order, place = torch.randperm(len(images)), 0
    for step in range(steps):
        if place + size > len(images):
            order, place = torch.randperm(len(images)), 0
        rows, place = order[place : place + size], place + size
        x = images[rows]
        for layer in model:
            x = layer(x)
            if isinstance(layer, torch.nn.Linear):
                x = x + 1e-3 * torch.randn_like(x)
        loss = F.mse_loss(x, targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if time.perf_counter() - told > SECONDS_BETWEEN_LINES:
            told = time.perf_counter()
            print(f"bare loop: step {step:,} of {steps:,}", file=sys.stderr, flush=True)
    return time.perf_counter() - began


def run_seconds(overrides: list[str], folder: Path) -> float:
    """Wall time of the real command.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    began = time.perf_counter()
    command = [sys.executable, str(ROOT / "train_mnist.py"), *overrides, f"hydra.run.dir={folder}"]
    subprocess.run(command, check=True)
    return time.perf_counter() - began


def limits_kept(folder: Path) -> bool:
    """Print what the run's rows say of accuracy and of the limits of information; whether these were kept."""
    rows = list(read_rows(folder / METRICS))
    for row in (row for row in rows if row["step"] in (EARLY, rows[-1]["step"])):
        print(f"step {row['step']:,}: accuracy train {row['Acc/train']:.4f}, test {row['Acc/test']:.4f}")
    above = below = -math.inf
    for row, subset, layer in itertools.product(rows, ("train", "eval"), LAYERS):
        of_input, of_answer = row[f"MI(X;L)_{subset}/{layer}"], row[f"MI(L;Y)_{subset}/{layer}"]
        if of_input is None or of_answer is None:
            print(f"step {row['step']:,}: no estimate of {layer} on {subset}")
            return False
        above = max(above, of_answer - row[f"H(Y)_{subset}"])
        below = max(below, -of_input - row[f"MI(X;L)_Errors_{subset}/{layer}"])
    print(f"highest I(L;Y) - H(Y): {above:+.3f} (<= {SLACK:+g})")
    print(f"furthest that I(X;L) and its standard error lie below 0: {below:+.3f} (<= {SLACK:+g})")
    return max(above, below) <= SLACK


def main() -> int:
    """Print both times and their ratio; 1 if the run costs more than twice that, or information leaves its limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder of the run; by default a temporary one")
    parser.add_argument("overrides", nargs="*", help="key=value, as for train_mnist.py")
    options = parser.parse_intermixed_args()
    member = config.member(config.compose(options.overrides, "train_mnist"))
    bare = bare_seconds(member)
    print(
        f"bare loop   {bare:.1f} s for {member.train.steps:,} steps on {torch.get_num_threads()} thread(s)", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        kept = options.keep or Path(folder, "run")
        whole = run_seconds(options.overrides, kept)
        kept_limits = limits_kept(kept)
    passed = whole <= ALLOWED * bare
    print(f"whole run   {whole:.1f} s")
    print(f"ratio       {whole / bare:.2f}: {'pass' if passed else 'FAIL'} (<= {ALLOWED:g})")
    return int(not (passed and kept_limits))


if __name__ == "__main__":
    sys.exit(main())
