"""Largest eigenvalue and trace: of matrices, and of the Hessian of the training loss against torch.autograd."""

from __future__ import annotations

import pytest
import torch
from builders import ALWAYS, member, trained, training, weights
from test_observation_asks import own, pair, twin
from torch import Tensor, nn

from grokplane.data.teacher_student import TeacherStudent
from grokplane.losses import MSE
from grokplane.mechanism.curvature import Product, largest_eigenvalue, trace
from grokplane.mechanism.vectors import joined_vector, split_vector
from grokplane.metrics import CKA, Hessian, Kernel, Linearised, LocalComplexity, subset
from grokplane.metrics.hessian import hessian_product
from grokplane.models.mlp import MLP
from grokplane.random import generator
from grokplane.train import Stack, looks
from grokplane.train.observe import observe

LANDSCAPE = {"h": Hessian(), "k": Kernel(), "l": Linearised(), "c": LocalComplexity(), "cka": CKA()}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def symmetric(size: int, seed: int) -> Tensor:
    values = drawn(size, size, seed=seed)
    return values + values.mT


def of_matrices(matrices: Tensor) -> Product:
    return lambda vectors: torch.bmm(matrices, vectors.unsqueeze(2)).squeeze(2)


MATRICES = torch.stack(
    [
        symmetric(9, 1),
        -(symmetric(9, 2) @ symmetric(9, 2)),  # negative definite
        torch.zeros(9, 9, dtype=torch.float64),
        -3 * torch.eye(9, dtype=torch.float64),  # the Krylov space ends after one product
        -torch.outer(drawn(9), drawn(9)),
        1e6 * symmetric(9, 3),
    ]
)


def test_the_largest_eigenvalue_is_lapacks() -> None:
    start = drawn(9, seed=5).expand(6, -1)
    found = largest_eigenvalue(of_matrices(MATRICES), start, 50)
    expected = torch.linalg.eigvalsh(MATRICES)[:, -1]
    scale = torch.linalg.matrix_norm(MATRICES).clamp_min(1)
    assert bool(((found.value - expected).abs() < 1e-12 * scale).all())
    assert bool((found.residual < 1e-10 * scale).all())


@pytest.mark.parametrize("iterations", [1, 2, 4, 7])
def test_few_products_give_the_ritz_value_of_the_krylov_space_and_a_bound(iterations: int) -> None:
    matrices, start = MATRICES[[0, 1, 5]], drawn(9, seed=5)
    found = largest_eigenvalue(of_matrices(matrices), start.expand(3, -1), iterations)
    for number, matrix in enumerate(matrices):
        powers = [start]
        for _ in range(iterations - 1):
            powers.append(matrix @ powers[-1] / torch.linalg.vector_norm(matrix @ powers[-1]))
        space = torch.linalg.qr(torch.stack(powers, 1)).Q
        values, vectors = torch.linalg.eigh(space.mT @ matrix @ space)
        ritz = space @ vectors[:, -1]
        left = torch.linalg.vector_norm(matrix @ ritz - values[-1] * ritz)
        assert float(found.value[number]) == pytest.approx(float(values[-1]), rel=1e-7)
        assert float(found.residual[number]) == pytest.approx(float(left), rel=1e-5)
        eigenvalues = torch.linalg.eigvalsh(matrix)
        assert float((eigenvalues - values[-1]).abs().min()) <= float(left) * (1 + 1e-9)
        assert float(found.value[number]) <= float(eigenvalues[-1]) * (1 + 1e-9)


def test_a_member_that_is_not_finite_changes_no_other() -> None:
    spoilt = MATRICES.clone()
    spoilt[2, 0, 0] = torch.nan
    start, probes = drawn(9, seed=5), drawn(4, 9, seed=6).sign()
    rest = [0, 1, 3, 4, 5]
    for made in (
        lambda m: largest_eigenvalue(of_matrices(m), start.expand(len(m), -1), 5),
        lambda m: trace(of_matrices(m), probes, len(m)),
    ):
        for whole, alone in zip(made(spoilt), made(MATRICES[rest]), strict=True):
            assert whole[2].isnan()
            torch.testing.assert_close(whole[rest], alone, rtol=1e-10, atol=1e-12)


def test_the_trace_is_the_mean_of_quadratic_forms_and_exact_for_diagonal_matrices() -> None:
    probes = drawn(400, 9, seed=6).sign()
    found = trace(of_matrices(MATRICES), probes, 6)
    forms = torch.einsum("ri,eij,rj->er", probes, MATRICES, probes)
    torch.testing.assert_close(found.value, forms.mean(1))
    torch.testing.assert_close(found.std_error, forms.std(1) / 20)
    exact = MATRICES.diagonal(dim1=1, dim2=2).sum(1)
    assert bool(((found.value - exact).abs() <= 4 * found.std_error + 1e-9).all())
    diagonal = trace(of_matrices(torch.diag_embed(drawn(2, 9))), probes[:2], 2)
    torch.testing.assert_close(diagonal.value, drawn(2, 9).sum(1))
    torch.testing.assert_close(diagonal.std_error, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_vectors_are_split_as_they_were_joined() -> None:
    tensors = {"a": drawn(2, 3, 4), "b": drawn(2), "c": drawn(2, 5)}
    vector = joined_vector(tensors.values())
    assert vector.shape == (2, 18)
    assert all(torch.equal(one, tensors[name]) for name, one in split_vector(vector, tensors).items())


def twin_hessian(stack: Stack, number: int) -> Tensor:
    """The whole Hessian [D, D] of a member's training loss, in the order of the stack's parameters."""
    net, (inputs, targets) = twin(stack, number), own(stack, number)
    names = [name for name in stack.parameters if name.startswith("input")]
    names += [name for name in stack.parameters if not name.startswith("input")]
    ours = dict(zip(names, net.named_parameters(), strict=True))
    shapes = {name: ours[name][1].shape for name in stack.parameters}

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([shape.numel() for shape in shapes.values()])
        values = {ours[name][0]: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(net, values, (inputs,)), targets)

    point = torch.cat([ours[name][1].detach().flatten() for name in stack.parameters])
    found = torch.autograd.functional.hessian(loss, point)
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize("large", [False, True])
def test_the_values_are_those_of_the_whole_hessian(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(pair())
    if large:
        monkeypatch.setattr(looks, "WHOLE_BYTES", 0)
        monkeypatch.setattr(subset, "PART_BYTES", 10 * stack.point.both)
    seen, metric = observe(stack), Hessian(iterations=60, probes=3, seed=4)
    with torch.no_grad():
        found = metric(seen)
    size = joined_vector(seen.all_parameters.values()).shape[1]
    signs = 2 * torch.randint(2, (3, size), generator=generator(4, "hessian probes")).double() - 1
    for number in range(2):
        whole = twin_hessian(stack, number)
        forms = torch.stack([sign @ whole @ sign for sign in signs])
        expected = {
            "Hessian/top": torch.linalg.eigvalsh(whole)[-1],
            "Hessian/trace": forms.mean(),
            "Hessian/trace_Errors": forms.std() / 3**0.5,
        }
        for name, value in expected.items():
            torch.testing.assert_close(found[name][number], value, rtol=1e-8, atol=1e-12)
        assert 0 <= float(found["Hessian/top_residual"][number]) < 1e-8


def test_the_hessian_of_linear_regression_is_the_covariance_of_the_inputs() -> None:
    data, model = TeacherStudent(train_points=30, test_points=5), MLP(hidden=[], embedding="none")
    seen = observe(Stack([member(data=data, model=model, loss=MSE(), seed=seed) for seed in range(2)]))
    with torch.no_grad():
        found = Hessian(iterations=40, probes=2)(seen)
    x = nn.functional.pad(seen.train.inputs, (0, 1), value=1.0)  # the bias
    outputs = seen.train.outputs.shape[2]
    moments = x.mT @ x / x.shape[1]
    tops = 2 / outputs * torch.linalg.eigvalsh(moments)[:, -1]
    torch.testing.assert_close(found["Hessian/top"], tops, rtol=1e-9, atol=0)
    product, size = hessian_product(seen.train, seen.all_parameters), outputs * x.shape[2]
    traces = [trace(product, drawn(50, size, seed=seed).sign(), 2) for seed in (1, 2)]
    exact = 2 * moments.diagonal(dim1=1, dim2=2).sum(1)
    assert all(bool(((one.value - exact).abs() <= 4 * one.std_error).all()) for one in traces)


def test_a_diverged_member_is_null_and_a_stack_is_its_members_alone() -> None:
    stack = Stack(pair())
    with torch.no_grad():
        next(iter(stack.parameters.values()))[0].fill_(torch.nan)
        found, alone = Hessian()(observe(stack)), Hessian()(observe(Stack(pair()[1:])))
    for name, values in found.items():
        assert values[0].isnan()
        torch.testing.assert_close(values[1], alone[name][0], rtol=1e-9, atol=1e-12)


def test_the_landscape_changes_no_bit_of_training() -> None:
    never = trained(member(train=training(steps=4)))
    always = trained(member(train=training(steps=4), log=ALWAYS, metrics=LANDSCAPE))
    assert torch.equal(weights(never), weights(always))
