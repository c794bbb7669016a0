"""The metric `fourier`: families and spectra against numpy's transform, losses against plain loops, known networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from builders import member, task, training
from command import QUIET, TINY, Inside, ended_well, rows
from torch import Tensor

from grokplane.data import Group, RandomSplit, Sums
from grokplane.losses import MSE
from grokplane.measure import main
from grokplane.metrics import Array, Fourier, Observation
from grokplane.models.lstm import LSTM
from grokplane.models.mlp import MLP
from grokplane.models.transformer import Transformer
from grokplane.options import ConfigError
from grokplane.record import load, load_arrays
from grokplane.train import Member, Stack
from grokplane.train.observe import observe
from grokplane.train.trial import try_metrics

FAMILIES = ("sum", "difference", "a", "b", "constant", "rest")
OPERATIONS = ("add", "sub", "mul", "div")
ALL = Fourier(multiple=0.0)
NONE = Fourier(frequencies=[])


def measured(metric: Fourier, stack: Stack) -> dict[str, Tensor]:
    with torch.no_grad():
        found = metric(observe(stack))
        return {name: one.values if isinstance(one, Array) else one for name, one in found.items()}


def plain(stack: Stack, split: str) -> Tensor:
    """`Loss/<split>` of every member."""
    subset = observe(stack).splits[split]
    return subset.mean(subset.losses)


def grid(seen: Observation, values: Tensor, row: int = 0) -> np.ndarray:
    """Values [E, N, F] of a member's pairs as [n, n, F], by elements."""
    group = seen.operand_groups[row]
    assert group is not None
    assert seen.operands is not None
    n = group.order
    found = np.full((n, n, values.shape[2]), np.nan)
    for question, (a, b) in enumerate(seen.operands[row].tolist()):
        if a >= 0 and b >= 0 and min(group.elements[a], group.elements[b]) >= 0:
            found[int(group.elements[a]), int(group.elements[b])] = values[row, question].double().numpy()
    return found


def family_energies(table: np.ndarray, orders: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Energy by family and by the number of a 's or b's frequency [n, F] from the transform of [n, n, F]."""
    n = len(table)
    axes = tuple(range(2 * len(orders)))
    power = np.abs(np.fft.fftn(table.reshape(*orders, *orders, -1), axes=axes)) ** 2 / n**2
    power = power.reshape(n, n, -1)
    digits = list(np.ndindex(*orders))
    minus = [digits.index(tuple(-k % size for k, size in zip(one, orders, strict=True))) for one in digits]
    found = {name: np.zeros((n, table.shape[2])) for name in FAMILIES}
    for i in range(n):
        for j in range(n):
            kinds = {(i == j == 0): "constant", (i == j != 0): "sum", (j == minus[i] != i): "difference"}
            kinds |= {(j == 0 != i): "a", (i == 0 != j): "b"}
            k = min(max(i, j), minus[max(i, j)]) if 0 in (i, j) else min(i, minus[i])
            found[kinds.get(True, "rest")][k] += power[i, j]
    return found


MODELS: dict[str, Any] = {
    "mlp": MLP(hidden=[8, 6], embedding_dim=6),
    "onehot": MLP(hidden=[6], embedding="onehot"),
    "transformer": Transformer(layers=1, width=8, heads=2, mlp_width=8),
    "lstm": LSTM(width=5, input="onehot"),
}


@pytest.mark.parametrize(("data", "orders"), [
    (task(operation="add"), (7,)),
    (task(operation="mul", layout="equation"), (6,)),
    (task(operation="div"), (6,)),
    (Group(RandomSplit(), group="Z2xZ4"), (2, 4)),
])  # fmt: skip
def test_families_and_spectra_are_those_of_the_transform(data: Any, orders: tuple[int, ...]) -> None:
    stack = Stack([member(data=data)])
    seen, found = observe(stack), measured(ALL, stack)
    for layer in ("layer 1", "layer 3"):
        values = seen.over_table(lambda subset, layer=layer: subset.layers[layer].activations)
        energy = family_energies(grid(seen, values), orders)
        total = sum(one.sum() for one in energy.values())
        for name in FAMILIES:
            assert float(found[f"fourier_family_{name}/{layer}"]) == pytest.approx(energy[name].sum() / total, abs=1e-9)
        assert sum(float(found[f"fourier_family_{name}/{layer}"]) for name in FAMILIES) == pytest.approx(1)
        by_frequency = np.sum([energy[name] for name in FAMILIES[:4]], axis=0)
        units = sum(one.sum(0) for one in energy.values()) - energy["constant"].sum(0)
        kept = [k for k in range(1, len(by_frequency)) if not np.isclose(by_frequency[k].sum(), 0)]
        assert found[f"power/{layer}"][0, 1:].tolist() == pytest.approx(by_frequency[kept].sum(1) / total)
        share = by_frequency[:, units > 1e-20] / units[units > 1e-20]
        assert float(found[f"fourier_IPR/{layer}"]) == pytest.approx((share**2).sum(0).mean())
        assert float(found[f"fourier_top_1/{layer}"]) == pytest.approx(share.max(0).mean())


@pytest.mark.parametrize("model", MODELS)
def test_weights_of_tokens_by_the_transform(model: str) -> None:
    stack = Stack([member(data=task(layout="equation"), model=MODELS[model])])
    found, parameters = measured(ALL, stack), dict(stack.parameters)
    if model == "onehot":  # a op b =
        first = parameters["linears.0.weight"][0].detach().unflatten(1, (4, 9))[:, [0, 2], :7].flatten(0, 1)
        name = "layer 1"
    elif model == "lstm":
        first, name = parameters["recurrent.0.weight_ih"][0].detach()[:, :7], "layer 1"
    else:
        key = next(key for key in parameters if key.endswith("embedding.weight"))
        first, name = parameters[key][0].detach()[:7].T, "embedding"
    power = np.abs(np.fft.rfft(first.numpy(), axis=1)) ** 2
    power[:, 1:] *= 2
    shares = power / power.sum(1, keepdims=True)
    assert float(found[f"fourier_IPR_weight/{name}"]) == pytest.approx((shares**2).sum(1).mean())
    assert found[f"power_weight/{name}"][0].tolist() == pytest.approx(power.sum(0) / power.sum())
    assert len([key for key in found if key.startswith("power_weight/")]) == 2  # the read-out is the other one


def without(outputs: np.ndarray, answers: np.ndarray, n: int, keys: list[int]) -> np.ndarray:
    """Projection of outputs [N, C] on cos and sin of 2 pi k c / n for these k, by plain loops."""
    found = np.zeros_like(outputs)
    for k in keys:
        for function in (np.cos, np.sin):
            wave = function(2 * math.pi * k * answers / n)
            if np.abs(wave).max() > 1e-9:
                found += np.outer(wave, wave @ outputs) / (wave @ wave)
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_restricted_and_excluded_losses_by_plain_loops(operation: str) -> None:
    keys = [1, 3]
    stack = Stack([member(data=task(operation=operation, label_noise=0.2))])
    seen, found = observe(stack), measured(Fourier(frequencies=keys), stack)
    group, table = seen.operand_groups[0], stack.members[0].examples().table
    assert group is not None
    assert table.operands is not None
    outputs = seen.table_outputs[0].numpy()
    real = (group.elements[table.operands] >= 0).all(1).numpy()
    answers, n = group.elements[table.targets][real].numpy(), group.order
    part = without(outputs[real], answers, n, keys)
    a, b = group.elements[table.operands][real].numpy().T
    kept = {"Loss_restricted": outputs[real].mean(0) + part, "Loss_excluded": outputs[real] - part}
    for name, place in (("sum", a + b), ("difference", a - b), ("a", a), ("b", b)):
        # In `difference` the frequency n/2 counts as `sum`.
        frequencies = [k for k in range(1, n // 2 + 1) if not (name == "difference" and 2 * k == n)]
        kept[f"Loss_without_{name}"] = outputs[real] - without(outputs[real], place, n, frequencies)
    for name, values in kept.items():
        whole = outputs.copy()
        whole[real] = values
        for split, subset in seen.splits.items():
            losses = F.cross_entropy(torch.tensor(whole)[subset.rows[0]], subset.targets[0], reduction="none")
            assert float(found[f"{name}/{split}"]) == pytest.approx(float(losses.mean()), abs=1e-9)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_all_frequencies_of_both_operands_and_no_excluded_one_are_the_plain_loss(operation: str) -> None:
    stack = Stack([member(data=task(operation=operation, train_fraction=f)) for f in (0.3, 0.6)])
    every, none = measured(ALL, stack), measured(NONE, stack)
    for split in ("train", "test"):
        torch.testing.assert_close(every[f"Loss_restricted_operands/{split}"], plain(stack, split), rtol=0, atol=1e-9)
        torch.testing.assert_close(none[f"Loss_excluded/{split}"], plain(stack, split), rtol=0, atol=1e-9)
    assert none["fourier_key_count"].tolist() == [0, 0]
    assert every["fourier_key_share"].tolist() == pytest.approx([1, 1])


def analytic(p: int, width: int, **keys: Any) -> Member:
    model = MLP(hidden=[width], embedding="onehot", activation="square", bias=False, init="analytic")
    return member(data=task(p=p), model=model, train=training(steps=0), loss=MSE(), **keys)


def test_the_analytic_network_has_one_frequency_in_each_unit() -> None:
    stack = Stack([analytic(13, 24, seed=seed) for seed in range(2)])
    found = measured(Fourier(values="preactivations"), stack)
    for name in ("fourier_IPR_weight/layer 1", "fourier_IPR_weight/layer 2", "fourier_IPR/layer 1"):
        assert found[name].tolist() == pytest.approx([1, 1])
    assert found["fourier_gini/layer 1"].tolist() == pytest.approx([1 - 1 / 6] * 2)
    assert (found["fourier_family_a/layer 1"] + found["fourier_family_b/layer 1"]).tolist() == pytest.approx([1, 1])
    assert found["power_weight/layer 1"][:, 0].tolist() == pytest.approx([0, 0])
    for split in ("train", "test"):
        every = measured(ALL, stack)[f"Loss_restricted_operands/{split}"]
        torch.testing.assert_close(every, plain(stack, split), rtol=0, atol=1e-9)


def evenly_phased(stack: Stack, p: int, frequencies: list[int]) -> None:
    """The analytic network with phases on a 3 x 3 grid, on which all terms but those in a + b average out."""
    grids = [(k, x, y) for k in frequencies for x in range(3) for y in range(3)]
    k, x, y = torch.tensor(grids).double().T[..., None]
    angles = 2 * math.pi / p * k * torch.arange(p)
    first, second = angles + 2 * math.pi / 3 * x, angles + 2 * math.pi / 3 * y
    with torch.no_grad():
        stack.parameters["linears.0.weight"][0] = torch.cat([first.cos(), second.cos()], 1)
        stack.parameters["linears.1.weight"][0] = 2 / len(grids) * (first + second - angles).cos().T


def test_a_network_of_the_answer_alone_has_equal_restricted_and_plain_loss() -> None:
    stack = Stack([analytic(7, 27)])
    evenly_phased(stack, 7, [1, 2, 3])
    found, excluded = measured(ALL, stack), measured(NONE, stack)
    for split in ("train", "test"):
        own = plain(stack, split)
        assert float(own) == pytest.approx(1 / 42)  # 1 for the answer, -1/6 for the others
        torch.testing.assert_close(found[f"Loss_restricted/{split}"], own, rtol=0, atol=1e-9)
        torch.testing.assert_close(excluded[f"Loss_excluded/{split}"], own, rtol=0, atol=1e-9)
        for family in ("difference", "a", "b"):
            torch.testing.assert_close(found[f"Loss_without_{family}/{split}"], own, rtol=0, atol=1e-9)
        assert float(found[f"Loss_without_sum/{split}"]) == pytest.approx(1 / 7)  # 0 for every class
    assert float(found["fourier_family_sum/layer 2"] + found["fourier_family_constant/layer 2"]) == pytest.approx(1)


def test_key_frequencies_are_found() -> None:
    stack = Stack([analytic(31, 18)])
    evenly_phased(stack, 31, [4, 11])
    found = measured(Fourier(), stack)
    assert torch.nonzero(found["key_frequencies"][0]).flatten().tolist() == [4, 11]
    assert float(found["fourier_key_count"]) == 2
    assert float(found["fourier_key_share"]) == pytest.approx(1)
    torch.testing.assert_close(found["Loss_restricted/test"], plain(stack, "test"), rtol=0, atol=1e-9)


def test_projecting_the_inputs_of_the_read_out_gives_the_same_losses() -> None:
    keys = [2]
    stack = Stack([member()])
    seen, found = observe(stack), measured(Fourier(frequencies=keys), stack)
    hidden = seen.over_table(lambda subset: subset.layers["layer 2"].activations)[0].numpy()
    operands = stack.members[0].examples().table.operands
    assert operands is not None
    part = without(hidden, operands.sum(1).numpy() % 7, 7, keys)
    weight, bias = (stack.parameters[f"linears.2.{role}"][0].detach() for role in ("weight", "bias"))
    for name, values in (("restricted", hidden.mean(0) + part), ("excluded", hidden - part)):
        outputs = torch.tensor(values) @ weight.T + bias
        for split, subset in seen.splits.items():
            loss = F.cross_entropy(outputs[subset.rows[0]], subset.targets[0])
            assert float(found[f"Loss_{name}/{split}"]) == pytest.approx(float(loss), abs=1e-9)


def test_a_stack_of_different_groups_equals_its_members() -> None:
    members = [
        member(data=task(operation=operation, train_fraction=fraction, layout="equals"), seed=seed)
        for seed, (operation, fraction) in enumerate(zip(OPERATIONS, (0.3, 0.5, 0.7, 0.4), strict=True))
    ]
    together = measured(Fourier(multiple=1.0), Stack(members))
    for row, one in enumerate(members):
        alone = measured(Fourier(multiple=1.0), Stack([one]))
        assert alone.keys() == together.keys()
        for name, value in alone.items():
            torch.testing.assert_close(together[name][row], value[0], rtol=0, atol=1e-9, msg=name)


def absent_cases() -> dict[str, tuple[Any, Callable[[str], bool]]]:
    """Tasks in which some values are missing: those that must be NaN, by name."""
    pairs = ("Loss_", "fourier_family", "power/", "fourier_IPR/", "fourier_gini/", "fourier_top_1/", "fourier_top_5/")
    return {
        "other answers": (task(operation="x2_plus_y2"), lambda name: name.startswith(("Loss_restricted/", "Loss_ex"))),
        "some pairs": (Sums(RandomSplit(), p=7, operands=2, equations=40), lambda name: name.startswith(pairs)),
    }


@pytest.mark.parametrize("case", ["other answers", "some pairs"])
def test_what_is_not_defined_is_nan_and_nothing_else(case: str) -> None:
    data, missing = absent_cases()[case]
    found = measured(ALL, Stack([member(data=data)]))
    lacking = {name for name, value in found.items() if bool(value.isnan().any())}
    assert lacking == {name for name in found if missing(name)}
    assert lacking


def test_three_operands_have_values_of_weights_alone() -> None:
    found = measured(ALL, Stack([member(data=Sums(RandomSplit(), p=5, operands=3))]))
    assert "fourier_IPR_weight/embedding" in found
    assert not [name for name in found if "Loss" in name or "family" in name]
    assert not any(bool(value.isnan().any()) for value in found.values())


def test_units_that_are_constant_are_left_out() -> None:
    one = member(model=MLP(hidden=[8], embedding_dim=6))
    stack = Stack([one])
    before = measured(ALL, stack)
    with torch.no_grad():
        stack.parameters["linears.0.weight"][0, :8:2] = 0
    after = measured(ALL, stack)
    assert before["fourier_IPR/layer 1"] != after["fourier_IPR/layer 1"]
    with torch.no_grad():
        stack.parameters["linears.0.weight"][0] = 0
    assert measured(ALL, stack)["fourier_IPR/layer 1"].isnan()


def test_a_run_records_spectra_and_measures_checkpoints(tmp_path: Path, inside: Inside) -> None:
    typed = (*TINY, *QUIET, "mi=off", "train.steps=4", "log.dense_steps=0", "log.every=2")
    ended_well(inside, *typed, "metrics=[loss,accuracy,fourier,irreps]", "hydra.run.dir=run", cwd=tmp_path)
    found = rows(tmp_path / "run")
    assert [row["step"] for row in found] == [0, 2, 4]
    assert all(row["Loss_restricted/test"] > 0 for row in found)
    spectra = load_arrays(tmp_path / "run", "fourier")
    assert spectra["power/layer 2"].values.shape == (3, 4)
    np.testing.assert_allclose(spectra["power_weight/embedding"].values.sum(1), 1)
    assert spectra["key_frequencies"].values.dtype == bool
    assert load_arrays(tmp_path / "run", "irreps")["irrep_power_outputs"].values.shape == (3, 4)

    ended_well(inside, *typed, "metrics=[loss,accuracy]", "hydra.run.dir=plain", cwd=tmp_path)
    assert main([str(tmp_path / "plain"), "--metrics", "fourier"]) == 0
    last = load(tmp_path / "plain").iloc[-1]
    assert last["Loss_restricted/test"] == pytest.approx(found[-1]["Loss_restricted/test"])
    assert main([str(tmp_path / "plain"), "--metrics", "spectrum"]) == 2  # arrays alone


def test_a_group_that_is_not_abelian_and_a_model_without_weights_of_tokens_are_refused() -> None:
    data = Group(RandomSplit(), group="S3")
    with pytest.raises(ConfigError, match=r"metrics=fourier: needs a group that is a product .* metrics=\[irreps\]"):
        try_metrics(Stack([member(data=data, metrics={"fourier": Fourier()})]))
    seen = replace(observe(Stack([member()])), parameters={"layer 1": {"weight": torch.ones(1, 5, 4)}})
    with pytest.raises(ConfigError, match="needs a model with a weight for each token"):
        Fourier()(seen)


def test_frequencies_that_the_group_does_not_have_are_refused_and_the_rule_is_then_unread() -> None:
    one = member(metrics={"fourier": Fourier(frequencies=[4])})
    with pytest.raises(ConfigError, match=r"metrics.fourier.frequencies=.*frequencies of this group are 1 to 3"):
        try_metrics(Stack([one]))
    assert "metrics.fourier.multiple" in Stack([one]).unread
    assert "metrics.fourier.multiple" not in Stack([member(metrics={"fourier": Fourier()})]).unread
