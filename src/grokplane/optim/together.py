"""Combinations of rules that are not allowed, checked by the rules' types and not by their names."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from grokplane.optim.constant_norm import ConstantNorm
from grokplane.optim.grokfast import GrokfastEMA, GrokfastMA
from grokplane.optim.noise import UpdateNoise
from grokplane.options import ConfigError


def check_together(rules: Mapping[str, object]) -> None:
    """Raise ConfigError for rules that cannot be combined."""
    typed = f"[{','.join(rules)}]"
    grokfast = [name for name, rule in rules.items() if isinstance(rule, GrokfastEMA | GrokfastMA)]
    if len(grokfast) > 1:
        raise ConfigError("rules", typed, f"only one Grokfast filter is allowed, not {' and '.join(grokfast)}")
    kinds = [kind for rule in rules.values() for kind in (ConstantNorm, UpdateNoise) if isinstance(rule, kind)]
    if (ConstantNorm, UpdateNoise) in pairwise(kinds):
        raise ConfigError("rules", typed, "constant_norm must come after update_noise, or the norm is not constant")
