"""`open_run`: a trained run at any step, as a notebook uses it."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from command import PRECISE, rows, summary

from grokplane import config, open_run
from grokplane.app import execute
from grokplane.metrics import Accuracy
from grokplane.options import ConfigError
from grokplane.train.observe import observe

P7 = ("data.p=7", "data.train_fraction=0.5", "train.checkpoint_every=7")
RUNS = {
    "mlp": (*P7, "model.hidden=[8]", "model.embedding_dim=6", "data.label_noise=3", "rules=[weight_noise]"),
    "transformer": (
        *P7,
        "model=transformer",
        "model.layers=2",
        "model.width=8",
        "model.mlp_width=12",
        "model.dropout=0.1",
    ),
    "lstm": (*P7, "model=lstm", "model.width=6"),
    "noisy": (*P7, "model.hidden=[8]", "model.noise_sigma=0.2"),
    "regression": ("experiment=teacher_student", "data.train_points=20", "data.test_points=30", "model.hidden=[6]"),
    "module": ("data.p=7", "data/split=random", "model=module", "model.module._target_=test_runs.Own"),
    "sum": (*P7, "model.hidden=[8,8]", "train.dtype=float32"),
}


class Own(torch.nn.Module):
    """A module of a user's own with a buffer."""

    def __init__(self, vocabulary: int, outputs: int) -> None:
        super().__init__()
        self.embedding, self.norm = torch.nn.Embedding(vocabulary, 6), torch.nn.BatchNorm1d(12)
        self.out = torch.nn.Linear(12, outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs [B, C]."""
        return self.out(self.norm(self.embedding(inputs).flatten(1)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one trained run of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    for name, overrides in RUNS.items():
        execute([config.compose([*PRECISE, "train.steps=20", "seed=3", *overrides])], [folder / name])
    return folder


def test_the_spectrum_of_an_embedding_in_a_notebook(runs: Path):
    run = open_run(runs / "mlp").at(16)
    embedding = run.network.state_dict()["input.embedding.weight"]
    power = torch.fft.rfft(embedding - embedding.mean(0), dim=0).abs().square().sum(1)
    assert power.shape == (4,)
    assert power[0] < 1e-20 < power[1:].min()
    stored = torch.load(runs / "mlp/checkpoints/step_00000016.pt", weights_only=True)["model"]
    assert torch.equal(embedding, stored["input.embedding.weight"])
    assert list(run.network.state_dict()) == list(stored)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("step", [8, 20])
def test_the_network_is_that_of_the_stack_to_the_bit(runs: Path, name: str, step: int):
    run = open_run(runs / name, "test_runs.Own" if name == "module" else None).at(step)
    seen = observe(run.stack())
    with torch.no_grad():
        for subset, theirs in ((run.train, seen.train), (run.test, seen.eval)):
            inputs = run.table.inputs[subset]
            if name != "noisy":
                assert torch.equal(run.network(inputs), theirs.outputs[0])
                assert {layer: values.activations[0].tolist() for layer, values in theirs.layers.items()} == {
                    layer: values.tolist() for layer, values in run.activations(inputs).items()
                }
            elif subset is run.test:  # the first layer comes before any noise
                assert torch.equal(run.activations(inputs)["layer 1"], theirs.layers["layer 1"].activations[0])
    if name == "mlp":
        recorded = {row["step"]: row for row in rows(runs / name)}[step]
        assert Accuracy()(seen)["Acc/test"].tolist() == [recorded["Acc/test"]]


@pytest.mark.parametrize("name", ["mlp", "transformer", "lstm", "regression", "module", "sum"])
def test_the_network_is_an_ordinary_module(runs: Path, name: str):
    """Changed weights count, gradients arrive, a loaded state dict gives the other step's outputs."""
    handle = open_run(runs / name, "test_runs.Own" if name == "module" else None)
    first, last = handle.at(8), handle.at()
    assert last.step == 20
    inputs = last.table.inputs[last.test]
    before = last.network(inputs)
    before.square().sum().backward()
    slopes = [value.grad for value in last.network.parameters()]
    assert all(slope is not None and slope.abs().sum() > 0 for slope in slopes)
    last.network.load_state_dict(first.network.state_dict())
    assert torch.equal(last.network(inputs), first.network(inputs))
    assert not torch.equal(last.network(inputs), before)
    clone = torch.nn.Sequential(last.network).to(torch.float32)
    assert clone(inputs).dtype == torch.float32
    hessian = torch.func.jacrev(torch.func.jacrev(lambda bias: _with_bias(first.network, bias, inputs)))
    assert torch.isfinite(hessian(_last_bias(first.network)[1].detach())).all()


def _last_bias(network: torch.nn.Module) -> tuple[str, torch.Tensor]:
    return [pair for pair in network.named_parameters() if pair[0].endswith("bias") or pair[0].endswith("weight")][-1]


def _with_bias(network: torch.nn.Module, value: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    return torch.func.functional_call(network, {_last_bias(network)[0]: value}, (inputs,)).square().sum()


def test_the_weights_are_those_of_a_plain_forward_pass(runs: Path):
    run = open_run(runs / "mlp").at(20)
    one, other = run.table.inputs.T
    weights = run.network.state_dict()
    x = weights["input.embedding.weight"][one] + weights["input.embedding.weight"][other]
    x = F.relu(F.linear(x, weights["linears.0.weight"], weights["linears.0.bias"]))
    outputs = F.linear(x, weights["linears.1.weight"], weights["linears.1.bias"])
    torch.testing.assert_close(run.network(run.table.inputs), outputs)
    torch.testing.assert_close(run.activations(run.table.inputs)["layer 1"], x)


def test_a_run_has_its_config_summary_and_steps(runs: Path):
    run = open_run(str(runs / "mlp"))
    assert run.config["data"]["p"] == 7
    assert run.summary == summary(runs / "mlp")
    assert (run.status, run.steps) == ("finished", [1, 2, 4, 7, 8, 14, 16, 20])


@pytest.mark.parametrize("status", ["running", "interrupted", "diverged", "failed"])
def test_any_run_with_a_checkpoint_can_be_opened(runs: Path, tmp_path: Path, status: str):
    folder = shutil.copytree(runs / "mlp", tmp_path / "run")
    told = summary(folder) | {"status": status, "diverged": 9}
    (folder / "summary.json").write_text(json.dumps(told))
    run = open_run(folder)
    assert run.status == ("dead" if status == "running" else status)
    assert run.at().step == 20


def test_what_cannot_be_opened_is_told_in_one_line(runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with pytest.raises(ConfigError, match=r"^RUN=.*: no such folder$"):
        open_run(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"must be the folder of a run.*did you mean .*transformer"):
        open_run(runs)
    with pytest.raises(ConfigError, match=r"^step=3: .*there are 1, 2, 4, 7, 8, 14, 16, 20$"):
        open_run(runs / "mlp").at(3)
    folder = shutil.copytree(runs / "mlp", tmp_path / "run")
    (folder / "checkpoints/step_00000020.pt").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"^step=20: .*damaged"):
        open_run(folder).at(20)
    with caplog.at_level(logging.WARNING):
        assert open_run(folder).at().step == 16
    assert "step_00000020.pt is damaged" in caplog.text
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(ConfigError, match=r"has no checkpoint$"):
        open_run(folder).at()
