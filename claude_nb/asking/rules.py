"""Claude Code's permission rules: what "always" adds, as a person reads it, and as it is kept.

The rules' meaning is Claude Code's own affair. We only hand back what it suggested, for this session, and
give the kept ones to its next process in a private settings file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_agent_sdk import PermissionUpdate

    from claude_nb.registry import Record

# Claude Code takes these for reading, and asks nobody; but they run programs that the folder's `.git/config`
# names (fsmonitor, filters, hooks, textconv).
ASKED_UNTIL_TRUSTED = ("Bash(git:*)",)

_RULE = re.compile(r"[A-Za-z_][\w*-]*(?:\(.+\))?", re.DOTALL)


def suggested(suggestions: Iterable[PermissionUpdate], folder: str = "") -> list[PermissionUpdate]:
    """Those that allow something, for this session: nothing is written into anybody's settings.

    With a rule for the one command Claude Code also suggests to accept all edits, and folders within the
    session's own; whoever says "always" to a command means the command.
    """
    found = [replace(update, destination="session") for update in suggestions]
    rules = [each for each in found if each.type == "addRules" and each.behavior == "allow" and each.rules]
    modes = [each for each in found if each.type == "setMode" and each.mode == "acceptEdits"]
    folders = [_without(each, folder) for each in found if each.type == "addDirectories"]
    return [*(rules or modes), *(each for each in folders if each.directories)]


def _without(update: PermissionUpdate, folder: str) -> PermissionUpdate:
    """The session works in its folder anyway."""
    others = [each for each in update.directories or [] if not folder or not within(each, folder)]
    return replace(update, directories=others)


def within(path: str, folder: str) -> bool:
    """The path is the folder or below it, by name."""
    return PurePath(os.path.normpath(path)).is_relative_to(os.path.normpath(folder))


def rules_of(updates: Iterable[PermissionUpdate]) -> list[str]:
    """The rules of some updates as Claude Code writes them in its settings: `Bash(git diff:*)`."""
    return [
        f"{rule.tool_name}({rule.rule_content})" if rule.rule_content else rule.tool_name
        for update in updates
        for rule in update.rules or []
    ]


def in_words(updates: Sequence[PermissionUpdate]) -> str | None:
    """What "always" would allow, for the card; None where nothing was suggested."""
    words = [_seen(rule) for rule in rules_of(updates)]
    words += ["edits of files in this folder (mode acceptEdits)" for u in updates if u.type == "setMode"]
    words += [f"the folder {_seen(folder)}" for update in updates for folder in update.directories or []]
    return ", ".join(words) or None


def _seen(text: str) -> str:
    """All of it on one line, where a line feed would else be taken for a space."""
    from claude_nb.asking.parts import seen

    return seen(text).replace("\n", "\u240a").replace("\t", "\u2409")


def remember(record: Record, updates: Iterable[PermissionUpdate]) -> None:
    """Keep what was allowed for the session's next process."""
    updates = list(updates)
    record.allow(rules_of(updates), (folder for update in updates for folder in update.directories or []))
    for update in updates:
        if update.type == "setMode":
            record.update(permission_mode=update.mode)


def is_rule(text: str) -> bool:
    """It looks as Claude Code writes rules: `Tool` or `Tool(what)`."""
    return _RULE.fullmatch(text) is not None


def settings(record: Record, asked: Sequence[str] = ()) -> dict[str, Any] | None:
    """The kept rules as Claude Code has them, with those for what is asked about; None if there are none."""
    permissions: dict[str, Any] = {}
    if record.rules:
        permissions["allow"] = list(record.rules)
    if asked:
        permissions["ask"] = list(asked)
    if record.allowed_dirs:
        permissions["additionalDirectories"] = list(record.allowed_dirs)
    return {"permissions": permissions} if permissions else None
