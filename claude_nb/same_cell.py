"""The rest of the cell that loads the extension: its prompts, too, reach the magic as they were typed.

IPython has read the whole cell before its first line runs, by its own rules (see `verbatim`). So once ours
are there the cell is read again, and what is still to run of it is put in the place of what was read before.
IPython keeps that in a list, a local variable of its method, which can only be found on the stack; where it
is not there, or the two readings differ before the line that loads, the prompts of this cell are refused.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

TAKEN_APART = (
    "Nothing was sent: IPython had read this cell before claude_nb was loaded, and has taken its prompts "
    "apart. Run the cell again."
)


def read_again(shell: InteractiveShell) -> bool:
    """Let the rest of the running cell be read by our rules; False where its prompts are not as typed."""
    raw = next((frame.f_locals.get("raw_cell") for frame in _frames("run_cell_async")), None)
    if not isinstance(raw, str) or "%claude" not in raw:
        return True
    statements = _parsed(shell.transform_cell(raw))
    for frame in _frames("run_ast_nodes"):
        running, to_run = frame.f_locals.get("node"), frame.f_locals.get("to_run")
        if (
            statements is not None
            and isinstance(to_run, list)
            and _replace(shell, running, to_run, statements)
        ):
            return True
    return False


def _frames(name: str) -> Iterator[FrameType]:
    """IPython's methods of that name that are under way, the innermost first."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == name and frame.f_globals.get("__name__", "").startswith("IPython."):
            yield frame
        frame = frame.f_back


def _parsed(code: str) -> list[ast.stmt] | None:
    try:
        return ast.parse(code).body
    except SyntaxError:
        return None


def _replace(
    shell: InteractiveShell, running: Any, to_run: list[tuple[Any, str]], statements: list[ast.stmt]
) -> bool:
    """Put the statements in the place of those that come after the running one, if all before are equal."""
    index = next((i for i, (node, _) in enumerate(to_run) if node is running), None)
    if index is None or len(statements) <= index:
        return False
    pairs = zip(to_run[: index + 1], statements, strict=False)
    if any(ast.dump(before) != ast.dump(again) for (before, _), again in pairs):
        return False
    rest = shell.transform_ast(ast.Module(statements[index + 1 :], [])).body
    shows_last = bool(rest) and isinstance(rest[-1], ast.Expr)
    modes = ["exec"] * (len(rest) - shows_last) + ["single"] * shows_last
    to_run[index + 1 :] = zip(rest, modes, strict=True)
    return True
