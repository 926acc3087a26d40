"""Short texts of simple values: of exact types only, whose `repr` is Python's or numpy's own."""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import re
import sys
import uuid
import zoneinfo
from collections.abc import Callable
from types import NoneType
from typing import Any

from claude_nb.kernel.look.real import is_a, is_from, library, module_of, name_of

# Longer numbers are told by their length; their digits cost quadratic time.
DIGITS = 200
PATTERN = 200

_TIME_ZONES = ("datetime", "zoneinfo", "pytz", "dateutil", "pandas")


def literal(value: Any, room: int = 60) -> str | None:
    """The value as Python would write it, shortened to about `room` characters; None if it is not simple."""
    writer = WRITERS.get(id(type(value)))
    return writer(value, room) if writer is not None else library_literal(value, room)


def library_literal(value: Any, room: int) -> str | None:
    """The text of a library's single value: of numpy's scalars, of pandas' times."""
    cls = type(value)
    if (generic := library("numpy", "generic")) is not None and is_a(value, generic):
        return numpy_literal(value, room)
    if name_of(cls) not in ("NAType", "NaTType", "Timestamp", "Timedelta"):
        return None
    for name in ("NA", "NaT"):
        if value is library("pandas", name):
            return name
    if cls is library("pandas", "Timestamp"):
        return moment(value, room)
    return str(value) if cls is library("pandas", "Timedelta") else None


def numpy_literal(value: Any, room: int) -> str | None:
    """The text of a scalar of numpy's own."""
    if not is_from(type(value), "numpy") or name_of(type(value)) == "void":
        return None
    if name_of(type(value)) == "str_":
        return text(str.__getitem__(value, slice(None)), room)
    if name_of(type(value)) == "bytes_":
        return text(bytes.__getitem__(value, slice(None)), room)
    return str(value)


def plain(value: Any, room: int) -> str:
    """Types whose `repr` is short."""
    return repr(value)


def integer(value: int, room: int) -> str:
    """An int, or how long it is."""
    bits = value.bit_length()
    return repr(value) if bits <= DIGITS * 3 else f"<int of {bits:,} bits>"


def text(value: str | bytes | bytearray, room: int) -> str:
    """The beginning of a text, and its length if that is not all."""
    if len(value) <= room:
        return repr(value)
    return f"{value[: max(room - 20, 8)]!r}... (length {len(value):,})"


def decimal_number(value: decimal.Decimal, room: int) -> str:
    """A Decimal, unless it has very many digits."""
    return repr(value) if sys.getsizeof(value) < DIGITS * 4 else "<long Decimal>"


def fraction(value: fractions.Fraction, room: int) -> str:
    """A Fraction of two ints."""
    parts = (value.numerator, value.denominator)
    return f"Fraction({', '.join(integer(part, room) for part in parts)})"


def moment(value: Any, room: int) -> str:
    """A point in time; a time zone of the user's own is not asked."""
    zone = value.tzinfo
    known = zone is None or module_of(type(zone)).partition(".")[0] in _TIME_ZONES
    return str(value) if known else f"{value.replace(tzinfo=None)} ({name_of(type(zone))})"


def path(value: pathlib.PurePath, room: int) -> str:
    """A path."""
    return f"{name_of(type(value))}({text(str(value), room)})"


def pattern(value: re.Pattern[Any], room: int) -> str:
    """A compiled regular expression."""
    return f"re.compile({text(value.pattern, PATTERN)})"


WRITERS: dict[int, Callable[[Any, int], str]] = {
    **{id(cls): plain for cls in (NoneType, bool, float, complex, type(...), type(NotImplemented))},
    **{id(cls): lambda value, room: str(value) for cls in (datetime.date, datetime.timedelta)},
    **{id(cls): plain for cls in (datetime.timezone, uuid.UUID)},
    **{id(cls): text for cls in (str, bytes, bytearray)},
    **{id(cls): moment for cls in (datetime.datetime, datetime.time)},
    **{id(cls): path for cls in (pathlib.PosixPath, pathlib.WindowsPath)},
    **{id(cls): path for cls in (pathlib.PurePosixPath, pathlib.PureWindowsPath)},
    id(int): integer,
    id(range): lambda value, room: (
        f"range({value.start:,}, {value.stop:,}, {value.step:,})"
        if max(abs(value.start), abs(value.stop), abs(value.step)) < 10**DIGITS
        else "<long range>"
    ),
    id(decimal.Decimal): decimal_number,
    id(fractions.Fraction): fraction,
    id(zoneinfo.ZoneInfo): lambda value, room: f"ZoneInfo({value.key!r})",
    id(re.Pattern): pattern,
}
