"""Choice between W&B online, offline and disabled, before `wandb.init`, which blocks without a network."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import netrc
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_log = logging.getLogger(__name__)
_ENVIRONMENT = {"online": "online", "run": "online", "shared": "online", "disabled": "disabled"}
_OLDER_NAMES = {"api.forge.coreweave.com": "api.wandb.ai"}  # netrc files may contain the server's older name
_given_up: set[str] = set()


def choose_mode(asked: str) -> str:
    """The mode for this process: `online`, `offline` or `disabled`.

    Args:
        asked: the config's `record.wandb`. `auto` is WANDB_MODE if set, else the setting that `wandb offline` or `wandb
            disabled` wrote into W&B's settings files, else online under a sweep agent or with a configured key, else
            offline. Online without a key or an answer from the server becomes offline, with one warning per process.
    """
    mode = _automatic() if asked == "auto" else asked
    if mode != "online" or base_url() in _given_up:
        return "offline" if mode == "online" else mode
    found = obstacle()
    if found is not None:
        give_up(found)
        return "offline"
    return "online"


def obstacle() -> str | None:
    """The reason why W&B cannot be used online; None if it can."""
    return _no_answer(base_url()) if has_key() else "no API key is configured"


def give_up(why: str) -> None:
    """Stay offline for the rest of this process; the first call logs a warning."""
    if base_url() not in _given_up:
        _given_up.add(base_url())
        _log.warning("W&B at %s cannot be used (%s): recording offline", base_url(), why)


def settings() -> Any:
    """W&B's settings of this process, from the environment and its settings files.

    From now on W&B prints nothing, unless WANDB_SILENT or WANDB_QUIET request it.
    """
    import wandb

    wanted: dict[str, Any] = {name: True for name in ("silent", "quiet") if f"WANDB_{name.upper()}" not in os.environ}
    with _unheard(), contextlib.chdir(_started_in()):
        return wandb.setup(wandb.Settings(**wanted)).settings


def given(name: str) -> bool:
    """Whether an environment variable or a settings file of W&B sets this attribute of `wandb.Settings`."""
    if name in ("silent", "quiet"):  # `settings` sets these too
        return f"WANDB_{name.upper()}" in os.environ
    return name in settings().model_fields_set


def one_line(said: object) -> str:
    """A message or an error of W&B as one line, without links to manuals."""
    return " ".join(re.sub(r"For further information visit \S+", "", str(said)).split()) or type(said).__name__


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Suppress W&B's lines on standard error about the files it reads, printed before W&B knows its own settings.

    The message that W&B ignores a settings file is logged, because the file may contain `mode = disabled`.
    """
    if "WANDB_SILENT" in os.environ:
        yield
        return
    with contextlib.redirect_stderr(io.StringIO()) as told:
        yield
    _, failed, why = told.getvalue().partition("wandb: ERROR ")
    if failed:
        _log.warning("W&B ignores its settings files: %s", one_line(why.replace("wandb: ERROR ", "")))


def _started_in() -> str:
    """The folder whose `wandb/settings` applies: where the call was started, also with hydra.job.chdir=true."""
    from hydra.core.hydra_config import HydraConfig

    return HydraConfig.get().runtime.cwd if HydraConfig.initialized() else os.getcwd()


def base_url() -> str:
    """The address of the W&B server, from the environment or W&B's settings files."""
    return str(settings().base_url)


def site(server: str) -> str:
    """The site of a server, from its API address, its web address or its host: `wandb.ai`."""
    host = (urlsplit(server).netloc or server).lower()
    return re.sub(r"^(api|app|www)\.", "", _OLDER_NAMES.get(host, host))


def has_key() -> bool:
    """Whether credentials for the server are configured, in the environment, settings files or .netrc."""
    known = settings()
    return bool(known.api_key or known.identity_token_file or _netrc_has(urlsplit(base_url()).netloc))


def _automatic() -> str:
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return _ENVIRONMENT.get(mode, "offline")
    stored = _ENVIRONMENT.get(settings().mode, "offline")
    if stored != "online":  # "online" is W&B's default, also after `wandb enabled`, and still needs a key
        return stored
    return "online" if os.environ.get("WANDB_SWEEP_ID") or has_key() else "offline"


def _netrc_has(host: str) -> bool:
    """Whether the user's netrc file has a password for the host; False for a file that cannot be parsed."""
    default = next((path for path in (Path.home() / ".netrc", Path.home() / "_netrc") if path.exists()), "")
    path = os.path.expanduser(os.environ.get("NETRC") or default)
    if not os.access(path, os.R_OK):
        return False
    try:
        entries = netrc.netrc(path)
    except (netrc.NetrcParseError, OSError, ValueError) as error:
        _log.warning("%s cannot be read as a netrc file (%s)", path, error)
        return False
    entry = entries.authenticators(host) or entries.authenticators(_OLDER_NAMES.get(host, host))
    return entry is not None and bool(entry[2])


@functools.cache
def _no_answer(url: str, seconds: float = 5.0) -> str | None:
    """The reason why the server does not answer within a time limit, including name lookup; None if it answers."""
    outcome: list[str | None] = []
    thread = threading.Thread(target=lambda: outcome.append(_ask(url, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else f"no answer within {seconds:g} s"


def _ask(url: str, seconds: float) -> str | None:
    try:
        urllib.request.urlopen(url, timeout=seconds).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, ValueError, HTTPException) as error:
        return str(error)
    return None
