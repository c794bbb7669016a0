"""The same runs on a GPU: captured steps, resuming, losing members, what a CPU computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from builders import assert_same_stacks, diverged, trained, weights
from command import assert_same_state, finished, rows, state, summary

from grokplane import config
from grokplane.mi import JointKL, LocalKL, Ross, Sliced, WeightedKL, mixture
from grokplane.mi.base import Estimator
from grokplane.random import Counters
from grokplane.train import Member, Point, Stack, run
from grokplane.train.capture import CapturedSteps

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

TINY = ("data.p=23", "train.device=cuda", "train.steps=60", "mi=off", "metrics=[loss,accuracy]", "log.every=7")
EQUATION = ("data.layout=equation", "train.batch_size=64")
BLOCKS = ("model=transformer", "model.width=32", "model.mlp_width=64")
DIGITS = ("data=digits", "data.train_points=300", "train.batch_size=50", "loss=mse", *TINY[1:])
CASES: dict[str, tuple[str, ...]] = {
    "summed": TINY,
    "side by side": (*TINY, *EQUATION, "model.embedding=concat"),
    "one-hot": (*TINY, "model.embedding=onehot", "loss=mse"),
    "drawn with replacement": (*TINY, *EQUATION, "train.sampling=replacement"),
    "float64": (*TINY, "train.dtype=float64", "loss.dtype=float64"),
    "noise": (*TINY, "model.noise_sigma=0.1", "model.noise_scale=relative"),
    "sgd": (*TINY, "optimizer=sgd", "optimizer.momentum=0.9", "optimizer.weight_decay=0.01", "schedule=cosine"),
    "adam": (*TINY, "optimizer=adam", "optimizer.weight_decay=0.01", "schedule=linear_warmup"),
    "rmsprop": (*TINY, "optimizer=rmsprop", "optimizer.momentum=0.5"),
    "muon": (*TINY, "optimizer=muon", "schedule=cosine"),
    "rules": (*TINY, "rules=[sam,weight_noise,grokfast_ema,orthograd,initial_decay,update_noise,constant_norm]"),
    "moving average": (*TINY, "rules=[grokfast_ma]", "rules.grokfast_ma.window=5"),
    "transformer": (*TINY, *EQUATION, *BLOCKS, "model.dropout=0.1"),
    "small batches": (*TINY, *EQUATION, *BLOCKS, "train.batch_size=16"),
    "lstm": (*TINY, *EQUATION, "model=lstm", "model.width=32", "model.layers=2", "model.dropout=0.1"),
    "convolutions": (*DIGITS, "model=conv", "model.channels=[4]", "model.noise_sigma=0.01"),
}
EVERY = pytest.mark.parametrize("case", CASES)
UNCAPTURED = {"moving average"}
# A generator on the CPU and a hash on the GPU give other noise.
UNLIKE_A_CPU = {"noise", "convolutions"}


def members(case: str, *more: str) -> list[Member]:
    """Three that differ in seed, learning rate and weight decay."""
    grid = [("seed=0",), ("seed=1", "optimizer.lr=0.002"), ("seed=2", "optimizer.weight_decay=0.3")]
    return [config.member(config.compose([*CASES[case], *own, *more])) for own in grid]


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What `CapturedSteps.advance` said, one by one."""
    said: list[bool] = []
    advance = CapturedSteps.advance

    def listen(self: CapturedSteps, *arguments: object) -> bool:
        said.append(advance(self, *arguments))  # type: ignore[arg-type]
        return said[-1]

    monkeypatch.setattr(CapturedSteps, "advance", listen)
    return said


@EVERY
def test_a_captured_step_gives_the_bits_of_single_ones(case: str, captured: list[bool]) -> None:
    stack = trained(*members(case))
    assert any(captured) == (case not in UNCAPTURED)
    assert_same_stacks(stack, trained(*members(case), capture=False))
    assert not torch.equal(weights(stack, 0), weights(Stack(members(case)), 0))


@EVERY
def test_a_resumed_run_ends_in_the_bits_of_one_that_was_never_stopped(case: str) -> None:
    first, second = Stack(members(case)), Stack(members(case))
    for _ in run(first, stop=lambda: first.step == 33):
        pass
    second.load_states([first.state(number) for number in range(3)])
    for _ in run(second):
        pass
    assert_same_stacks(second, trained(*members(case)))


@EVERY
def test_a_gpu_trains_what_a_cpu_trains(case: str) -> None:
    if case in UNLIKE_A_CPU:
        pytest.skip("other random numbers")
    double = ("train.dtype=float64", "train.steps=20")
    on_gpu, on_cpu = trained(*members(case, *double)), trained(*members(case, *double, "train.device=cpu"))
    for number in range(3):
        torch.testing.assert_close(weights(on_gpu, number).cpu(), weights(on_cpu, number), rtol=0, atol=1e-7)


@EVERY
def test_a_stacked_member_follows_its_solo_run(case: str) -> None:
    double = ("train.dtype=float64", "train.steps=20")
    together = trained(*members(case, *double))
    for number, one in enumerate(members(case, *double)):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-7)


def test_how_often_one_looks_changes_no_bit() -> None:
    looked = trained(*members("side by side", "log.every=1", "metrics=[loss,accuracy,gradients,activations]"))
    assert_same_stacks(
        looked, trained(*members("side by side", "log.every=1000", "log.dense_steps=0")), ["marks", "tracked"]
    )


@pytest.mark.parametrize("case", ["summed", "side by side"])
def test_a_member_that_is_lost_ends_at_its_step(case: str) -> None:
    """Its decay makes its weights a thousand times larger at every step."""
    wild = ("optimizer=sgd", "loss=mse", "model.activation=LeakyReLU", "train.dtype=float64", "log.every=50")
    stackable = members(case, *wild)
    rates = ("seed=1", "optimizer.lr=1e-200", "optimizer.weight_decay=1e203")
    stackable[1] = config.member(config.compose([*CASES[case], *wild, *rates]))
    ill, single = trained(*stackable), trained(*stackable, capture=False)
    assert diverged(ill)[1] > 4
    assert diverged(ill)[::2] == [-1, -1]
    assert_same_stacks(ill, single)


def test_a_mean_is_taken_over_real_points() -> None:
    stackable = [
        config.member(config.compose([*CASES["float64"], f"seed={seed}", f"data.train_fraction={fraction}"]))
        for seed, fraction in enumerate((0.2, 0.5))
    ]
    together = trained(*stackable)
    for number, one in enumerate(stackable):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-7)


def test_random_numbers_are_those_of_a_cpu() -> None:
    for step in (0, 1, 1023, 1024, 5000):
        counters = Counters([3, 8], "here")
        assert torch.equal(counters.bits(step, 99, "cuda").cpu(), counters.bits(step, 99))


ESTIMATORS: dict[str, Estimator] = {
    "LocalKL": LocalKL(),
    "WeightedKL": WeightedKL(20),
    "JointKL": JointKL(),
    "Sliced": Sliced(projections=20),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimates_are_those_of_a_cpu(name: str) -> None:
    drawn = torch.randn(2, 700, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x, y = drawn[..., :3], drawn[..., 3:] + drawn[..., :3].tanh()
    ours, theirs = ESTIMATORS[name](x.cuda(), y.cuda()), ESTIMATORS[name](x, y)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=0, atol=1e-9)


def test_estimates_against_labels_are_those_of_a_cpu() -> None:
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(900, 4, dtype=torch.float64, generator=random), torch.randint(7, (900,), generator=random)
    for one, other in zip(Ross()(x.cuda(), y.cuda()), Ross()(x, y), strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("width", "dtype"), [(32, torch.float32), (700, torch.float32), (64, torch.float64)])
def test_exact_information_is_that_of_a_cpu(width: int, dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    classes = torch.randint(9, (1_500,), generator=random)
    x = (torch.randn(1_500, width, generator=random) + torch.randn(9, width, generator=random)[classes]).to(dtype)
    ladder = (0.1, 0.2, 0.5)
    ours, theirs = (mixture(one, {"Y": y}, ladder=ladder) for one, y in ((x.cuda(), classes.cuda()), (x, classes)))
    for one, other in ((ours.input, theirs.input), (ours.labels["Y"], theirs.labels["Y"])):
        torch.testing.assert_close(one.value.cpu(), other.value, rtol=0, atol=1e-6)
        torch.testing.assert_close(one.std_error.cpu(), other.std_error, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", ["summed", "convolutions"])
def test_information_at_log_points_is_that_of_a_cpu(case: str) -> None:
    """Of a network's first step, where both have the same weights; with noise of the measured layer alone."""
    noise = ["model.noise_sigma=0"] if case == "convolutions" else []
    keys = [*CASES[case], *noise, "mi=default", "train.dtype=float64"]
    found = {
        device: _first(config.member(config.compose([*keys, f"train.device={device}"]))) for device in ("cuda", "cpu")
    }
    names = [name for name in found["cpu"] if name.startswith("MI(")]
    assert len(names) > 8
    for name in names:
        assert found["cuda"][name] == pytest.approx(found["cpu"][name], abs=1e-6), name


def _first(one: Member) -> dict[str, float]:
    return next(point.records[0] for point in _points(one) if point.records)


def _points(one: Member) -> list[Point]:
    stack = Stack([one])
    return list(run(stack, stop=lambda: stack.step == 1))


def test_the_command_line(tmp_path: Path) -> None:
    keys = (*TINY[:3], "record.wandb=disabled", "record.figures=false", "train.checkpoint_every=20")
    finished(*keys, "hydra.run.dir=whole", cwd=tmp_path)
    assert summary(tmp_path / "whole")["status"] == "finished"
    assert summary(tmp_path / "whole")["device"] == "cuda"
    finished(*keys, "train.steps=30", "hydra.run.dir=parts", cwd=tmp_path)
    finished(*keys, "hydra.run.dir=parts", "train.resume=true", cwd=tmp_path)
    assert_same_state(state(tmp_path / "whole"), state(tmp_path / "parts"))
    whole, parts = ({row["step"]: row for row in rows(tmp_path / name)} for name in ("whole", "parts"))
    assert whole.items() <= parts.items()
