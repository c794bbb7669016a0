"""The parameters at the two ends of a network, which some optimizers update with settings of their own."""

from collections.abc import Sequence
from typing import NamedTuple


class Ends(NamedTuple):
    """Full names of parameters.

    Attributes:
        embedding: the embedding and the learned positions; empty for a network without them.
        read_out: the last layer.
    """

    embedding: Sequence[str]
    read_out: Sequence[str]
