"""Marks of a member that say whether its accuracies stayed at the thresholds, for several curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any

from grokplane.marks import Track, shown

OWN = ("train", "test")  # the curves that every member has: its training set, and the questions of `grok.questions`
Tracks = dict[str, dict[str, Track]]  # by curve and threshold


@dataclass
class Lasting:
    """The marks of a member's curves at each threshold.

    A resumed run logs the step of its checkpoint again, so the marks before the last evaluation are kept too.

    Attributes:
        tracks: the marks so far; the first threshold is `grok.threshold`.
        step: step of the last evaluation; None before the first one.
        earlier: the tracks before that evaluation.
    """

    tracks: Tracks
    step: int | None
    earlier: Tracks

    @classmethod
    def start(cls, curves: Sequence[str], thresholds: Sequence[float], sustained: int) -> Lasting:
        """Marks without an evaluation yet."""
        made = {name: {shown(one): Track(float(one), sustained) for one in thresholds} for name in curves}
        return cls(made, None, _copy(made))

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Lasting:
        """The marks that `state` returned."""
        return cls(_tracks(state["now"]), state["step"], _tracks(state["before"]))

    def state(self) -> dict[str, Any]:
        """The marks as plain dicts and numbers."""
        return {"step": self.step, "now": _state(self.tracks), "before": _state(self.earlier)}

    @staticmethod
    def holds(state: object) -> bool:
        """Whether a state, which may come from other people, is of the kind that `state` returns."""
        if not isinstance(state, dict) or state.keys() != {"step", "now", "before"}:
            return False
        named = [state["now"], state["before"]]
        if not all(isinstance(one, dict) and all(isinstance(part, dict) for part in one.values()) for one in named):
            return False
        tracks = [track for one in named for part in one.values() for track in part.values()]
        curves = all(name in one and one[name] for one in named for name in OWN)
        return curves and (state["step"] is None or type(state["step"]) is int) and all(map(Track.holds, tracks))

    def fits(self, other: Lasting) -> bool:
        """Whether both have the same curves, thresholds and number of sustained evaluations."""
        return _asked(self.tracks) == _asked(self.earlier) == _asked(other.tracks)

    def before(self, step: int) -> Lasting:
        """The marks that were made before a step."""
        if self.step is None or self.step < step:
            return self
        return Lasting(_copy(self.earlier), None, self.earlier)

    def see(self, step: int, accuracies: Mapping[str, float]) -> None:
        """Take the accuracies of a log point by the names of the curves; steps must ascend."""
        self.step, self.earlier = step, _copy(self.tracks)
        for name, by_threshold in self.tracks.items():
            for track in by_threshold.values():
                track.see(step, accuracies[name])

    def summary(self) -> dict[str, Any]:
        """Entries of `grok` in `summary.json`: the held-out curve at `grok.threshold`, and `at` with all of them."""
        first, *_ = self.tracks["test"].values()
        marks = first.marks
        lasting = {"sustained_step": marks.sustained, "stable_step": marks.stable, "below": marks.below}
        lasting |= {"lowest": marks.lowest, "collapses": marks.collapses, "last_collapse": marks.last_collapse}
        at = {
            threshold: {name: asdict(part[threshold].marks) for name, part in self.tracks.items()}
            for threshold in self.tracks["test"]
        }
        return {**lasting, "sustained": first.sustain, "at": at}


def _asked(tracks: Tracks) -> list[tuple[str, str, float, int]]:
    return [(name, key, one.threshold, one.sustain) for name, part in tracks.items() for key, one in part.items()]


def _copy(tracks: Tracks) -> Tracks:
    return {name: {key: copy(track) for key, track in part.items()} for name, part in tracks.items()}


def _tracks(state: Mapping[str, Mapping[str, Any]]) -> Tracks:
    return {name: {key: Track(**one) for key, one in part.items()} for name, part in state.items()}


def _state(tracks: Tracks) -> dict[str, dict[str, Any]]:
    return {name: {key: track.state() for key, track in part.items()} for name, part in tracks.items()}
