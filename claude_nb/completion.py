"""Tab in `%claude` lines: commands, session names, models, Claude Code's slash commands, and `@name`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from claude_nb.commands import COMMANDS, MODES, NEW_OPTIONS, OUTPUTS

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
_TAKE_NAMES = frozenset(
    {"switch", "status", "suspend", "resume", "interrupt", "stop", "archive", "rename", "fork", "show"}
)
# What Claude Code's own `--model` understands, until it has said which models there are.
_ALIASES = ("default", "sonnet", "opus", "haiku")
_OPTIONS = ("--session", "--out", "--background", "--model", "--new", "--quiet", "--no-context")
_WITH_VALUE = ("-s", "--session", "-m", "--model", "-o", "--out")


def complete(manager: SessionManager, context: CompletionContext) -> dict[str, Any]:
    """What may stand where the cursor is, as IPython's matchers say it."""
    from IPython.core.completer import SimpleCompletion

    line = context.line_with_cursor
    match = _LINE.search(line)
    typed, found = completions(manager, match["rest"]) if match else ("", [])
    if match or _CELL.match(context.full_text):
        mentioned = mentions(manager, line)
        typed, found = mentioned if mentioned is not None else (typed, found)
    # IPython looks for the last place of what was typed; an empty text is at the end.
    # Nothing else fits there: no variables, no files.
    texts = [SimpleCompletion(text) for text in found]
    return {"completions": texts, "matched_fragment": typed, "suppress": bool(texts)}


def completions(manager: SessionManager, rest: str) -> tuple[str, list[str]]:
    """The unfinished word at the end of `rest`, the text between `%claude ` and the cursor, and what it may
    become. A name with spaces is given in quotes, whether the word has a quote already or not."""
    words = _WORD.findall(rest)
    typed = words.pop() if words and rest.endswith(words[-1]) else ""
    option, equals, value = typed.partition("=")
    if equals and option.startswith("-"):
        words.append(option)
        typed = value
    fitting = [text for text in candidates(manager, words, typed) if _fits(text, typed)]
    return typed, [text for text in fitting if text != typed]


def mentions(manager: SessionManager, line: str) -> tuple[str, list[str]] | None:
    """What stands behind an `@` at the end of the line, and what it may become; None without an `@`."""
    match = _MENTION.search(line)
    if match is None:
        return None
    around = manager.surroundings
    from claude_nb.kernel.mentions import candidates as mentionable

    found = mentionable(around.namespace, around.hidden, match["typed"])
    return match["typed"], [name for name in found if name != match["typed"]]


def _fits(text: str, typed: str) -> bool:
    bare = typed.lstrip("\"'")
    return text.startswith(typed) or (bare != "" and text.strip('"').startswith(bare))


def candidates(manager: SessionManager, before: list[str], typed: str) -> Iterable[str]:
    """What may follow the words `before`, if it begins as `typed` does."""
    if before and before[-1] in _WITH_VALUE:
        return _values(manager, before[-1])
    rest = _without_options(before)
    if rest:
        return _arguments(manager, rest[0][1:], rest[1:]) if rest[0].startswith("/") else ()
    if typed.startswith("/"):
        return commands(manager)
    return _OPTIONS if typed.startswith("-") else ()


def _without_options(words: list[str]) -> list[str]:
    """What follows the options at the front."""
    left = list(words)
    while left and left[0].startswith("-"):
        option = left.pop(0)
        if option in _WITH_VALUE and left:
            left.pop(0)
    return left


def _values(manager: SessionManager, option: str) -> Iterable[str]:
    if option in ("-s", "--session"):
        return names(manager)
    return models(manager) if option in ("-m", "--model") else ()


def _arguments(manager: SessionManager, command: str, given: list[str]) -> Iterable[str]:
    """What may follow a command of ours and the words that it was given already."""
    if command == "new":
        return _of_new(manager, given)
    if command == "permissions" and given == ["forget"]:
        return _told([*each.record.rules, *each.record.allowed_dirs] for each in manager.sessions.values())
    if given:
        return ()
    if command in _TAKE_NAMES:
        return [*names(manager), *(["--all"] if command == "stop" else [])]
    known: dict[str, Iterable[str]] = {"mode": MODES, "output": OUTPUTS, "sessions": ("--all",)}
    known |= {"permissions": ("allow", "forget"), "trust": ("--forget",)}
    return models(manager) if command == "model" else known.get(command, ())


def _of_new(manager: SessionManager, given: list[str]) -> Iterable[str]:
    last = given[-1] if given else ""
    if last == "--model":
        return models(manager)
    if last == "--agent":
        return _told(session.agents for session in manager.sessions.values())
    return () if last.startswith("--") else [f"--{option}" for option in NEW_OPTIONS]


def commands(manager: SessionManager) -> list[str]:
    """All commands: ours, and Claude Code's once it has told them. Those with `_` are its own affair."""
    theirs = _told(session.commands for session in manager.sessions.values())
    ours = [*COMMANDS, "help", "clear", "show", "code"]
    return sorted({f"/{name}" for name in (*ours, *theirs) if not name.startswith("_")})


def _told(lists: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))


def names(manager: SessionManager) -> list[str]:
    """The folder's sessions, quoted where a name has spaces."""
    return [f'"{info.name}"' if " " in info.name else info.name for info in manager.overview()]


def models(manager: SessionManager) -> list[str]:
    """The models that a running Claude Code has named, else the short names that it has always had."""
    return _told(_models_of(session) for session in manager.sessions.values()) or list(_ALIASES)


def _models_of(session: Session) -> list[str]:
    process = session.life.now
    if process is None or not process.ready.done() or process.ready.cancelled() or process.ready.exception():
        return []
    return [str(model["value"]) for model in process.ready.result().get("models", [])]
