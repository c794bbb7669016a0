"""First and second derivatives and torch.func, for every loss and model, compared with plain torch.nn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import test_adapter
import test_conv
import test_lstm
import test_models
import test_transformer
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from grokplane.answers import Labels
from grokplane.losses import MSE, CrossEntropy, Hinge, Loss, StableMax
from grokplane.models import LSTM, MLP, Conv, ModelChoice, Signature, StackedModel, build
from grokplane.models.layers import ACTIVATIONS

# torch's own forward-mode rules use a compiler that torch calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

Tensors = dict[str, Tensor]
Values = Callable[[Tensors], Tensor]
"""A function from all parameters of a stack, by name, to its outputs [E, B, C]."""
POINTS, CLASSES = 6, 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tokens(*shape: int, kinds: int) -> Tensor:
    return torch.randint(kinds, shape, generator=torch.Generator().manual_seed(1))


def alike(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


# Losses

LOSSES: list[Loss] = [CrossEntropy(), CrossEntropy(dtype="float64"), StableMax(), MSE(), Hinge()]
PLAIN: dict[type, Callable[[Tensor, Tensor], Tensor]] = {
    CrossEntropy: lambda z, y: F.cross_entropy(z.mT, y, reduction="none"),
    StableMax: lambda z, y: -_stablemax(z).log().gather(-1, y[..., None]).squeeze(-1),
    MSE: lambda z, y: (z - F.one_hot(y, z.shape[-1])).square().mean(-1),
    Hinge: lambda z, y: (z + 1 - F.one_hot(y, z.shape[-1])).amax(-1) - z.gather(-1, y[..., None]).squeeze(-1),
}


def _stablemax(z: Tensor) -> Tensor:
    s = torch.where(z >= 0, z + 1, 1 / (1 - z.clamp(max=0)))
    return s / s.sum(-1, keepdim=True)


@pytest.mark.parametrize("scale", [0.3, 3])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_a_loss_is_differentiable_as_often_as_one_likes(loss: Loss, scale: float) -> None:
    logits, labels = (scale * drawn(2, 4, CLASSES)).requires_grad_(), tokens(2, 4, kinds=CLASSES)
    loss = Labels(CLASSES).loss(loss)
    torch.autograd.gradcheck(lambda z: loss(z, labels), logits, check_forward_ad=True, check_batched_grad=True)
    torch.autograd.gradgradcheck(
        lambda z: loss(z, labels), logits, check_fwd_over_rev=True, check_rev_over_rev=True, check_batched_grad=True
    )


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_a_losss_hessian_is_that_of_its_formula(loss: Loss) -> None:
    logits, labels = drawn(2, 4, CLASSES), tokens(2, 4, kinds=CLASSES)
    plain, loss = PLAIN[type(loss)], Labels(CLASSES).loss(loss)
    expected = torch.autograd.functional.hessian(lambda z: plain(z, labels).sum(), logits)
    for vectorized in (False, True):  # the incoming gradient is a constant here
        alike(
            torch.autograd.functional.hessian(lambda z: loss(z, labels).sum(), logits, vectorize=vectorized), expected
        )
    alike(torch.func.hessian(lambda z: loss(z, labels).sum())(logits), expected)
    alike(torch.func.jacrev(torch.func.jacrev(lambda z: loss(z, labels).sum()))(logits), expected)
    each = torch.func.vmap(torch.func.vmap(torch.func.grad(lambda z, y: loss(z, y))))(logits, labels)
    alike(each, torch.autograd.functional.jacobian(lambda z: plain(z, labels).sum(), logits))
    many = torch.stack([logits, 2 * logits])
    alike(torch.func.vmap(loss, (0, None))(many, labels), torch.stack([plain(z, labels) for z in many]))
    alike(torch.func.vmap(loss, (None, 0))(logits, labels[None]), plain(logits, labels)[None])


@pytest.mark.parametrize("gap", [0, 2, 12, 40])
def test_cross_entropys_gradient_is_as_precise_where_it_can_be_differentiated(gap: float) -> None:
    labels = tokens(2, 4, kinds=CLASSES)
    logits = (drawn(2, 4, CLASSES).float() + gap * F.one_hot(labels, CLASSES)).requires_grad_()
    losses = CrossEntropy()(logits, labels).sum()
    (quick,) = torch.autograd.grad(losses, logits, retain_graph=True)
    (again,) = torch.autograd.grad(losses, logits, create_graph=True)
    by_func = torch.func.grad(lambda z: CrossEntropy()(z, labels).sum())(logits.detach())
    for found in (again, by_func):
        torch.testing.assert_close(found, quick, rtol=1e-5, atol=0)


# Models


def of_stack(network: StackedModel, encoded: Tensor) -> Values:
    return lambda parameters: functional_call(network, parameters, (encoded,))


def of_twins(twins: Callable[[Tensors, int], tuple[nn.Module, Tensors]], inputs: Tensor) -> Values:
    """The outputs of ordinary modules, one per member, each with the given parameters."""

    def outputs(parameters: Tensors) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):  # the fused one is differentiable once
            found = [functional_call(*twins(parameters, number), (inputs[number],)) for number in range(len(inputs))]
        return torch.stack(found)

    return outputs


def in_order(parameters: Tensors, twin: nn.Module, number: int) -> tuple[nn.Module, Tensors]:
    """A twin with the member's parameters, in order."""
    names = [name for name, _ in twin.named_parameters()]
    return twin, {name: value[number] for name, value in zip(names, parameters.values(), strict=True)}


Made = tuple[StackedModel, Values, Values]


def made(choice: ModelChoice, signature: Signature, twin: Callable[[Tensors, int], Any], members: int) -> Made:
    network = build([choice] * members, signature, range(members), torch.float64)
    shape = (members, POINTS, *(signature.shape or [signature.length]))
    inputs = drawn(*shape) if signature.vocabulary is None else tokens(*shape, kinds=signature.vocabulary)
    return network, of_stack(network, network.encode(inputs)), of_twins(twin, inputs)


def mlp(form: str, vocabulary: int | None = 9, activation: str = "Tanh", members: int = 2, **keys: Any) -> Made:
    choice = MLP(
        hidden=[6, 4],
        embedding=form,
        embedding_dim=test_models.WIDTH if form in ("sum", "concat") else None,
        activation=activation,
        **keys,
    )
    twin = test_models.twin(form, vocabulary or 0, activation, biases=tuple(choice.biases))
    signature = Signature(test_models.LENGTH, vocabulary, test_models.CLASSES)
    return made(choice, signature, lambda values, number: in_order(values, twin, number), members)


def transformer(length: int = test_transformer.LENGTH, members: int = 2, **keys: Any) -> Made:
    choice = test_transformer.choice(**keys)
    signature = Signature(length, test_transformer.VOCABULARY, test_transformer.VOCABULARY)
    twin = test_transformer.Twin(choice, length).double()
    return made(choice, signature, lambda values, e: (twin, test_transformer.as_twin(values, choice, e)), members)


def lstm(members: int = 2, **keys: Any) -> Made:
    choice = LSTM(width=4, **keys)
    twin = test_lstm.Twin(test_lstm.VOCABULARY, test_lstm.CLASSES, choice).double()
    return made(choice, test_lstm.SIGNATURE, lambda values, number: in_order(values, twin, number), members)


def conv(members: int = 2) -> Made:
    shape, keys = (6, 6), {"padding": 1, "channels": [2, 3], "hidden": [4], "activation": "Tanh"}
    twin = test_conv.twin(shape, **keys)
    signature = Signature(36, None, test_conv.CLASSES, shape=shape)
    return made(Conv(**keys), signature, lambda values, number: in_order(values, twin, number), members)


MODELS: dict[str, Callable[[], Made]] = {
    "mlp sum": lambda: mlp("sum"),
    "mlp sum, gathered": lambda: mlp("sum", 150),
    "mlp concat": lambda: mlp("concat"),
    "mlp onehot, alone": lambda: mlp("onehot", members=1),
    "mlp onehot_sum": lambda: mlp("onehot_sum"),
    "mlp sum, no bias": lambda: mlp("sum", bias=False),
    "mlp sum, gathered, some biases": lambda: mlp("sum", 150, bias=[False, True, False]),
    "mlp none, some biases": lambda: mlp("none", None, bias=[True, False, False]),
    "mlp concat, no bias, alone": lambda: mlp("concat", members=1, bias=False),
    "transformer": transformer,
    "transformer, alone": lambda: transformer(members=1, activation="GELU"),
    "transformer post": lambda: transformer(norm="post", reads="mean"),
    "transformer long": lambda: transformer(length=10, reads="mean"),
    "lstm": lambda: lstm(embedding_dim=3),
    "lstm onehot, two layers": lambda: lstm(input="onehot", layers=2),
    "lstm alone": lambda: lstm(members=1),
    "conv": conv,
} | {
    f"mlp none, {activation}": lambda activation=activation: mlp("none", None, activation) for activation in ACTIVATIONS
}
EVERY = pytest.mark.parametrize("name", MODELS)


def of_loss(outputs: Values, loss: Callable[[Tensor, Tensor], Tensor]) -> Values:
    """The sum of the members' mean losses, as a function of the parameters."""

    def value(parameters: Tensors) -> Tensor:
        found = outputs(parameters)
        return loss(found, tokens(*found.shape[:2], kinds=found.shape[2])).mean(1).sum()

    return value


def leaves(network: StackedModel) -> Tensors:
    """The parameters with an offset, so that none is zero."""
    named = network.named_parameters()
    return {name: (value + 0.1 * along(value, 3)).detach().requires_grad_() for name, value in named}


def along(value: Tensor, seed: int) -> Tensor:
    return drawn(*value.shape, seed=seed)


def hessian_times(value: Values, parameters: Tensors, direction: Tensors) -> tuple[Tensors, Tensors]:
    """Gradient and Hessian-vector product by differentiating twice."""
    leaves = list(parameters.values())
    slopes = torch.autograd.grad(value(parameters), leaves, create_graph=True)
    product = sum((slope * direction[name]).sum() for name, slope in zip(parameters, slopes, strict=True))
    curved = torch.autograd.grad(product, leaves)  # type: ignore[arg-type]
    return dict(zip(parameters, slopes, strict=True)), dict(zip(parameters, curved, strict=True))


@EVERY
def test_derivatives_are_those_of_torch_nn(name: str) -> None:
    network, ours, theirs = MODELS[name]()
    parameters = leaves(network)
    direction = {name: along(value, 5) for name, value in parameters.items()}
    value = of_loss(ours, CrossEntropy())
    slopes, curved = hessian_times(of_loss(theirs, PLAIN[CrossEntropy]), parameters, direction)
    rise = torch.stack([(slopes[name] * direction[name]).sum() for name in slopes]).sum().detach()

    for found, expected in zip(hessian_times(value, parameters, direction), (slopes, curved), strict=True):
        alike(found, expected)
    plain = {name: leaf.detach() for name, leaf in parameters.items()}
    alike(torch.func.grad(value)(plain), slopes)
    alike(torch.func.jvp(value, (plain,), (direction,))[1], rise)
    forward_over_reverse = torch.func.jvp(torch.func.grad(value), (plain,), (direction,))[1]
    alike(forward_over_reverse, curved)


@EVERY
def test_vmap_and_batched_gradients_are_a_loop(name: str) -> None:
    network, ours, theirs = MODELS[name]()
    parameters = leaves(network)
    two = {name: torch.stack([value, 0.5 * value]).detach() for name, value in parameters.items()}
    expected = torch.stack([theirs({name: value[number] for name, value in two.items()}) for number in range(2)])
    alike(torch.func.vmap(ours)(two), expected)
    factors = drawn(2, *expected.shape[1:], seed=7)
    outputs, plain = ours(parameters), theirs(parameters)
    batched = torch.autograd.grad(outputs, list(parameters.values()), factors, is_grads_batched=True)
    one_by_one = [torch.autograd.grad(plain, list(parameters.values()), one, retain_graph=True) for one in factors]
    alike(list(batched), [torch.stack(pair) for pair in zip(*one_by_one, strict=True)])


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("kind", [test_adapter.WithBatchNorm, test_adapter.Tied])
def test_a_module_of_ones_own_under_torch_func(kind: type[nn.Module], members: int) -> None:
    network = build([test_adapter.choice(kind)] * members, test_adapter.SIGNATURE, range(members), torch.float64)
    inputs = tokens(members, POINTS, test_adapter.LENGTH, kinds=test_adapter.VOCABULARY)
    value = of_loss(of_stack(network, network.encode(inputs)), CrossEntropy())
    before = [buffer.clone() for buffer in network.buffers()]
    parameters: Tensors = dict(network.named_parameters())
    found = torch.func.grad(value)({name: leaf.detach() for name, leaf in parameters.items()})
    alike(list(network.buffers()), before)
    alike(list(found.values()), list(torch.autograd.grad(value(parameters), list(parameters.values()))))


@pytest.mark.parametrize("scale", ["absolute", "relative"])
def test_noise_is_the_same_under_torch_func(scale: str) -> None:
    choice, signature = MLP(hidden=[6], embedding_dim=4, noise_sigma=0.3, noise_scale=scale), Signature(2, 9, 7)
    network = build([choice] * 2, signature, range(2), torch.float64)
    network.at(3)
    value = of_loss(of_stack(network, network.encode(tokens(2, POINTS, 2, kinds=9))), CrossEntropy())
    parameters: Tensors = dict(network.named_parameters())
    found = torch.func.grad(value)({name: leaf.detach() for name, leaf in parameters.items()})
    alike(list(found.values()), list(torch.autograd.grad(value(parameters), list(parameters.values()))))
