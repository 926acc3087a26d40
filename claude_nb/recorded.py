"""The messages of a conversation, read from the end of Claude Code's own record of it.

The SDK has a reader too, but its import takes longer than all the rest of opening a chat, and it reads the
whole record. Here only as much is read as is wanted.

In the record each message names its parent, and the conversation is the way from the last message up to the
first: what was taken back lies beside it. A response whose tools ran side by side forks as well, since each
result is the child of its own call; what was left beside the way belongs to the response all the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from claude_nb.notices import is_placeholder, recorded_block
from claude_nb.transcript import last_entries

Message = dict[str, Any]


def messages(transcript: Path | None, enough: Callable[[Message], bool] = lambda _: False) -> list[Message]:
    """What was said, the first message first, as Claude Code records it in this file.

    `enough` is asked for each message of the conversation, from the last one on: whether it is the first
    that is wanted. Empty if there is no record.
    """
    if transcript is None:
        return []
    entries, way = _read_back(transcript, enough)
    return _with_forks(reversed(entries), way)


def _read_back(transcript: Path, enough: Callable[[Message], bool]) -> tuple[list[Message], set[str]]:
    """The entries from the last one on, and which of them are on the way."""
    entries: list[Message] = []
    way: set[str] = set()
    parent: object = None
    try:
        for entry in last_entries(transcript, sys.maxsize):
            id = entry.get("uuid")
            if not isinstance(id, str):
                continue
            entries.append(entry)
            if id == parent or (not way and _is_said(entry)):
                way.add(id)
                # A compaction begins anew, and names what it goes on from.
                parent = entry.get("parentUuid") or entry.get("logicalParentUuid")
                if (_is_said(entry) and enough(entry)) or not parent:
                    break
    except FileNotFoundError:
        pass
    return entries, way


def _with_forks(entries: Iterable[Message], way: set[str]) -> list[Message]:
    """What is on the way, and what belongs to its responses."""
    entries = list(entries)
    responses = {_response(entry) for entry in entries if entry["uuid"] in way} - {None}
    calls: set[str] = set()
    found: list[Message] = []
    for entry in entries:
        belongs = _response(entry) in responses or bool(_ids(entry, "tool_result", "tool_use_id") & calls)
        if _is_said(entry) and (entry["uuid"] in way or belongs):
            found.append(entry)
            calls |= _ids(entry, "tool_use", "id")
    return found


def _is_said(entry: Message) -> bool:
    """A message of the conversation itself: not a subagent's, not what Claude Code adds for Claude.

    What it tells the person beside the conversation is said, too.
    """
    if entry.get("isMeta") or entry.get("isSidechain") or entry.get("teamName"):
        return False
    if entry.get("type") in ("user", "assistant"):
        return not is_placeholder(entry)
    return recorded_block(entry) is not None


def _response(entry: Message) -> str | None:
    """The id that all blocks of one response of Claude's share."""
    message = entry.get("message")
    id = message.get("id") if isinstance(message, dict) and entry.get("type") == "assistant" else None
    return id if isinstance(id, str) else None


def _ids(entry: Message, kind: str, key: str) -> set[str]:
    message = entry.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else []
    return {str(part.get(key)) for part in parts if isinstance(part, dict) and part.get("type") == kind}
