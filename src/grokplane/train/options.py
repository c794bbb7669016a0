"""Options of training: steps, batches, device, checkpoints."""

from dataclasses import dataclass

from grokplane.data import SAMPLERS
from grokplane.options import ConfigError, checked, option
from grokplane.train.checkpoint_steps import check_keep
from grokplane.unread import Surroundings

DTYPES = ("float32", "float64")
WEIGHTS, WITH_OPTIMIZER = "weights", "weights_and_optimizer"


@dataclass(frozen=True)
@checked
class TrainOptions:
    """The config group `train`."""

    steps: int = option(30_000, "number of updates", at_least=0, at_most=10**12)
    batch_size: int | str = option("full", "points in an update: a number, or full", at_least=1)
    sampling: str = option("shuffled", "batches: epochs shuffled, or drawn with replacement", choices=SAMPLERS)
    device: str = option("cpu", "cpu, cuda, cuda:1")
    dtype: str = option("float32", "precision of parameters and activations", choices=DTYPES)
    threads: int | None = option(
        None,
        "CPU threads; null: one per member, at most 4 and the cores free of estimates; a resumed run keeps its number",
        at_least=1,
        at_most=1024,
    )
    checkpoint_every: int = option(1_000, "steps between checkpoints, besides those at powers of two", at_least=1)
    keep_checkpoints: int | str = option(
        2,
        "kept beside powers of two: the last so many, all, log_points (one at each), N/decade (a geometric series)",
        at_least=1,
    )
    start_from: str | None = option(
        None,
        "begin with the weights of a run: RUN@STEP, or RUN for its last checkpoint; null: with those of the seed",
        folder=True,
        stackable=True,
    )
    start_with: str = option(
        WEIGHTS,
        "what is taken from that run: its weights, or also the memory of its optimizer and rules",
        choices=(WEIGHTS, WITH_OPTIMIZER),
    )
    branch_from: str | None = option(
        None,
        "continue a run from its checkpoint with its config and the keys of this call: RUN@STEP, or RUN for its last",
        folder=True,
        stackable=True,
    )
    resume: bool = option(False, "resume from the last checkpoint in hydra.run.dir")
    overwrite: bool = option(False, "delete the run in the folder and start again")

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, str) and self.batch_size != "full":
            raise ConfigError("train.batch_size", self.batch_size, "must be full or a whole number, at least 1")
        check_keep(self.keep_checkpoints)
        if self.batch_size == "full" and self.sampling != "shuffled":
            raise ConfigError("train.sampling", self.sampling, "needs a number for train.batch_size, which is full")
        if self.start_from == "":
            raise ConfigError("train.start_from", "", "must be RUN@STEP or RUN, or null for the weights of the seed")
        if self.branch_from == "":
            raise ConfigError("train.branch_from", "", "must be RUN@STEP or RUN, or null for a run from step 0")
        if self.branch_from is not None and self.start_from is not None:
            allowed = "excludes train.branch_from, which continues a run; leave one of them out"
            raise ConfigError("train.start_from", self.start_from, allowed)
        if self.resume and self.overwrite:
            raise ConfigError("train.overwrite", True, "excludes train.resume=true")

    def unread(self, around: Surroundings) -> dict[str, str]:  # noqa: ARG002 (its own keys decide)
        """See `grokplane.unread`."""
        full = {"sampling": "train.batch_size=full uses every point"} if self.batch_size == "full" else {}
        return full | ({"start_with": "train.start_from=null takes nothing"} if self.start_from is None else {})


GROUP = "train"
CHOICES = {"default": TrainOptions}
