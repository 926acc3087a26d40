"""What Claude Code's tools are about: the one thing to name in a line, and the details worth unfolding.

Inputs come from the model and may lack anything or hold anything; nothing here trusts their shape. Texts are
returned raw in `Section`s: whoever shows them escapes them. What is shown is saved with the notebook, so keys
and tokens are masked in it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from claude_nb.render.escape import visible

Input = Mapping[str, Any]

_SUBJECTS = {
    "Bash": ("command",),
    "BashOutput": ("bash_id",),
    "KillShell": ("shell_id",),
    "Read": ("file_path",),
    "Write": ("file_path",),
    "Edit": ("file_path",),
    "MultiEdit": ("file_path",),
    "NotebookEdit": ("notebook_path",),
    "Glob": ("pattern", "path"),
    "Grep": ("pattern", "path", "glob"),
    "LS": ("path",),
    "WebFetch": ("url",),
    "WebSearch": ("query",),
    "Task": ("description", "prompt"),
    "Agent": ("description", "prompt"),
    "Skill": ("skill", "command"),
    "ToolSearch": ("query",),
    "mcp__kernel__list_variables": ("pattern",),
    "mcp__kernel__inspect": ("name",),
    "mcp__kernel__figures": ("name",),
}
_LANGUAGES = {
    "py": "python", "js": "javascript", "ts": "typescript", "tsx": "tsx", "jsx": "jsx", "json": "json",
    "md": "markdown", "sh": "bash", "yml": "yaml", "yaml": "yaml", "toml": "toml", "html": "html",
    "css": "css", "rs": "rust", "go": "go", "c": "c", "h": "c", "cpp": "cpp", "java": "java", "rb": "ruby",
    "r": "r", "sql": "sql", "jl": "julia", "xml": "xml", "ini": "ini",
}  # fmt: skip
_MARKS = {"completed": "\u2611", "in_progress": "\u25b6"}
_OPEN = "\u2610"
_MASKED = 100_000  # characters; of no text are so many shown
_DIFFED = 2_000  # lines; comparing takes their product


# What differs from run to run, and what only Claude has a use for: Claude Code's own temporary files, and the
# ids of what it has sent to the background.
_OWN_FILES = re.compile(r"""(?:/[^\s/'"`]+)*/claude-\d+/[^\s'"`,;)]*[^\s'"`,;).]""")
_NAMED_ID = re.compile(r"""((?:\bID|[aA]gentId|_id"?): "?)[a-z0-9]{9,17}\b""")
_ID = re.compile(r"[a-z](?=[a-z]*\d)[a-z0-9]{8}|a[0-9a-f]{16}")
# What they write is shown as it is.
_AS_WRITTEN = ("Write", "Edit", "MultiEdit", "NotebookEdit", "mcp__kernel__run_cell", "mcp__kernel__add_cell")
_HAVE_IDS = ("task_id", "bash_id", "shell_id", "agent_id", "to")
_AGENT_STARTED = "Async agent launched"
_ELLIPSIS = "\u2026"


class Section(NamedTuple):
    """A piece of a card: code in a language, or, with `language` None, lines of prose."""

    text: str
    language: str | None


def display_name(name: str) -> str:
    """`mcp__server__tool` as "server · tool"."""
    if name.startswith("mcp__"):
        server, _, tool = name.removeprefix("mcp__").partition("__")
        return f"{server} \u00b7 {tool}" if tool else server
    return name


def steady(text: str) -> str:
    """The text without what Claude Code calls its temporary files and background tasks in this run."""
    if "claude-" in text:
        text = _OWN_FILES.sub(_ELLIPSIS, text)
    return _NAMED_ID.sub(rf"\1{_ELLIPSIS}", text)


def result_shown(name: str, result: str) -> str:
    """What a reader sees of a tool's result; that an agent was started is told in words for Claude."""
    if name in ("Agent", "Task") and result.startswith(_AGENT_STARTED):
        return "It works in the background."
    return steady(result)


def _steady_input(tool_input: Input) -> Input:
    return {
        key: (_ELLIPSIS if key in _HAVE_IDS and _ID.fullmatch(value) else steady(value))
        if isinstance(value, str)
        else value
        for key, value in tool_input.items()
    }


def subject(name: str, tool_input: Input, *, masked: bool = True) -> str:
    """The command, file, pattern or question: what a person would want to know first."""
    return _masked(_subject(name, _steady_input(tool_input))) if masked else _subject(name, tool_input)


def told(name: str, tool_input: Input, result: str | None, *, masked: bool = True) -> list[Section]:
    """The input and, once there is one, the result; a command and its output as a terminal shows them."""
    result = result if result is not None and visible(result).strip() else None
    if masked:  # what is saved is equal in every run; what is asked about is shown as it is
        result = result_shown(name, result) if result else None
        tool_input = tool_input if name in _AS_WRITTEN else _steady_input(tool_input)
    if name == "Bash" and isinstance(tool_input.get("command"), str):
        found = [Section(f"$ {tool_input['command']}" + (f"\n{result}" if result else ""), "console")]
    else:
        found = [*sections(name, tool_input), *([Section(result, "")] if result else [])]
    return [section._replace(text=_masked(section.text)) for section in found] if masked else found


def _masked(text: str) -> str:
    """Masked as far as any of it is shown."""
    from claude_nb.masking import mask  # many expressions to compile

    return mask(text[:_MASKED]) + text[_MASKED:]


def _subject(name: str, tool_input: Input) -> str:
    if name == "TodoWrite":
        return _progress(_todos(tool_input))
    parts = [_text(tool_input.get(key)) for key in _SUBJECTS.get(name, ())]
    parts = [part for part in parts if part.strip()]
    if name in ("Task", "Agent"):
        parts = parts[:1]
    return " in ".join(parts) if parts else _first_text(tool_input)


def sections(name: str, tool_input: Input) -> list[Section]:
    """The whole input, in the form that reads best."""
    match name:
        case "Bash":
            return _present(Section(_get(tool_input, "command"), "bash"))
        case "Write":
            return _present(Section(_get(tool_input, "content"), _language(_get(tool_input, "file_path"))))
        case "Edit":
            return _present(Section(_diff(tool_input), "diff"))
        case "MultiEdit":
            edits = [edit for edit in _list(tool_input.get("edits")) if isinstance(edit, Mapping)]
            return _present(*(Section(_diff(edit), "diff") for edit in edits))
        case "NotebookEdit":
            return _present(Section(_get(tool_input, "new_source"), "python"))
        case "mcp__kernel__run_cell" | "mcp__kernel__add_cell":
            return _present(Section(_get(tool_input, "code"), "python"))
        case "TodoWrite":
            return _present(Section("\n".join(f"{mark} {text}" for mark, text in _todos(tool_input)), None))
        case "Task" | "Agent":
            return _present(Section(_get(tool_input, "prompt"), ""))
        case "WebFetch":
            return _present(Section(_get(tool_input, "prompt"), ""))
    return _rest(name, tool_input)


def _rest(name: str, tool_input: Input) -> list[Section]:
    """What the line does not say already."""
    said = _SUBJECTS.get(name, ())
    rest = {key: value for key, value in tool_input.items() if key not in said}
    only = next(iter(rest.values()), None)
    if len(rest) == 1 and not said and isinstance(only, str):
        return _present(Section(only, ""))
    return [Section(_text(rest), "json")] if rest else []


def _present(*found: Section) -> list[Section]:
    return [section for section in found if section.text.strip()]


def _get(tool_input: Input, key: str) -> str:
    return _text(tool_input.get(key))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, indent=2, default=str)
    except (ValueError, RecursionError):
        return "(not to be shown)"


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _first_text(tool_input: Input) -> str:
    return next((value for value in tool_input.values() if isinstance(value, str) and value.strip()), "")


def _language(path: str) -> str:
    return _LANGUAGES.get(PurePosixPath(path).suffix.removeprefix(".").lower(), "")


def _todos(tool_input: Input) -> list[tuple[str, str]]:
    todos = [todo for todo in _list(tool_input.get("todos")) if isinstance(todo, Mapping)]
    return [(_MARKS.get(str(todo.get("status")), _OPEN), _text(todo.get("content"))) for todo in todos]


def _progress(todos: list[tuple[str, str]]) -> str:
    done = sum(mark == _MARKS["completed"] for mark, _ in todos)
    return f"{done} of {len(todos)} done" if todos else ""


def _diff(edit: Input) -> str:
    old, new = _get(edit, "old_string").splitlines(), _get(edit, "new_string").splitlines()
    if len(old) + len(new) > _DIFFED:
        return "\n".join([*(f"-{line}" for line in old), *(f"+{line}" for line in new)])
    changes = list(difflib.unified_diff(old, new, lineterm="", n=3))[2:]  # without the lines for file names
    return "\n".join("" if line.startswith("@@ ") else line for line in changes).strip("\n")
