"""Losses against float64 and closed forms; cross-entropy near zero loss, where float32 is least precise."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokplane.answers import Labels, Signs
from grokplane.losses import MSE, CrossEntropy, Hinge, StableMax

LABELS = torch.tensor([[0, 3, 2, 4], [1, 1, 0, 2]])


def random_logits(dtype: torch.dtype, scale: float = 1) -> Tensor:
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (logits * scale).to(dtype)


def with_gap(gap: float) -> Tensor:
    """Random float32 logits in which the label exceeds the others by about `gap`."""
    return random_logits(torch.float32) + gap * F.one_hot(LABELS, 5)


def loss_and_gradient(logits: Tensor, naive: bool = False) -> tuple[Tensor, Tensor]:
    """Losses [2, 4] and their gradient, with different weights per point."""
    leaf = logits.clone().requires_grad_()
    losses = F.cross_entropy(leaf.mT, LABELS, reduction="none") if naive else CrossEntropy()(leaf, LABELS)
    losses.backward(torch.arange(1.0, 9, dtype=losses.dtype).view(2, 4))
    assert leaf.grad is not None
    return losses.detach(), leaf.grad


def closed_form(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The same in float64: log(1 + r) and r_j / (1 + r), with r the sum of r_j = exp(z_j - z_y) over other labels."""
    logits = logits.double()
    ratios = (logits - logits.gather(-1, LABELS[..., None])).exp().scatter(-1, LABELS[..., None], 0)
    total = ratios.sum(-1, keepdim=True)
    gradient = (ratios / (1 + total)).scatter(-1, LABELS[..., None], -total / (1 + total))
    return total.squeeze(-1).log1p(), gradient * torch.arange(1.0, 9, dtype=torch.float64).view(2, 4, 1)


def relative_error(found: Tensor, true: Tensor) -> float:
    return float(((found.double() - true).abs() / true.abs()).max())


@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0])
def test_cross_entropy_is_torchs_in_float64(scale: float) -> None:
    logits = random_logits(torch.float64, scale)
    for ours, theirs in zip(loss_and_gradient(logits), loss_and_gradient(logits, naive=True), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_cross_entropy_of_huge_float32_logits_is_torchs_of_float64() -> None:
    logits = random_logits(torch.float32, 1e4)
    true = loss_and_gradient(logits.double(), naive=True)
    for ours, theirs in zip(loss_and_gradient(logits), true, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("gap", [-20, 0, 0.5, 1, 2, 5, 12, 20, 40, 70])
def test_float32_keeps_relative_precision_down_to_the_smallest_losses(gap: float) -> None:
    found, true = loss_and_gradient(with_gap(gap)), closed_form(with_gap(gap))
    for ours, theirs in zip(found, true, strict=True):
        assert ours.dtype == torch.float32
        assert relative_error(ours, theirs) < 1e-5


def test_the_closed_form_is_torchs_in_float64_and_torchs_in_float32_fails() -> None:
    logits = with_gap(14)
    true = closed_form(logits)
    for theirs, form in zip(loss_and_gradient(logits.double(), naive=True), true, strict=True):
        assert relative_error(theirs, form) < 1e-5
    for theirs, form in zip(loss_and_gradient(logits, naive=True), true, strict=True):
        assert relative_error(theirs, form) > 1e-3


def test_loss_and_gradient_underflow_to_zero() -> None:
    losses, gradient = loss_and_gradient(with_gap(300))
    assert torch.equal(losses, torch.zeros(2, 4))
    assert not gradient.any()


def test_an_overflow_is_not_finite() -> None:
    logits = random_logits(torch.float32)
    logits[0, 1, 2] = torch.inf
    finite = CrossEntropy()(logits, LABELS).isfinite()
    assert finite.sum() == 7
    assert not finite[0, 1]


def test_cross_entropy_passes_gradcheck() -> None:
    logits = random_logits(torch.float64, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: CrossEntropy()(z, LABELS), logits)


def test_float64_cross_entropy_of_a_float32_network() -> None:
    logits = with_gap(3).requires_grad_()
    losses = CrossEntropy(dtype="float64")(logits, LABELS)
    losses.backward(torch.arange(1.0, 9, dtype=torch.float64).view(2, 4))
    true, gradient = closed_form(logits.detach())
    torch.testing.assert_close(losses, true, rtol=1e-12, atol=0)
    assert logits.grad is not None
    assert relative_error(logits.grad, gradient) < 1e-7


@pytest.mark.parametrize("dtype", ["same", "float64"])
def test_mse_is_torchs_against_one_hot_labels(dtype: str) -> None:
    outputs = random_logits(torch.float32).requires_grad_()
    losses = Labels(outputs.shape[-1]).loss(MSE(dtype=dtype))(outputs, LABELS)
    assert losses.shape == LABELS.shape
    assert losses.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    losses.mean(1).sum().backward()
    for member in range(2):
        leaf = outputs.detach()[member].double().requires_grad_()
        expected = nn.MSELoss()(leaf, F.one_hot(LABELS[member], 5).double())
        expected.backward()
        torch.testing.assert_close(losses[member].mean().double(), expected, rtol=1e-6, atol=0)
        assert outputs.grad is not None
        torch.testing.assert_close(outputs.grad[member].double(), leaf.grad, rtol=1e-6, atol=1e-9)


def plain_stablemax(logits: Tensor) -> Tensor:
    """-log of the label's share of the sum of s, entry by entry in Python."""
    losses = torch.empty(2, 4, dtype=torch.float64)
    for member in range(2):
        for point in range(4):
            values = logits[member, point].double().tolist()
            s = [z + 1 if z >= 0 else 1 / (1 - z) for z in values]
            losses[member, point] = -math.log(s[int(LABELS[member, point])] / sum(s))
    return losses


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_stablemax_is_its_definition(scale: float) -> None:
    logits = random_logits(torch.float64, scale)
    torch.testing.assert_close(StableMax()(logits, LABELS), plain_stablemax(logits), rtol=1e-12, atol=1e-14)


def test_stablemax_has_the_gradient_of_its_definition() -> None:
    logits = random_logits(torch.float64, 3.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: StableMax()(z, LABELS), [logits])


def test_stablemax_stays_finite_where_it_is_steep_and_where_it_turns() -> None:
    logits = torch.tensor([[[0.0, -1e30, 1e30, 1.0, -1.0]] * 4] * 2, requires_grad=True)
    losses = StableMax()(logits, LABELS)
    losses.sum().backward()
    assert bool(losses.isfinite().all())
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_stablemax_in_float64_of_float32_outputs() -> None:
    logits = random_logits(torch.float32)
    losses = StableMax(dtype="float64")(logits, LABELS)
    assert losses.dtype == torch.float64
    torch.testing.assert_close(losses, plain_stablemax(logits), rtol=1e-12, atol=0)


def plain_hinge(logits: Tensor) -> Tensor:
    """Crammer and Singer's loss, entry by entry in Python."""
    losses = torch.empty(2, 4, dtype=torch.float64)
    for member in range(2):
        for point in range(4):
            label, values = int(LABELS[member, point]), logits[member, point].double().tolist()
            wrong = [z for place, z in enumerate(values) if place != label]
            losses[member, point] = max(0.0, 1 + max(wrong) - values[label])
    return losses


def with_margins(scale: float = 1) -> Tensor:
    """Random logits; the label's output is raised by 0 to 7, so that some points have no hinge loss."""
    raised = torch.arange(8.0, dtype=torch.float64).view(2, 4, 1)
    return scale * (random_logits(torch.float64) + raised * F.one_hot(LABELS, 5))


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_hinge_of_labels_is_its_definition(scale: float) -> None:
    logits = with_margins(scale)
    torch.testing.assert_close(Hinge()(logits, LABELS), plain_hinge(logits), rtol=1e-12, atol=1e-14)
    assert scale == 0 or 2 <= int((plain_hinge(logits) == 0).sum()) <= 6


def test_the_hinge_pulls_the_label_up_and_the_largest_other_output_down() -> None:
    logits = with_margins().requires_grad_()
    losses = Hinge()(logits, LABELS)
    losses.sum().backward()
    assert logits.grad is not None
    for member in range(2):
        for point in range(4):
            label, values = int(LABELS[member, point]), logits[member, point].tolist()
            other = max((place for place in range(5) if place != label), key=values.__getitem__)
            pulled = dict.fromkeys(range(5), 0.0)
            if losses[member, point] > 0:
                pulled |= {label: -1.0, other: 1.0}
            assert logits.grad[member, point].tolist() == list(pulled.values())


HINGED = [(0.5, 1, 0.5, -1), (0.5, -1, 1.5, 1), (2.0, 1, 0, 0), (-3.0, 1, 4, -1), (-3.0, -1, 0, 0)]


@pytest.mark.parametrize(("f", "y", "loss", "slope"), HINGED)
def test_hinge_of_signs_is_its_definition(f: float, y: int, loss: float, slope: float) -> None:
    outputs = torch.tensor([[[f]]], requires_grad=True)
    found = Signs().loss(Hinge())(outputs, torch.tensor([[y]]))
    assert found.tolist() == [[loss]]
    found.sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.tolist() == [[[slope]]]


def test_the_two_hinges_agree_where_one_output_stands_for_a_pair() -> None:
    """A sign's output f is the outputs (-f/2, f/2) of two classes."""
    f = random_logits(torch.float64)[..., :1]
    signs = torch.tensor([[1, -1, 1, 1], [-1, -1, 1, -1]])
    ours = Signs().loss(Hinge())(f, signs)
    torch.testing.assert_close(
        ours, Hinge()(torch.cat([-f / 2, f / 2], -1), (signs > 0).long()), rtol=1e-12, atol=1e-14
    )


def test_a_hinge_is_not_finite_where_the_outputs_are_not() -> None:
    logits = random_logits(torch.float32)
    logits[0, 1, 2], logits[1, 0, 0] = torch.nan, torch.inf
    assert Hinge()(logits, LABELS).isfinite().tolist() == [[True, False, True, True], [False, True, True, True]]


def test_hinge_in_float64_of_float32_outputs() -> None:
    logits = random_logits(torch.float32)
    losses = Hinge(dtype="float64")(logits, LABELS)
    assert losses.dtype == torch.float64
    torch.testing.assert_close(losses, plain_hinge(logits), rtol=1e-12, atol=0)
    assert Signs().loss(Hinge(dtype="float64"))(logits[..., :1], LABELS * 0 + 1).dtype == torch.float64
