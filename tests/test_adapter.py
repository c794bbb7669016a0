"""Ordinary modules as stacks, compared with the same module trained by hand: buffers, randomness, names, errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from builders import METRICS, NEVER, finish, member, task, trained, training, weights
from command import QUIET, finished, rows, state
from torch import Tensor, nn

from grokplane import config
from grokplane.models import MLP, Module, Signature, StackedModule, build
from grokplane.optim import AdamW, Muon
from grokplane.options import ConfigError
from grokplane.random import generator
from grokplane.train import LogOptions, Member, Stack, run

PAGE = Path(__file__).parents[1] / "docs" / "adapter.md"
VOCABULARY, LENGTH, OUTPUTS = 9, 4, 9
SIGNATURE = Signature(LENGTH, VOCABULARY, OUTPUTS)
ALWAYS = LogOptions(dense_steps=0, every=1)


class Net(nn.Module):
    """A perceptron over embedded tokens; base class of the other modules."""

    def __init__(self, vocabulary: int, length: int, outputs: int, width: int = 6, between: nn.Module | None = None):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.body = nn.Sequential(nn.Linear(length * width, 8), between or nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        self.head = nn.Linear(8, outputs)

    def forward(self, tokens: Tensor) -> Any:
        return self.head(self.body(self.embedding(tokens).flatten(1)))


class WithBatchNorm(Net):
    def __init__(self, vocabulary: int, length: int, outputs: int):
        super().__init__(vocabulary, length, outputs, between=nn.BatchNorm1d(8))


class WithDropout(Net):
    def __init__(self, vocabulary: int, length: int, outputs: int):
        super().__init__(vocabulary, length, outputs, between=nn.Dropout(0.3))


class InPlace(Net):
    def __init__(self, vocabulary: int, length: int, outputs: int):
        super().__init__(vocabulary, length, outputs, between=nn.ReLU(inplace=True))


class WithItem(Net):
    def forward(self, tokens: Tensor) -> Any:
        return super().forward(tokens) * self.head.weight.abs().max().item()


class WithBranch(Net):
    def forward(self, tokens: Tensor) -> Any:
        outputs = super().forward(tokens)
        return outputs if outputs.sum() > 0 else -outputs


class WithSharedWrite(Net):
    def forward(self, tokens: Tensor) -> Any:
        shared = torch.zeros(len(tokens), 9, dtype=self.head.weight.dtype)
        return shared.add_(super().forward(tokens))


class Unused(Net):
    def __init__(self, vocabulary: int, length: int, outputs: int):
        super().__init__(vocabulary, length, outputs)
        self.spare = nn.Linear(2, 2)


class Tuple(Net):
    def forward(self, tokens: Tensor) -> Any:
        return super().forward(tokens), tokens


class Detached(Net):
    def forward(self, tokens: Tensor) -> Any:
        return super().forward(tokens).detach()


class Lazy(Net):
    def __init__(self, vocabulary: int, length: int, outputs: int):
        super().__init__(vocabulary, length, outputs, between=nn.LazyLinear(8))


class Broken(Net):
    def forward(self, tokens: Tensor) -> Any:
        return self.head(tokens.to(self.head.weight.dtype))


class Empty(nn.Module):
    def __init__(self) -> None:
        super().__init__()

    def forward(self, tokens: Tensor) -> Any:
        return F.one_hot(tokens[:, 0], VOCABULARY).float()


class Tied(nn.Module):
    """A module with a parameter that is used twice, one of its own, and one that is not trained."""

    def __init__(self, vocabulary: int, outputs: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.embedding = nn.Embedding(vocabulary, 6)
        self.mix = nn.Linear(6, 6)
        self.mix.bias.requires_grad_(False)
        self.out = nn.Linear(6, outputs, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.scale * self.out(F.relu_(self.mix(self.embedding(tokens).sum(1))))


class Counting(Net):
    """Buffers that are written in place, replaced, and not in the module's state dict."""

    calls: Tensor
    mean: Tensor
    passing: Tensor

    def __init__(self, vocabulary: int, length: int, outputs: int):
        super().__init__(vocabulary, length, outputs)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("passing", torch.zeros(1), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        outputs, mean = super().forward(tokens), self.mean.detach()
        self.calls.add_(1)
        self.mean = 0.9 * self.mean + 0.1 * outputs.mean(0)
        self.passing += 1
        return (outputs + mean) * (1 + 0.01 * self.passing)


def choice(kind: type[nn.Module], **keys: Any) -> Module:
    scale = keys.pop("init_scale", 1.0)
    return Module({"_target_": f"{__name__}.{kind.__qualname__}", **keys}, init_scale=scale)


def net(kind: type[nn.Module] = Net, steps: int = 100, **parts: Any) -> Member:
    tiny = {"data": task(layout="equation"), "model": choice(kind), "train": training(steps=steps, batch_size=10)}
    return member(**(tiny | {"optimizer": AdamW(lr=0.01)} | parts))


def made(one: Member, make: Callable[[], nn.Module]) -> nn.Module:
    """The module with which a member of a float64 run starts, built as a user would."""
    with torch.random.fork_rng():
        torch.set_rng_state(generator(one.seed, "weights").get_state())
        torch.set_default_dtype(torch.float64)
        module = make()
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter *= one.model.init_scale if parameter.requires_grad else 1.0
    return module


def by_hand(one: Member, make: Callable[[], nn.Module]) -> nn.Module:
    """The same module after an ordinary training loop over the member's batches."""
    module, examples, stack = made(one, make), one.data.examples(one.seed), Stack([one])
    inputs, targets = examples.table.inputs[examples.train], examples.train_targets
    positions = stack.positions(0, one.train.steps)
    options: Any = one.optimizer
    optimizer = torch.optim.AdamW(module.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    for step in range(one.train.steps):
        rows = slice(None) if positions is None else positions[step, 0]
        optimizer.zero_grad()
        F.cross_entropy(module(inputs[rows]), targets[rows]).backward()
        optimizer.step()
    return module


def assert_equal_to(stack: Stack, number: int, module: nn.Module) -> None:
    """A member's parameters and buffers equal the module's."""
    ours = dict(stack.network.named_parameters()) | dict(stack.network.named_buffers())
    theirs = dict(module.named_parameters()) | dict(module.named_buffers())
    assert ours.keys() == {f"weights.{name}" for name in theirs}
    for name, value in theirs.items():
        torch.testing.assert_close(ours[f"weights.{name}"][number], value.detach(), rtol=0, atol=1e-8)


MAKERS: dict[type[nn.Module], Callable[[], nn.Module]] = {
    Net: lambda: Net(VOCABULARY, LENGTH, OUTPUTS),
    WithBatchNorm: lambda: WithBatchNorm(VOCABULARY, LENGTH, OUTPUTS),
    Counting: lambda: Counting(VOCABULARY, LENGTH, OUTPUTS),
    Tied: lambda: Tied(VOCABULARY, OUTPUTS),
    InPlace: lambda: InPlace(VOCABULARY, LENGTH, OUTPUTS),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_members_are_what_an_ordinary_loop_makes_of_the_module(kind: type[nn.Module]) -> None:
    members = [
        net(
            kind,
            seed=[3, 0, 11][e],
            model=choice(kind, init_scale=[1.0, 2.0, 0.5][e]),
            data=task(layout="equation", train_fraction=[0.3, 0.6, 0.5][e]),
            optimizer=AdamW(lr=[0.003, 0.001, 0.01][e], weight_decay=[0.1, 0.0, 1.0][e]),
            log=LogOptions(dense_steps=3, every=40),
            metrics=METRICS,
        )
        for e in range(3)
    ]
    together = trained(*members)
    expected = [by_hand(one, MAKERS[kind]) for one in members]
    for number, module in enumerate(expected):
        assert_equal_to(together, number, module)
    assert_equal_to(trained(members[2]), 0, expected[2])


def test_full_batches_of_unequal_size() -> None:
    pair = [net(steps=30, seed=e, data=task(layout="equation", train_fraction=f)) for e, f in enumerate([0.3, 0.6])]
    pair = [replace(one, train=training(steps=30)) for one in pair]
    together = trained(*pair)
    for number, one in enumerate(pair):
        assert_equal_to(together, number, by_hand(one, MAKERS[Net]))


class SummedMLP(nn.Module):
    """The default network of model=mlp."""

    def __init__(self, vocabulary: int, outputs: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 6)
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, outputs))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.body(self.embedding(tokens).sum(1))


def test_the_same_network_as_model_mlp_follows_it() -> None:
    models = [choice(SummedMLP), MLP(hidden=[8, 8], embedding_dim=6)]
    stacks = [Stack([net(seed=seed, model=model, steps=50) for seed in (0, 4)]) for model in models]
    for number in range(2):
        # torch's own uniform_ differs from ours in the last bit.
        torch.testing.assert_close(weights(stacks[0], number), weights(stacks[1], number), rtol=1e-12, atol=0)
    for stack in stacks:
        finish(stack)
    for number in range(2):
        torch.testing.assert_close(weights(stacks[0], number), weights(stacks[1], number), rtol=0, atol=1e-8)


@pytest.mark.parametrize("members", [1, 3])
def test_buffers_change_in_training_alone(members: int) -> None:
    stack = Stack([net(Counting, seed=seed) for seed in range(members)])
    network, inputs = stack.network, stack.examples.train.inputs()
    before = [value.clone() for value in network.buffers()]
    network.eval()
    network(inputs)
    assert all(map(torch.equal, network.buffers(), before))
    network.train()
    network(inputs)
    assert network.get_buffer("weights.calls").tolist() == [1] * members
    assert all(bool((value != old).any()) for value, old in zip(network.buffers(), before, strict=True))
    assert {"weights.calls", "weights.mean", "weights.passing"} <= network.state_dict().keys()


def test_batch_norm_beside_padding_is_refused() -> None:
    unequal = [net(WithBatchNorm, data=task(layout="equation", train_fraction=fraction)) for fraction in (0.3, 0.6)]
    unequal = [replace(one, train=replace(one.train, batch_size="full")) for one in unequal]
    with pytest.raises(ConfigError, match=r"train.batch_size=full: must be a number"):
        Stack(unequal)
    batches = [replace(one, train=replace(one.train, batch_size=5)) for one in unequal]
    assert len(Stack(batches).members) == 2


def test_a_stopped_members_buffers_stay_as_they_are() -> None:
    stack = Stack([net(WithBatchNorm, steps=20, seed=seed) for seed in range(2)])
    for _ in run(stack, stop=lambda: stack.step == 5):
        pass
    stack.alive[1] = False
    before = [stack.state(number)["model"] for number in range(2)]
    finish(stack)
    for name, value in stack.state(1)["model"].items():
        assert torch.equal(value, before[1][name]), name
    moved = [name for name, value in stack.state(0)["model"].items() if not torch.equal(value, before[0][name])]
    assert any(name.endswith("running_mean") for name in moved)


def test_random_operations_of_a_single_member_are_its_own() -> None:
    global_state = torch.get_rng_state()
    one, again = trained(net(WithDropout, steps=20)), trained(net(WithDropout, steps=20, log=ALWAYS, metrics=METRICS))
    assert torch.equal(weights(one), weights(again))
    assert not torch.equal(weights(one), weights(trained(net(steps=20))))
    assert torch.equal(torch.get_rng_state(), global_state)
    network, inputs = one.network, one.examples.train.inputs()
    network.at(1)
    first = network(inputs)
    network.at(2)
    assert not torch.equal(network(inputs), first)
    network.at(1)
    assert torch.equal(network(inputs), first)
    network.eval()
    assert torch.equal(network(inputs), network(inputs))


@pytest.mark.parametrize("kind", [Net, WithBatchNorm, Counting])
def test_how_often_one_looks_changes_no_bit(kind: type[nn.Module]) -> None:
    never, always = (
        trained(*(net(kind, steps=12, seed=seed, log=log, metrics=METRICS) for seed in (0, 1)))
        for log in (NEVER, ALWAYS)
    )
    for ours, theirs in zip(never.network.state_dict().values(), always.network.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("kind", "members"), [(WithBatchNorm, 2), (WithDropout, 1), (Counting, 1), (Counting, 2)])
def test_a_resumed_run_is_the_run_never_stopped(kind: type[nn.Module], members: int) -> None:
    parts = [net(kind, steps=20, seed=seed) for seed in range(members)]
    whole, stopped, resumed = Stack(parts), Stack(parts), Stack(parts)
    finish(whole)
    list(run(stopped, lambda: stopped.step == 9))
    resumed.load_states([stopped.state(number) for number in range(members)])
    assert resumed.step == 9
    finish(resumed)
    for ours, theirs in zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_muon_trains_the_hidden_matrices() -> None:
    assert Stack([net()]).network.hidden() == ["weights.body.0.weight", "weights.body.2.weight"]
    assert Stack([net(Tied)]).network.hidden() == []
    together = trained(*(net(optimizer=Muon(), steps=10, seed=seed) for seed in range(2)))
    torch.testing.assert_close(weights(together, 1), weights(trained(net(optimizer=Muon(), steps=10, seed=1))))


def tapped(network: StackedModule, inputs: Tensor) -> dict[str, tuple[Tensor, Tensor, bool]]:
    seen: dict[str, tuple[Tensor, Tensor, bool]] = {}
    network.eval()
    network(network.encode(inputs), lambda name, *values: seen.update({name: values}))
    return seen


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("kind", [Net, InPlace])
def test_layers_are_seen_under_their_paths(kind: type[nn.Module], members: int) -> None:
    network = choice(kind).network(members, SIGNATURE)
    tokens = torch.randint(VOCABULARY, (members, 5, LENGTH), generator=torch.Generator().manual_seed(0))
    seen = tapped(network, tokens)
    assert list(seen) == ["embedding", "body.0", "body.1", "body.2", "body.3", "head"]
    assert list(network.layers()) == ["embedding", "body.0", "body.2", "head"]
    assert [name for name, (_, _, zeros) in seen.items() if zeros] == ["body.1", "body.3"]
    for below, relu in (("body.0", "body.1"), ("body.2", "body.3")):
        assert torch.equal(seen[relu][0], seen[below][0])
        assert (seen[relu][0] < 0).any()
        assert torch.equal(seen[relu][1], seen[below][0].relu())
    assert torch.equal(seen["embedding"][0][0], network.get_parameter("weights.embedding.weight")[0][tokens[0]])
    assert not network._plain._forward_hooks


def test_shared_own_and_fixed_parameters_are_named_once_and_layers_called_twice_are_both_seen() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.relu = nn.Linear(4, 4), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.linear(self.relu(self.linear(x))))

    tied = choice(Tied).network(2, SIGNATURE)
    assert {name: list(roles) for name, roles in tied.layers().items()} == {
        "Tied": ["scale"],
        "embedding": ["weight"],
        "mix": ["weight"],
    }
    assert [name for name, _ in tied.named_buffers()] == ["weights.mix.bias"]
    seen = tapped(tied, torch.arange(40).view(2, 5, 4) % VOCABULARY)
    assert (seen["mix"][0] < 0).any()  # before it is overwritten
    network = StackedModule(2, lambda _, dtype: Twice().to(dtype), torch.ones(3, 4))
    assert list(tapped(network, torch.ones(2, 5, 4))) == ["linear", "relu", "linear (2)", "relu (2)"]


class Images(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(1, 2, 2), nn.Linear(4, outputs)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.convolution(images[:, None]).flatten(1))


def test_features_come_in_the_tasks_shape() -> None:
    network = build([choice(Images)] * 2, Signature(6, None, 3, shape=(2, 3)), [0, 1], torch.float32)
    images = torch.arange(48.0).view(2, 4, 2, 3)
    with torch.random.fork_rng():
        torch.set_rng_state(generator(1, "weights").get_state())
        expected = Images(3)(images[1])
    torch.testing.assert_close(network(network.encode(images))[1], expected, rtol=1e-5, atol=1e-5)


HERE = __name__
REFUSED = [
    ({"_target_": "???"}, "_target_=null: must name a class"),
    ({"_target_": "no_such_nets.Net"}, "_target_=no_such_nets.Net: cannot be imported (No module named"),
    ({"_target_": "torch.nn.Linnear"}, "_target_=torch.nn.Linnear: cannot be imported"),
    ({"_target_": "torch.relu"}, "_target_=torch.relu: is not a class of torch.nn.Module"),
    ({"_target_": f"{HERE}.Net", "widht": 3}, f"widht=3: {HERE}.Net has no such argument; did you mean width?"),
    ({"_target_": f"{HERE}.Empty", "width": 3}, f"width=3: {HERE}.Empty has no such argument; it takes none"),
    ({"_target_": "torch.nn.Linear", "in_features": 4}, "out_features=null: torch.nn.Linear needs this argument"),
    ({"_target_": f"{HERE}.Net", "width": "wide"}, "Net: its constructor fails: TypeError: "),
    ({"_target_": f"{HERE}.Empty"}, "Empty: has no parameter to train"),
    ({"_target_": f"{HERE}.Lazy"}, "Lazy: has lazy parameters"),
    ({"_target_": f"{HERE}.Broken"}, "Broken: fails on a batch [3, 4]: RuntimeError: mat1 and mat2"),
    ({"_target_": f"{HERE}.Tuple"}, "must turn a batch [3, 4] into a tensor [3, 9], and gives a tuple"),
    ({"_target_": f"{HERE}.Net", "outputs": 5}, "batch [3, 4] into a tensor [3, 9], and gives [3, 5]"),
    ({"_target_": f"{HERE}.Unused"}, "no gradient by its parameter spare.weight"),
    ({"_target_": f"{HERE}.Detached"}, "no gradient by its parameter embedding.weight"),
]


@pytest.mark.parametrize(("module", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_what_cannot_be_trained_is_refused_in_one_line(module: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(line)) as refused:
        Module(module).network(1, SIGNATURE)
    assert str(refused.value).startswith("model.module.")
    assert "\n" not in str(refused.value)


def test_a_failing_module_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"\(test_adapter\.py:\d+\)$"):
        choice(Broken).network(1, SIGNATURE)


UNSTACKABLE = [
    (WithDropout, "torch.nn.functional.dropout"),
    (WithItem, "torch.Tensor.item"),
    (WithBranch, "torch.Tensor.__bool__"),
    (WithSharedWrite, "torch.Tensor.add_"),
]


@pytest.mark.parametrize(("kind", "operation"), UNSTACKABLE)
def test_what_vmap_refuses_is_named_and_trains_alone(kind: type[nn.Module], operation: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Stack([net(kind, seed=0), net(kind, seed=1)])
    line = str(refused.value)
    assert line.startswith(f"model.module._target_={HERE}.{kind.__name__}: cannot be stacked because of {operation}: ")
    assert line.endswith("; a single member (E = 1) works")
    alone = Stack([net(kind, steps=20)])
    start = weights(alone)
    finish(alone)
    assert alone.step == 20
    assert (weights(alone) - start).abs().max() > 0.01


def test_members_with_other_arguments_are_no_stack() -> None:
    with pytest.raises(ConfigError, match=r"model\.module\.width=7: members of one stack cannot differ"):
        Stack([net(model=choice(Net, width=6)), net(model=choice(Net, width=7))])


def test_a_config_makes_the_choice_and_not_the_module() -> None:
    typed = ["model=module", f"model.module._target_={HERE}.Net", "+model.module.width=${data.p}", "data.p=7"]
    made = config.member(config.compose(typed)).model
    assert made == Module({"_target_": f"{HERE}.Net", "width": 7})


def test_the_pages_example_runs_and_resumes(tmp_path: Path) -> None:
    source, typed = (re.search(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL) for kind in ("python", "sh"))
    assert source is not None
    assert typed is not None
    (tmp_path / "my_nets.py").write_text(source[1])
    setting, _, script, *arguments = typed[1].split()
    assert (setting, script) == ("PYTHONPATH=.", "train.py")
    tiny = ("mi=off", "data.p=7", "data.train_fraction=0.5", "train.threads=1", "log.every=10", *QUIET)
    finished(*arguments, *tiny, "train.steps=10", "hydra.run.dir=run", cwd=tmp_path, PYTHONPATH=".")
    again = [argument for argument in arguments if argument.startswith("model")]
    finished(*again, "hydra.run.dir=run", "train.resume=true", "train.steps=40", cwd=tmp_path, PYTHONPATH=".")
    last = rows(tmp_path / "run")[-1]
    assert last["step"] == 40
    assert {"WN/embedding", "grad_norm_bias/body.0", "num_dead_nrns_train/body.1"} <= last.keys()
    assert state(tmp_path / "run")["model"]["weights.embedding.weight"].shape == (7, 16)
