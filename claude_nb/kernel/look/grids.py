"""xarray's Datasets and DataArrays: dimensions, coordinates and variables. Nothing is loaded or computed."""

from __future__ import annotations

from typing import Any

from claude_nb.kernel.look.arrays import range_line
from claude_nb.kernel.look.briefly import brief
from claude_nb.kernel.look.real import attribute, is_a, library, name_of
from claude_nb.kernel.look.sizes import backing, dataset_size, str_only, type_text
from claude_nb.kernel.look.text import dimensions, table

# How many variables, coordinates and attributes are told about.
SHOWN = 60

HEADER = ("name", "dimensions", "shape", "type", "held by", "range")


def describe_dataset(data: Any) -> list[str]:
    """Dimensions, coordinates, variables and attributes of a Dataset."""
    coordinates = attribute(data, "_coord_names") or set()
    variables = list(dict.items(attribute(data, "_variables")))[:SHOWN]
    lines = [f"dimensions: {dataset_size(data) or 'none'}"]
    lines += section("coordinates", [item for item in variables if item[0] in coordinates])
    lines += section("variables", [item for item in variables if item[0] not in coordinates])
    return lines + attributes_section(attribute(data, "_attrs"))


def describe_data_array(data: Any) -> list[str]:
    """Shape, coordinates and attributes of a DataArray."""
    variable = attribute(data, "_variable")
    lines = table(HEADER, [row(attribute(data, "_name"), variable)])
    lines += section("coordinates", list(dict.items(attribute(data, "_coords")))[:SHOWN])
    return lines + attributes_section(attribute(variable, "_attrs"))


def section(title: str, variables: list[tuple[Any, Any]]) -> list[str]:
    """A table of variables."""
    rows = [row(name, variable) for name, variable in variables]
    return ["", f"{title}:", *table(HEADER, rows)] if rows else []


def row(name: Any, variable: Any) -> list[str]:
    """A line about a variable; its range only if its values are in memory."""
    held = backing(variable)
    if held is None:
        return [label(name), "", "", "", name_of(type(attribute(variable, "_data"))), ""]
    names = ", ".join(map(str_only, variable.dims))
    kind = name_of(type(held))
    return [label(name), names, dimensions(held.shape), type_text(held.dtype), kind, in_memory_range(held)]


def label(name: Any) -> str:
    """The name of a variable."""
    return "" if name is None else str_only(name)


def in_memory_range(held: Any) -> str:
    """The range of an ndarray, the ends of an index."""
    if type(held) is library("numpy", "ndarray"):
        numbers = held.size and held.dtype.kind in "biufmM"
        return range_line(held).removeprefix("range: ") if numbers else ""
    index = attribute(held, "array")
    if name_of(type(held)) == "PandasIndexingAdapter" and len(index):
        return f"{brief(index[0])} to {brief(index[-1])}"
    return ""


def attributes_section(attributes: Any) -> list[str]:
    """The attributes that the user has written to it."""
    entries = list(dict.items(attributes))[:SHOWN] if is_a(attributes, dict) else []
    return (
        ["", "attributes:", *(f"  {str_only(name)}: {brief(held)}" for name, held in entries)]
        if entries
        else []
    )
