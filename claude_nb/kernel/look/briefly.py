"""One short line about any value: its type and size, or the value itself if it is small and simple."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from claude_nb.kernel.look.code import signature_of
from claude_nb.kernel.look.kinds import CONTAINERS, know
from claude_nb.kernel.look.literals import literal
from claude_nb.kernel.look.real import attribute, class_contents, is_a, module_contents, name_of
from claude_nb.kernel.look.sizes import size_of
from claude_nb.kernel.look.text import count, one_line

ROOM = 100

# How many of a container's values are shown, and how many containers deep.
SHOWN = 5
DEPTH = 2


def brief(value: Any) -> str:
    """One short line: `DataFrame 1,000 x 5`, `[1, 2]`, `list of 20 items: [1, 2, ...]`, `function f(x)`."""
    return careful(short, value, ROOM)


def careful(describe: Callable[[Any, int], str], value: Any, room: int) -> str:
    """What `describe` says, or the type alone if the value cannot be read: it may be changing right now."""
    try:
        return one_line(describe(value, room), room)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic of polars is no Exception
        return name_of(type(value))


def short(value: Any, room: int, depth: int = DEPTH) -> str:
    """As `brief`, but may raise, and is shortened only roughly."""
    simple = literal(value, room)
    if simple is not None:
        return simple
    name = name_of(type(value))
    known = know(value)
    if known.kind in CONTAINERS.values():
        return container(value, known.kind, room, depth)
    if known.kind == "class":
        return f"class {name_of(value)}"
    if known.kind == "module":
        return f"module {module_name(value)}"
    if known.kind == "function":
        return f"{'function' if name == 'function' else name} {signature_of(value)}"
    if member := enum_member(value):
        return f"{name}.{member}"
    return f"{name} {size_of(value)}".rstrip()


def container(value: Any, kind: str, room: int, depth: int) -> str:
    """The values of a short container; of a long one its length and the first of them."""
    name = name_of(type(value))
    length = length_of(value)
    plain = any(type(value) is cls for cls in CONTAINERS)
    if depth == 0 and length:
        return f"{name} of {count(length, 'item')}"
    each = max(room // 3, 20)
    parts = [short_entry(entry, kind, each, depth - 1) for entry in first_of(value, kind, SHOWN)]
    inside = in_brackets(parts + ["..."] * (length > SHOWN), kind, name)
    if plain and length <= SHOWN and len(inside) <= room:
        return inside
    return f"{name} of {count(length, 'item')}: {inside}" if length else f"{name}, empty"


def short_entry(entry: Any, kind: str, room: int, depth: int) -> str:
    """One value of a container, or a key with its value."""
    if kind == "dict":
        key, held = entry
        return f"{short(key, room, depth)}: {short(held, room, depth)}"
    return short(entry, room, depth)


def in_brackets(parts: list[str], kind: str, name: str) -> str:
    """The values as Python writes the container."""
    if name == "tuple":
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
    if not parts and kind == "set":
        return f"{name}()"
    opening, closing = "[]" if kind in ("list", "tuple") else "{}"
    inside = f"{opening}{', '.join(parts)}{closing}"
    return f"{name}({inside})" if name in ("frozenset", "deque") else inside


def base_of(value: Any) -> type:
    """The container of Python that the value is derived from."""
    return next(cls for cls in CONTAINERS if is_a(value, cls))


def length_of(value: Any) -> int:
    """How many values a container has, by Python's own method."""
    return int(base_of(value).__len__(value))  # type: ignore[attr-defined]


def first_of(value: Any, kind: str, number: int) -> list[Any]:
    """The first values of a container, of a dict its items, by Python's own methods."""
    entries: Iterable[Any] = dict.items(value) if kind == "dict" else base_of(value).__iter__(value)  # type: ignore[attr-defined]
    return list(itertools.islice(entries, number))


def module_name(module: Any) -> str:
    """What a module is called."""
    name = module_contents(module).get("__name__")
    return name if type(name) is str else "without a name"


def enum_member(value: Any) -> str:
    """The name of a member of an Enum, or an empty string."""
    name = attribute(value, "_name_") if "_member_map_" in class_contents(type(value)) else None
    return name if type(name) is str else ""
