"""Frames, series and tables of pandas, polars and pyarrow: their columns, and their first rows.

All become the same two tables: one line a column with type, missing values and range, and the first rows. The
libraries' own formatting is not used: it takes the `str` of whatever objects a column holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from claude_nb.kernel.look.arrays import statistics
from claude_nb.kernel.look.briefly import brief
from claude_nb.kernel.look.real import is_from, library
from claude_nb.kernel.look.sizes import is_known_type, memory_of, type_text
from claude_nb.kernel.look.text import clip, count, dimensions, memory, one_line, table

# How many columns are told about, and how many are shown with their first rows.
COLUMNS = 40
HEAD_COLUMNS = 15
HEAD = 5
CELL = 30

# Frames of up to so many rows are looked at as a whole; of longer ones, blocks of neighbouring rows.
ROWS = 4096
BLOCKS = 8

# Looking at single objects is Python's work and slow.
OBJECTS = 500

HEADER = ("column", "type", "nulls", "distinct", "true", "min", "max", "mean")


class Column(NamedTuple):
    """What is told of one column."""

    name: str
    type: str
    facts: dict[str, str]
    head: list[str]


def blocks(rows: int, wanted: int = ROWS) -> list[slice]:
    """All rows, or blocks of rows spread evenly."""
    if rows <= wanted:
        return [slice(0, rows)]
    length = wanted // BLOCKS
    step = (rows - length) // (BLOCKS - 1)
    return [slice(i * step, i * step + length) for i in range(BLOCKS)]


def laid_out(columns: list[Column], rows: int, width: int, index: list[str] | None = None) -> list[str]:
    """The two tables of a frame."""
    sampled = f" (facts of a sample of {ROWS:,} rows)" if rows > ROWS else ""
    more = f"; the first {len(columns)} of them" if width > len(columns) else ""
    facts = [[c.name, c.type, *(c.facts.get(fact, "") for fact in HEADER[2:])] for c in columns]
    lines = [f"{count(width, 'column')}{more}{sampled}:", *table(HEADER, facts)]
    shown = columns[:HEAD_COLUMNS]
    indexed = index if index is not None else [""] * max((len(c.head) for c in shown), default=0)
    body = (
        [label, *(c.head[i] if i < len(c.head) else "" for c in shown)] for i, label in enumerate(indexed)
    )
    cut = f" and {len(shown)} columns" if width > len(shown) else ""
    return [*lines, "", f"first {min(HEAD, rows)} rows{cut}:", *table(["", *(c.name for c in shown)], body)]


def cells(values: Iterable[Any]) -> list[str]:
    """The values of a column's first rows."""
    return [cell(value) for value in values]


def cell(value: Any) -> str:
    """One value as short as it can be."""
    if type(value) is str:
        return one_line(value, CELL)
    if type(value) is float:
        return f"{value:.6g}"
    return one_line(brief(value), CELL)


def label(value: Any) -> str:
    """The name of a column or row."""
    return one_line(value, CELL) if type(value) is str else one_line(brief(value), CELL)


def is_null(value: Any) -> bool:
    """Whether an object stands for a missing value; nothing is asked of objects of the user's."""
    if type(value) is float:
        return value != value
    return value is None or value is library("pandas", "NA") or value is library("pandas", "NaT")


def object_facts(values: list[Any]) -> dict[str, str]:
    """Missing values, and how many different texts there are if there is nothing else."""
    there = [value for value in values if not is_null(value)]
    facts = {"nulls": f"{len(values) - len(there):,}"}
    if there and all(type(value) is str for value in there):
        facts["distinct"] = f"{len(set(there)):,}"
    return facts


# pandas


def describe_pandas_frame(frame: Any) -> list[str]:
    """Columns and first rows of a DataFrame."""
    rows, width = frame.shape
    lines = [f"{dimensions((rows, width))}, {memory_text(frame)}", index_line(frame.index)]
    columns = [
        pandas_column(label(name), frame.iloc[:, i])
        for i, name in enumerate(frame.columns[:COLUMNS].tolist())
    ]
    return [*lines, *laid_out(columns, rows, width, list(map(label, frame.index[:HEAD].tolist())))]


def describe_pandas_series(series: Any) -> list[str]:
    """Facts and first values of a Series."""
    lines = [f"{count(len(series), 'value')}, {memory_text(series)}", index_line(series.index)]
    column = pandas_column(label(series.name), series)
    return [*lines, *laid_out([column], len(series), 1, list(map(label, series.index[:HEAD].tolist())))]


def describe_pandas_index(index: Any) -> list[str]:
    """Type and first values of an Index."""
    return [index_line(index), ", ".join(map(label, index[: 2 * HEAD].tolist()))]


def memory_text(value: Any) -> str:
    """The memory, without what objects take."""
    return f"memory: {memory(memory_of(value)) or 'unknown'}"


def index_line(index: Any) -> str:
    """What the rows are called by."""
    if not is_from(type(index), "pandas"):
        return "index: unknown"
    names = ", ".join(label(name) for name in list(index.names)[:10] if name is not None)
    ends = f", {label(index[0])} to {label(index[-1])}" if len(index) else ", empty"
    return f"index: {type(index).__name__}{f' {names}' if names else ''}{ends}"


def pandas_column(name: str, series: Any) -> Column:
    """What is told of a column; values of a type that somebody else has written are not read."""
    dtype = type_text(series.dtype)
    if not is_known_type(series.dtype) or dtype == "SparseDtype":
        return Column(name, dtype, {}, ["?"] * min(HEAD, len(series)))
    return Column(name, dtype, pandas_facts(series), cells(pandas_values(series.iloc[:HEAD])))


def pandas_facts(series: Any) -> dict[str, str]:
    """Missing values and range of a column, or of a sample of it."""
    kind, plain = series.dtype.kind, is_from(type(series.dtype), "numpy")
    if plain and kind == "O":
        return object_facts(joined(series, OBJECTS, lambda part: part.tolist()))
    if not plain and kind not in "biuf":
        part = concatenated(series, lambda part: part.isna().to_numpy())
        return {"nulls": f"{int(part.sum()):,}"}
    if not plain:
        values = concatenated(series, lambda part: part.to_numpy(dtype="float64", na_value=float("nan")))
    else:
        values = concatenated(series, lambda part: part.to_numpy())
    facts = statistics(values)
    return {"nulls": facts.pop("nan", "0"), **facts}


def concatenated(series: Any, read: Callable[[Any], Any]) -> Any:
    """An ndarray of what `read` makes of the blocks of a series."""
    return library("numpy", "concatenate")([read(series.iloc[part]) for part in blocks(len(series))])


def joined(series: Any, wanted: int, read: Callable[[Any], list[Any]]) -> list[Any]:
    """A list of what `read` makes of the blocks of a series."""
    return [value for part in blocks(len(series), wanted) for value in read(series.iloc[part])]


def pandas_values(series: Any) -> list[Any]:
    """The values of a few rows; long texts that are kept by arrow are cut before they are made."""
    if (
        is_from(type(series.dtype), "pandas")
        and series.dtype.kind == "O"
        and "string" in type_text(series.dtype)
    ):
        return list(series.str.slice(0, CELL * 2).tolist())
    if type_text(series.dtype).startswith(("list", "struct", "map", "large_")):
        return ["..."] * len(series)
    return list(series.tolist())


# polars


def describe_polars_frame(frame: Any) -> list[str]:
    """Columns and first rows of a DataFrame of polars."""
    columns = [polars_column(frame.to_series(i)) for i in range(min(frame.width, COLUMNS))]
    lines = [f"{dimensions(frame.shape)}, {memory_text(frame)}"]
    return [*lines, *laid_out(columns, frame.height, frame.width)]


def describe_polars_series(series: Any) -> list[str]:
    """Facts and first values of a Series of polars."""
    lines = [f"{count(series.len(), 'value')}, {memory_text(series)}"]
    return [*lines, *laid_out([polars_column(series)], series.len(), 1)]


def polars_column(series: Any) -> Column:
    """What is told of a column."""
    return Column(
        one_line(series.name, CELL), type_text(series.dtype), polars_facts(series), polars_head(series)
    )


def polars_facts(series: Any) -> dict[str, str]:
    """Missing values and range of a column, or of a sample of it."""
    parts = [series.slice(part.start, part.stop - part.start) for part in blocks(series.len())]
    facts = {"nulls": f"{sum(part.null_count() for part in parts):,}"}
    dtype = series.dtype
    if not dtype.is_numeric() and not dtype.is_temporal():
        return facts
    whole = library("polars", "concat")(parts) if len(parts) > 1 else parts[0]
    for name in ("min", "max", "mean") if dtype.is_numeric() else ("min", "max"):
        value = getattr(whole, name)()
        if value is not None:
            facts[name] = cell(value)
    return facts


def polars_head(series: Any) -> list[str]:
    """The first values; long texts and lists are cut before they are made Python's."""
    head = series.head(HEAD)
    if head.dtype == library("polars", "String"):
        head = head.str.slice(0, CELL * 2)
    elif head.dtype.is_nested() or head.dtype == library("polars", "Binary"):
        return ["..."] * head.len()
    return cells(head.to_list())


# pyarrow


def describe_arrow_table(data: Any) -> list[str]:
    """Columns and first rows of a Table or RecordBatch."""
    columns = [arrow_column(data, i) for i in range(min(data.num_columns, COLUMNS))]
    lines = [f"{dimensions((data.num_rows, data.num_columns))}, {memory_text(data)}"]
    return [*lines, *laid_out(columns, data.num_rows, data.num_columns)]


def arrow_column(data: Any, i: int) -> Column:
    """What is told of a column; of a type that somebody else has written only that."""
    field, values = data.schema.field(i), data.column(i).slice(0, HEAD)
    if not is_from(type(field.type), "pyarrow"):
        return Column(one_line(field.name, CELL), type(field.type).__name__, {}, ["?"] * len(values))
    return Column(one_line(field.name, CELL), clip(str(field.type), 80), {}, list(map(arrow_cell, values)))


def arrow_cell(scalar: Any) -> str:
    """One value; a long text is told by its length, what is nested by its type."""
    if hasattr(scalar, "as_buffer"):
        buffer = scalar.as_buffer()
        if buffer is not None and buffer.size > CELL * 8:
            return f"<{buffer.size:,} bytes>"
        return cell(scalar.as_py())
    if library("pyarrow", "types").is_nested(scalar.type):
        return "..."
    return cell(scalar.as_py())
