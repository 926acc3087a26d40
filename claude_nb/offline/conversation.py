"""What one request to the Messages API says: the prompt, how far its turn has come, and what went before.

Claude Code sends the whole conversation with every request. It adds text of its own: blocks that are
one `<system-reminder>`, messages whose role is "system" (also as the very last one), and notes such as
`[Request interrupted by user]` or, behind a prompt with images, `[Image: source: FILE]`. What the person
typed is the last text block of the last user message that has any other text; blocks before it in that
message are context. A request that ends in tool results continues the turn: the step comes from the ids
of the tool calls, which we gave out ourselves.
A reminder alone, after a finished reply, is a notice: Claude Code has begun a turn of its own, because
a background task ended. Taking the last prompt for it would start that task again, and so for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

REMINDER = re.compile(r"\s*<system-reminder>.*</system-reminder>\s*", re.DOTALL)
NOTE = re.compile(r"\s*(\[Request interrupted by user[^\]]*\]|\[Image: source: .*\]|Tool loaded\.)\s*")
TOOL_ID = re.compile(r"toolu_[0-9a-f]+_\d+_step(\d+)")


@dataclass(frozen=True)
class Conversation:
    """One request, read. `step` counts the replies of this turn that called tools."""

    prompt: str = ""
    notice: str = ""  # instead of a prompt: what Claude Code reported by itself
    context: str = ""
    earlier: tuple[str, ...] = ()  # user texts before the prompt, oldest first
    step: int = 0
    result: str = ""  # text of the tool results that the request ends with
    refused: bool = False  # one of them is an error: a failure, or a person's no
    first: bool = True  # Claude had said nothing before the prompt
    model: str = ""
    system: str = ""
    user_messages: int = 0


def tool_id(run: str, serial: int, step: int) -> str:
    """The id of a tool call made in `step`; `run` tells servers apart in a resumed conversation."""
    return f"toolu_{run}_{serial}_step{step}"


def read(body: dict[str, Any]) -> Conversation:
    """The conversation in a request body, which has passed `server.check_body`."""
    messages: list[dict[str, Any]] = body["messages"]
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    spoken = [index for index in users if typed_texts(messages[index])]
    noticed = [index for index in users if is_notice(messages, index)]
    at = max([*spoken, *noticed], default=0)
    texts = typed_texts(messages[at]) if at in spoken else []
    results = last_results(messages[at:])
    return Conversation(
        prompt=texts[-1] if texts else "",
        notice=flat_text(messages[at]["content"]) if at in noticed else "",
        context="\n".join(texts[:-1]),
        earlier=(
            *(text for index in spoken if index < at for text in typed_texts(messages[index])),
            *texts[:-1],
        ),
        step=step_after(results, messages[at:]) if results else 0,
        result="\n".join(flat_text(block.get("content")) for block in results),
        refused=any(block.get("is_error") is True for block in results),
        first=not any(message["role"] == "assistant" for message in messages[:at]),
        model=str(body.get("model", "")),
        system=flat_text(body.get("system")),
        user_messages=len(users),
    )


def blocks(content: Any) -> Iterator[dict[str, Any]]:
    """Content as blocks, whether it is a string or a list."""
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from (block for block in content if isinstance(block, dict))


def flat_text(content: Any) -> str:
    return "\n".join(str(block.get("text", "")) for block in blocks(content) if block.get("type") == "text")


def typed_texts(message: dict[str, Any]) -> list[str]:
    """The text blocks of a user message without those that Claude Code adds."""
    texts = [str(b.get("text", "")) for b in blocks(message.get("content")) if b.get("type") == "text"]
    return [text for text in texts if not REMINDER.fullmatch(text) and not NOTE.fullmatch(text)]


def is_notice(messages: list[dict[str, Any]], index: int) -> bool:
    """Whether a user message holds nothing but a reminder and follows a reply."""
    before = next((m["role"] for m in reversed(messages[:index]) if m["role"] != "system"), "")
    parts = list(blocks(messages[index]["content"]))
    texts = [str(part.get("text", "")) for part in parts if part.get("type") == "text"]
    return before == "assistant" and len(texts) == len(parts) > 0 and all(map(REMINDER.fullmatch, texts))


def last_results(turn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tool results that answer the last reply of a turn; none where a new prompt follows it."""
    results: list[dict[str, Any]] = []
    for message in reversed(turn[1:]):
        if message["role"] == "assistant":
            break
        if message["role"] == "user":
            found = [b for b in blocks(message.get("content")) if b.get("type") == "tool_result"]
            results = found + results
    # Parallel tools end in any order; their ids rise in the order they were called in.
    return sorted(results, key=lambda block: str(block.get("tool_use_id", "")))


def step_after(results: list[dict[str, Any]], turn: list[dict[str, Any]]) -> int:
    """The step that these results lead to; replies are counted where the ids are not ours."""
    known = [TOOL_ID.fullmatch(str(block.get("tool_use_id", ""))) for block in results]
    steps = [int(match[1]) + 1 for match in known if match]
    return max(steps) if steps else sum(message["role"] == "assistant" for message in turn)
