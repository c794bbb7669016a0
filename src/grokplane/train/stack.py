"""A stack of members: the state that training changes, built from the members and saved as plain dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from grokplane import data, models
from grokplane.metrics import Gauge
from grokplane.optim import Context, Factor, Kept, with_rates_times
from grokplane.options import ConfigError
from grokplane.train import parts, starts
from grokplane.train.device import find_device
from grokplane.train.grok import GrokMarks
from grokplane.train.hooks import Hooks
from grokplane.train.member import Member, check_stackable
from grokplane.train.process import check_process_facts, process_facts
from grokplane.train.tracker import Tracker
from grokplane.unread import Surroundings, unread


class Stack:
    """Members in training: E of them, until one is over and `narrow` removes it.

    Attributes:
        members: all members, including those that are over; they may differ in stackable keys.
        rows: the member of each row [E] of all tensors, in ascending order.
        step: number of updates done.
        network, optimizer, examples: networks, optimizer and data of these rows, each with the member axis.
        point: bytes that one point of all rows takes.
        loss: the loss of each point, of outputs [E, B, ...] and targets [E, B, ...]: [E, B].
        batch_buffer: memory into which minibatches are gathered [E, B, ...]; None on a GPU and for full batches.
        buffers: state that the network's forward pass changes in training and that a checkpoint holds, [E, ...].
        rules: rules that extend the plain update, by name, in the order of the config.
        gauge: measures mutual information at log points; None if the config asks for none.
        alive: members that are still updated [E], bool, on the device; changed in place.
        diverged: first step whose training loss was not finite [E] int64, -1 if none; on the device, changed in place.
        factor: factor of the schedule on every learning rate in the present step.
        initial: the initial parameters [E, ...] by name; empty unless a metric needs them.
        tracker: extremes between log points; None unless a metric needs them.
        begun: whether all members have their first weights: those of the seed or, after `start` or `train.branch`, of
            other runs.
        marks, hooks: when each member fitted and generalised, and the hooks of its callbacks, including members that
            are over.

    Threads and other settings of the process stay as they are; `prepare_process` sets them, also for `load_states`.

    Raises:
        ConfigError: members that cannot be trained, or cannot be trained as one stack.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        check_stackable(members)
        options = members[0].train
        self.members = list(members)
        self.rows = list(range(len(members)))
        self.step = 0
        self.dtype: torch.dtype = getattr(torch, options.dtype)
        self.device = find_device(options.device)
        self.hooks = Hooks(members)
        self._over: dict[int, dict[str, Any]] = {}
        self.begun = not any(starts.elsewhere(members))
        self._build()
        self.marks = [
            GrokMarks(parts={name: GrokMarks() for name in self.examples.parts}, lasting=member.grok.lasting())
            for member in members
        ]
        self.gauge = self._measured()

    def _build(self) -> None:
        """Build everything that has the member axis, with initial weights."""
        members = self.present
        options = members[0].train
        examples = [member.examples() for member in members]
        self.examples = data.stack(examples, self.device, self.dtype)
        parts.check_readable(members[0], self.examples.answers)
        parts.check_group(members[0], self.examples)
        self.loss = self.examples.answers.loss(members[0].loss)
        members[0].grok.check(self.examples.held_out)
        self.batches = parts.streams(members, self.examples)
        self.batch_buffer = parts.buffer(self.examples.train.values, len(members), options.batch_size)
        choices, seeds = [member.model for member in members], [member.seed for member in members]
        self.network = models.build(choices, parts.signature(self.examples), seeds, self.dtype).to(self.device)
        for table in {id(one.table): one.table for one in examples}.values():
            self.network.check(table.inputs, table.targets)
        self.point = parts.point_bytes(self.network, self.examples.train.inputs(slice(0, 1)))
        parts.check_outputs(members[0], self.point.shape, self.examples.answers)
        self.network.pad(self.examples.train.mask if self.batches is None else None, training=True)
        for subset in self.examples.subsets.values():  # errors of the forward pass are raised here
            self.network.pad(subset.mask, training=False)
        self.network.pad(None, training=False)
        self.parameters = dict(self.network.named_parameters())
        self.initial = self._weights() if starts.initial_needed(members[0]) else {}
        optimizers = [with_rates_times(one.optimizer, getattr(one.model, "lr_factor", 1.0)) for one in members]
        saved = self.network.state_dict()
        self.buffers = [saved[name] for name in saved if name not in self.parameters]
        kind: Any = type(optimizers[0])
        named = self._parts()
        also = {"parts": named} if named else {}
        self.optimizer = kind.stacked(optimizers, self.parameters, self.network.hidden(), **also)
        started, carried = starts.elsewhere(members), starts.carried(members)
        rates, layers, groups = self.optimizer.rates_of, self.network.layer_names, self.examples.operand_groups
        matrices = self.network.matrices()
        context = Context(self.parameters, seeds, rates, started, carried, layers, groups, matrices)
        self.rules = {
            name: type(choice).stacked([member.rules[name] for member in members], context)
            for name, choice in members[0].rules.items()
        }
        self.alive = torch.ones(len(members), dtype=torch.bool, device=self.device)
        self.diverged = torch.full((len(members),), -1, device=self.device)
        on_cpu = self.device.type == "cpu"
        self.factor: Factor = 1.0 if on_cpu else torch.ones((), dtype=torch.float64, device=self.device)
        self._clock = torch.zeros((), dtype=torch.int64, device=self.device)
        self.tracker = self._tracked()

    def _parts(self) -> dict[str, list[str]]:
        """The names of the network's parameters by part; empty if the optimizer does not need them."""
        needed = any(getattr(member.optimizer, "needs_parts", False) for member in self.present)
        return self.network.parts() if needed else {}

    def _measured(self) -> Gauge | None:
        return self.present[0].mi.gauge(parts.inputs(self.examples, self.present, self.network))

    @property
    def shared(self) -> Member:
        """The first member, for keys that all members share: every key that is not stackable."""
        return self.members[0]

    @property
    def present(self) -> list[Member]:
        """The members of the rows."""
        return [self.members[number] for number in self.rows]

    def start(self, states: Sequence[Mapping[str, Any] | None]) -> None:
        """Begin with the weights of other runs, before the first step.

        With `train.start_with=weights_and_optimizer` the members also go on with the memory of the optimizers and the
        rules. Step, schedule, batches and marks begin at 0.

        Args:
            states: for each member with `train.start_from` the state of that run, as `state` returned it; None for all
                others.

        Raises:
            ValueError: states for other members than those with `train.start_from`.
            ConfigError: a state that does not fit the network, the optimizer or the rules.
        """
        if [state is not None for state in states] != starts.started(self.members):
            raise ValueError("a state is needed for each member with train.start_from, and for no other")
        if any(starts.branched(self.members)):
            raise ValueError("members with train.branch_from begin with train.branch")
        starts.load_weights(self.network, self.members, states)
        if any(starts.carried(self.members)):
            starts.load_memory(self.optimizer, self.rules, self.members, states)
        self.remember_initial()
        self.begun = True

    def remember_initial(self) -> None:
        """Take the present weights for the initial ones, where rules or metrics need those."""
        for rule in self.rules.values():
            rule.begin()
        self.initial = self._weights() if self.initial else {}

    def _weights(self) -> dict[str, Tensor]:
        """A copy of all parameters [E, ...] by name."""
        return {name: value.detach().clone() for name, value in self.parameters.items()}

    def check_begun(self) -> None:
        """Raise ConfigError for members with `train.start_from` or `branch_from` whose stack has no states yet."""
        if not self.begun:
            where = next(
                one.train for one, there in zip(self.members, starts.elsewhere(self.members), strict=True) if there
            )
            key, how = ("start_from", "Stack.start") if where.branch_from is None else ("branch_from", "train.branch")
            allowed = f"training reads no files; give {how} the state of that run first"
            raise ConfigError(f"train.{key}", getattr(where, key), allowed)

    def narrow(self) -> None:
        """Remove the members that are not alive from all tensors, so that they cost nothing more.

        `state` still returns their last state. For members that are alive only round-off can change: torch sums a
        single row in another order than several rows, and rounds the last elements of a tensor differently.
        """
        kept = torch.nonzero(self.alive).flatten().tolist()
        states = {number: self.state(number) for number in self.rows}
        self.rows = [self.rows[row] for row in kept]
        self._over |= {number: state for number, state in states.items() if number not in self.rows}
        read = self.tracker is not None and self.tracker.read
        self._build()
        self._take_up([states[number] for number in self.rows])
        if self.tracker is not None:
            self.tracker.read = read
        gauge = self._measured()
        if gauge is not None and self.gauge is not None:
            gauge.succeed(self.gauge, kept)
        self.gauge = gauge

    @property
    def unread(self) -> dict[str, str]:
        """Config keys that have no effect for any of these members, and why."""
        examples = self.examples
        vectors = parts.signature(examples).given == "vectors"
        around = Surroundings(
            features=examples.shape.numel() if vectors else None,
            numbers=not examples.answers.labelled,
            sequences=examples.answers.positions is not None,
            own_noise=all(getattr(member.model, "noise_measured", False) for member in self.members),
            noise_looked_at=self.gauge is not None and not self.gauge.noiseless,
            on_cpu=self.device.type == "cpu",
            parts=[name for name, parameters in self._parts().items() if parameters],
        )
        first, *others = (unread(member, around) for member in self.members)
        return {key: why for key, why in first.items() if all(key in other for other in others)}

    @property
    def capturable(self) -> bool:
        """Whether a step can be captured as a CUDA graph."""
        parts = self.network, self.optimizer, *self.rules.values()
        return self.device.type == "cuda" and all(part.capturable for part in parts)

    def at(self, step: int) -> None:
        """Set the step in all parts that depend on it, also on the device, where a captured step reads it."""
        self._clock.fill_(step)
        self.network.at(step)
        for rule in self.rules.values():
            rule.at(step)
        factor = self.shared.schedule(step, self.shared.train.steps)
        if isinstance(self.factor, Tensor):
            self.factor.fill_(factor)
        else:
            self.factor = factor

    def mark_diverged(self, lost: Tensor) -> None:
        """Record that the living among these members [E], bool, diverged in the step that was passed to `at`."""
        lost = lost.to(self.device) & self.alive
        self.diverged.copy_(torch.where(lost, self._clock, self.diverged))
        self.alive.logical_and_(~lost)

    def _tracked(self) -> Tracker | None:
        """The tracker of new members, if a metric needs one."""
        metric: Any = next((one for one in self.shared.metrics.values() if getattr(one, "tracks", False)), None)
        if metric is None:
            return None
        parameters = [value.detach() for value in self.parameters.values()]
        last = [value.detach() for value in list(self.network.layers().values())[-1].values()]
        return Tracker(parameters, last, metric.jump, self.alive)

    def keep(self) -> Kept:
        """Copy what an update changes, so that the values of members that die in the update can be restored."""
        values = [value.detach() for value in self.parameters.values()] + self.buffers
        values += [] if self.tracker is None else list(self.tracker.values.values())
        for rule in self.rules.values():
            values += rule.changing(self.step)
        return Kept([*((value, self.alive) for value in values), *self.optimizer.masked(self.alive)])

    def steps(self) -> list[int]:
        """Updates done for each row's member: those of the stack, or those before its loss became non-finite."""
        return [diverged if diverged >= 0 else self.step for diverged in self.diverged.tolist()]

    def state(self, member: int) -> dict[str, Any]:
        """A copy of everything that one member needs to resume: plain dicts of CPU tensors and numbers.

        "step" is the stack's step, or for a removed member the step at which it was removed.
        """
        if member in self._over:
            return self._over[member]
        row = self.rows.index(member)
        return {
            "step": self.step,
            **process_facts(),
            "model": {name: value[row].cpu().clone() for name, value in self.network.state_dict().items()},
            "optimizer": self.optimizer.state(row),
            "rules": {name: rule.state(row) for name, rule in self.rules.items()},
            "callbacks": self.hooks.state(member, self.step),
            "alive": bool(self.alive[row]),
            "diverged": int(self.diverged[row]),
            **self.marks[member].state(),
            **starts.initial_state(self.members[member], self.initial, row),
            **({} if self.tracker is None else self.tracker.state(row)),
        }

    @property
    def state_bytes(self) -> int:
        """Approximate bytes of the states of all members."""
        remembered = [value for value, _ in self.optimizer.masked(self.alive)]
        of_rules = [value for rule in self.rules.values() for named in rule.saved.values() for value in named.values()]
        return sum(value.nbytes for value in (*self.network.state_dict().values(), *remembered, *of_rules))

    def load_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Resume from states that `state` returned.

        Args:
            states: one per member, all of the same step, except those of members that were over before.

        Raises:
            ValueError: the states are of different steps.
            ConfigError: see `check_process_facts`.
        """
        check_process_facts(states, self.shared.seed)
        self.step = max(state["step"] for state in states)
        over = {number: dict(s) for number, s in enumerate(states) if s["step"] < self.step and not s["alive"]}
        steps = {state["step"] for number, state in enumerate(states) if number not in over}
        if len(steps) != 1:
            raise ValueError(f"the members' states must be of one step, but are of steps {sorted(steps)}")
        if over:
            self._over, self.rows = over, [number for number in self.rows if number not in over]
            self._build()
            self.gauge = self._measured()
        self._take_up([states[number] for number in self.rows])
        self.begun = True
        self.hooks.load_states(states)
        # The loop logs this step again. It also marks the living again if this run has a log point there.
        marks = [GrokMarks.of(state, self.examples.parts) for state in states]
        for one, member in zip(marks, self.members, strict=True):
            if one.lasting is not None and not one.lasting.fits(member.grok.lasting()):
                one.lasting = None  # the earlier log points were not marked at these thresholds
        self.marks = [
            one.before(self.step) if state["alive"] else one for one, state in zip(marks, states, strict=True)
        ]

    def _take_up(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Restore the rows' members from states that `state` returned."""
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                value.copy_(torch.stack([state["model"][name] for state in states]))
        self.optimizer.load_states([state["optimizer"] for state in states])
        for name, rule in self.rules.items():
            rule.load_states([state["rules"][name] for state in states])
        if self.tracker is not None:
            self.tracker.load_states(states)
        starts.load_initial(self.initial, [self.members[number] for number in self.rows], states)
        self.alive.copy_(torch.tensor([state["alive"] for state in states]))
        self.diverged.copy_(torch.tensor([state["diverged"] for state in states]))

    def positions(self, start: int, stop: int) -> Tensor | None:
        """Each step's points [stop - start, E, B] in the members' training subsets, on the device; None: all points."""
        if self.batches is None:
            return None
        found = torch.stack([stream.indices(start, stop) for stream in self.batches], 1)
        return found.to(self.device, non_blocking=True)
