"""Irreducible representations from the Cayley table, against characters in closed form and plain loops."""

from __future__ import annotations

import itertools

import pytest
import torch
from builders import member, task
from torch import Tensor

from grokplane.data import Group, RandomSplit
from grokplane.data.families import named
from grokplane.mechanism.irreps import irreps
from grokplane.mechanism.waves import Waves
from grokplane.metrics import Array, Fourier, Irreps
from grokplane.models.mlp import MLP
from grokplane.train import Stack
from grokplane.train.observe import observe

DIMENSIONS = {
    "S3": [1, 1, 2],
    "D4": [1, 1, 1, 1, 2],
    "D7": [1, 1, 2, 2, 2],
    "Q8": [1, 1, 1, 1, 2],
    "A4": [1, 1, 3],  # two complex ones of dimension 1 are one component
    "S5": [1, 1, 4, 4, 5, 5, 6],
    "Z6": [1, 1, 1, 1],
}


@pytest.mark.parametrize("name", DIMENSIONS)
def test_dimensions_and_orthogonal_characters(name: str) -> None:
    group = named(name)
    found, n = irreps(group.products), group.order
    assert found.dimensions.tolist() == DIMENSIONS[name]
    gram = found.characters @ found.characters.T / n
    norms = gram.diagonal().round()
    assert set(norms.tolist()) <= {1, 2}  # 2: a pair of conjugates
    assert float((gram - norms.diag()).abs().max()) < 1e-10
    assert float((norms * found.dimensions**2).sum()) == n
    assert torch.allclose(found.characters[0], torch.ones(n, dtype=torch.float64))
    conjugate = group.products[group.products, group.inverses[:, None]]
    torch.testing.assert_close(found.characters[:, conjugate], found.characters[:, None].expand(-1, n, -1))
    unit = found.rows.functions @ found.rows.functions.T
    torch.testing.assert_close(unit, torch.eye(n, dtype=torch.float64), rtol=0, atol=1e-10)


def test_the_standard_representation_of_s5_counts_fixed_points() -> None:
    permutations = list(itertools.permutations(range(5)))
    fixed = torch.tensor([sum(k == image for k, image in enumerate(one)) for one in permutations]).double()
    odd = torch.tensor([sum(a > b for a, b in itertools.combinations(one, 2)) % 2 for one in permutations])
    found = irreps(named("S5").products).characters
    torch.testing.assert_close(found[1], 1 - 2 * odd.double(), rtol=0, atol=1e-10)
    standard = [row for row in found if torch.allclose(row, fixed - 1, atol=1e-10)]
    assert len(standard) == 1


def projected(group: str, values: Tensor) -> list[float]:
    """Share of energy by component: the norm of P = d/n sum_g chi(g) L_g applied to a function [n], in plain loops."""
    products = named(group).products.tolist()
    found, n = irreps(named(group).products), len(products)
    shares = []
    for dimension, character in zip(found.dimensions.tolist(), found.characters.tolist(), strict=True):
        part = [0.0] * n
        for g, h in itertools.product(range(n), repeat=2):
            part[products[g][h]] += dimension / n * character[g] * float(values[h])
        shares.append(sum(x * x for x in part) / float(values.square().sum()))
    return shares


@pytest.mark.parametrize("name", ["S3", "Q8", "A4", "Z6"])
def test_shares_are_norms_of_projections(name: str) -> None:
    values = torch.randn(named(name).order, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = irreps(named(name).products)
    energy = (found.rows.functions @ values).square()
    share = torch.zeros(len(found.dimensions), dtype=torch.float64).index_add(0, found.rows.component, energy)
    expected = projected(name, values)
    assert sum(expected) == pytest.approx(1)
    assert (share / energy.sum()).tolist() == pytest.approx(expected, abs=1e-12)


def test_components_of_an_abelian_group_are_its_frequencies() -> None:
    rows = irreps(named("Z2xZ4xZ3").products).rows
    waves = Waves((2, 4, 3)).rows
    overlap = (rows.functions @ waves.functions.T).square()
    one, other = (torch.nn.functional.one_hot(each.component).double() for each in (rows, waves))
    shared = one.T @ overlap @ other
    assert torch.allclose(shared.sort(1).values[:, :-1], torch.zeros(1, dtype=torch.float64), atol=1e-10)
    assert shared.amax(1).round().sum() == 24


def values(metric: Irreps | Fourier, *members: object) -> dict[str, Tensor]:
    seen = observe(Stack(list(members)))  # type: ignore[arg-type]
    with torch.no_grad():
        return {name: one.values if isinstance(one, Array) else one for name, one in metric(seen).items()}


def test_the_metric_agrees_with_the_fourier_basis_and_sums_to_one() -> None:
    shares = {"mul": 0.3, "add": 0.6}
    members = [member(data=task(operation=name, train_fraction=share)) for name, share in shares.items()]
    found, fourier = values(Irreps(), *members), values(Fourier(), *members)
    for layer in ("embedding", "layer 3"):
        one, other = found[f"irrep_power_weight/{layer}"], fourier[f"power_weight/{layer}"]
        torch.testing.assert_close(one.sort(1).values, other.sort(1).values)
        torch.testing.assert_close(one[:, 0], other[:, 0])
    for row, one in enumerate(members):
        for name, value in values(Irreps(), one).items():
            torch.testing.assert_close(found[name][row], value[0])


def test_a_group_that_is_not_abelian_by_plain_loops() -> None:
    data = Group(RandomSplit(), group="S3", layout="equals")
    one = member(data=data, model=MLP(hidden=[8], embedding_dim=3))
    stack = Stack([one])
    seen = observe(stack)
    found = values(Irreps(), one)
    expected = torch.zeros(3, dtype=torch.float64)
    for subset in seen.subsets.values():
        for outputs in subset.outputs[0]:  # the class = is no element
            energy = float(outputs[:6].square().sum())
            expected += torch.tensor(projected("S3", outputs[:6])) * energy
    torch.testing.assert_close(found["irrep_power_outputs"][0], expected / expected.sum())
    top = expected[1:].max() / expected[1:].sum()
    assert float(found["irrep_top_outputs"]) == pytest.approx(float(top))
    weights = stack.parameters["input.embedding.weight"][0, :6].detach()
    each = [[share * float(column.square().sum()) for share in projected("S3", column)] for column in weights.T]
    shares = torch.tensor(each).double().sum(0)
    torch.testing.assert_close(found["irrep_power_weight/embedding"][0], shares / shares.sum())
