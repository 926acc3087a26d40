"""How large a value is: its shape or length, and its memory where that is known at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from claude_nb.kernel.look.kinds import CONTAINERS, know
from claude_nb.kernel.look.real import attribute, is_a, is_from, name_of
from claude_nb.kernel.look.text import count, dimensions

TEXTS = {id(cls) for cls in (str, bytes, bytearray)}

# Wider frames are not asked for their memory.
WIDE = 200

# The bytes of a reference.
REFERENCE = 8


def size_of(value: Any) -> str:
    """`1,000 x 5`, `3 x 4 float64`, `12 items`; empty for what has no size, or none that we know."""
    known = know(value)
    if known.kind in CONTAINERS.values():
        base = next(cls for cls in CONTAINERS if is_a(value, cls))
        return count(base.__len__(value), "item")  # type: ignore[attr-defined]
    if id(type(value)) in TEXTS:
        return f"length {len(value):,}"
    sizer = SIZERS.get(known.kind)
    return sizer(known.value) if sizer else ""


def memory_of(value: Any) -> int | None:
    """The bytes that a value takes, without what it refers to; None where that would cost something."""
    known = know(value)
    if known.kind in CONTAINERS.values() or id(type(value)) in TEXTS:
        return sys.getsizeof(value) if is_from(type(value), "builtins") else None
    measure = MEASURES.get(known.kind)
    return measure(known.value) if measure else None


def shape_and_type(value: Any) -> str:
    """Of an array."""
    return f"{dimensions(value.shape)} {type_text(value.dtype)}"


def type_text(dtype: Any) -> str:
    """The name of an element type; one that is of somebody else's library is not asked."""
    if name_of(type(dtype)) == "SparseDtype" or not is_known_type(dtype):
        return name_of(type(dtype))
    return str(dtype).removeprefix("torch.")[:80]


def is_known_type(dtype: Any) -> bool:
    """Whether an element type is of one of the libraries that we know."""
    return any(is_from(type(dtype), package) for package in ("numpy", "pandas", "polars", "torch"))


def row_memory(dtype: Any) -> int:
    """The bytes of one value in a column; objects and texts count as references."""
    return int(getattr(dtype, "itemsize", REFERENCE)) if is_known_type(dtype) else REFERENCE


def pandas_memory(frame: Any) -> int | None:
    """Rows times the size of a row."""
    if frame.shape[1] > WIDE:
        return None
    return len(frame.index) * sum(map(row_memory, frame.dtypes.tolist()))


def polars_memory(value: Any, dtypes: list[Any]) -> int | None:
    """What polars estimates; polars 1.0 panics over objects, and that is printed into the user's cell."""
    objects = any("Object" in str(dtype) for dtype in dtypes[:WIDE])
    return None if objects or len(dtypes) > WIDE else int(value.estimated_size())


def grid_size(data: Any) -> str:
    """Of xarray's arrays, if what holds the values is known to tell its shape without computing."""
    held = backing(data)
    if held is None:
        return ""
    return f"{dimensions(held.shape)} {type_text(held.dtype)}"


def backing(data: Any) -> Any:
    """What holds the values of a DataArray or Variable, or None if it is of somebody else's library."""
    variable = attribute(data, "_variable")
    held = attribute(data if variable is None else variable, "_data")
    return held if any(is_from(type(held), package) for package in ("numpy", "xarray", "dask")) else None


def dataset_size(data: Any) -> str:
    """Of a Dataset: how many variables of what lengths."""
    variables = attribute(data, "_variables")
    lengths: dict[str, int] = {}
    for variable in list(dict.values(variables))[:WIDE] if is_a(variables, dict) else ():
        held = backing(variable)
        if held is not None:
            lengths.update(zip(map(str_only, variable.dims), held.shape, strict=False))
    return ", ".join(f"{name}: {length:,}" for name, length in lengths.items())


def str_only(label: Any) -> str:
    """A label that is a str; any other by its type."""
    return label[:80] if type(label) is str else name_of(type(label))


SIZERS: dict[str, Callable[[Any], str]] = {
    "array": shape_and_type,
    "tensor": shape_and_type,
    "pandas frame": lambda frame: dimensions(frame.shape),
    "pandas series": lambda series: f"{len(series):,} {type_text(series.dtype)}",
    "pandas index": lambda index: f"{len(index):,} {type_text(index.dtype)}",
    "polars frame": lambda frame: dimensions(frame.shape),
    "polars series": lambda series: f"{series.len():,} {type_text(series.dtype)}",
    "arrow table": lambda table: dimensions((table.num_rows, table.num_columns)),
    "xarray dataset": dataset_size,
    "xarray array": grid_size,
    "picture": lambda picture: f"{dimensions(picture.size)} {picture.mode}",
}

MEASURES: dict[str, Callable[[Any], int | None]] = {
    "array": lambda array: int(array.nbytes),
    "tensor": lambda tensor: int(tensor.numel() * tensor.element_size()),
    "pandas frame": pandas_memory,
    "pandas series": lambda series: len(series) * row_memory(series.dtype),
    "polars frame": lambda frame: polars_memory(frame, frame.dtypes),
    "polars series": lambda series: polars_memory(series, [series.dtype]),
    "arrow table": lambda table: int(table.nbytes) if table.num_columns <= WIDE else None,
}
