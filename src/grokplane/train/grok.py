"""The steps at which a member fitted its training set and generalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grokplane.options import ConfigError, checked, one_of, option
from grokplane.train.lasting import OWN, Lasting


@dataclass(frozen=True)
@checked
class GrokOptions:
    """The config group `grok`."""

    threshold: float = option(
        0.99, "accuracy that counts as fitted (train) and generalised (held-out questions)", above=0, at_most=1
    )
    questions: str = option(
        "test",
        "which held-out questions count: test (all), unseen (no mirror in training), ood (out of domain), or a group: "
        "test/NAME",
    )
    thresholds: list[float] = option(
        [0.95], "further accuracies at which marks are made, beside threshold", above=0, at_most=1
    )
    sustained: int = option(
        5, "log points at or above a threshold that must follow the first one for a sustained mark", at_least=0
    )
    metrics: list[str] = option(
        [], "further metrics of every log point that get marks: Acc/ood, Acc/unseen, Acc_true/train, ..."
    )
    stop_after: int | None = option(None, "stop this many steps after generalising; null: never", at_least=0)

    def check(self, held_out: Sequence[str]) -> None:
        """Check that the marks can be made.

        Args:
            held_out: names of the subsets and groups of held-out questions that all members have.

        Raises:
            ConfigError: `grok.questions` names questions that a member does not have.
        """
        if self.questions in held_out:
            return
        allowed = one_of(self.questions, held_out)
        if self.questions == "unseen":
            allowed = "needs operands that can be swapped, and this task's answers depend on their order; use test"
        raise ConfigError("grok.questions", self.questions, allowed)

    def check_metrics(self, names: Mapping[str, Sequence[str]], seldom: Sequence[str]) -> None:
        """Check that `grok.metrics` are values of every log point.

        Args:
            names: names of the values of each metric, by the name of the metric.
            seldom: the metrics that are not logged at every log point.

        Raises:
            ConfigError: a name that is not there, or not at every log point.
        """
        for name in self.metrics:
            metric = next((metric for metric, values in names.items() if name in values), None)
            if metric is None or name in OWN:
                known = [value for values in names.values() for value in values]
                raise ConfigError("grok.metrics", name, one_of(name, known))
            if metric in seldom:
                raise ConfigError("grok.metrics", name, f"needs a value at every log point: metrics.{metric}.every=1")

    def lasting(self) -> Lasting:
        """Marks without an evaluation yet."""
        thresholds = dict.fromkeys([self.threshold, *self.thresholds])
        return Lasting.start([*OWN, *self.metrics], list(thresholds), self.sustained)


@dataclass
class GrokMarks:
    """First log points at which the accuracies reached the threshold; None before that.

    Attributes:
        train_step: the step at which the training set was fitted.
        test_step: the step at which the held-out questions were answered.
        parts: the marks of each task of a mixture, by name; see `Table.parts`.
        lasting: whether the accuracies stayed at their thresholds; None for a run that an earlier version began, and
            for the parts.
    """

    train_step: int | None = None
    test_step: int | None = None
    parts: Mapping[str, GrokMarks] = field(default_factory=dict)
    lasting: Lasting | None = field(default=None, compare=False)

    @classmethod
    def of(cls, state: Mapping[str, Any], parts: Sequence[str] = ()) -> GrokMarks:
        """The marks that a checkpoint holds, see `state`; parts that it does not hold have no marks."""
        saved, lasting = state.get("parts", {}), state.get("marks")
        made = {name: cls(**saved.get(name, {})) for name in [*parts] or saved}
        return cls(**state["grok"], parts=made, lasting=None if lasting is None else Lasting.of(lasting))

    def state(self) -> dict[str, Any]:
        """The marks as a checkpoint holds them: `grok`, and `parts` and `marks` if there are any."""
        parts = {name: marks._steps() for name, marks in self.parts.items()}
        lasting = {} if self.lasting is None else {"marks": self.lasting.state()}
        return {"grok": self._steps(), **({"parts": parts} if parts else {}), **lasting}

    def summary(self) -> dict[str, Any]:
        """The marks as `summary.json` holds them: with `delay`, and with `parts` and lasting marks if there are any."""
        parts = {name: marks.summary() for name, marks in self.parts.items()}
        lasting = {} if self.lasting is None else self.lasting.summary()
        return {**self._steps(), "delay": self.delay, **({"parts": parts} if parts else {}), **lasting}

    def _steps(self) -> dict[str, int | None]:
        return {"train_step": self.train_step, "test_step": self.test_step}

    @property
    def delay(self) -> int | None:
        """Steps from fitting to generalising; None unless both have happened."""
        if self.train_step is None or self.test_step is None:
            return None
        return self.test_step - self.train_step

    def before(self, step: int) -> GrokMarks:
        """The marks that were made before a step."""
        kept = [mark if mark is not None and mark < step else None for mark in (self.train_step, self.test_step)]
        parts = {name: marks.before(step) for name, marks in self.parts.items()}
        return GrokMarks(*kept, parts=parts, lasting=None if self.lasting is None else self.lasting.before(step))

    def made_at(self, step: int) -> bool:
        """Whether the member fitted or generalised at a step."""
        return step in (self.train_step, self.test_step)

    def see(self, step: int, train_accuracy: float, test_accuracy: float, options: GrokOptions) -> None:
        """Record the accuracies of a log point; steps must ascend."""
        if self.train_step is None and train_accuracy >= options.threshold:
            self.train_step = step
        if self.test_step is None and test_accuracy >= options.threshold:
            self.test_step = step

    def says_stop(self, step: int, options: GrokOptions) -> bool:
        """Whether `step` is at least `grok.stop_after` steps past generalisation."""
        return (
            options.stop_after is not None
            and self.test_step is not None
            and (step >= self.test_step + options.stop_after)
        )


GROUP = "grok"
CHOICES = {"default": GrokOptions}
