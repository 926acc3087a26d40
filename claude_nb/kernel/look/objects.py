"""Values of no kind that we know: their type and what they hold themselves. And what must not be used up."""

from __future__ import annotations

import inspect
import io
import itertools
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from claude_nb.kernel.look.briefly import brief
from claude_nb.kernel.look.code import class_documentation
from claude_nb.kernel.look.real import (
    attributes_of,
    bases_of,
    class_contents,
    module_of,
    qualname_of,
    slots_of,
)
from claude_nb.kernel.look.text import one_line

# How many attributes are shown.
SHOWN = 50

# Packages whose objects stand for work that is not done yet.
LAZY_PACKAGES = ("dask", "dask_expr", "distributed", "ibis", "pyspark", "vaex", "duckdb", "polars")


def describe_object(value: Any) -> list[str]:
    """Class, documentation, and the attributes that stand in the object itself; none of its code runs."""
    cls = type(value)
    lines = [f"an object of {module_of(cls)}.{qualname_of(cls)}", *class_documentation(cls)]
    if module_of(cls).partition(".")[0] in LAZY_PACKAGES:
        lines += ["It may stand for work that is not done yet: nothing was computed."]
    held = dict(itertools.islice(dict.items(attributes_of(value)), SHOWN + 1))
    held.update(itertools.islice(slots_of(value), SHOWN + 1))
    if not held:
        return [*lines, "no attributes of its own can be read without running its code"]
    entries = list(held.items())
    lines += [
        "attributes:",
        *(f"  {attribute_name(name)}: {brief(entry)}" for name, entry in entries[:SHOWN]),
    ]
    return lines + ["  ..."] * (len(entries) > SHOWN)


def attribute_name(name: Any) -> str:
    """The name of an attribute."""
    return one_line(name, 60) if type(name) is str else brief(name)


def describe_one_way(value: Any) -> list[str] | None:
    """Generators, coroutines, iterators and files, as they stand; None for anything else."""
    cls = type(value)
    if cls is GeneratorType:
        return [f"generator {value.__qualname__}, {inspect.getgeneratorstate(value)}; not advanced"]
    if cls is CoroutineType:
        return [f"coroutine {value.__qualname__}, {inspect.getcoroutinestate(value)}; not awaited"]
    if cls is AsyncGeneratorType:
        return [f"asynchronous generator {value.__qualname__}; not advanced"]
    if any(base is STREAM for base in bases_of(cls)):
        return [*describe_file(value), "not read and not moved"]
    if any("__next__" in class_contents(base) for base in bases_of(cls)):
        return [*describe_object(value), "an iterator; not advanced"]
    return None


def describe_file(value: Any) -> list[str]:
    """A file that Python has opened; of any other stream only its class."""
    cls = type(value)
    binary = value.buffer if cls is io.TextIOWrapper else value
    raw = binary.raw if any(type(binary) is file for file in FILES) else binary
    if type(raw) is not io.FileIO:
        return [f"a stream of {module_of(cls)}.{qualname_of(cls)}"]
    return [f"file {brief(raw.name)}, mode {raw.mode}, {'closed' if raw.closed else 'open'}"]


FILES = (io.BufferedReader, io.BufferedWriter, io.BufferedRandom)
STREAM = io.IOBase.__mro__[1]  # the C class that every stream has, Python's own ones too
