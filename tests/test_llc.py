"""`python -m grokplane.llc`: the estimate by chains that are known, and devinterp's on losses that are."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command import PRECISE
from torch import Tensor

from grokplane import config
from grokplane.app import execute, learning
from grokplane.llc import main
from grokplane.mechanism import learning_coefficient as module
from grokplane.mechanism.learning_coefficient import Sampling, learning_coefficient
from grokplane.record import load

POWERS = {"w1^2 + w2^2": (2, 2), "w1^2 + w2^4": (2, 4), "w1^4 + w2^4": (4, 4)}


ORIGIN = {"w": torch.zeros(2, dtype=torch.float64)}


class Walk(torch.optim.SGD):
    """In place of devinterp's sampler: every step adds its number's share of `lr` to all weights of the chain."""

    def __init__(self, parameters: list[Tensor], lr: float, nbeta: float, localization: float) -> None:
        super().__init__(parameters, lr=lr)
        self.given = (lr, nbeta, localization)
        made.append(self)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # noqa: ARG002 (the signature of torch)
        """Move chain e by (e + 1) lr."""
        for group in self.param_groups:
            for value in group["params"]:
                chains = torch.arange(1, len(value) + 1, dtype=value.dtype)
                value += self.given[0] * chains.view(-1, *[1] * (value.dim() - 1))


made: list[Walk] = []


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch) -> None:
    made.clear()
    monkeypatch.setattr(module, "_sgld", lambda: Walk)
    monkeypatch.setattr(learning, "check_installed", lambda: None)
    monkeypatch.setattr("grokplane.llc.check_installed", lambda: None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    typed = [*PRECISE, "data.p=5", "model.hidden=[4]", "metrics=[loss]", "train.steps=4"]
    execute([config.compose(typed)], [folder])
    return folder


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "run")


def powers_of(powers: tuple[int, ...]) -> Any:
    return lambda parameters: (parameters["w"].abs() ** torch.tensor(powers, dtype=torch.float64)).sum(1)


@pytest.mark.usefixtures("walk")
@pytest.mark.parametrize("n_beta", [None, 7.0])
def test_the_estimate_is_the_excess_of_the_mean_loss_after_the_burn_in(n_beta: float | None) -> None:
    how = Sampling(chains=3, draws=4, burn_in=2, lr=0.1, localization=5.0, n_beta=n_beta)
    shown: list[tuple[int, int]] = []
    start = {"w": torch.tensor([1.0, -2.0], dtype=torch.float64)}
    found = learning_coefficient(powers_of((2, 2)), start, 50, how, lambda *steps: shown.append(steps))
    factor = 50 / math.log(50) if n_beta is None else n_beta
    chains = []
    for chain in (1, 2, 3):
        losses = [(1 + 0.1 * chain * step) ** 2 + (-2 + 0.1 * chain * step) ** 2 for step in range(2, 6)]
        chains.append(factor * (sum(losses) / 4 - 5))
    mean = sum(chains) / 3
    assert found.value == pytest.approx(mean)
    assert found.std_error == pytest.approx((sum((one - mean) ** 2 for one in chains) / 2 / 3) ** 0.5)
    assert made[0].given == (0.1, pytest.approx(factor), 5.0)
    assert shown == [(step, 6) for step in range(1, 7)]
    assert start["w"].tolist() == [1, -2]


@pytest.mark.usefixtures("walk")
def test_values_are_joined_to_the_rows_and_not_sampled_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = [str(folder), "--steps", "2", "4", "--draws", "2", "--burn-in", "0", "--lr", "1e-3"]
    assert main(typed) == 0
    sampled = [row for row in load(folder).to_dict("records") if math.isfinite(row["LLC"])]
    assert [row["step"] for row in sampled] == [2, 4]
    assert all(row["LLC_Errors"] > 0 for row in sampled)
    assert capsys.readouterr().out.splitlines()[-1] == f"{folder}: 2 checkpoints sampled"
    assert main(typed) == 0
    assert len(made) == 2
    assert capsys.readouterr().out.splitlines() == [f"{folder}: 0 checkpoints sampled, 2 were sampled before"]
    assert main([str(folder.parent), *typed[1:], "--seed", "1"]) == 0
    assert len(made) == 4


def test_without_the_package_the_call_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main([str(folder)]) == 2
    assert capsys.readouterr().err == "llc=devinterp: needs the package devinterp: pip install 'grokplane[llc]'\n"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["--lr", "0"], "argument --lr: must be a number above 0, not 0"),
        (["--n-beta", "nan"], "argument --n-beta: must be a number above 0, not nan"),
        (["--localization", "-1"], "argument --localization: must be a number above 0, not -1"),
        (["--chains", "1"], "argument --chains: must be a whole number of at least 2, not 1"),
        (["--steps", "3"], "step=3: "),
    ],
)
@pytest.mark.usefixtures("walk")
def test_what_cannot_be_sampled_is_refused(
    folder: Path, typed: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), *typed]) == 2
    error = capsys.readouterr().err
    assert error.startswith(line)
    assert error.count("\n") == 1
    assert not (folder / "measured.jsonl").exists()


@pytest.mark.parametrize("powers", POWERS.values(), ids=POWERS)
def test_devinterp_gives_the_known_coefficients(powers: tuple[int, ...]) -> None:
    """The learning coefficient of sum_i w_i^(p_i) at 0 is sum_i 1/p_i."""
    pytest.importorskip("devinterp.optim")
    how = Sampling(chains=64, draws=600, burn_in=300, lr=1e-4, localization=1.0)
    found = learning_coefficient(powers_of(powers), ORIGIN, 10_000, how)
    # The step size makes a quadratic loss 6% too large (the stationary variance of the discrete chain).
    assert found.value == pytest.approx(sum(1 / p for p in powers), abs=0.06 + 3 * found.std_error)
    assert found.std_error < 0.04


def test_the_noise_depends_on_the_seed_and_other_generators_are_left_alone() -> None:
    pytest.importorskip("devinterp.optim")
    found = []
    for seed in (0, 0, 1):
        torch.rand(3)
        before = torch.random.get_rng_state()
        found.append(learning_coefficient(powers_of((2, 4)), ORIGIN, 100, Sampling(draws=3, burn_in=0, seed=seed)))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert found[0] == found[1] != found[2]
