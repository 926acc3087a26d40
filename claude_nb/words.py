"""Times and numbers as a reader says them. Pure."""

from __future__ import annotations

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def duration(seconds: float) -> str:
    """A length of time in its largest unit: "3 min", "2 h", "0 s"."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return "0 s"


def ago(seconds: float) -> str:
    """How long ago something was: "just now", "3 min ago"."""
    return "just now" if seconds < 5 else f"{duration(seconds)} ago"


def megabytes(number: float) -> str:
    """A number of bytes: "212 MB"."""
    return f"{number / 1e6:.0f} MB"


def counted(number: int, thing: str) -> str:
    """A number of things: "1 turn", "2,400 tokens"."""
    return f"{number} {thing}" if number == 1 else f"{number:,} {thing}s"
