"""One value in detail: which description fits it, within a budget of characters."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from claude_nb.kernel.look import arrays, code, figures, grids, objects, tables
from claude_nb.kernel.look.briefly import base_of, brief, first_of, length_of
from claude_nb.kernel.look.kinds import CONTAINERS, Known, know
from claude_nb.kernel.look.literals import literal
from claude_nb.kernel.look.real import module_of, name_of, qualname_of
from claude_nb.kernel.look.sizes import TEXTS
from claude_nb.kernel.look.text import clip, count, one_line

# How many values of a container are shown.
ENTRIES = 30

# A value that changes under our eyes is looked at once more.
ATTEMPTS = 2

DESCRIBERS: dict[str, Callable[[Any], list[str]]] = {
    "pandas frame": tables.describe_pandas_frame,
    "pandas series": tables.describe_pandas_series,
    "pandas index": tables.describe_pandas_index,
    "polars frame": tables.describe_polars_frame,
    "polars series": tables.describe_polars_series,
    "arrow table": tables.describe_arrow_table,
    "xarray dataset": grids.describe_dataset,
    "xarray array": grids.describe_data_array,
    "tensor": arrays.describe_tensor,
    "network": arrays.describe_network,
    "figure": figures.describe_figure,
    "axes": figures.describe_axes,
    "function": code.describe_function,
    "class": code.describe_class,
    "module": code.describe_module,
    "picture": lambda picture: [f"{picture.size[0]} x {picture.size[1]} pixels, mode {picture.mode}"],
    "lazy": lambda frame: ["lazy: not collected, so neither columns nor rows are known here"],
}


def inspect_value(name: str, value: Any, *, budget: int = 6000) -> str:
    """What a variable holds, in at most `budget` characters. Runs none of the value's code, never raises."""
    lines = described(value, budget)
    return clip("\n".join([f"{one_line(name, 200)}: {full_type(value)}", *lines]), budget)


def full_type(value: Any) -> str:
    """The type with its module, unless it is Python's."""
    cls = type(value)
    module = module_of(cls)
    return qualname_of(cls) if module in ("builtins", "") else f"{module}.{qualname_of(cls)}"


def described(value: Any, budget: int) -> list[str]:
    """The lines about a value; in the worst case one that says why there are none."""
    trouble = ""
    for _ in range(ATTEMPTS):
        try:
            return describe(value, budget)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of polars is no Exception
            trouble = name_of(type(error))
    return [f"It could not be read ({trouble}); it may be changing right now."]


def describe(value: Any, budget: int) -> list[str]:
    """The lines about a value."""
    if id(type(value)) in TEXTS:
        return describe_text(value, budget)
    simple = literal(value, budget)
    if simple is not None:
        return [simple]
    known = know(value)
    if known.kind == "array":
        return arrays.describe_array(known.value, value)
    if known.kind in CONTAINERS.values():
        return describe_container(value, known)
    describer = DESCRIBERS.get(known.kind)
    if describer is not None:
        return describer(known.value)
    return objects.describe_one_way(value) or objects.describe_object(value)


def describe_text(value: Any, budget: int) -> list[str]:
    """Length, beginning and end."""
    length = f"length {len(value):,}"
    if len(value) * 1.2 < budget - 100:
        return [length, value if type(value) is str else repr(value)]
    half = max(budget // 2 - 100, 20)
    head, tail = value[:half], value[-half // 2 :]
    if type(value) is not str:
        return [length, f"{head[: half // 4]!r} ..."]
    return [f"{length}; the beginning and the end:", head, "[...]", tail]


def describe_container(value: Any, known: Known) -> list[str]:
    """Length and first values, by the methods of Python's own container."""
    length = length_of(value)
    lines = [count(length, "item")]
    if type(value) is not base_of(value):
        lines += [f"read as a {name_of(base_of(value))}; what the class adds is not asked"]
    lines += [types_line(value, known.kind)] if length else []
    lines += [
        entry_line(i, entry, known.kind) for i, entry in enumerate(first_of(value, known.kind, ENTRIES))
    ]
    return lines + [f"  ... and {length - ENTRIES:,} more"] * (length > ENTRIES)


def types_line(value: Any, kind: str) -> str:
    """The types of the first thousand values, the most frequent first."""
    entries = first_of(value, kind, 1000)
    counts: dict[int, tuple[int, str]] = {}
    for entry in entries:
        cls = type(entry[1] if kind == "dict" else entry)
        counts[id(cls)] = (counts.get(id(cls), (0, ""))[0] + 1, name_of(cls))
    told = itertools.islice(sorted(counts.values(), reverse=True), 8)
    first = "the first 1,000 values" if len(entries) == 1000 else "values"
    return f"types of {first}: {', '.join(f'{name} ({number:,})' for number, name in told)}"


def entry_line(i: int, entry: Any, kind: str) -> str:
    """One value with its key or number."""
    if kind == "dict":
        return f"  {brief(entry[0])}: {brief(entry[1])}"
    return f"  {brief(entry)}" if kind == "set" else f"  [{i}] {brief(entry)}"
