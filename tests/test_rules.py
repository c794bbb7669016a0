"""Muon and the rules of the config group `rules`, compared with plain loops over one network; stacks and resuming."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from builders import diverged, finish, member, task, trained, training, weights
from torch import Tensor

from grokplane import optim
from grokplane.models import MLP
from grokplane.optim import AdamW, Context, LinearWarmup, Muon
from grokplane.options import ConfigError
from grokplane.random import Counters
from grokplane.train import Member, Stack, check_stackable, run

STEPS, WINDOW = 100, 7
# Two strengths of each rule, for two members; a rule without a strength has the same entry twice.
RULES: dict[str, tuple[Any, Any]] = {
    "grokfast_ema": (optim.GrokfastEMA(0.9, 1.5), optim.GrokfastEMA(0.8, 0.5)),
    "grokfast_ma": (optim.GrokfastMA(WINDOW, 2.0), optim.GrokfastMA(WINDOW, 0.5)),
    "orthograd": (optim.OrthoGrad(), optim.OrthoGrad()),
    "initial_decay": (optim.InitialDecay(2.0), optim.InitialDecay(0.5)),
    "weight_noise": (optim.WeightNoise(0.05), optim.WeightNoise(0.01)),
    "update_noise": (optim.UpdateNoise(1e-3), optim.UpdateNoise(2e-3)),
    "sam": (optim.SAM(0.05), optim.SAM(0.2)),
    "constant_norm": (optim.ConstantNorm(0.8), optim.ConstantNorm(1.3)),
}
TOGETHER = ("grokfast_ema", "orthograd", "initial_decay", "weight_noise", "update_noise", "sam", "constant_norm")
EVERY = pytest.mark.parametrize("name", RULES)
Params = dict[str, Tensor]


def pair(*names: str, **parts: Any) -> list[Member]:
    """Two members with different seeds, rates, decays and strengths of these rules."""
    members = []
    for number, (seed, lr, decay) in enumerate([(3, 1e-3, 0.5), (5, 2e-3, 0.1)]):
        rules = {name: RULES[name][number] for name in names}
        optimizer = AdamW(lr=lr, weight_decay=decay)
        one = {"seed": seed, "optimizer": optimizer, "rules": rules, "schedule": LinearWarmup(20)}
        members.append(member(**(one | {"train": training(steps=STEPS)} | parts)))
    return members


# The plain loop -------------------------------------------------------------------------------------------------------


def forward(params: Params, tokens: Tensor) -> Tensor:
    x = params["input.embedding.weight"][tokens].sum(1)
    for number in range(3):
        x = x @ params[f"linears.{number}.weight"].T + params[f"linears.{number}.bias"]
        x = F.relu(x) if number < 2 else x
    return x


class Plain:
    """One member, one tensor after the other: torch's own cross-entropy and AdamW."""

    def __init__(self, one: Member) -> None:
        self.member, stack = one, Stack([one])
        self.params = {name: value[0].detach().clone().requires_grad_() for name, value in stack.parameters.items()}
        self.start = {name: value.detach().clone() for name, value in self.params.items()}
        subset = stack.examples.train
        self.tokens, self.labels = subset.inputs()[0], subset.targets[0]
        self.memory: dict[str, Any] = {}
        self.step = 0

    def slopes(self, params: Params) -> Params:
        leaves = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
        F.cross_entropy(forward(leaves, self.tokens), self.labels).backward()
        return {name: value.grad for name, value in leaves.items() if value.grad is not None}

    def noise(self, stream: str, name: str, like: Tensor) -> Tensor:
        return Counters([self.member.seed], f"{stream} {name}").normal(self.step, like.shape)[0].to(like.dtype)

    @property
    def rate(self) -> float:
        return self.member.optimizer.lr * min(1.0, (self.step + 1) / 20)


def grokfast_ema(it: Plain, rule: optim.GrokfastEMA, grads: Params) -> Params:
    mean = it.memory.setdefault("mean", grads)
    if it.step:
        it.memory["mean"] = mean = {n: rule.alpha * mean[n] + (1 - rule.alpha) * g for n, g in grads.items()}
    return {n: g + rule.lamb * mean[n] for n, g in grads.items()}


def grokfast_ma(it: Plain, rule: optim.GrokfastMA, grads: Params) -> Params:
    ring = it.memory.setdefault("ring", deque(maxlen=rule.window))
    ring.append(grads)
    if len(ring) < rule.window:
        return grads
    return {n: g + rule.lamb * sum(past[n] for past in ring) / rule.window for n, g in grads.items()}


def orthograd(it: Plain, rule: optim.OrthoGrad, grads: Params) -> Params:  # noqa: ARG001 (one form for all)
    found = {}
    for n, g in grads.items():
        w = it.params[n].detach()
        rest = g - (w * g).sum() / (w * w).sum() * w
        found[n] = rest * g.norm() / rest.norm()
    return found


def initial_decay(it: Plain, rule: optim.InitialDecay, grads: Params) -> Params:
    with torch.no_grad():
        for n, w in it.params.items():
            w -= it.rate * rule.strength * (w - it.start[n])
    return grads


def weight_noise(it: Plain, rule: optim.WeightNoise, grads: Params) -> Params:  # noqa: ARG001 (one form for all)
    return it.slopes({n: w + rule.sigma * it.noise("weight noise", n, w) for n, w in it.params.items()})


def sam(it: Plain, rule: optim.SAM, grads: Params) -> Params:
    norm = math.sqrt(sum(float((g * g).sum()) for g in grads.values()))
    return it.slopes({n: w + rule.rho * grads[n] / norm for n, w in it.params.items()})


def update_noise(it: Plain, rule: optim.UpdateNoise) -> None:
    for n, w in it.params.items():
        w += rule.sigma * it.noise("update noise", n, w)


def constant_norm(it: Plain, rule: optim.ConstantNorm) -> None:
    def norm(params: Params) -> float:
        return math.sqrt(sum(float((w * w).sum()) for w in params.values()))

    scale = rule.alpha * norm(it.start) / norm(it.params)
    for w in it.params.values():
        w *= scale


BEFORE: dict[str, Callable[..., Params]] = {
    "grokfast_ema": grokfast_ema,
    "grokfast_ma": grokfast_ma,
    "orthograd": orthograd,
    "initial_decay": initial_decay,
    "weight_noise": weight_noise,
    "sam": sam,
}
AFTER: dict[str, Callable[..., None]] = {"update_noise": update_noise, "constant_norm": constant_norm}


def plain(one: Member) -> Params:
    it = Plain(one)
    lr, decay = one.optimizer.lr, one.optimizer.weight_decay  # type: ignore[attr-defined]
    optimizer = torch.optim.AdamW(it.params.values(), lr=lr, weight_decay=decay)
    for it.step in range(one.train.steps):
        grads = it.slopes(it.params)
        for name in one.rules:
            grads = BEFORE[name](it, one.rules[name], grads) if name in BEFORE else grads
        for name, value in it.params.items():
            value.grad = grads[name]
        optimizer.param_groups[0]["lr"] = it.rate
        optimizer.step()
        with torch.no_grad():
            for name in one.rules:
                if name in AFTER:
                    AFTER[name](it, one.rules[name])
    return it.params


@pytest.mark.parametrize("names", [(), *((name,) for name in RULES), ("orthograd", "constant_norm")], ids=str)
def test_100_steps_end_where_a_plain_loop_ends(names: tuple[str, ...]) -> None:
    members = pair(*names)
    together, without = trained(*members), trained(*pair())
    for number, one in enumerate(members):
        for name, expected in plain(one).items():
            ours = together.parameters[name][number].detach()
            torch.testing.assert_close(ours, expected.detach(), rtol=0, atol=1e-7)
        changed = (weights(together, number) - weights(without, number)).abs().max()
        assert bool(changed > 1e-4) == bool(names)


@pytest.mark.parametrize("names", [("sam", "weight_noise"), ("weight_noise", "sam")], ids=str)
def test_both_passes_of_sam_have_the_steps_one_noise_in_either_order(names: tuple[str, ...]) -> None:
    """g2 = g(w + n + rho g1 / |g1|) with g1 = g(w + n), whichever of the two is outermost."""
    (one,) = pair(*names, train=training(steps=1))[:1]
    one = replace(one, schedule=optim.Constant(), optimizer=optim.SGD(lr=1.0))
    it, noise, rise = Plain(one), one.rules["weight_noise"], one.rules["sam"]
    assert isinstance(noise, optim.WeightNoise)
    assert isinstance(rise, optim.SAM)
    noisy = {n: w.detach() + noise.sigma * it.noise("weight noise", n, w) for n, w in it.params.items()}
    first = it.slopes(noisy)
    norm = math.sqrt(sum(float((g * g).sum()) for g in first.values()))
    slopes = it.slopes({n: w + rise.rho * first[n] / norm for n, w in noisy.items()})
    stack = trained(one)
    for n, w in it.params.items():
        torch.testing.assert_close(stack.parameters[n][0].detach(), w.detach() - slopes[n], rtol=0, atol=1e-12)


class Telling(optim.Rule):
    """A rule that records when its wrapper of the backward pass begins and ends."""

    heard: list[str]

    def __init__(self, context: Context, name: str) -> None:
        super().__init__(context)
        self.name = name

    def around(self, step: int, backward: Callable[[], Tensor]) -> Callable[[], Tensor]:  # noqa: ARG002
        def told() -> Tensor:
            self.heard.append(self.name)
            losses = backward()
            self.heard.append(f"/{self.name}")
            return losses

        return told


@dataclass(frozen=True)
class Tells:
    """A choice of the config group."""

    name: str

    @classmethod
    def stacked(cls, choices: Sequence[Tells], context: Context) -> optim.Rule:
        """A choice that records."""
        return Telling(context, choices[0].name)


def test_the_first_rule_of_the_list_is_outermost(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(Telling, "heard", heard, raising=False)
    trained(member(rules={"one": Tells("one"), "two": Tells("two")}, train=training(steps=1)))
    assert heard == ["one", "two", "/two", "/one"]


# Muon -----------------------------------------------------------------------------------------------------------------


def muons(steps: int = STEPS, **keys: Any) -> list[Member]:
    return [
        replace(one, optimizer=Muon(lr=lr, weight_decay=decay, adamw_lr=adamw, **keys))
        for one, lr, decay, adamw in zip(
            pair(train=training(steps=steps)), (0.02, 0.005), (0.1, 0.0), (1e-3, 3e-3), strict=True
        )
    ]


def newton_schulz(matrix: Tensor) -> Tensor:
    """Five quintic iterations on one matrix."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def plain_muon(one: Member, nesterov: bool) -> Params:
    it, choice = Plain(one), one.optimizer
    assert isinstance(choice, Muon)
    hidden = ["linears.0.weight", "linears.1.weight"]
    rest = [value for name, value in it.params.items() if name not in hidden]
    adamw = torch.optim.AdamW(rest, weight_decay=choice.weight_decay)
    momentum = {name: torch.zeros_like(it.params[name]) for name in hidden}
    for it.step in range(one.train.steps):
        grads = it.slopes(it.params)
        for name, value in it.params.items():
            value.grad = grads[name]
        with torch.no_grad():
            for name in hidden:
                w, g = it.params[name], grads[name]
                momentum[name] = 0.95 * momentum[name] + 0.05 * g
                update = newton_schulz(0.05 * g + 0.95 * momentum[name] if nesterov else momentum[name])
                w *= 1 - it.rate * choice.weight_decay
                w -= it.rate * max(1, w.shape[0] / w.shape[1]) ** 0.5 * update
        adamw.param_groups[0]["lr"] = it.rate * choice.adamw_lr / choice.lr
        adamw.step()
    return it.params


@pytest.mark.parametrize("nesterov", [True, False])
def test_100_steps_of_muon_end_where_a_plain_loop_ends(nesterov: bool) -> None:
    members = muons(nesterov=nesterov)
    together = trained(*members)
    for number, one in enumerate(members):
        for name, expected in plain_muon(one, nesterov).items():
            ours = together.parameters[name][number].detach()
            torch.testing.assert_close(ours, expected.detach(), rtol=0, atol=1e-6)


def test_one_muon_step_is_that_of_torch_optim() -> None:
    """torch's own iterates in bfloat16, of three digits; so one step, to two digits of the update."""
    (one,) = muons(steps=1)[:1]
    one = replace(one, schedule=optim.Constant())
    it, stack = Plain(one), trained(one)
    grads = it.slopes(it.params)
    for name in ("linears.0.weight", "linears.1.weight"):
        weight = it.params[name]
        weight.grad = grads[name]
        torch.optim.Muon([weight], lr=0.02, weight_decay=0.1).step()
        ours, theirs = stack.parameters[name][0].detach(), weight.detach()
        assert (ours - theirs).norm() < 0.03 * (theirs - it.start[name]).norm()


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    from grokplane.optim.muon import orthogonalised

    drawn = torch.randn(3, 12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = torch.linalg.svdvals(orthogonalised(drawn, 5))
    assert bool(((values > 0.6) & (values < 1.3)).all())


def test_muon_needs_a_hidden_matrix() -> None:
    one = replace(muons()[0], model=MLP(hidden=[8], embedding="onehot"))
    with pytest.raises(ConfigError, match="optimizer=muon: needs a hidden matrix"):
        Stack([one])


# Stacks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [*((name,) for name in RULES), TOGETHER], ids=str)
def test_a_stacked_member_equals_its_solo_run(names: tuple[str, ...]) -> None:
    members = pair(*names, train=training(steps=50, batch_size=9))
    together = trained(*members)
    for number, one in enumerate(members):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-8)


def test_a_stacked_muon_equals_its_solo_run() -> None:
    members = muons(steps=50)
    together = trained(*members)
    for number, one in enumerate(members):
        torch.testing.assert_close(weights(together, number), weights(trained(one)), rtol=0, atol=1e-8)


def without(*names: str) -> tuple[str, ...]:
    """All other rules, in an order in which they can be combined."""
    return tuple(name for name in RULES if name not in names)


BUILDS: dict[str, Callable[[], list[Member]]] = {
    "moving average": lambda: pair(*without("grokfast_ema")),
    "exponential": lambda: pair(*without("grokfast_ma")),
    "muon": muons,
}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_a_state_taken_mid_way_goes_on_bit_identically(build: Callable[[], list[Member]]) -> None:
    members = build()
    whole, first, second = trained(*members), Stack(members), Stack(members)
    for point in run(first, stop=lambda: first.step == 33):
        if point.interrupted:
            second.load_states([first.state(number) for number in range(2)])
    assert second.step == 33
    finish(second)
    for name, value in whole.parameters.items():
        assert torch.equal(second.parameters[name], value)


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_a_stopped_member_keeps_all_that_is_saved_of_it(build: Callable[[], list[Member]]) -> None:
    stack = Stack(build())
    for point in run(stack, stop=lambda: stack.step == 30):
        if point.interrupted:
            stack.alive[1] = False
    before = [stack.state(number) for number in range(2)]
    finish(stack)
    for part in ("model", "optimizer", "rules"):
        assert same(stack.state(1)[part], before[1][part])
        assert not same(stack.state(0)[part], before[0][part]) or not before[0][part]


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal; "step" counts the stack's updates."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one if key != "step")
    return torch.equal(one, other)


def test_a_diverging_member_changes_no_bit_of_the_others() -> None:
    well = pair(*without("grokfast_ema", "constant_norm"), train=training(steps=20))
    wild = replace(well[1], optimizer=AdamW(lr=1e200))
    ill, healthy = trained(well[0], wild, well[1]), trained(*well)
    assert diverged(ill)[1] > 0
    assert ill.rows == [0, 2]  # it was taken out on the way
    for number, other in ((0, 0), (2, 1)):
        assert ill.state(number)["diverged"] == -1
        assert torch.equal(weights(ill, number), weights(healthy, other))


@EVERY
def test_strengths_are_stackable_and_the_window_is_not(name: str) -> None:
    check_stackable(pair(name))
    if name == "grokfast_ma":
        one, other = pair(name)
        with pytest.raises(ConfigError, match=r"rules.grokfast_ma.window=9: members of one stack"):
            check_stackable([one, replace(other, rules={name: optim.GrokfastMA(9)})])


def test_members_with_other_rules_are_no_stack() -> None:
    with pytest.raises(ConfigError, match="members of one stack cannot differ"):
        check_stackable([pair("sam")[0], pair("orthograd")[1]])


def test_two_grokfast_filters_are_refused() -> None:
    with pytest.raises(ConfigError, match="one Grokfast filter"):
        pair("grokfast_ema", "grokfast_ma")


def test_noise_behind_a_held_norm_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rules=\[constant_norm,update_noise\]: constant_norm must come after"):
        pair("constant_norm", "update_noise")


def test_a_memory_of_gradients_beyond_memory_is_refused() -> None:
    one = replace(pair("sam")[0], rules={"grokfast_ma": optim.GrokfastMA(10**12)})
    with pytest.raises(ConfigError, match=r"rules.grokfast_ma.window=1000000000000: a memory of 1000000000000 grad"):
        Stack([one])


def test_orthograd_leaves_nothing_of_the_gradient_of_a_single_number() -> None:
    value = torch.nn.Parameter(torch.tensor([[0.3], [-2.0]], dtype=torch.float64))
    rule = optim.OrthoGrad.stacked([optim.OrthoGrad()] * 2, Context({"bias": value}, [0, 1], lambda _: [1.0, 1.0]))
    value.grad = torch.tensor([[0.7], [1e-9]], dtype=torch.float64)
    with torch.no_grad():
        rule.before(0, 1.0)
    assert value.grad.tolist() == [[0.0], [0.0]]


def test_decay_to_the_start_uses_each_parameters_own_rate() -> None:
    rules = {"initial_decay": optim.InitialDecay(1.0)}
    muon = Muon(lr=0.0, adamw_lr=0.1, weight_decay=0.0)
    stack = Stack([replace(one, rules=rules, optimizer=muon) for one in pair()[:1]])
    start = {name: value.detach().clone() for name, value in stack.parameters.items()}
    with torch.no_grad():
        for value in stack.parameters.values():
            value.add_(1.0)
        stack.rules["initial_decay"].before(0, 0.5)
    for name, value in stack.parameters.items():
        expected = 1.0 if name in ("linears.0.weight", "linears.1.weight") else 0.95
        torch.testing.assert_close(value.detach() - start[name], torch.full_like(value, expected))


def test_the_norm_is_held_from_the_first_update_on() -> None:
    stack = Stack(pair("constant_norm", data=task(train_fraction=0.4)))
    start = [float(weights(stack, number).norm()) for number in range(2)]
    for _ in run(stack, stop=lambda: stack.step == 1):
        pass
    held = [float(weights(stack, number).norm()) for number in range(2)]
    assert held == pytest.approx([0.8 * start[0], 1.3 * start[1]], rel=1e-12)
