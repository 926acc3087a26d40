"""What a mention such as `df`, `Out[3]` or `data["train"]` names, without running anything."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from claude_nb.kernel.look.real import is_a, name_of
from claude_nb.kernel.look.text import one_line

LONGEST = 500


def resolve(namespace: Mapping[str, Any], path: str) -> Any:
    """The value that a path names: a variable, and items of dicts, lists and tuples by literal keys.

    Raises KeyError with a message for the reader. Attributes, calls and other containers are never touched.
    """
    return value_of(parsed(path), namespace, path)


def parsed(path: str) -> ast.expr:
    """The path as an expression of Python."""
    if len(path) > LONGEST:
        raise KeyError(f"`{one_line(path, 40)}` is too long for a variable's name")
    try:
        return ast.parse(path.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise KeyError(f"`{one_line(path, 80)}` is not the name of a variable") from None


def value_of(node: ast.expr, namespace: Mapping[str, Any], path: str) -> Any:
    """The value of a name, or of an item of the value before it."""
    if isinstance(node, ast.Name):
        return variable(namespace, node.id)
    if isinstance(node, ast.Subscript):
        holder = value_of(node.value, namespace, path)
        return item(holder, key_of(node.slice, path), ast.unparse(node.value))
    raise KeyError(f"`{one_line(path, 80)}`: only variables and their items by a literal key can be named")


def variable(namespace: Mapping[str, Any], name: str) -> Any:
    """The variable of that name."""
    try:
        return dict.__getitem__(namespace, name) if is_a(namespace, dict) else namespace[name]  # type: ignore[index]
    except KeyError:
        raise KeyError(f"there is no variable `{name}`") from None


def key_of(node: ast.expr, path: str) -> str | int:
    """The str or int that stands in the brackets."""
    try:
        key = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        key = None
    if type(key) is str or type(key) is int:
        return key
    raise KeyError(f"`{one_line(path, 80)}`: only a str or an int can stand in the brackets")


def item(holder: Any, key: str | int, holder_name: str) -> Any:
    """The item of a dict, list or tuple of Python's own."""
    cls = type(holder)
    if cls is not dict and cls is not list and cls is not tuple:
        raise KeyError(
            f"`{holder_name}` is of type {name_of(cls)}: only dicts, lists and tuples have such items"
        )
    try:
        return holder[key]
    except (LookupError, TypeError):
        raise KeyError(f"`{holder_name}` has no item {key!r:.80}") from None
