"""The `record` group's keys."""

from dataclasses import dataclass

from grokplane.options import checked, option

MODES = ("auto", "offline", "online", "disabled")
FORMATS = ("png", "pdf", "svg")


@dataclass(frozen=True)
@checked
class Record:
    """What is recorded besides the files of the run's folder."""

    wandb: str = option("auto", "W&B; auto: WANDB_MODE, `wandb offline`, else online with a key", choices=MODES)
    project: str | None = option(None, "W&B project; null: WANDB_PROJECT, else grokplane")
    entity: str | None = option(None, "W&B user or team; null: WANDB_ENTITY, else the default of the API key")
    group: str | None = option(None, "W&B group that the runs of a grid share; null: WANDB_RUN_GROUP")
    name: str | None = option(None, "W&B run name; null: WANDB_NAME, else the last two parts of the run's folder")
    tags: list[str] = option([], "W&B tags; []: WANDB_TAGS")
    figures: bool = option(True, "draw figures at the end of the run")
    figure_format: list[str] = option(
        ["png"],
        "file formats of figures, also those of prune and sweeps; animations are GIFs; W&B gets PNGs",
        choices=FORMATS,
    )


GROUP = "record"
CHOICES = {"default": Record}
