"""Whether a person is at the notebook, who can be asked, and what their front end can draw."""

from __future__ import annotations

import os
import re
from typing import Any, Literal

# How `jupyter_client` names its requests, and no front end in a browser does.
_OF_A_PYTHON_CLIENT = re.compile(r"_\d+_\d+$")

FrontEnd = Literal["notebook", "text", "unknown"]


def front_end(shell: Any) -> FrontEnd:
    """What shows the running cell.

    JupyterLab, Notebook and VS Code name the cell in the request's metadata: they draw updates and widgets.
    Consoles (`jupyter console`, qtconsole, Spyder) do not, and are written in Python: they draw neither, and
    some that run cells on the server lose updates. Of any other one nothing is known.
    """
    parent = shell.kernel.get_parent("shell") or {}
    if (parent.get("metadata") or {}).get("cellId"):
        return "notebook"
    return (
        "text" if _OF_A_PYTHON_CLIENT.search(str(parent.get("header", {}).get("msg_id", ""))) else "unknown"
    )


def cannot_ask(shell: Any) -> bool:
    """A person may be there whom nobody can ask: the cells of an open notebook are run on the server.

    As jupyter-server-documents does. A Jupyter server names the notebook to the kernels of open ones.
    """
    kernel = getattr(shell, "kernel", None)
    return kernel is not None and not someone_is_there(shell) and _is_open_notebook()


def loses_what_comes_later(shell: Any) -> bool:
    """The server runs the cells of an open notebook, and listens to a cell only until it has ended.

    As jupyter-server-nbmodel does, which is a Python client that names no cell but allows input.
    """
    return front_end(shell) == "text" and _is_open_notebook()


def _is_open_notebook() -> bool:
    return bool(os.environ.get("JPY_SESSION_NAME"))


def wants_text(shell: Any) -> bool:
    """A display should hold plain text, too: the front end may know no Markdown. What is saved need not."""
    return someone_is_there(shell) and front_end(shell) != "notebook"


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
