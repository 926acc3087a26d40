"""Tab in `%claude` lines: commands, sessions, models, Claude Code's slash commands, `@name` and `@file`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from claude_nb.commands import COMMANDS, MODES, NEED_A_CELL, NEW_OPTIONS, OUTPUTS
from claude_nb.names import quoted

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext

    from claude_nb.session import Session
    from claude_nb.session_manager import SessionManager

_LINE = re.compile(r"(?:^|=|[ \t;])%{1,2}claude[ \t]+(?P<rest>.*)$", re.DOTALL)
# A word, one in quotes, or one whose quotes are not closed yet.
_WORD = re.compile(r"""(?:--?[\w-]+=)?(?:"[^"]*(?:"|$)|'[^']*(?:'|$)|\S+)""")
_CELL = re.compile(r"\s*%%claude(?=\s)")
# A mention that the cursor stands behind; `mentions.py` says where one begins.
_MENTION = re.compile(
    r"""(?:^|(?<=[\s(\[{"'\u201c\u2018\u00ab]))@(?P<typed>(?:[^\W\d]\w*(?:\[[^\[\]@\n]{0,200}\]?){0,8})?)$"""
)
# A file that is mentioned, as far as it is typed. Claude Code reads it, which ends it at a space.
_FILE = re.compile(r"""(?:^|(?<=[\s(\[{"'\u201c\u2018\u00ab]))@(?P<typed>[^\s@"'`]*)$""")
# So many files of a folder are looked at.
_MOST_FILES = 1_000
# What Claude Code lists and what does nothing in a notebook: its screen's looks, and what it calls itself.
_NOTHING_HERE = frozenset(
    {"agents", "auto-mode-setup", "color", "focus", "heapdump", "statusline", "vim", "workflow-launch-exec"}
)
_TAKE_NAMES = frozenset(
    {"switch", "status", "suspend", "resume", "interrupt", "stop", "archive", "rename", "fork", "show"}
)
# What Claude Code's own `--model` understands, until it has said which models there are.
_ALIASES = ("default", "sonnet", "opus", "haiku")
_OPTIONS = ("--session", "--out", "--background", "--model", "--new", "--quiet", "--no-context", "--force")
_WITH_VALUE = ("-s", "--session", "-m", "--model", "-o", "--out")


class Candidate(NamedTuple):
    """What may be meant, and what it is: the word that front ends show beside it."""

    text: str
    kind: str


def complete(manager: SessionManager, context: CompletionContext) -> dict[str, Any]:
    """What may stand where the cursor is, as IPython's matchers say it."""
    from IPython.core.completer import SimpleCompletion

    line = context.line_with_cursor
    match = _LINE.search(line)
    typed, found = completions(manager, match["rest"]) if match else ("", list[Candidate]())
    if match or _CELL.match(context.full_text):
        mentioned = mentions(manager, line)
        typed, found = mentioned if mentioned is not None else (typed, found)
    # IPython looks for the last place of what was typed; an empty text is at the end.
    # Nothing else fits there: no variables, no files.
    texts = [SimpleCompletion(text, type=kind) for text, kind in found]
    return {"completions": texts, "matched_fragment": typed, "suppress": bool(texts), "ordered": True}


def completions(manager: SessionManager, rest: str) -> tuple[str, list[Candidate]]:
    """The unfinished word at the end of `rest`, the text between `%claude ` and the cursor, and what it may
    become. A name with spaces is given in quotes, whether the word has a quote already or not."""
    words = _WORD.findall(rest)
    typed = words.pop() if words and rest.endswith(words[-1]) else ""
    option, equals, value = typed.partition("=")
    if equals and option.startswith("-"):
        words.append(option)
        typed = value
    fitting = [found for found in candidates(manager, words, typed) if _fits(found.text, typed)]
    return typed, [found for found in fitting if found.text != typed]


def mentions(manager: SessionManager, line: str) -> tuple[str, list[Candidate]] | None:
    """What stands behind an `@` at the end of the line, and what it may become; None without an `@`.

    A variable comes first: it is what a name means that both have.
    """
    variable, file = _MENTION.search(line), _FILE.search(line)
    found: list[Candidate] = []
    if variable is not None:
        from claude_nb.kernel.mentions import candidates as mentionable

        around = manager.surroundings
        found += _all("variable", mentionable(around.namespace, around.hidden, variable["typed"]))
    if file is not None:
        found += _files(manager.folder, file["typed"])
    match = variable or file
    if match is None:
        return None
    return match["typed"], [candidate for candidate in found if candidate.text != match["typed"]]


def _files(folder: Path, typed: str) -> list[Candidate]:
    """The files and folders that begin so, in the kernel's folder or where the path leads."""
    before, slash, name = typed.rpartition("/")
    where = folder / Path(before + slash).expanduser()
    try:
        with os.scandir(where) as entries:
            there = [(entry.name, entry.is_dir()) for entry in islice(entries, _MOST_FILES)]
    except (OSError, RuntimeError, ValueError):  # no such folder, no such user, a zero byte
        return []
    fitting = [
        (f"{before}{slash}{known}{'/' if is_folder else ''}", "folder" if is_folder else "file")
        for known, is_folder in sorted(there)
        if known.startswith(name)
        and (name or not known.startswith("."))
        and not re.search(r"[\s@\"'`]", known)
    ]
    return [Candidate(text, kind) for text, kind in fitting]


def _all(kind: str, texts: Iterable[str]) -> list[Candidate]:
    return [Candidate(text, kind) for text in texts]


def _fits(text: str, typed: str) -> bool:
    bare = typed.lstrip("\"'")
    return text.startswith(typed) or (bare != "" and text.strip('"').startswith(bare))


def candidates(manager: SessionManager, before: list[str], typed: str) -> list[Candidate]:
    """What may follow the words `before`, if it begins as `typed` does."""
    if before and before[-1] in _WITH_VALUE:
        return _values(manager, before[-1])
    rest = _without_options(before)
    if rest:
        return _arguments(manager, rest[0][1:], rest[1:]) if rest[0].startswith("/") else []
    if typed.startswith("/"):
        return commands(manager)
    return _all("option", _OPTIONS) if typed.startswith("-") else []


def _without_options(words: list[str]) -> list[str]:
    """What follows the options at the front."""
    left = list(words)
    while left and left[0].startswith("-"):
        option = left.pop(0)
        if option in _WITH_VALUE and left:
            left.pop(0)
    return left


def _values(manager: SessionManager, option: str) -> list[Candidate]:
    if option in ("-s", "--session"):
        return names(manager)
    return models(manager) if option in ("-m", "--model") else []


def _arguments(manager: SessionManager, command: str, given: list[str]) -> list[Candidate]:
    """What may follow a command of ours and the words that it was given already."""
    if command == "new":
        return _of_new(manager, given)
    if command == "permissions" and given == ["forget"]:
        sessions = manager.sessions.values()
        return _all("rule", _told([*each.record.rules, *each.record.allowed_dirs] for each in sessions))
    if given:
        return []
    if command in _TAKE_NAMES:
        return [*names(manager), *_all("option", ["--all"] if command == "stop" else [])]
    if command == "help":
        return _all("command", (*NEED_A_CELL, *COMMANDS))
    if command == "model":
        return models(manager)
    known: dict[str, tuple[str, Iterable[str]]] = {
        "mode": ("mode", MODES),
        "output": ("mode", OUTPUTS),
        "sessions": ("option", ("--all",)),
        "permissions": ("word", ("allow", "forget")),
        "trust": ("option", ("--forget",)),
    }
    return _all(*known[command]) if command in known else []


def _of_new(manager: SessionManager, given: list[str]) -> list[Candidate]:
    last = given[-1] if given else ""
    if last == "--model":
        return models(manager)
    if last == "--agent":
        return _all("agent", _told(session.agents for session in manager.sessions.values()))
    return [] if last.startswith("--") else _all("option", [f"--{option}" for option in NEW_OPTIONS])


def commands(manager: SessionManager) -> list[Candidate]:
    """Ours first, then Claude Code's once it has told them; those with `_` are its own affair."""
    ours = sorted({*COMMANDS, *NEED_A_CELL})
    said = _told(session.commands for session in manager.sessions.values())
    theirs = [name for name in said if not name.startswith("_") and name not in {*ours, *_NOTHING_HERE}]
    return [
        *_all("command", [f"/{name}" for name in ours]),
        *_all("Claude Code", [f"/{name}" for name in sorted(theirs)]),
    ]


def _told(lists: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))


def names(manager: SessionManager) -> list[Candidate]:
    """The folder's sessions, quoted where a name has spaces."""
    return _all("session", (quoted(info.name) for info in manager.overview()))


def models(manager: SessionManager) -> list[Candidate]:
    """The models that a running Claude Code has named, else the short names that it has always had."""
    return _all("model", _told(_models_of(session) for session in manager.sessions.values()) or _ALIASES)


def _models_of(session: Session) -> list[str]:
    process = session.life.now
    if process is None or not process.ready.done() or process.ready.cancelled() or process.ready.exception():
        return []
    return [str(model["value"]) for model in process.ready.result().get("models", [])]
