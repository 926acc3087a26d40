"""Which of the types that we know a value is, and the value as that type, free of what a subclass adds."""

from __future__ import annotations

import collections
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from claude_nb.kernel.look.real import bases_of, is_from, library, name_of, overrides

# Subclasses of these are looked at through the methods of these.
CONTAINERS: dict[type, str] = {
    dict: "dict",
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "set",
    collections.deque: "list",
}

# By the name of a class: where the library keeps it, and what we call it.
LIBRARY_CLASSES: dict[str, list[tuple[str, str]]] = {
    "ndarray": [("numpy", "array")],
    "DataFrame": [("pandas", "pandas frame"), ("polars", "polars frame")],
    "Series": [("pandas", "pandas series"), ("polars", "polars series")],
    "Index": [("pandas", "pandas index")],
    "LazyFrame": [("polars", "lazy")],
    "Table": [("pyarrow", "arrow table")],
    "RecordBatch": [("pyarrow", "arrow table")],
    "Dataset": [("xarray", "xarray dataset")],
    "DataArray": [("xarray", "xarray array")],
    "Tensor": [("torch", "tensor")],
    "Module": [("torch.nn", "network")],
    "Figure": [("matplotlib.figure", "figure")],
    "Axes": [("matplotlib.axes", "axes")],
    "Image": [("PIL.Image", "picture")],
}

# Exact types, by identity.
CODE: dict[int, str] = {
    id(FunctionType): "function",
    id(BuiltinFunctionType): "function",
    id(MethodType): "function",
    id(ModuleType): "module",
}

# Kinds whose library reads attributes of the value: a subclass with its own idea of them is not one.
_HOSTILE = ("__getattribute__", "__getattr__", "__class__", "_mgr")
_NETWORK = ("__getattribute__",)


class Known(NamedTuple):
    """A value of a kind that we know; kind is empty for any other."""

    kind: str
    value: Any


def know(value: Any) -> Known:
    """What the value is. Costs microseconds and runs no code of the value's."""
    cls = type(value)
    if kind := CODE.get(id(cls)):
        return Known(kind, value)
    for base in bases_of(cls):
        if base is type:
            return Known("class", value)
        if base is ModuleType:
            return Known("module", value)
        for container, kind in CONTAINERS.items():
            if base is container:
                return Known(kind, value)
        for module, kind in LIBRARY_CLASSES.get(name_of(base), ()):
            if library(module, name_of(base)) is base:
                return as_librarys_own(value, base, module, kind)
    return Known("", value)


def as_librarys_own(value: Any, base: type, module: str, kind: str) -> Known:
    """The value as the library's class, if no subclass of somebody else's has a say in that."""
    cls = type(value)
    if kind == "array":
        return Known(kind, value if cls is base else base.view(value, base))  # type: ignore[attr-defined]
    if kind == "network" or is_from(cls, module.partition(".")[0]):
        return Known(kind, value)
    if kind == "tensor" and cls is library("torch.nn", "Parameter"):
        return Known(kind, value)
    if kind == "pandas frame" and not overrides(cls, base, _HOSTILE):
        return Known(kind, base(value))
    return Known("", value)
