"""What looks on at log points and may end a member: one small dataclass each, found by name in `callbacks`."""

from grokplane.callbacks.base import Callback, Hook, LogPoint
from grokplane.callbacks.early_stop import EarlyStop

__all__ = ["Callback", "EarlyStop", "Hook", "LogPoint"]
