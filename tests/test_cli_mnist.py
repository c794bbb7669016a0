"""train_mnist.py through the real command line: digits without files, MNIST's files, and files that cannot be used."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from command import QUIET, Inside, call, digest, finished, refusal, rows, summary
from idx_files import GENUINE, write_images

from grokplane import config

PROGRAM = "train_mnist.py"
LOGS = ("train.threads=1", "log.dense_steps=2", "log.every=100")
IMAGES = Path("MNIST/raw/train-images-idx3-ubyte.gz")
# What is done to the folder of files, what is typed, the beginning and a part of the line.
BAD: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str, str]] = {
    "no folder": (
        Path.exists,
        ("data.root=nowhere",),
        "data.root=nowhere: no file nowhere/MNIST/raw/",
        "root=nowhere`",
    ),
    "missing": (
        lambda root: (root / IMAGES).unlink(),
        (),
        "data.root=data: no file data/MNIST/raw/train-im",
        "root=data`",
    ),
    "truncated": (
        lambda root: (root / IMAGES).write_bytes((root / IMAGES).read_bytes()[:-9]),
        (),
        "data.root=data: data/MNIST/raw/train-images-idx3-ubyte.gz ends too early",
        "download it again with `python train_mnist.py data.download=true data.root=data`",
    ),
    "wrong magic": (
        lambda root: (root / IMAGES).write_bytes(gzip.compress(b"\0\0\x0d\x03" + bytes(100))),
        (),
        "data.root=data: data/MNIST/raw/train-images-idx3-ubyte.gz begins with 0x00000d03, ",
        "0x00000803; delete it",
    ),
    "a file as root": (
        Path.exists,
        ("data.root=data/" + str(IMAGES),),
        f"data.root=data/{IMAGES}: no file",
        "download it with `",
    ),
    "another set": (
        Path.exists,
        ("data=fashion_mnist",),
        "data.root=data: no file data/FashionMNIST/",
        "data=fashion_m",
    ),
    "a typo": (Path.exists, ("data.rot=x",), "data.rot=x: unknown key", "data.root"),
}


def test_digits_need_no_file(tmp_path: Path) -> None:
    finished(
        "data=digits",
        "train.steps=200",
        "record.wandb=disabled",
        *LOGS,
        "hydra.run.dir=run",
        cwd=tmp_path,
        program=PROGRAM,
    )
    assert [row["step"] for row in rows(tmp_path / "run")] == [0, 1, 100, 200]
    first, *_, last = rows(tmp_path / "run")
    assert last["Loss/train"] < first["Loss/train"] / 4
    assert summary(tmp_path / "run")["status"] == "finished"
    assert (tmp_path / "run" / "figures" / "curves.png").exists()
    assert {f"num_dead_nrns_eval/layer {number}" for number in (1, 2)} < last.keys()
    for number in (1, 2, 3):
        assert 0 < last[f"MI(X;L)_eval/layer {number}"] <= last["ln n_eval"]
        assert 0 < last[f"MI(L;Y)_eval/layer {number}"] <= last["H(Y)_eval"]
    assert {path.name for path in (tmp_path / "run" / "figures").iterdir()} == {
        "curves.png",
        "information_accuracy.png",
        "information_map.png",
        "information_plane.gif",
        "information_plane.png",
        "weight_norms.png",
    }


def test_the_published_way_compresses_images_and_layers(tmp_path: Path) -> None:
    typed = ("mi=infoplane", "data=digits", "train.steps=3", *LOGS, "mi.code_steps=20", *QUIET, "hydra.run.dir=run")
    finished(*typed, cwd=tmp_path, program=PROGRAM)
    assert len(list((tmp_path / "outputs" / "codes").iterdir())) == 1
    last = rows(tmp_path / "run")[-1]
    assert {"MI(X;L)_eval/layer 1", "MI(X;L)_Errors_eval/layer 1", "MI(L;Y)_train/layer 3"} < last.keys()
    assert not any("@" in name or "|" in name for name in last)


def test_mnist_trains_from_the_genuine_files_where_they_are_there(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "MNIST" / "raw", train=1_000, test=100)
    root = GENUINE if GENUINE.exists() else tmp_path / "data"
    typed = (f"data.root={root}", "train.steps=5", "hydra.run.dir=run", *LOGS, "mi=off", *QUIET)
    finished(*typed, cwd=tmp_path, program=PROGRAM)
    first, *_, last = rows(tmp_path / "run")
    assert last["step"] == 5
    assert last["Loss/train"] < first["Loss/train"]
    assert 64 < first["WN/layer 1"] < 67  # eight times torch's: 8 sqrt(200 (784 + 1) / (3 * 784)) = 65.3


def test_seeds_are_swept_over(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "MNIST" / "raw", train=60, test=10)
    typed = ("seed=0,1", "data.train_points=20", "train.batch_size=full", "train.steps=3", *LOGS, "mi=off", *QUIET)
    finished("-m", *typed, "hydra.sweep.dir=sweep", cwd=tmp_path, program=PROGRAM)
    losses = [rows(tmp_path / "sweep" / str(job))[-1]["Loss/train"] for job in range(2)]
    assert losses[0] != losses[1]


def test_help_names_the_program_and_its_own_defaults(tmp_path: Path) -> None:
    text = finished("--help", cwd=tmp_path, program=PROGRAM).stdout
    assert text.startswith("python train_mnist.py [key=value ...]")
    assert "outputs/infoplane_mnist/" in text
    for line in (
        "data=mnist ",
        "data.root=data ",
        "train.steps=100000 ",
        "model.noise_sigma=0.001 ",
    ):
        assert line in text


@pytest.mark.parametrize("name", BAD)
def test_bad_files_and_keys_are_refused_in_one_line_and_nothing_is_written(
    name: str, inside: Inside, tmp_path: Path
) -> None:
    damage, typed, beginning, part = BAD[name]
    write_images(tmp_path / "data" / "MNIST" / "raw", train=60, test=10)
    damage(tmp_path / "data")
    before = digest(tmp_path)
    line = refusal(inside(*typed, cwd=tmp_path, program=PROGRAM))
    assert line.startswith(beginning)
    assert part in line.removeprefix(beginning)
    assert digest(tmp_path) == before


def test_a_process_of_its_own_says_the_same(inside: Inside, tmp_path: Path) -> None:
    assert refusal(call(cwd=tmp_path, program=PROGRAM)) == refusal(inside(cwd=tmp_path, program=PROGRAM))


@pytest.mark.parametrize("name", [None, *config.group_names("experiment")])
def test_an_experiment_is_the_same_run_from_both_programs(name: str | None) -> None:
    """Without one, train_mnist.py is infoplane_mnist."""
    ours = config.compose([] if name is None else [f"experiment={name}"], "train_mnist")
    theirs = config.compose([f"experiment={name or 'infoplane_mnist'}"], "train")
    assert config.flat(ours) == config.flat(theirs)


def test_the_settings_are_those_of_the_field() -> None:
    infoplane, omnigrok = (
        config.flat(config.compose([f"experiment={name}_mnist"])) for name in ("infoplane", "omnigrok")
    )
    expected = {
        "data.train_points": 1_000,
        "data.selection": "random",
        "data.normalize": True,
        "data.test_points": None,
        "model.hidden": [200, 200],
        "model.init_scale": 8.0,
        "model.noise_sigma": 1e-3,
        "model.noise_in": "both",
        "optimizer.lr": 1e-3,
        "optimizer.weight_decay": 1e-2,
        "train.steps": 100_000,
        "train.batch_size": 200,
        "log.dense_steps": 30,
        "log.every": 1_000,
        "train.dtype": "float32",
    }
    assert {key: infoplane[key] for key in expected} == expected
    differs = {key: value for key, value in omnigrok.items() if infoplane[key] != value}
    assert differs == {
        "name": "omnigrok_mnist",
        "data.selection": "first",
        "data.normalize": False,
        "model.noise_sigma": 0.0,
        "train.dtype": "float64",
    }
