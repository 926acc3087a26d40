"""Looking at the namespace

How long it takes to describe the variables, for a prompt's context and for Claude's tools: ten thousand of
them, and the slowest of the values of each library that are far too large to be read as a whole (up to five
gigabytes).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huge_kit import HUGE

from benchmarks.figures import Figure, at_most
from claude_nb.kernel.look import fingerprint, inspect_value, variables

MANY = 10_000
BOUND = 100.0


def measure(runs: int, folder: Path) -> list[Figure]:
    many = {f"v{n}": [n, str(n), {"n": n}, (n,)][n % 4] for n in range(MANY)}
    values = [make(folder_of(folder, name)) for name, make in HUGE.items()]
    looks: dict[str, Callable[[], Any]] = {
        f"the table of {MANY:,} variables": lambda: variables(many),
        f"{MANY:,} fingerprints": lambda: [fingerprint(value) for value in many.values()],
    }
    return [
        *(at_most(what, milliseconds(runs, look), BOUND, "ms") for what, look in looks.items()),
        at_most("a huge value, the slowest", slowest(runs, values, look_at), BOUND, "ms"),
        at_most("its line in the table", slowest(runs, values, lambda v: variables({"v": v})), BOUND, "ms"),
        at_most("its fingerprint", slowest(runs, values, fingerprint), 1, "ms"),
    ]


def folder_of(folder: Path, name: str) -> Path:
    own = folder / name.replace(" ", "-")
    own.mkdir()
    return own


def look_at(value: Any) -> str:
    return inspect_value("v", value)


def slowest(runs: int, values: list[Any], look: Callable[[Any], Any]) -> float:
    return max(milliseconds(runs, lambda value=value: look(value)) for value in values)


def milliseconds(runs: int, look: Callable[[], Any]) -> float:
    """Return the median."""
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        look()
        found.append(time.perf_counter() - began)
    return statistics.median(found) * 1000
