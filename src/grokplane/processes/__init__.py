"""Calls of pure functions, in this process at first and in worker processes once that is worth their start.

Python threads share one interpreter, so a computing thread slows training; a process does not.
`concurrent.futures.ProcessPoolExecutor` is not suitable. Its processes survive a killed parent (each holds both ends of
its queue), receive the terminal's Ctrl-C, run the parent's main script, and receive tensors as shared memory with a
file descriptor each. Here a process ends when its input ends.
"""

from grokplane.processes.calls import ClosedError, Processes
from grokplane.processes.worker import DEAD, DiedError, serve

__all__ = ["DEAD", "ClosedError", "DiedError", "Processes", "serve"]
