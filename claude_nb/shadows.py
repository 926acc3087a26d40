"""Why something cannot be imported: most often a file of the user's that bears a package's name.

A notebook's folder comes first on `sys.path`. A file `mcp.py` there is what the SDK gets when it asks for
`mcp`, and what fails then says nothing of that file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from claude_nb.errors import CannotImport


def need_sdk() -> None:
    """Import the SDK, before whatever is taken from it; a second, the first time. Raises `CannotImport`."""
    try:
        import claude_agent_sdk  # noqa: F401
    except Exception as error:
        raise cannot_import(error) from error


def cannot_import(error: Exception) -> CannotImport:
    """Return the error that names the file which hides a package, or else the package."""
    hidden = _hidden(error)
    if hidden is None:
        reason = " ".join(str(error).split())
        return CannotImport(
            f"A package that claude_nb needs cannot be imported: {reason}. Reinstall it "
            "with `pip install --force-reinstall claude-nb` and restart the kernel.",
            getattr(error, "name", None),
        )
    name, file = hidden
    return CannotImport(
        f"Your file {file} hides the package {name!r}, which claude_nb needs. Give it another name, and "
        "restart the kernel.",
        name,
        str(file),
    )


def _hidden(error: Exception) -> tuple[str, Path] | None:
    """The package's name and the user's file that was imported in its place, or that is being imported."""
    top = (getattr(error, "name", None) or "").partition(".")[0]
    file = getattr(sys.modules.get(top), "__file__", None)
    if file is not None and _is_the_users(file):
        return top, Path(file)
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if _is_the_users(file):
            return Path(file).stem, Path(file)
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename is not None and _is_the_users(error.filename):
        return Path(error.filename).stem, Path(error.filename)
    return None


def _is_the_users(file: str) -> bool:
    """It lies in the working folder, where nothing that was installed does."""
    path = Path(file)
    if not path.is_absolute() or path.is_relative_to(Path(__file__).parent):
        return False
    here = Path.cwd()
    return path.parent == here or (path.name == "__init__.py" and path.parent.parent == here)
