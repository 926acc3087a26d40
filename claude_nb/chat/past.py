"""The turns of a conversation that are over, read from Claude Code's own record of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from claude_nb.history import as_typed, printed, said_by_nobody, tells_interrupted_tool
from claude_nb.notices import recorded_block
from claude_nb.recorded import Message, messages
from claude_nb.reply import (
    Block,
    NoticeBlock,
    PrintedBlock,
    Reply,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    result_images,
    result_text,
)

if TYPE_CHECKING:
    from claude_nb.asking.desk import Pending
    from claude_nb.kernel.execute import Execution
    from claude_nb.session import Session


@dataclass
class PastTurn:
    """A prompt and what came of it. `id` is the prompt's, as in the `Turn` that it was.

    `cut` is why it never came to its end; None if it did.
    """

    id: str
    prompt: str
    blocks: list[Block] = field(default_factory=list)
    news: str | None = None
    reply: Reply | None = None
    question: Pending | None = None
    execution: Execution | None = None
    cut: str | None = None


def past_turns(session: Session, *, but: Collection[str] = (), most: int | None = None) -> list[PastTurn]:
    """The last `most`, or all that there are, the first one first; then without the turns of these ids."""
    turns: list[PastTurn] = []
    tools: dict[str, ToolUseBlock] = {}
    early: list[Block] = []
    for message in messages(session.transcript, _begins(most)):
        beside = recorded_block(message)
        if beside is not None:
            (turns[-1].blocks if turns else early).append(beside)
            continue
        parts = _parts(message)
        if message["type"] == "user" and (prompt := _prompt(parts)):
            turns.append(PastTurn(message["uuid"], prompt, early))
            early = []
        elif turns:
            turns[-1].blocks += _blocks(parts, message["type"] == "assistant", tools)
            if any(tells_interrupted_tool(str(part.get("text", ""))) for part in parts):
                _mark_interrupted(turns[-1].blocks)
    found = [turn for turn in turns if turn.id not in but]
    _end_all(found, session)
    return found


def _end_all(turns: Sequence[PastTurn], session: Session) -> None:
    """Nothing of them runs any more, and the last one may have been cut short with its kernel."""
    for turn in turns:
        interrupted = bool(session.record.ended) and turn is turns[-1]
        for block in turn.blocks:
            if isinstance(block, ToolUseBlock) and block.state == "running":
                block.state = "interrupted" if interrupted else "failed"
                block.result = "It did not come to its end."
    if turns and (session.record.ended or not _has_answer(turns[-1])):
        turns[-1].cut = str((session.record.ended or {}).get("reason") or "")


def _mark_interrupted(blocks: Sequence[Block]) -> None:
    """A tool was interrupted: of those that Claude has called last, what came to no good end."""
    called = False
    for block in reversed(blocks):
        if isinstance(block, ToolUseBlock):
            called = True
            if block.state in ("running", "failed"):
                block.state = "interrupted"
        elif called or not isinstance(block, ToolResultBlock):
            break


def _has_answer(turn: PastTurn) -> bool:
    """Claude had the last word, or Claude Code says why not."""
    return bool(turn.blocks) and isinstance(turn.blocks[-1], TextBlock | NoticeBlock)


def _begins(most: int | None) -> Callable[[Message], bool]:
    """Whether a message, of those that are told from the last one on, is the prompt of that turn."""
    prompts = itertools.count(1)

    def begins(message: Message) -> bool:
        return message["type"] == "user" and bool(_prompt(_parts(message))) and next(prompts) == most

    return begins


def _parts(message: Message) -> list[dict[str, Any]]:
    content: Any = message.get("message")
    content = content.get("content") if isinstance(content, dict) else content
    if isinstance(content, list):
        return [part for part in content if isinstance(part, dict)]
    return [{"type": "text", "text": result_text(content)}]


def _prompt(parts: list[dict[str, Any]]) -> str:
    """What a person typed, which is the last text; empty if the message is nothing of a person's."""
    if any(part.get("type") == "tool_result" for part in parts):
        return ""
    texts = [str(part.get("text", "")).strip() for part in parts if part.get("type") == "text"]
    text = texts[-1] if texts else ""
    return "" if said_by_nobody(text) or printed(text) is not None else as_typed(text)


def _blocks(parts: list[dict[str, Any]], claude: bool, tools: dict[str, ToolUseBlock]) -> list[Block]:
    found: list[Block] = []
    for part in parts:
        match part.get("type"):
            case "text":
                text = str(part.get("text", ""))
                output = None if claude else printed(text)
                if claude and text:
                    found.append(TextBlock(text, done=True))
                elif output:
                    found.append(PrintedBlock(output, done=True))
            case "thinking" if claude:
                found.append(ThinkingBlock(str(part.get("thinking", "")), done=True))
            case "tool_use":
                tool = ToolUseBlock(
                    str(part.get("id")), str(part.get("name")), part.get("input") or {}, done=True
                )
                tools[tool.id] = tool
                found.append(tool)
            case "tool_result":
                found += _result(part, tools)
    return found


def _result(part: dict[str, Any], tools: dict[str, ToolUseBlock]) -> list[Block]:
    failed = bool(part.get("is_error"))
    content = part.get("content")
    name = str(part.get("tool_use_id"))
    if name in tools:
        tools[name].state = "failed" if failed else "ok"
        tools[name].result = result_text(content)
    return [ToolResultBlock(name, result_text(content), failed, result_images(content))]
