"""The variables of a namespace as a table: the user's own, the data first."""

from __future__ import annotations

import fnmatch
from collections.abc import Container, Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from claude_nb.kernel.look.briefly import brief, careful
from claude_nb.kernel.look.kinds import know
from claude_nb.kernel.look.literals import literal
from claude_nb.kernel.look.real import is_a, module_contents, module_of, name_of
from claude_nb.kernel.look.sizes import memory_of, size_of
from claude_nb.kernel.look.text import count, memory, one_line, table

# What IPython puts into every namespace.
IPYTHONS = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})

# Functions, classes and modules are listed by name only, and so many of each.
LISTED = 40

# A namespace that changes while it is copied is copied again.
ATTEMPTS = 5

HEADER = ("name", "type", "size", "memory", "value")


def variables(
    namespace: Mapping[str, Any], *, hidden: Container[str] = (), limit: int = 100, pattern: str = ""
) -> str:
    """A table of the user's variables: name, type, size, memory; at most `limit` of them, the newest.

    `pattern` is a glob (`df_*`) or a part of a name. Left out is what is in `hidden` or begins with `_`.
    """
    own = users_own(namespace, hidden)
    matching = [(name, value) for name, value in own if matches(name, pattern)]
    kinds = [know_kind(value) for _, value in matching]
    data = [item for item, kind in zip(matching, kinds, strict=True) if kind not in LISTS]
    lines = [heading(len(data), len(own), limit, pattern)]
    if data and limit > 0:
        lines += table(HEADER, [row(name, value) for name, value in data[-limit:]])
    for title in dict.fromkeys(LISTS.values()):
        names = [name for (name, _), kind in zip(matching, kinds, strict=True) if LISTS.get(kind) == title]
        lines += [f"{title}: {listed(names)}"] if names else []
    return "\n".join(lines)


LISTS = {"function": "functions", "class": "classes", "module": "modules"}


def users_own(namespace: Mapping[str, Any], hidden: Container[str]) -> list[tuple[str, Any]]:
    """The variables that are the user's, in the order in which they came."""
    return [
        (name, value)
        for name, value in snapshot(namespace)
        if type(name) is str and not name.startswith("_") and name not in IPYTHONS and name not in hidden
    ]


def is_ours(value: Any) -> bool:
    """Whether a value is of this package: one of its objects, classes, functions or modules."""
    cls = type(value)
    if id(cls) in _PLAIN:
        return False
    if cls is ModuleType:
        return _is_our_name(module_contents(value).get("__name__"))
    if cls is FunctionType:
        return _is_our_name(value.__module__)
    return _is_our_name(module_of(value if is_a(value, type) else cls))


# By identity: what a class says of its hash and of being equal is its own affair.
_PLAIN = frozenset(map(id, (type(None), bool, int, float, str, bytes, tuple, list, dict, set)))


def _is_our_name(module: Any) -> bool:
    return type(module) is str and module.partition(".")[0] == __name__.partition(".")[0]


def snapshot(namespace: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The names and values of a namespace that another thread may be changing."""
    for _ in range(ATTEMPTS):
        try:
            return list(items_of(namespace))
        except RuntimeError:  # changed size during iteration
            continue
    return []


def items_of(namespace: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """The items, by dict's own method where it is one."""
    return dict.items(namespace) if is_a(namespace, dict) else namespace.items()  # type: ignore[arg-type]


def matches(name: str, pattern: str) -> bool:
    """Whether a name fits a glob, or contains the pattern."""
    if any(sign in pattern for sign in "*?["):
        return fnmatch.fnmatchcase(name, pattern)
    return pattern.casefold() in name.casefold()


def know_kind(value: Any) -> str:
    """The kind of a value, or nothing if it cannot be told."""
    try:
        return know(value).kind
    except Exception:
        return ""


def heading(found: int, own: int, limit: int, pattern: str) -> str:
    """How many variables there are, and how to see the others."""
    which = f" match {one_line(pattern, 80)!r}" if pattern else ""
    if not found:
        return f"No variables{which} ({own:,} names in all)." if pattern else "No variables."
    if found <= limit:
        return f"{count(found, 'variable')}{which}:"
    return (
        f"{count(found, 'variable')}{which}; the newest {limit:,} are shown. "
        "A pattern such as `df_*` or a part of a name shows others:"
    )


def row(name: str, value: Any) -> list[str]:
    """A line about a variable."""
    return [
        one_line(name, 60),
        short_type(value),
        careful(lambda value, _: size_of(value), value, 50),
        careful(lambda value, _: memory(memory_of(value)), value, 12),
        brief(value) if is_simple(value) else "",
    ]


def short_type(value: Any) -> str:
    """The type, with the library that it is from."""
    package = module_of(type(value)).partition(".")[0]
    known = package in ("builtins", "__main__", "")
    return one_line(name_of(type(value)) if known else f"{package}.{name_of(type(value))}", 40)


def is_simple(value: Any) -> bool:
    """Whether a value is shown in the table itself."""
    try:
        return literal(value) is not None
    except Exception:
        return False


def listed(names: list[str]) -> str:
    """Names in a line, the first of them if there are many."""
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return ", ".join(one_line(name, 60) for name in names[:LISTED]) + more
