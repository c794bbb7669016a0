"""The body of the entry points: command line to members to records and figures."""

from grokplane.app.entry import main
from grokplane.app.session import execute

__all__ = ["execute", "main"]
