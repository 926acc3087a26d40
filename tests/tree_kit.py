"""What a source file does to objects that are not its own, read from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

Function = ast.FunctionDef | ast.AsyncFunctionDef

# Documented, in spite of their names.
PUBLIC = {"os._exit", "_asdict", "_replace", "_fields"}


def foreign(path: Path) -> set[str]:
    """Return what a file sets of another's object, and the private names of another's that it uses.

    An object's own are those of `self` and `cls`, and those of a local variable that the same function has
    just made by calling a class. The private names of a class are free to its whole file.
    """
    tree = ast.parse(path.read_text())
    return {*assigned(tree), *private(tree), *imported(tree)}


def assigned(tree: ast.AST, own: frozenset[str] = frozenset(("self", "cls"))) -> Iterator[str]:
    """Yield the attributes of others that are set or deleted, like `session.state = ...`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield from assigned(node, own | made(node))
            continue
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            if not is_named(node.value, own):
                yield f"{ast.unparse(node)} = ..."
        elif is_setting(node) and not is_named(node.args[0], own):
            yield ast.unparse(node)
        yield from assigned(node, own)


def private(tree: ast.AST) -> Iterator[str]:
    """Yield the private names of others that are used, like `session._queue`."""
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    own = {"self", "cls", "super()", *classes}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_named(node.value, own):
            text = ast.unparse(node)
            if not PUBLIC & {text, node.attr}:
                yield text


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that are imported from another module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names if is_private(alias.name))


def made(function: Function) -> set[str]:
    """Return the local variables that a function binds to an object it has just made."""
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and is_construction(node.value):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def is_construction(node: ast.AST) -> bool:
    """Whether this calls a class: by convention its name begins with a capital."""
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func).rpartition(".")[2]
    return name == "cls" or name[:1].isupper()


def is_setting(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr")


def is_named(node: ast.AST, names: set[str] | frozenset[str]) -> bool:
    return ast.unparse(node) in names


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name != "_"
