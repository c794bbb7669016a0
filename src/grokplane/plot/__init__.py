"""The plot room: pure functions from a data frame to a matplotlib figure. It imports nothing of the other rooms."""

from grokplane.plot.curves import curves
from grokplane.plot.prune import prune
from grokplane.plot.save import save

__all__ = ["curves", "prune", "save"]
