"""One W&B run per member, in the member's own folder. A failure of W&B costs a warning, never the run."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grokplane.pasting import program
from grokplane.record.options import Record
from grokplane.record.wandb_mode import choose_mode, give_up, given, one_line, settings
from grokplane.strict_json import flatten, strict

_log = logging.getLogger(__name__)

IMAGES = (".png", ".gif")
PROJECT = "grokplane"
_ids_in_use: set[str] = set()


def new_run_id() -> str:
    """An id for a new W&B run: WANDB_RUN_ID for the first run of this process, because two runs cannot share it."""
    asked = os.environ.get("WANDB_RUN_ID")
    if asked and asked not in _ids_in_use:
        _ids_in_use.add(asked)
        return asked
    return secrets.token_hex(4)


class Tracker:
    """A W&B run, online or offline; if W&B is disabled or broken, it does nothing.

    Attributes:
        mode: `online`, `offline`, `disabled`, or `broken` after a failure.
        run_id: the run's id; under a sweep agent the agent's.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        options: Record,
        run_id: str,
        finish_timeout: float = 30.0,
    ) -> None:
        """Start the run, or resume it if the server knows the id; takes at most 20 s without a network.

        Args:
            folder: the run's folder; W&B writes under its `wandb/`.
            config: the whole config, nested; W&B gets it with the dotted keys that a sweep uses.
            options: the config's `record` group.
            run_id: from `new_run_id`, or the id of an earlier session of this run.
            finish_timeout: seconds that `finish` may wait for the upload.
        """
        self.mode, self.run_id, self._run, self._first_step, self._step = "disabled", run_id, None, 0, 0
        with self._guarded():
            self.mode = choose_mode(options.wandb)
            if self.mode == "disabled":
                return
            place = _place(folder)
            _check_writable(place / "wandb")
            self._start({"dir": str(place), **_arguments(folder, config, options, run_id, finish_timeout)})

    def log(self, row: Mapping[str, Any]) -> None:
        """Log one row at its `step`, without nulls; steps that the server already has are skipped."""
        with self._guarded():
            self._step = row["step"]
            if self._run is not None and row["step"] >= self._first_step:
                self._run.log({name: value for name, value in row.items() if value is not None}, step=row["step"])

    def log_image(self, path: Path) -> None:
        """Log an image file into the last row, under its name; a GIF's name gets the suffix `_film`.

        A step of its own would block later rows if the run is trained further. If the server already has the last row,
        the image goes only into the summary. PDF and SVG are skipped, because W&B does not show them.
        """
        with self._guarded():
            if self._run is not None and path.suffix in IMAGES:
                import wandb

                name = f"{path.stem}_film" if path.suffix == ".gif" else path.stem
                try:
                    image = wandb.Image(str(path))
                except (OSError, ValueError) as error:  # no file, or a damaged one
                    _log.warning("%s is left out of W&B: it is not an image (%s)", path, one_line(error))
                    return
                if self._step >= self._first_step:
                    self._run.log({name: image}, step=self._step)
                else:
                    self._run.summary.update({name: image})

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the run's outcome into W&B's summary, wait for the upload up to the time limit, and close the W&B run.

        Args:
            summary: `status`, `grok`, `phase` and `diverged` as in `summary.json`.
        """
        status = summary.get("status", "failed")
        facts = {f"grok/{name}": value for name, value in flatten(summary.get("grok") or {}).items()}
        facts |= {"status": status} | {name: summary.get(name) for name in ("phase", "diverged")}
        with self._guarded():
            if self._run is not None:
                self._run.summary.update({key: value for key, value in strict(facts).items() if value is not None})
                self._run.finish(exit_code=int(status in ("failed", "diverged")))
        self._run = None

    def _start(self, arguments: dict[str, Any]) -> None:
        import wandb

        if self.mode == "online":
            try:
                if not given("resume"):
                    arguments["resume"] = "allow"
                self._run = wandb.init(mode="online", **arguments)
                self.run_id, self._first_step = str(self._run.id), self._run.step
                return
            except Exception as error:  # the run continues whatever W&B raises
                give_up(one_line(error))
                self.mode = "offline"
                # For W&B the id stays in use; `sync` uploads under the first one.
                arguments |= {"id": secrets.token_hex(4), "resume": None}
                self._run = wandb.init(mode="offline", **arguments)
                return
        self._run = wandb.init(mode="offline", **arguments)
        self.run_id = str(self._run.id)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the run continues whatever W&B raises
            _log.warning(
                "W&B failed (%s): the run continues without it; `%s RUN` rebuilds it", one_line(error), program("sync")
            )
            self.mode, self._run = "broken", None


def _place(folder: Path) -> Path:
    """The folder to which W&B writes: WANDB_DIR, else the run's folder; a sweep's agent sets that variable."""
    asked = None if os.environ.get("WANDB_SWEEP_ID") else os.environ.get("WANDB_DIR")
    return Path(os.path.expanduser(asked)) if asked else folder


def _check_writable(folder: Path) -> None:
    """Raise if the folder is not writable: W&B would silently use a temporary folder.

    Also raise for a name that the locale cannot decode (without UTF-8): W&B would print tracebacks.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in str(folder)):
        raise ValueError(f"this locale cannot read the name {folder}: set LC_ALL=C.UTF-8")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is not writable; WANDB_DIR=FOLDER names another place")


def _arguments(
    folder: Path, config: Mapping[str, Any], options: Record, run_id: str, finish_timeout: float
) -> dict[str, Any]:
    """Arguments of `wandb.init`. Config keys win over W&B's environment and settings files, which win over defaults."""
    agent = settings().sweep_id is not None  # an agent has set project, entity and so on
    typed = {"group": options.group, "tags": list(options.tags), "name": options.name}
    typed |= {} if agent else {"project": options.project, "entity": options.entity}
    arguments: dict[str, Any] = {name: value for name, value in typed.items() if value}
    if "name" not in arguments and not given("run_name"):
        arguments["name"] = "/".join(folder.resolve().parts[-2:])
    if not agent:
        arguments["id"] = run_id
        if "project" not in arguments and not given("project"):
            arguments["project"] = PROJECT
    fixed = {"config": flatten(strict(config)), "reinit": "create_new", "settings": _run_settings(finish_timeout)}
    return arguments | fixed


def _run_settings(finish_timeout: float) -> Any:
    import wandb

    wanted = {
        "silent": True,
        "quiet": True,
        "console": "off",
        "allow_val_change": True,
        "init_timeout": 8.0,
        "login_timeout": 4.0,
        "finish_timeout": finish_timeout,
        "finish_timeout_raises": True,
        "x_disable_stats": True,  # the members of a stack share one machine
    }
    known = wandb.Settings.model_fields  # older versions lack some
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known and not given(name)})
