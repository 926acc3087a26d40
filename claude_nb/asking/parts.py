"""A question taken apart: its title, what the tool would do, piece by piece, and what can be chosen. Pure.

Whoever answers must see all of the input, so nothing is left out, cut or tidied: what the pieces made for a
known tool do not hold comes after them by its name. Inputs come from a model and may have any shape.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from claude_nb.asking.question import Kind, Question
from claude_nb.render.escape import visible
from claude_nb.render.tools import display_name, sections

_RUN_CELL, _ADD_CELL = "mcp__kernel__run_cell", "mcp__kernel__add_cell"
_TITLES = {
    "Bash": "Claude wants to run a command",
    "Write": "Claude wants to write a file",
    "Edit": "Claude wants to edit a file",
    "MultiEdit": "Claude wants to edit a file",
    "NotebookEdit": "Claude wants to edit a notebook's file",
    "Read": "Claude wants to read a file",
    "WebFetch": "Claude wants to fetch a page",
    "WebSearch": "Claude wants to search the web",
    _RUN_CELL: "Claude wants to run code in this notebook",
    _ADD_CELL: "Claude wants to add a cell to this notebook",
}
_CODE = {"Bash": ("command", "bash"), _RUN_CELL: ("code", "python"), _ADD_CELL: ("code", "python")}
_COMPARED = 1_000  # lines; comparing may take the square of it
_SHORT = 80  # characters
# `visible` takes terminal escapes away together with the text in them, which a shell would run all the same.
_TAKEN_AWAY = re.compile(r"[\x1b\x80-\x9f\r]")


class Code(NamedTuple):
    """Text of several lines. `language` is one that pygments knows, "diff", or empty."""

    label: str
    text: str
    language: str = ""


class Field(NamedTuple):
    """A named value."""

    label: str
    text: str


class Prose(NamedTuple):
    """Markdown by Claude."""

    text: str


class Note(NamedTuple):
    """What we say about it, in a sentence."""

    text: str


Part = Code | Field | Prose | Note
CODE_IS_ALL = (
    "Allowing code is allowing everything that this kernel may do, with your files and keys too. "
    "Such code could also answer later questions itself."
)


@dataclass(frozen=True)
class Option:
    """One answer to choose. Texts are Claude's own."""

    label: str
    description: str


@dataclass(frozen=True)
class Choice:
    """One of the questions of Claude Code's AskUserQuestion."""

    question: str
    header: str
    several: bool
    options: tuple[Option, ...]


def seen(text: str) -> str:
    """The whole text with every character that one would not see, or that hides others, made visible."""
    return visible(_TAKEN_AWAY.sub(_picture, text))


def one_line(text: str) -> str:
    """`seen`, on one line."""
    return " ".join(seen(text).split())


def title(question: Question) -> str:
    """What Claude wants, in a sentence."""
    match form(question):
        case "choices":
            return "Claude asks"
        case "plan":
            return "Claude has a plan"
    return _TITLES.get(question.tool, f"Claude wants to use {one_line(display_name(question.tool))}")


def form(question: Question) -> Kind:
    """How it can be answered: choices that name none are a tool like any other."""
    if (question.kind == "choices" and not choices(question)) or (
        question.kind == "plan" and not _plan(question)
    ):
        return "permission"
    return question.kind


def parts(question: Question) -> list[Part]:
    """Everything in the input, in the order in which one wants to read it."""
    found = list(_known(question, mapping(question.input)))
    if form(question) != "permission":
        return found
    notes = [Note(CODE_IS_ALL)] if question.tool == _RUN_CELL else []
    return [*(found or [Field("input", "(nothing)")]), *notes]


def choices(question: Question) -> list[Choice]:
    """What Claude wants to know; empty for any other question or where none of it can be answered."""
    asked = mapping(question.input).get("questions") if question.kind == "choices" else None
    found = [_choice(item) for item in asked if isinstance(item, Mapping)] if isinstance(asked, list) else []
    return [choice for choice in found if choice.question.strip()]


def text_of(value: object, indent: int | None = 2) -> str:
    """A value as one reads it: a string as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    except (TypeError, ValueError, RecursionError):
        return "(cannot be shown)"


def mapping(value: object) -> dict[str, Any]:
    """An input by its names, whatever it is; a copy."""
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else text_of(key): item for key, item in value.items()}
    return {"input": value}


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else f"\u27e6U+{code:04X}\u27e7"


def _known(question: Question, given: dict[str, Any]) -> Iterator[Part]:
    """The pieces of the tools that we know; each takes out of `given` what it shows."""
    tool = question.tool
    if form(question) == "choices":
        given.pop("questions")
    elif form(question) == "plan":
        yield Prose(given.pop("plan"))
    elif tool in _CODE and _CODE[tool][0] in given:
        key, language = _CODE[tool]
        yield Code(key, text_of(given.pop(key)), language)
    elif tool in ("Write", "Edit", "MultiEdit", "NotebookEdit"):
        yield from _file(tool, given)
    yield from _fields(given)


def _file(tool: str, given: dict[str, Any]) -> Iterator[Part]:
    path = next((key for key in ("file_path", "notebook_path") if key in given), None)
    name = text_of(given.pop(path)) if path else ""
    if path:
        yield Field("file", name)
    if tool == "Write" and "content" in given:
        yield Code("the whole content", text_of(given.pop("content")), _language(name))
    elif tool == "NotebookEdit" and "new_source" in given:
        yield Code("the cell's new source", text_of(given.pop("new_source")), "python")
    elif tool == "Edit":
        yield from _edit(given, "change")
    elif tool == "MultiEdit" and isinstance(given.get("edits"), list):
        edits = given.pop("edits")
        for number, edit in enumerate(edits, 1):
            rest = mapping(edit)
            label = f"change {number} of {len(edits)}"
            yield from _edit(rest, label)
            yield from (field._replace(label=f"{label}: {field.label}") for field in _fields(rest))


def _edit(edit: dict[str, Any], label: str) -> Iterator[Part]:
    if "old_string" in edit or "new_string" in edit:
        old, new = (text_of(edit.pop(key, "")) for key in ("old_string", "new_string"))
        yield Code(label, difference(old, new), "diff")
        if edit.get("replace_all") is False:  # as if it were not there
            del edit["replace_all"]


def _fields(given: dict[str, Any]) -> Iterator[Code | Field]:
    for key, value in given.items():
        text = _short(value) or text_of(value)
        if "\n" not in text:
            yield Field(key, text)
        else:
            yield Code(key, text, "" if isinstance(value, str) else "json")


def _short(value: object) -> str:
    """A list or an object on one line, where it fits."""
    if isinstance(value, str):
        return ""
    line = text_of(value, indent=None)
    return line if len(line) <= _SHORT else ""


def difference(old: str, new: str) -> str:
    """Both texts, line by line, with what goes and what comes marked; nothing is left out."""
    # What looks equal must be equal, so compare what will be seen.
    before, after = seen(old).split("\n") if old else [], seen(new).split("\n") if new else []
    if before[-1:] == after[-1:] == [""]:  # both end with a line feed
        del before[-1], after[-1]
    if len(before) + len(after) > _COMPARED:
        return "\n".join([*_marked("-", before), *_marked("+", after)])
    lines: list[str] = []
    for what, a, b, c, d in difflib.SequenceMatcher(None, before, after).get_opcodes():
        if what == "equal":
            lines += _marked(" ", before[a:b])
        else:
            lines += [*_marked("-", before[a:b]), *_marked("+", after[c:d])]
    return "\n".join(lines)


def _marked(mark: Literal["-", "+", " "], lines: list[str]) -> list[str]:
    return [mark + line for line in lines]


def _language(path: str) -> str:
    section = sections("Write", {"file_path": path, "content": "x"})[0]
    return section.language or ""


def _plan(question: Question) -> str:
    plan = mapping(question.input).get("plan")
    return plan if isinstance(plan, str) and plan.strip() else ""


def _choice(item: Mapping[Any, Any]) -> Choice:
    options = item.get("options")
    return Choice(
        question=_string(item.get("question")),
        header=_string(item.get("header")),
        several=item.get("multiSelect") is True,
        options=tuple(_options(options)) if isinstance(options, list) else (),
    )


def _options(items: list[Any]) -> Iterator[Option]:
    """Those that say something: an empty one would be no answer."""
    for item in items:
        given = item if isinstance(item, Mapping) else {"label": item}
        option = Option(_string(given.get("label")), _string(given.get("description")))
        if option.label.strip():
            yield option


def _string(value: object) -> str:
    return "" if value is None else text_of(value)
