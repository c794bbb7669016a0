"""What a metric may ask of an observation beside its values, each against a slow twin made of torch.nn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from builders import ALWAYS, METRICS, NEVER, member, task, trained, training, weights
from torch import Tensor, nn
from torch.func import grad, jvp

from grokplane import config
from grokplane.data.teacher_student import TeacherStudent
from grokplane.losses import MSE, CrossEntropy, Hinge, StableMax
from grokplane.metrics import Observation, Spectrum, Subset, collected, subset
from grokplane.models.mlp import MLP
from grokplane.models.transformer import Transformer
from grokplane.train import Member, Stack, looks
from grokplane.train.observe import measure, observe

# torch makes its rules for forward mode by torch.jit.script, which it calls outdated itself.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Asking:
    """A metric that asks what it is told to and logs one number a member of it."""

    ask: Callable[[Observation], Tensor]

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """The mean square [E] of what is asked [E, ...], padding left out by `ask`."""
        return {"asked": self.ask(seen).double().flatten(1).square().mean(1)}


def pair(**parts: Any) -> list[Member]:
    """Two members with other operations and unequal training subsets, so that there is padding."""
    other = task(train_fraction=0.3, operation="div")
    return [member(**parts), member(**parts | {"seed": 1, "data": other})]


def twin(stack: Stack, number: int, parameters: Parameters | None = None) -> nn.Module:
    """One member's network of summed embeddings as torch.nn has it."""
    given = {name: value[number].detach() for name, value in (stack.parameters | (parameters or {})).items()}
    net = nn.Sequential(nn.Embedding(7, 6), Summed(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    net.append(nn.Linear(8, 7)).double()
    names = [name for name in given if name.startswith("input")] + [n for n in given if not n.startswith("input")]
    with torch.no_grad():
        for ours, name in zip(net.parameters(), names, strict=True):
            ours.copy_(given[name])
    return net


class Summed(nn.Module):
    """Embedded tokens [n, 2, D] to their sums [n, D]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1)


def own(stack: Stack, number: int) -> tuple[Tensor, Tensor]:
    """A member's training questions and answers."""
    examples = stack.members[number].data.examples(stack.members[number].seed)
    return examples.table.inputs[examples.train], examples.train_targets


def without_frequency(table: Tensor) -> Tensor:
    """A table of embeddings [E, p, D] without its first frequency."""
    spectrum = torch.fft.rfft(table, dim=1)
    spectrum[:, 1] = 0
    return torch.fft.irfft(spectrum, n=table.shape[1], dim=1)


EMBEDDING = "input.embedding.weight"


def real(part: Subset, values: Tensor) -> Tensor:
    """Values [E, n, ...] with zeros where a point is padding."""
    return torch.where(part.mask.view(*part.mask.shape, *[1] * (values.dim() - 2)), values, 0)


def filtered(seen: Observation) -> Tensor:
    return real(seen.train, seen.train.forward({EMBEDDING: without_frequency(seen.all_parameters[EMBEDDING])}))


def neighbour(seen: Observation) -> Tensor:
    """Outputs of questions whose first operand is one larger."""
    moved = seen.train.inputs.clone()
    moved[..., 0] = (moved[..., 0] + 1) % 7
    return real(seen.train, seen.train.forward(inputs=moved))


def product(seen: Observation) -> Tensor:
    """The Hessian of the loss times the parameters, by forward over reverse mode, part by part."""
    point = dict(seen.all_parameters)
    found = [
        jvp(grad(lambda p, part=part: seen.train.loss(p, part).sum()), (point,), (point,))[1]
        for part in seen.train.slices()
    ]
    return torch.cat([torch.stack([one[name] for one in found]).sum(0).flatten(1) for name in point], 1)


def product_by_graph(seen: Observation) -> Tensor:
    """The same by two reverse passes."""
    with torch.enable_grad():
        point = {name: value.clone().requires_grad_() for name, value in seen.all_parameters.items()}
        found = []
        for part in seen.train.slices():
            gradients = torch.autograd.grad(seen.train.loss(point, part).sum(), list(point.values()), create_graph=True)
            along = sum((one * seen.all_parameters[name]).sum() for one, name in zip(gradients, point, strict=True))
            assert isinstance(along, Tensor)
            found.append(torch.autograd.grad(along, list(point.values())))
    return torch.cat([torch.stack(parts).sum(0).flatten(1) for parts in zip(*found, strict=True)], 1)


def twin_product(stack: Stack, number: int) -> Tensor:
    net, (inputs, targets) = twin(stack, number), own(stack, number)
    names = [name for name, _ in net.named_parameters()]

    def loss(*values: Tensor) -> Tensor:
        outputs = torch.func.functional_call(net, dict(zip(names, values, strict=True)), (inputs,))
        return nn.functional.cross_entropy(outputs, targets)

    point = tuple(value.detach() for value in net.parameters())
    _, found = torch.autograd.functional.hvp(loss, point, point)
    by_ours = dict(zip(names, found, strict=True))
    order = [(0, EMBEDDING)] + [(i, n) for i, n in enumerate(x for x in stack.parameters if x != EMBEDDING)]
    ours = dict(zip([name for _, name in order], by_ours.values(), strict=True))
    return torch.cat([ours[name].flatten() for name in stack.parameters])


def twin_filtered(stack: Stack, number: int) -> Tensor:
    without = {EMBEDDING: without_frequency(stack.parameters[EMBEDDING].detach())}
    return twin(stack, number, without)(own(stack, number)[0])


def twin_neighbour(stack: Stack, number: int) -> Tensor:
    inputs = own(stack, number)[0].clone()
    inputs[:, 0] = (inputs[:, 0] + 1) % 7
    return twin(stack, number)(inputs)


def twin_table(stack: Stack, number: int) -> Tensor:
    one = stack.members[number]
    return twin(stack, number)(one.data.table(one.seed).inputs)


TWINS: dict[str, tuple[Callable[[Observation], Tensor], Callable[[Stack, int], Tensor]]] = {
    "given parameters": (filtered, twin_filtered),
    "other inputs": (neighbour, twin_neighbour),
    "Hessian": (product, twin_product),
    "Hessian by graph": (product_by_graph, twin_product),
    "whole table": (lambda seen: torch.nan_to_num(seen.table_outputs), twin_table),
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", TWINS)
def test_what_is_asked_is_what_a_plain_network_gives(name: str, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, slow = TWINS[name]
    stack = Stack(pair(metrics={"asking": Asking(ask)}))
    sizes: list[int] = []
    if large:
        monkeypatch.setattr(looks, "WHOLE_BYTES", 0)
        monkeypatch.setattr(subset, "PART_BYTES", 5 * stack.point.both)
        stack.network.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[1]))
    seen = observe(stack)
    with torch.no_grad():
        found = ask(seen)
    for number in range(2):
        wanted = slow(stack, number).detach()
        mine = found[number].flatten()[: wanted.numel()].view_as(wanted)
        torch.testing.assert_close(mine, wanted, rtol=1e-9, atol=1e-12)
        assert not found[number].flatten()[wanted.numel() :].any()  # padding
    assert not large or name == "whole table" or max(sizes) == 5
    assert measure(stack, seen)[1]["asked"] == pytest.approx(float(found[1].square().mean()))


def test_inputs_and_rows_are_those_of_the_members_own_tables() -> None:
    stack = Stack([member(), member(seed=1, data=task(operation="div", train_fraction=0.3))])
    seen = observe(stack)
    for number, one in enumerate(stack.members):
        examples = one.data.examples(one.seed)
        for part, rows in ((seen.train, examples.train), (seen.eval, examples.test)):
            mask = part.mask[number]
            assert torch.equal(part.rows[number][mask], rows)
            assert torch.equal(part.inputs[number][mask], examples.table.inputs[rows])


def test_values_over_the_table_lie_in_operand_order_and_what_was_not_asked_is_nan() -> None:
    stack = Stack(pair())
    seen = observe(stack)
    answers = [one.data.table(one.seed) for one in stack.members]
    targets = seen.over_table(lambda part: part.targets.double())
    for number, table in enumerate(answers):
        rows = len(table.targets)
        assert torch.equal(targets[number, :rows], table.targets.double())
        assert bool(targets[number, rows:].isnan().all())
    assert [len(table.targets) for table in answers] == [49, 42]  # nothing is divided by 0
    places = seen.over_table(lambda part: torch.arange(part.mask.shape[1]).double().expand(2, -1))
    for number in range(2):  # padding repeats a point's row and must not take its place
        assert places[number, seen.train.rows[number, 0]] == places[number, seen.eval.rows[number, 0]] == 0
    neurons = seen.over_table(lambda part: part.layers["layer 1"].activations)
    assert neurons.shape == (2, 49, 8)
    assert torch.equal(neurons[0][seen.train.rows[0, 0]], seen.train.layers["layer 1"].activations[0, 0])


@pytest.mark.parametrize("loss", [CrossEntropy(), MSE(), StableMax(), Hinge()], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("large", [False, True])
def test_the_loss_as_a_function_is_the_loss_that_is_logged(
    loss: Any, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(pair(loss=loss))
    if large:
        monkeypatch.setattr(looks, "WHOLE_BYTES", 0)
        monkeypatch.setattr(subset, "PART_BYTES", 5 * stack.point.both)
    seen = observe(stack)
    logged = collected({}, seen).numbers
    for split, part in seen.splits.items():
        total = torch.stack([part.loss(seen.all_parameters, some) for some in part.slices()]).sum(0)
        torch.testing.assert_close(total, logged[f"Loss/{split}"], rtol=1e-9, atol=0)


def test_outputs_can_be_differentiated_by_features() -> None:
    model = MLP(hidden=[8, 8], embedding="none")
    stack = Stack([member(data=TeacherStudent(train_points=9, test_points=5), model=model, loss=MSE())])
    seen = observe(stack)
    inputs = seen.train.inputs.clone().requires_grad_()
    (found,) = torch.autograd.grad(seen.train.forward(inputs=inputs).sum(), [inputs])
    values = [value[0].detach() for value in stack.parameters.values()]
    x = inputs[0].detach().clone().requires_grad_()
    hidden = x
    for weight, bias in zip(values[::2], values[1::2], strict=True):
        hidden = nn.functional.linear(hidden if weight is values[0] else hidden.relu(), weight, bias)
    (wanted,) = torch.autograd.grad(hidden.sum(), [x])
    torch.testing.assert_close(found[0], wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("layers", "reads"), [(1, "last"), (2, "mean")])
def test_attention_patterns_are_those_of_plain_attention(layers: int, reads: str) -> None:
    model = Transformer(layers=layers, heads=2, width=8, mlp_width=12, norm="none", reads=reads)
    data = task(layout="equals")
    members = [member(model=model, data=data), member(model=model, data=replace(data, train_fraction=0.3), seed=1)]
    stack = Stack(members)
    seen = observe(stack)
    assert list(seen.train.inner) == [f"layer {number + 1} attention pattern" for number in range(layers)]
    found = seen.train.inner["layer 1 attention pattern"]
    assert found.shape[2:] == (2, 1 if reads == "last" and layers == 1 else 3, 3)
    for number in range(2):
        named = {name: value[number].detach() for name, value in stack.parameters.items()}
        x = named["embedding.weight"][seen.train.inputs[number]] + named["positions.weight"]
        plain = nn.MultiheadAttention(8, 2, batch_first=True).double()
        with torch.no_grad():
            for role in ("weight", "bias"):
                parts = [named[f"blocks.0.attention.{part}.{role}"] for part in ("query", "key", "value")]
                plain.get_parameter(f"in_proj_{role}").copy_(torch.cat(parts))
        later = torch.ones(3, 3, dtype=torch.bool).triu(1)
        _, wanted = plain(x, x, x, attn_mask=later, average_attn_weights=False)
        torch.testing.assert_close(found[number], wanted[:, :, -found.shape[3] :], rtol=1e-9, atol=1e-12)


def test_every_model_can_be_asked_twice_differentiated_questions() -> None:
    """The products of both ways agree, also of the user's own module and of an LSTM."""
    tokens = ["data.p=5", "train.dtype=float64"]
    linear = ["model.module._target_=torch.nn.Linear", "+model.module.in_features=5", "+model.module.out_features=5"]
    own_module = ["data=teacher_student", "loss=mse", "metrics=[]", "model=module", *linear]
    tokens = ["data.p=5", "train.dtype=float64"]
    for typed in (["model=lstm", *tokens], ["model=transformer", "data.layout=equals", *tokens], own_module):
        one = config.compose(typed)
        one = replace(config.member(one), train=training(), log=NEVER)
        seen = observe(Stack([one, replace(one, seed=1)]))
        with torch.no_grad():
            torch.testing.assert_close(product(seen), product_by_graph(seen), rtol=1e-6, atol=1e-9)


def test_nothing_is_computed_that_nobody_asks_for_and_nothing_twice() -> None:
    model = Transformer(layers=1, heads=2, width=8, mlp_width=12)
    ask = Asking(lambda seen: seen.train.inner["layer 1 attention pattern"])
    for metrics, passes in (({}, 2), ({"a": ask}, 3)):
        stack, calls = Stack([member(model=model, data=task(layout="equals"), metrics=metrics)]), [0]

        def count(_: object, __: object, calls: list[int] = calls) -> None:
            calls[0] += 1

        stack.network.register_forward_pre_hook(count)
        seen = observe(stack)
        measure(stack, seen)
        measure(stack, seen)
        assert calls == [passes]


def test_asking_changes_no_bit_of_training() -> None:
    for data, log in ((task(), ALWAYS), (task(label_noise=0.2), ALWAYS)):
        never = trained(member(data=data, log=NEVER, train=training(batch_size=5)))
        asked = {name: Asking(ask) for name, (ask, _) in TWINS.items() if name == "Hessian"}
        always = trained(
            member(data=data, log=log, metrics=METRICS | {"spectrum": Spectrum()} | asked, train=training(batch_size=5))
        )
        assert torch.equal(weights(never), weights(always))
