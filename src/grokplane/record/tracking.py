"""One W&B run for one member, in the member's own folder; whatever fails in it costs a warning, never the run."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grokplane.record.options import Record
from grokplane.record.wandb_mode import choose_mode, give_up, settings
from grokplane.strict_json import flatten, strict

_log = logging.getLogger(__name__)

IMAGES = (".png", ".gif")


def new_run_id() -> str:
    """An id for a W&B run."""
    return secrets.token_hex(4)


class Tracker:
    """A W&B run: online, offline or, when disabled or broken, nothing.

    Attributes:
        mode: `online`, `offline`, `disabled`, or `broken` after a failure.
        run_id: the run's id, under a sweep agent the one that the agent gave.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        options: Record,
        run_id: str,
        finish_timeout: float = 30.0,
    ) -> None:
        """Start the run, or take it up again where the server knows the id; returns within 20 s without a network.

        Args:
            folder: the run's folder; W&B writes under its `wandb/`.
            config: the whole config, nested; W&B gets it flat, with the dotted keys that a sweep uses.
            options: the config's `record` group.
            run_id: from `new_run_id`, or the id of an earlier session of this run.
            finish_timeout: seconds that `finish` may wait for the upload.
        """
        self.mode, self.run_id, self._run, self._first_step = "disabled", run_id, None, 0
        with self._guarded():
            self.mode = choose_mode(options.wandb)
            if self.mode == "disabled":
                return
            _check_writable(folder / "wandb")
            self._start(_arguments(folder, config, options, run_id, finish_timeout))

    def log(self, row: Mapping[str, Any]) -> None:
        """Log one row at its `step`; nulls are left out, and so are steps that the server has already."""
        with self._guarded():
            if self._run is not None and row["step"] >= self._first_step:
                self._run.log({name: value for name, value in row.items() if value is not None}, step=row["step"])

    def log_image(self, path: Path) -> None:
        """Log an image file at the last step, under its name; that of a GIF ends in `_film`.

        PDF and SVG, which W&B does not show, are passed over.
        """
        with self._guarded():
            if self._run is not None and path.suffix in IMAGES:
                import wandb

                name = f"{path.stem}_film" if path.suffix == ".gif" else path.stem
                self._run.log({name: wandb.Image(str(path))})

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write what became of the run into W&B's summary, wait for the upload at most the time given, and close it.

        Args:
            summary: `status`, `grok` and `diverged` as in `summary.json`.
        """
        status = summary.get("status", "failed")
        facts = {f"grok/{name}": value for name, value in (summary.get("grok") or {}).items()}
        facts |= {"status": status, "diverged": summary.get("diverged")}
        with self._guarded():
            if self._run is not None:
                self._run.summary.update({key: value for key, value in strict(facts).items() if value is not None})
                self._run.finish(exit_code=int(status in ("failed", "diverged")))
        self._run = None

    def _start(self, arguments: dict[str, Any]) -> None:
        import wandb

        if self.mode == "online":
            try:
                self._run = wandb.init(mode="online", resume="allow", **arguments)
                self.run_id, self._first_step = str(self._run.id), self._run.step
                return
            except Exception as error:  # whatever W&B raises, the run goes on
                give_up(_one_line(error))
                self.mode = "offline"
                arguments |= {"id": new_run_id()}  # to W&B the id stays in use; `sync` uploads under the first one
        self._run = wandb.init(mode="offline", **arguments)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever W&B raises, the run goes on
            _log.warning(
                "W&B failed (%s): the run goes on without it; `python -m grokplane.record.sync RUN` rebuilds it",
                _one_line(error),
            )
            self.mode, self._run = "broken", None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _check_writable(folder: Path) -> None:
    """Raise if the folder cannot be written: W&B would go to a temporary folder in silence."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is not writable")


def _arguments(
    folder: Path, config: Mapping[str, Any], options: Record, run_id: str, finish_timeout: float
) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "dir": str(folder),
        "config": flatten(strict(config)),
        "group": options.group,
        "tags": list(options.tags) or None,
        "name": options.name,
        "reinit": "create_new",
        "settings": _run_settings(finish_timeout),
    }
    if settings().sweep_id is None:  # the sweep's agent has settled these
        arguments |= {"id": run_id, "project": options.project, "entity": options.entity}
        arguments["name"] = options.name or "/".join(folder.resolve().parts[-2:])
    return arguments


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
        "x_disable_stats": True,  # a stack's members share one machine
    }
    known = wandb.Settings.model_fields  # older versions lack some
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})
