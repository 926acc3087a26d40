"""`python -m benchmarks.trials FILE`: a table of the trials that `TORTURE_LOG=FILE make torture` noted."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

HEADER = "| what ends | when | trials | failed | median | longest |\n|---|---|--:|--:|--:|--:|"


def table(lines: list[str]) -> str:
    trials: dict[tuple[str, bool], list[int | None]] = {}
    for line in lines:
        trial = json.loads(line)
        trials.setdefault((trial["way"], trial["busy"]), []).append(trial["ms"])
    return "\n".join([HEADER, *(row(*key, times) for key, times in sorted(trials.items()))])


def row(way: str, busy: bool, times: list[int | None]) -> str:
    """A trial without a time failed."""
    good = [ms for ms in times if ms is not None]
    figures = f"{statistics.median(good):.0f} ms | {max(good)} ms" if good else " | "
    what, _, moment = way.partition(", ")
    when = moment.replace("_", " ") or ("in mid-turn" if busy else "idle")
    return f"| {what} | {when} | {len(times)} | {len(times) - len(good)} | {figures} |"


if __name__ == "__main__":
    print(table(Path(sys.argv[1]).read_text().splitlines()))
