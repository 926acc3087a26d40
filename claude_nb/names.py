"""What a session may be called, and the name that a notebook gives its own session. No I/O."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from claude_nb.errors import InvalidName

LONGEST = 100
_PUNCTUATION = frozenset(" ._-()")

# VS Code adds this to the path of a notebook when it talks to a Jupyter server.
_VSCODE_SUFFIX = re.compile(r"-jvsc-[0-9a-f-]+(?=\.|$)")


def check_name(name: str) -> str:
    """The name in its normal form (NFC, without surrounding spaces); raises `InvalidName`.

    Letters of any script with their marks, digits, space and `._-()`, at most 100 characters, not
    starting with `.` or `-`.
    """
    normal = unicodedata.normalize("NFC", name).strip(" ")
    problem = _problem(normal)
    if problem:
        raise InvalidName(
            f"{_shortened(name)!r} cannot be a session's name: {problem}. "
            "Use letters, digits, spaces and . _ - ( ), for example 'review 2'."
        )
    return normal


def notebook_name(environ: Mapping[str, str], vscode_file: str | None = None) -> str | None:
    """The name of this kernel's notebook, made fit for a session, or None where there is none.

    `vscode_file` is the value of `__vsc_ipynb_file__` in the user's namespace. It comes first: a
    kernel that VS Code starts may have inherited another notebook's `JPY_SESSION_NAME`.
    """
    for path in (vscode_file, environ.get("JPY_SESSION_NAME")):
        name = _fitted(_stem(path)) if path else ""
        if name:
            return name
    return None


def quoted(name: str) -> str:
    """The name as it is written in a command."""
    return f'"{name}"' if " " in name else name


def _problem(name: str) -> str | None:
    """What is wrong with a normalised name, or None."""
    if not name:
        return "it is empty"
    if len(name) > LONGEST:
        return f"it has {len(name)} characters, {LONGEST} are allowed"
    if name[0] in ".-":
        return f"it starts with {name[0]!r}"
    wrong = next((c for c in name if not _allowed(c)), None)
    if wrong is not None:
        return f"{wrong!r} is not allowed in it"
    return None


def _allowed(character: str) -> bool:
    # Marks belong to letters: many scripts have vowels that no composed letter contains.
    return character in _PUNCTUATION or unicodedata.category(character) in _LETTERS_MARKS_DIGITS


_LETTERS_MARKS_DIGITS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd"})


def _shortened(name: str) -> str:
    return name if len(name) <= 40 else name[:39] + "…"


def without_suffix(path: str) -> str:
    """The path of a notebook without what VS Code adds to it."""
    return _VSCODE_SUFFIX.sub("", path)


def _stem(path: str) -> str:
    """The file's name without folder and extension, whichever system the path is from."""
    file = re.split(r"[/\\]", without_suffix(path).rstrip("/\\"))[-1]
    stem, dot, _ = file.rpartition(".")
    return stem if dot and stem else file


def _fitted(text: str) -> str:
    """The nearest valid name; empty where nothing of the text can be in one."""
    normal = unicodedata.normalize("NFC", text)
    characters = "".join(c if _allowed(c) else "\0" for c in normal)
    return re.sub("\0+", "-", characters).lstrip(" .-")[:LONGEST].rstrip(" -")
