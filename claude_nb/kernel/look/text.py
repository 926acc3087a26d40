"""Plain text with bounds: tables, shortened lines, numbers as a reader writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

SHORTENED = "... [shortened]"


def clip(text: str, room: int) -> str:
    """The text in at most `room` characters."""
    if len(text) <= room:
        return text
    return text[: max(room - len(SHORTENED), 0)] + SHORTENED[: max(room, 0)]


def one_line(text: str, room: int) -> str:
    """The text as one line of at most `room` characters."""
    line = " ".join(text[: room * 4].split())
    return line if len(line) <= room and len(text) <= room * 4 else line[: max(room - 3, 0)] + "..."


def count(number: int, noun: str) -> str:
    """`1,204 items`, `1 item`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def dimensions(shape: Iterable[int]) -> str:
    """`1,000 x 5`; a single value has none."""
    return " x ".join(f"{length:,}" for length in shape) or "single value"


def memory(size: int | None) -> str:
    """`40 kB`; empty where it is not known."""
    if size is None:
        return ""
    if size < 1000:
        return f"{size} B"
    power = min(int(math.log10(size) // 3), 5)
    return f"{size / 1000**power:.3g} {' kMGTP'[power]}B"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with aligned columns; columns that are empty throughout are left out."""
    rows = [list(row) for row in rows]
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    lines = [[header[i] for i in kept], *([row[i] for i in kept] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(kept))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
