"""Combinations of rules that are not allowed, checked by the rules' types and not by their names."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from grokplane.optim.ablation import Ablation
from grokplane.optim.constant_norm import ConstantNorm
from grokplane.optim.freeze import Freeze
from grokplane.optim.grokfast import GrokfastEMA, GrokfastMA
from grokplane.optim.hold_norm import HoldNorm
from grokplane.optim.noise import UpdateNoise
from grokplane.options import ConfigError, name_of

FILTERS, NORMS = GrokfastEMA | GrokfastMA, ConstantNorm | HoldNorm
# Kinds of which one rule is allowed, in words.
SINGLE: dict[Any, str] = {FILTERS: "Grokfast filter", NORMS: "rule that holds a norm"}
# Rules that change the weights after the optimizer, in the order in which each has its effect, and what is wrong in
# another order.
ORDER: dict[Any, str] = {
    UpdateNoise: "",
    Ablation: "the frequencies are not removed",
    NORMS: "the norm is not constant",
    Freeze: "the weights are not frozen",
}


def check_together(rules: Mapping[str, object]) -> None:
    """Raise ConfigError for rules that cannot be combined."""
    typed = f"[{','.join(rules)}]"
    for kind, words in SINGLE.items():
        alike = [name for name, rule in rules.items() if isinstance(rule, kind)]
        if len(alike) > 1:
            raise ConfigError("rules", typed, f"only one {words} is allowed, not {' and '.join(alike)}")
    placed = [
        (name_of(rule), rule, place, wrong)
        for rule in rules.values()
        for place, (kind, wrong) in enumerate(ORDER.items())
        if isinstance(rule, kind)
    ]
    for (name, rule, place, wrong), (later, other, other_place, _) in combinations(placed, 2):
        if place > other_place:
            raise ConfigError("rules", typed, f"{name} must come after {later}, or {wrong}")
        if isinstance(other, Freeze) and (why := _conflict(name, rule, other.layers)):
            raise ConfigError("rules", typed, why)


def _conflict(name: str, rule: object, frozen: list[str]) -> str:
    """Why a rule cannot change the weights that it has to change; empty if it can."""
    if isinstance(rule, Ablation):
        return f"{name} changes the embedding, and freeze keeps it" if "embedding" in frozen else ""
    if not isinstance(rule, NORMS):
        return ""
    layers = getattr(rule, "layers", None)
    if layers is None:
        return f"{name} scales all weights, and freeze keeps some; hold_norm with rules.hold_norm.layers scales others"
    both = [layer for layer in layers if layer in frozen]
    return f"{name} scales {both[0]}, and freeze keeps it" if both else ""
