"""The steps at which a member fitted its training set and generalised."""

from collections.abc import Sequence
from dataclasses import dataclass

from grokplane.options import ConfigError, checked, one_of, option


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


@dataclass
class GrokMarks:
    """First log points at which the accuracies reached the threshold; None before that.

    Attributes:
        train_step: the step at which the training set was fitted.
        test_step: the step at which the held-out questions were answered.
    """

    train_step: int | None = None
    test_step: int | None = None

    @property
    def delay(self) -> int | None:
        """Steps from fitting to generalising; None unless both have happened."""
        if self.train_step is None or self.test_step is None:
            return None
        return self.test_step - self.train_step

    def before(self, step: int) -> "GrokMarks":
        """The marks that were made before a step."""
        kept = [mark if mark is not None and mark < step else None for mark in (self.train_step, self.test_step)]
        return GrokMarks(*kept)

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
