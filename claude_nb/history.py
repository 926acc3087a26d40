"""What was said in a conversation, read from Claude Code's own record of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from claude_nb.answers import Answer, Exchanges
from claude_nb.notices import recorded_block
from claude_nb.quoted import Quoted
from claude_nb.recorded import messages
from claude_nb.reply import Block, PrintedBlock, TextBlock, ToolUseBlock, result_text

if TYPE_CHECKING:
    from claude_nb.session import Session

# How Claude Code records a command of its own, what it printed, and the summary that `/compact` makes.
_COMMAND = re.compile(r"<command-name>(.*?)</command-name>")
_ARGUMENTS = re.compile(r"<command-args>(.*?)</command-args>", re.DOTALL)
_PRINTED = re.compile(r"<local-command-std(?:out|err)>(.*?)</local-command-std(?:out|err)>", re.DOTALL)
_INTERRUPT = "[Request interrupted by user"
_NOT_SAID = (
    "<local-command-caveat>",
    "<task-notification>",
    "This session is being continued from a previous conversation",
    _INTERRUPT,
)


def exchanges(session: Session) -> list[tuple[str, list[Block]]]:
    """Prompt and reply of each turn, with what tools got and gave, the first one first."""
    pairs: list[tuple[str, list[Block]]] = []
    early: list[Block] = []
    for message in messages(session.transcript):
        beside = recorded_block(message)
        if beside is not None:
            (pairs[-1][1] if pairs else early).append(beside)
            continue
        content: Any = message.get("message")
        content = content.get("content") if isinstance(content, dict) else content
        if pairs:
            pairs[-1][1].extend(_tools(content))
        text = _text(content)
        if not text or said_by_nobody(text):
            continue
        output = printed(text)
        if message["type"] == "user" and output is None:
            pairs.append((as_typed(text), early))
            early = []
        elif pairs:
            pairs[-1][1].append(TextBlock(text) if output is None else PrintedBlock(output))
    return pairs


def told(session: Session, number: int) -> Answer:
    """The last exchanges."""
    pairs = [(prompt, _without_tools(blocks)) for prompt, blocks in exchanges(session)[-number:]]
    return Exchanges(pairs) if pairs else f"Nothing was said in {session.called} yet."


def _without_tools(blocks: list[Block]) -> list[Block]:
    """The words alone; what is a secret of a tool's is masked in Claude's."""
    quoted = Quoted()
    words = [block for block in blocks if not isinstance(block, ToolUseBlock)]
    return [
        TextBlock(quoted.masked(block.text, blocks)) if type(block) is TextBlock else block for block in words
    ]


def _tools(content: Any) -> list[ToolUseBlock]:
    """The calls and the results of calls that a message has, each by itself."""
    found = []
    for part in content if isinstance(content, list) else []:
        match part:
            case {"type": "tool_use", "id": str(name), "name": str(tool), "input": dict(given)}:
                found.append(ToolUseBlock(name, tool, given, done=True))
            case {"type": "tool_result", "tool_use_id": str(name), "content": result}:
                found.append(ToolUseBlock(name, "", result=result_text(result), done=True))
    return found


def said_by_nobody(text: str) -> bool:
    """Claude Code put it there for Claude."""
    return text.startswith(_NOT_SAID)


def tells_interrupted_tool(text: str) -> bool:
    """Claude Code notes so that the turn was interrupted while a tool was at work."""
    return text.startswith(f"{_INTERRUPT} for tool use")


def printed(text: str) -> str | None:
    """What a command of Claude Code's printed; None if it is no such text."""
    found = _PRINTED.fullmatch(text)
    return None if found is None else found[1].strip()


def as_typed(text: str) -> str:
    """A command of Claude Code's as it was given, any other prompt as it is."""
    command = _COMMAND.search(text)
    if command is None or not text.startswith("<command-"):
        return text
    arguments = _ARGUMENTS.search(text)
    return f"{command[1]} {arguments[1] if arguments else ''}".strip()


def _text(content: Any) -> str:
    """The words of a message, without tool calls and their results."""
    if not isinstance(content, list):
        return result_text(content).strip()
    texts = [part["text"] for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return texts[-1].strip() if texts else ""
