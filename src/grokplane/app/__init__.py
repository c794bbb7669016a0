"""The body of the entry points: command line to members to records and figures."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from grokplane.app.errors import REFUSALS, Failed, one_line
from grokplane.app.exit_codes import FAILED, REFUSED, SIGNALLED
from grokplane.app.flags import Flags, read_flags
from grokplane.app.nulls import as_nulls
from grokplane.pasting import program
from grokplane.resources import rare_collection
from grokplane.say import note, open_streams, say
from grokplane.waiting import BEFORE_REFUSALS, Doing

if TYPE_CHECKING:
    from grokplane.app.session import execute as execute

__all__ = ["execute", "main"]


def main(config_name: str) -> None:
    """Run the entry point whose config is configs/CONFIG_NAME.yaml; ends the process with its exit code."""
    open_streams()
    arguments = as_nulls(sys.argv[1:])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises in place of printing several lines
    try:
        flags = read_flags(arguments, config_name)
        code = _help(flags, program(config_name.replace("_", "-"))) if flags.help else _work(flags)
    except REFUSALS as error:
        from grokplane.app.untyped import known_keys

        overrides = [argument for argument in arguments if not argument.startswith("-")]
        note(one_line(error, overrides, known_keys(config_name, overrides)))
        code = REFUSED
    except Failed as error:
        note(error)
        code = FAILED
    except KeyboardInterrupt:  # a second Ctrl-C, which does not wait for the step
        code = SIGNALLED + signal.SIGINT
    sys.exit(code)


def _help(flags: Flags, started: str) -> int:
    from grokplane import plugins
    from grokplane.app.plugged import named_plugins
    from grokplane.app.typed import as_typed
    from grokplane.app.untyped import text_keys
    from grokplane.app.usage import usage

    plugins.use(named_plugins(flags.overrides, flags.config_name))
    overrides = as_typed(flags.overrides, flags.multirun, text_keys())
    say(usage(started, overrides, flags.config_name))
    return 0


def _work(flags: Flags) -> int:
    with Doing("loading torch", BEFORE_REFUSALS), rare_collection():
        from grokplane.app.entry import work
    return work(flags)


def __getattr__(name: str) -> Any:
    """`execute`, imported on first use, as it imports torch."""
    if name == "execute":
        from grokplane.app.session import execute

        return execute
    raise AttributeError(name)
