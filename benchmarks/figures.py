"""What was measured, beside the raw CLI's and the goal."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HEADER = ("", "baseline", "claude_nb", "ratio", "goal", "")


@dataclass(frozen=True)
class Figure:
    """One line of a table. `limit` is the goal as a number in `unit`, None where there is no goal.

    It is the most that is allowed, unless `more` is better.
    """

    what: str
    value: float
    unit: str
    baseline: float | None = None
    limit: float | None = None
    goal: str = ""
    more: bool = False

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return ""
        met = self.value >= self.limit if self.more else self.value <= self.limit
        return "met" if met else "**missed**"

    def cells(self) -> tuple[str, ...]:
        baseline = "" if self.baseline is None else number(self.baseline, self.unit)
        ratio = f"{self.value / self.baseline:.2f}" if self.baseline else ""
        return (self.what, baseline, number(self.value, self.unit), ratio, self.goal, self.verdict)


def number(value: float, unit: str) -> str:
    digits = 0 if value == int(value) or value >= 100 else 1
    return f"{value:.{digits}f} {unit}".strip()


def times(what: str, raw: Sequence[float], ours: Sequence[float], factor: float) -> Figure:
    """Medians of two lists of seconds; the goal is at most `factor` times the raw one."""
    base, value = milliseconds(raw), milliseconds(ours)
    return Figure(what, value, "ms", base, base * factor, f"≤ {factor:g} x baseline")


def above(what: str, raw: Sequence[float], ours: Sequence[float], margin: float) -> Figure:
    """Medians of two lists of seconds; the goal is at most `margin` milliseconds above the raw one."""
    base, value = milliseconds(raw), milliseconds(ours)
    return Figure(what, value, "ms", base, base + margin, f"≤ baseline + {margin:g} ms")


def at_most(what: str, value: float, limit: float, unit: str = "") -> Figure:
    return Figure(what, value, unit, limit=limit, goal=f"≤ {limit:g} {unit}".strip() if limit else "none")


def at_least(what: str, value: float, limit: float, unit: str = "", baseline: float | None = None) -> Figure:
    return Figure(what, value, unit, baseline, limit, f"≥ {limit:g} {unit}".strip(), more=True)


def milliseconds(seconds: Sequence[float]) -> float:
    return statistics.median(seconds) * 1000


def interleaved(runs: int, *sides: Callable[[], float]) -> list[list[float]]:
    """What each side gives, `runs` times, the sides taking turns and each beginning as often as another."""
    results: list[list[float]] = [[] for _ in sides]
    for run in range(runs):
        for offset in range(len(sides)):
            side = (run + offset) % len(sides)
            results[side].append(sides[side]())
    return results


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table, aligned so that it can also be read in a terminal."""
    rows = [HEADER, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
