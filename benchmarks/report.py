"""What benchmarks/step.py prints: times, the comparisons that the project makes promises about, and the machine."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path

import torch
from cases import Case

ON_A_GPU = [("solo", "solo, uncaptured", 0.0), ("16 grid", "16 grid, uncaptured", 0.0), ("256 grid", "bare", 0.0)]


@dataclass(frozen=True)
class Timing:
    """Milliseconds a member-step of one contender, one value a round."""

    case: str
    threads: int
    contender: str
    rounds: list[float]

    @property
    def median(self) -> float:
        """Over the rounds."""
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Ratio:
    """How many times faster one contender is than another in member-steps per second.

    Attributes:
        ratio: of the medians.
        low, high: quartiles of the ratio within a round.
        required: what the project promises; None where it promises nothing.
    """

    case: str
    threads: int
    name: str
    ratio: float
    low: float
    high: float
    required: float | None

    @property
    def verdict(self) -> str:
        """Whether the promise is kept."""
        if self.required is None:
            return ""
        return f"{'pass' if self.ratio >= self.required else 'FAIL'} (>= {self.required:.2f})"


def ratios(case: Case, timings: list[Timing]) -> list[Ratio]:
    """Every comparison of a case; promises about stacks are about two threads."""
    by_name = {timing.contender: timing for timing in timings}
    bound = {fast: fast == "solo" or timings[0].threads == 2 for fast, _, _ in case.promises}
    asked = [*case.promises, *ON_A_GPU] if case.device != "cpu" else case.promises
    return [
        compare(by_name[fast], by_name[slow], least if least and bound[fast] else None)
        for fast, slow, least in asked
        if slow in by_name
    ]


def compare(fast: Timing, slow: Timing, required: float | None) -> Ratio:
    """The ratio of medians, with quartiles over the rounds."""
    each = sorted(b / a for a, b in zip(fast.rounds, slow.rounds, strict=True))
    low, _, high = statistics.quantiles(each, n=4)
    name = f"{fast.contender} / {slow.contender}"
    return Ratio(fast.case, fast.threads, name, slow.median / fast.median, low, high, required)


def table(case: Case, timings: list[Timing], rate: float) -> str:
    """Markdown rows: milliseconds a member-step, and the floor that the products alone set at the measured rate."""
    naive, executed = (1e-6 * flops / rate for flops in (case.naive_flops, case.executed_flops))
    rows = [f"{'contender':<20} | ms a member-step | quartiles", "--- | ---: | ---"]
    for timing in timings:
        low, _, high = statistics.quantiles(timing.rounds, n=4)
        rows.append(f"{timing.contender:<20} | {timing.median:16.3f} | {low:.3f}-{high:.3f}")
    rows += [f"{'floor, as written':<20} | {naive:16.3f} | ", f"{'floor, as executed':<20} | {executed:16.3f} | "]
    return "\n".join(rows)


def machine(device: str = "cpu") -> str:
    """Hardware, versions and load, in one line."""
    gpu = "" if device == "cpu" else f"{torch.cuda.get_device_name(device)}, driven by "
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    name = names[0] if names else platform.machine()
    return f"{gpu}{name}, {cores} cores, load {load:.2f}; Python {platform.python_version()}, torch {torch.__version__}"


def report(case: Case, timings: list[Timing], rate: float) -> list[Ratio]:
    """Print a case's table and comparisons."""
    where = f"{timings[0].threads} threads" if case.device == "cpu" else case.device
    print(f"\n## {case.name}, {where} ({rate:.0f} GFLOP/s)\n\n{table(case, timings, rate)}\n")
    found = ratios(case, timings)
    for one in found:
        print(f"{one.name:<28} {one.ratio:5.2f} ({one.low:.2f}-{one.high:.2f})  {one.verdict}", flush=True)
    return found
