"""Whether a person is at the notebook, who can be asked and who sees what comes later."""

from __future__ import annotations

from typing import Any


def someone_is_there(shell: Any) -> bool:
    """A person sees this shell's cells.

    nbclient, nbval, nbconvert and papermill do not allow stdin, JupyterLab, Notebook and VS Code do. A
    terminal has a person at it; a script without IPython has none.
    """
    if shell is None:
        return False
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return type(shell).__name__ == "TerminalInteractiveShell"
    parent = kernel.get_parent("shell") or {}
    if parent.get("header", {}).get("msg_type") == "comm_msg":  # of a widget in a page that a person has
        return True
    return bool(parent.get("content", {}).get("allow_stdin", False))
