"""E copies of an ordinary nn.Module as one stack, through torch.func: parameters and buffers get a member axis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from grokplane.derivatives import transformed
from grokplane.models.base import PARTS, StackedModel, Tap
from grokplane.models.mixing import mixes
from grokplane.models.trials import Make
from grokplane.models.watch import Layers, Watch
from grokplane.options import ConfigError
from grokplane.random import generator

Tensors = dict[str, Tensor]


@contextmanager
def seeded(random: torch.Generator, device: torch.device | None = None) -> Iterator[None]:
    """A block in which torch's global generators start from this one's seed; afterwards their states are restored."""
    with torch.random.fork_rng([device] if device is not None and device.type == "cuda" else []):
        torch.manual_seed(random.initial_seed())  # off the CPU, where all 64 bits are used
        torch.set_rng_state(random.get_state())
        yield


class StackedModule(StackedModel):
    """E modules of one class, each with its own parameters and buffers.

    Parameters are named as in the module, after "weights."; a parameter that requires no gradient is a buffer here.
    Layers are named by their path in the module ("body.0"). A single member runs without vmap and may draw random
    numbers: torch's global generators start every step from (seed, step), and are restored afterwards.

    Args:
        members: E.
        make: builds one module from the generator of its initial weights and the dtype of its parameters.
        points: some of the task's points [N, ...], with which the module may be tried.
    """

    def __init__(self, members: int, make: Make, points: Tensor) -> None:
        super().__init__()
        self._members, self._make, self._points = members, make, points
        self._mixes: dict[bool, bool] = {}
        self._seeds, self._step = [0] * members, 0
        self._use(make(generator(0, "trial"), torch.get_default_dtype()))
        self.weights = nn.Module()
        trained, others = _split(self._plain)
        for name, value in trained.items():
            place, leaf = owner(self.weights, name)
            place.register_parameter(leaf, nn.Parameter(_repeated(value, members)))
        for name, value in others.items():
            place, leaf = owner(self.weights, name)
            place.register_buffer(leaf, _repeated(value, members))

    def _use(self, module: nn.Module) -> None:
        """Use this module's forward pass. It is stored in a tuple, so that its own parameters are not registered."""
        for layer in module.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # a tap needs the input
        self._held = (module.train(self.training),)

    @property
    def _plain(self) -> nn.Module:
        return self._held[0]

    def forward(self, encoded: Tensor, tap: Tap | None = None) -> Tensor:
        """Outputs [E, B, C]. Buffers change only in training, and not under torch.func, which needs pure functions."""
        buffers = {name: value.clone() for name, value in self.weights.named_buffers()}
        watch = Watch(encoded.shape[1])
        watching = nullcontext() if tap is None else watch.on(self._plain)
        with watching, self._randomness(encoded.device), _slow_path():
            outputs, layers, after = self._call(buffers, encoded, watch)
        if self.training and not transformed():
            with torch.no_grad():
                for name, value in self.weights.named_buffers():
                    value.copy_(after[name])
        if tap is not None:
            for name, values in layers.items():
                tap(name, values[0], values[-1], name in watch.exact_zeros)
        return outputs

    def _call(self, buffers: Tensors, encoded: Tensor, watch: Watch) -> tuple[Tensor, Layers, Tensors]:
        """Outputs, watched values, and the buffers after the forward pass, all with the member axis."""

        def one(parameters: Tensors, buffers: Tensors, inputs: Tensor) -> tuple[Tensor, Layers, Tensors]:
            watch.seen.clear()
            state = parameters | buffers
            outputs = functional_call(self._plain, state, (inputs,))  # stores replaced buffers in `state`
            return outputs, dict(watch.seen), {name: state[name] for name in buffers}

        parameters: Tensors = dict(self.weights.named_parameters())
        if self._members > 1:
            return vmap(one, randomness="error")(parameters, buffers, encoded)
        outputs, layers, after = one(_only(parameters), _only(buffers), encoded.squeeze(0))
        return (
            outputs[None],
            {name: tuple(value[None] for value in values) for name, values in layers.items()},
            {name: value[None] for name, value in after.items()},
        )

    def _randomness(self, device: torch.device) -> Any:
        if self._members > 1:  # vmap refuses random operations
            return nullcontext()
        return seeded(generator(self._seeds[0], "module", self._step), device)

    def pad(self, real: Tensor | None, training: bool) -> None:
        """Refuse padding for a module that mixes the points of a batch, because padding would be mixed in too.

        Raises:
            ConfigError: members with unequal numbers of points, and a module with batch statistics or similar.
        """
        super().pad(real, training)
        if real is None or bool(real.all()) or not self.mixes(training):
            return
        why = "members have unequal training subsets and the module mixes the points of a batch (batch norm, say)"
        if training:
            raise ConfigError("train.batch_size", "full", f"must be a number where {why}")
        name, why = type(self._plain).__name__, "mixes the points of a batch outside of training too"
        remedy = "train members of unequal subsets one by one (hydra.launcher.max_members=1)"
        raise ConfigError("model.module", name, f"{why}: {remedy}")

    def mixes(self, training: bool) -> bool:
        """See `StackedModel.mixes`; determined by a trial."""
        if training not in self._mixes:
            self._mixes[training] = mixes(self._make, self._points, training)
        return self._mixes[training]

    def at(self, step: int) -> None:
        """Set the step whose random numbers a single member draws."""
        super().at(step)
        self._step = step

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode, also in the module whose forward pass is used."""
        self._plain.train(mode)
        return super().train(mode)

    def hidden(self) -> list[str]:
        """The weights of linear layers, except for the first and the last module that has parameters."""
        inner = list(self._owned())[1:-1]
        linear = [path for path in inner if isinstance(self._plain.get_submodule(path), nn.Linear)]
        return [f"weights.{path}.weight" for path in linear if "weight" in self._owned()[path]]

    def parts(self) -> dict[str, list[str]]:
        """See `StackedModel.parts`; the part is the attribute of the module that holds the parameter."""
        held = {name: name.split(".")[1] for name, _ in self.named_parameters()}
        if "read_out" not in held.values():
            allowed = (
                "needs a module whose attributes name its parts: read_out for the last layer, embedding and positions "
                f"for the tokens; this one has {', '.join(dict.fromkeys(held.values()))}"
            )
            raise ConfigError("optimizer", "by_group", allowed)
        named = {"embedding": "embedding", "positions": "embedding", "read_out": "read_out"}
        return {one: [name for name, at in held.items() if named.get(at, "hidden") == one] for one in PARTS}

    def layers(self) -> dict[str, dict[str, nn.Parameter]]:
        """The own parameters of every module that has some, by its path; the outermost module by its class's name."""
        return {path or type(self._plain).__name__: roles for path, roles in self._owned().items()}

    def _owned(self) -> dict[str, dict[str, nn.Parameter]]:
        """Each module's own parameters by path; a parameter that several modules share belongs to the first one."""
        found: dict[str, dict[str, nn.Parameter]] = {}
        for name, parameter in self.weights.named_parameters():
            path, _, role = name.rpartition(".")
            found.setdefault(path, {})[role] = parameter
        return found

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:  # noqa: ARG002 (modules draw their own)
        """Set one member's weights and buffers to those of a module built from its own seed."""
        self._seeds[member] = generator.initial_seed()
        module = self._make(generator, next(self.parameters()).dtype)
        if member == 0:
            self._use(module)  # its attributes besides parameters and buffers have the right dtype too
        trained, others = _split(module)
        stacked = dict(self.weights.named_parameters()) | dict(self.weights.named_buffers())
        for name, value in (trained | others).items():
            stacked[name][member] = value


@contextmanager
def _slow_path() -> Iterator[None]:
    """A block in which attention and encoder layers of torch.nn use the same code in evaluation as in training.

    Their fast path for evaluation has no derivative under vmap, and its round-off depends on the size of the stack.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _split(module: nn.Module) -> tuple[Tensors, Tensors]:
    """The trained parameters, and the rest of the state: buffers and parameters that require no gradient."""
    parameters = dict(module.named_parameters())
    trained = {name: value.detach() for name, value in parameters.items() if value.requires_grad}
    fixed = {name: value.detach() for name, value in parameters.items() if not value.requires_grad}
    return trained, fixed | dict(module.named_buffers())


def _only(stacked: Tensors) -> Tensors:
    return {name: value.squeeze(0) for name, value in stacked.items()}


def _repeated(value: Tensor, members: int) -> Tensor:
    return value.expand(members, *value.shape).clone()


def owner(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that owns the tensor with this dotted name, created if it is missing; and the name's last part."""
    *path, leaf = name.split(".")
    for part in path:
        if part not in dict(root.named_children()):
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    return root, leaf
