"""What stands behind `%claude` and `%%claude`: options, a command, a prompt. Pure.

    [OPTION ...] [--] PROMPT        or        [OPTION ...] /COMMAND [ARGUMENTS]

Options are taken off the front one by one and whatever follows them is the prompt, byte for byte.
Standard parsers do not serve here: they split the whole line like a shell, and fail on `it's`.

Spaces: IPython (or `verbatim`) takes away the one space that follows `%claude`; after options one
more space or tab separates them from the prompt. Any further space belongs to the prompt. In a cell
only the first line can hold options. What is left of it joins the body with a newline, unless it is
blank; the final newline of the body is the cell's, since IPython adds one to every cell, and is
not sent. Behind `--` everything is a prompt, also what looks like an option or a command.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any


class PromptLineError(ValueError):
    """The options cannot be understood. The message is one line and says what to do."""


@dataclass(frozen=True)
class Request:
    """What the person asked for.

    A command has its name (without the slash) in `command` and what follows it, stripped, in
    `arguments`; `prompt` then still holds the text as typed, for commands that are Claude Code's own.
    An empty `prompt` asks for nothing by itself: with `new` the conversation starts afresh, and
    without it the caller shows the help.
    """

    prompt: str = ""
    command: str | None = None
    arguments: str = ""
    session: str | None = None
    out: str | None = None
    background: bool = False
    model: str | None = None
    new: bool = False
    quiet: bool = False
    context: bool = True
    force: bool = False


# The field that an option sets, and the name of its value in messages.
_WITH_VALUE = {"session": ("session", "NAME"), "out": ("out", "VAR"), "model": ("model", "MODEL")}
_FLAGS: dict[str, tuple[str, bool]] = {
    "background": ("background", True),
    "new": ("new", True),
    "quiet": ("quiet", True),
    "no-context": ("context", False),
    "force": ("force", True),
}
_SHORT = {"s": "session", "o": "out", "m": "model", "b": "background", "n": "new", "q": "quiet"}

# A bullet (`- item`), an arrow, a rule (`---`) and a negative number are no options.
_OPTION = re.compile(r"[ \t]*(?P<word>--(?=[ \t]|$)|--[A-Za-z][^\s=]*|-[A-Za-z][^\s=]*)")
_VALUE = re.compile(r"""(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<plain>[^\s"']\S*))(?=[ \t]|$)""")
_SPACES = re.compile(r"[ \t]*")
_COMMAND = re.compile(r"\s*/(?P<name>[^\W\d_][^\s/.]*)(?=\s|$)")
_TEXT_OF_A_COMMAND = re.compile(r"\s*--[ \t]+(?=/)")
_FORCED = re.compile(r"--force(?=\s|$)")
_ARGUMENT = re.compile(
    r"""(?P<key>--[\w-]+=)?(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')(?=\s|$)|(?P<plain>\S+)"""
)


def parse_line(text: str) -> Request:
    """The request of `%claude TEXT`. Raises `PromptLineError`."""
    fields, prompt, literal = _take_options(text)
    request = Request(**fields, prompt=prompt)
    return request if literal else _with_command(request)


def parse_cell(first_line: str, body: str) -> Request:
    """The request of a `%%claude FIRST_LINE` cell. Raises `PromptLineError`."""
    fields, start, literal = _take_options(first_line)
    body = body.removesuffix("\n")
    joined = f"{start}\n{body}" if start.strip() and body else start if start.strip() else body
    request = Request(**fields, prompt=joined)
    return request if literal else _with_command(request)


def parse_prompt(text: str) -> Request:
    """The request of a text typed where there are no options, as in a chat; behind `--` a `/word` is text."""
    literal = _TEXT_OF_A_COMMAND.match(text)
    return Request(prompt=text[literal.end() :]) if literal else _with_command(Request(prompt=text))


def split_arguments(text: str) -> list[str]:
    """The words of a command's arguments; quotes around a word, or behind `--option=`, keep spaces.

    >>> split_arguments('"my review" --agent="code reader" it\\'s')
    ['my review', '--agent=code reader', "it's"]
    """
    return [(match["key"] or "") + _unquoted(match) for match in _ARGUMENT.finditer(text)]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that the person most likely meant, or None."""
    import difflib  # only for who made a mistake

    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    return by_folded[close[0]] if close else None


def _take_options(text: str) -> tuple[dict[str, Any], str, bool]:
    """The fields that the options at the front of `text` set, what follows them, and if `--` ended them."""
    fields: dict[str, Any] = {}
    position = 0
    literal = False
    while match := _OPTION.match(text, position):
        word, position = match["word"], match.end()
        if word == "--":
            literal = True
            break
        position = _take_option(fields, word, text, position)
    # One separating character, which is there only after an option.
    return fields, text[position + 1 :] if position else text, literal


def _take_option(fields: dict[str, Any], word: str, text: str, position: int) -> int:
    """Set the fields of one option or cluster of short ones; where to go on reading."""
    names = _names(word)
    for name in names[:-1]:
        if name in _WITH_VALUE:
            raise PromptLineError(
                f"{word}: -{name[0]} takes a value; write -{name[0]} {_WITH_VALUE[name][1]}"
            )
        _set_flag(fields, name)
    last = names[-1]
    if last in _WITH_VALUE:
        field, _ = _WITH_VALUE[last]
        value, position = _take_value(last, word, text, position)
        fields[field] = _variable(value) if field == "out" else value
    else:
        if text.startswith("=", position):
            raise PromptLineError(f"{word} takes no value")
        _set_flag(fields, last)
    return position


def _set_flag(fields: dict[str, Any], name: str) -> None:
    field, value = _FLAGS[name]
    fields[field] = value


def _names(word: str) -> list[str]:
    """The long names of the options in a word: one for `--quiet`, two for `-qn`."""
    if word.startswith("--"):
        names = [word[2:]]
        unknown = names[0] not in _WITH_VALUE and names[0] not in _FLAGS
    else:
        names = [_SHORT.get(letter, "") for letter in word[1:]]
        unknown = "" in names
    if unknown:
        raise PromptLineError(_unknown(word))
    return names


def _unknown(word: str) -> str:
    guess = nearest(word.lstrip("-"), [*_WITH_VALUE, *_FLAGS])
    hint = f" Did you mean --{guess}?" if guess else ""
    return (
        f"{word} is not an option of %claude.{hint} To send it as a prompt write `%claude -- {word} ...`; "
        "`%claude /help` lists the options."
    )


def _take_value(name: str, word: str, text: str, position: int) -> tuple[str, int]:
    """The value of an option, behind `=` or spaces, and where to go on reading."""
    if text.startswith("=", position):
        position += 1
    else:
        position = _SPACES.match(text, position).end()  # type: ignore[union-attr]  # always matches
    match = _VALUE.match(text, position)
    if match and not match["plain"] and not _unquoted(match).strip():
        match = None
    if match and not text.startswith("-", position):
        return _unquoted(match), match.end()
    if text[position : position + 1] in {'"', "'"} and not match:
        raise PromptLineError(f"{word}: the quoted {_WITH_VALUE[name][1]} is empty or not closed")
    raise PromptLineError(f"{word} needs a value: {word} {_WITH_VALUE[name][1]}")


def _variable(name: str) -> str:
    """The name as Python looks it up; raises where it cannot be a variable."""
    normal = unicodedata.normalize("NFKC", name)
    if not normal.isidentifier() or keyword.iskeyword(normal):
        raise PromptLineError(f"-o needs the name of a variable, and {name!r} cannot be one")
    return normal


def _unquoted(match: re.Match[str]) -> str:
    return next(text for text in match.group("double", "single", "plain") if text is not None)


def _with_command(request: Request) -> Request:
    """The request with its `/command`, if the prompt starts with one."""
    match = _COMMAND.match(request.prompt)
    if not match:
        return request
    arguments = request.prompt[match.end() :].strip()
    if match["name"] == "clear":
        force = _FORCED.match(arguments)
        rest = arguments[force.end() :].strip() if force else arguments
        return replace(request, new=True, prompt=rest, force=request.force or force is not None)
    return replace(request, command=match["name"], arguments=arguments)
