"""Every task and every model learns a tiny training set by heart, through the command line."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest
from command import QUIET, Call, Inside, Submit, finished, rows, summary
from idx_files import write_images

from grokplane import config

SHORT = (*QUIET, "train.threads=1", "train.steps=300", "log.dense_steps=1", "log.every=50", "optimizer.lr=0.01")
METRICS = "metrics=[loss,accuracy,weight_norms,dead_neurons,gradients,activations]"
BASE = (METRICS, "mi=off", "optimizer.weight_decay=0.0")
SMALL_MLP = ("model.hidden=[32]", "model.embedding_dim=16")
FEATURES = ("model.embedding=none", "model.hidden=[32,32]")
IMAGES = ("data.train_points=30", "data.test_points=40")
FEW = ("data.p=7", "data.layout=equation", "data.train_fraction=0.3")
FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, vocabulary, length, outputs, width=16):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.body = nn.Sequential(nn.Linear(length * width, 32), nn.ReLU(), nn.Linear(32, outputs))

    def forward(self, tokens):
        return self.body(self.embedding(tokens).flatten(1))
"""
SPELLING = ("model=transformer", "model.layers=1", "model.width=32", "model.mlp_width=64")
# By data/model: what is typed, and the names of layers that must be among the metrics.
LEARNT: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "modular": ((*FEW, *SMALL_MLP), ("layer 1", "layer 2")),
    "addition": (("data=addition", *SMALL_MLP), ("layer 1", "layer 2")),
    "permutations": (("data=permutations", "data.train_fraction=0.002", *SMALL_MLP), ("layer 2",)),
    "group": (
        ("data=group", "data.group=D7", "data.train_fraction=0.1", "model.embedding=concat", *SMALL_MLP),
        ("layer 2",),
    ),
    "sequence": (("data=sequence", "data.digits=1", "data.train_fraction=0.2", *SPELLING), ("layer 1 mlp", "layer 2")),
    "sort": (("data=sort", "data.length=3", "data.values=4", "data.train_fraction=0.3", *SPELLING), ("layer 2",)),
    "reverse": (("data=reverse", "data.length=3", "data.values=4", "data.train_fraction=0.3", *SPELLING), ("layer 2",)),
    "copy": (("data=copy", "data.length=3", "data.values=4", "model=lstm", "model.width=32"), ("layer 2",)),
    "multitask": (
        (
            "data=multitask",
            *(f"data.tasks.{task}.{key}" for task in ("add", "mul") for key in ("p=7", "train_fraction=0.3")),
            "model.embedding=concat",
            *SMALL_MLP,
        ),
        ("layer 2",),
    ),
    "multitask_digits": (
        (
            "data=multitask_digits",
            *(f"data.tasks.{t}.{key}" for t in ("add", "diff", "mean") for key in ("digits=1", "train_fraction=0.2")),
            *SPELLING,
        ),
        ("layer 2",),
    ),
    "sums": (("data=sums", "data.operands=4", "data.equations=100", *SMALL_MLP), ("layer 2",)),
    "parity": (("data=parity", "data.points=60", *FEATURES), ("layer 3",)),
    "teacher_student": (("data=teacher_student", "data.train_points=5", "loss=mse", *FEATURES), ("layer 3",)),
    "mnist": (("data=mnist", *IMAGES, *FEATURES), ("layer 3",)),
    "fashion_mnist": (("data=fashion_mnist", *IMAGES, *FEATURES), ("layer 3",)),
    "digits": (("data=digits", *IMAGES, *FEATURES), ("layer 3",)),
    "mlp": ((*FEW, *SMALL_MLP), ("layer 1", "layer 2")),
    "mlp_mnist": (("data=digits", *IMAGES, "model=mlp_mnist", "model.init_scale=1.0"), ("layer 3",)),
    "conv": (("data=digits", *IMAGES, "model=conv", "model.padding=1"), ("layer 1", "layer 2", "layer 4")),
    "transformer": ((*FEW, "model=transformer", "model.width=32", "model.mlp_width=64"), ("layer 2 mlp", "layer 3")),
    "lstm": ((*FEW, "model=lstm", "model.width=32"), ("layer 1", "layer 2")),
    "module": ((*FEW, "model=module", "model.module._target_=nets.Net"), ("body.0", "body.2")),
}


# In a process of their own: files of the user's, a module of the user's.
APART = ("mnist", "module")


def _folder(cwd: Path, name: str) -> Path:
    (cwd / "nets.py").write_text(NET)
    if name in FOLDERS:
        write_images(cwd / "data" / FOLDERS[name] / "raw", train=50, test=40)
    return cwd


@pytest.fixture(scope="module", autouse=True)
def apart(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Future[Call]]]:
    found = {}
    for name in APART:
        cwd = _folder(tmp_path_factory.mktemp(name), name)
        typed = (*SHORT, *BASE, *LEARNT[name][0], "hydra.run.dir=run")
        found[name] = cwd, submit(finished, *typed, cwd=cwd, PYTHONPATH=str(cwd))
    return found


def test_every_task_and_every_model_is_among_them() -> None:
    assert {*config.group_names("data"), *config.group_names("model")} == LEARNT.keys()


@pytest.mark.parametrize("name", LEARNT)
def test_a_tiny_training_set_is_learnt(
    name: str, apart: dict[str, tuple[Path, Future[Call]]], inside: Inside, tmp_path: Path
) -> None:
    if name in APART:
        cwd, call = apart[name]
        call.result()
    else:
        cwd = _folder(tmp_path, name)
        done = inside(*SHORT, *BASE, *LEARNT[name][0], "hydra.run.dir=run", cwd=cwd)
        assert done.returncode == 0, done.stderr
    folder = cwd / "run"
    last = rows(folder)[-1]
    assert last["Acc/train"] == 1.0
    assert summary(folder)["grok"]["train_step"] > 0
    for layer in LEARNT[name][1]:
        assert last[f"WN/{layer}"] > 0
        assert any(key.startswith("grad_norm_weight") and key.endswith(f"/{layer}") for key in last)
        assert f"activations_mean_eval/{layer}" in last
