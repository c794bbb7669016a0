"""Pure functions done here at first, and in processes of their own once that is worth it; on the floor below all rooms.

Two threads of Python share one interpreter, so what a thread computes slows the training beside it; a process does not.
`concurrent.futures.ProcessPoolExecutor` does not serve: its processes live on when their parent is killed (each holds
both ends of its queue), the terminal's Ctrl-C reaches them, they run the parent's main script, and tensors go to them
as shared memory with a file descriptor each. Here a process ends when its input does.
"""

from grokplane.processes.calls import ClosedError, Processes
from grokplane.processes.worker import DEAD, DiedError, serve

__all__ = ["DEAD", "ClosedError", "DiedError", "Processes", "serve"]
