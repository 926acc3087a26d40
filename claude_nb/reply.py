"""What one prompt produced: blocks, built by applying Claude Code's messages, and the Reply made of them.

No I/O and no clock: the session applies each message with the time it came, readers take what is there.

Claude Code tells a turn twice. *Stream events* carry the API's own deltas, token by token; then an
*assistant message* repeats each finished block whole. So a block is opened and grown by events and
settled by the message that repeats it; a CLI that sends no events still gives every block. Tool results
come as *user messages*. What carries a `parent_tool_use_id` belongs to a subagent: its tools are listed
under the tool use that started it, its text is not the reply's.
"""

from __future__ import annotations

import base64
import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar


class Status(enum.StrEnum):
    """How a turn stands. The last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    FAILED = "failed"


FINAL = frozenset({Status.COMPLETED, Status.INTERRUPTED, Status.CANCELLED, Status.FAILED})

ToolState = Literal["running", "ok", "failed", "refused"]


class _GrowingText:
    """Text that grows by many small pieces, read by other threads while it does.

    The pieces are kept apart: adding to an attribute's string would copy all of it at each token.
    """

    def __init__(self, text: str = "", done: bool = False) -> None:
        self._pieces = [text]
        self._joined = (0, "")
        self.done = done

    @property
    def text(self) -> str:
        """All of it so far."""
        count, joined = self._joined
        pieces = self._pieces[count:]
        if pieces:
            joined += "".join(pieces)
            # One tuple, so that a second reader never sees a count without its text.
            self._joined = (count + len(pieces), joined)
        return joined

    def grow(self, piece: str) -> None:
        """Add what came."""
        self._pieces.append(piece)

    def settle(self, text: str) -> None:
        """Nothing grows any more: this is the whole."""
        self._pieces, self._joined, self.done = [text], (0, ""), True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"


class TextBlock(_GrowingText):
    """Text that Claude wrote: Markdown, untrusted."""

    type: Literal["text"] = "text"


class ThinkingBlock(_GrowingText):
    """What Claude thought before it wrote, where the model shows it."""

    type: Literal["thinking"] = "thinking"


@dataclass(eq=False)
class ToolUseBlock:
    """One call of a tool and, once it is there, its result as text.

    `seconds` is how long it took, None while it runs. `inner` are the calls of a subagent it started.
    `refusal` is why it was not run, for the reader.
    """

    id: str
    name: str
    input: dict[str, Any] = field(default_factory=dict)
    state: ToolState = "running"
    result: str | None = None
    refusal: str = ""
    seconds: float | None = None
    inner: list[ToolUseBlock] = field(default_factory=list)
    started: float = 0.0
    done: bool = False
    type: Literal["tool_use"] = "tool_use"


@dataclass(eq=False)
class ToolResultBlock:
    """What a tool call returned: its text, whether it failed, and its images (PNG or JPEG)."""

    tool_use_id: str
    content: str
    is_error: bool = False
    images: list[bytes] = field(default_factory=list, repr=False)
    done: bool = True
    type: Literal["tool_result"] = "tool_result"


Block = TextBlock | ThinkingBlock | ToolUseBlock | ToolResultBlock
_Grows = TypeVar("_Grows", TextBlock, ThinkingBlock)
_Any = TypeVar("_Any", TextBlock, ThinkingBlock, ToolUseBlock)


@dataclass(frozen=True)
class Code:
    """A fenced code block of a reply."""

    language: str
    source: str


@dataclass
class Usage:
    """What a turn cost. Tokens as the API counts them; times in seconds."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    seconds: float = 0.0
    first_token_seconds: float | None = None
    requests: int = 0


@dataclass(eq=False)
class Reply:
    """What came of one prompt.

    Attributes:
        text: all that Claude wrote in the turn, Markdown, its text blocks joined by blank lines.
        status: `completed`, `interrupted`, `cancelled` (`reason` says why) or `failed` (see `error`).
        session: the session's name.
        blocks: text, thinking, tool uses and tool results in the order they came.
        usage: tokens and seconds.
        cost_usd: US dollars as Claude Code reports them; None where it is not billed by API key.
        model: the model that answered, None if none did.
    """

    text: str
    status: Status
    session: str
    prompt: str
    blocks: list[Block]
    usage: Usage
    cost_usd: float | None = None
    model: str | None = None
    reason: str | None = None
    error: Exception | None = None
    # The cell in which `%claude` has shown the reply: its value is not displayed there once more.
    shown_in: str | None = field(default=None, repr=False)

    @property
    def tools(self) -> list[ToolUseBlock]:
        """The tool calls, in the order they were made."""
        return [block for block in self.blocks if isinstance(block, ToolUseBlock)]

    @property
    def code(self) -> list[Code]:
        """The fenced code blocks of `text`, each with `language` ("" if it names none) and `source`."""
        return code_blocks(self.text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        first = self.text.strip().partition("\n")[0]
        shortened = first if len(first) <= 60 else first[:59] + "…"
        return f"<Reply of {self.session!r}, {self.status}: {shortened!r}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Called by IPython's pretty printer."""
        printer.text(repr(self))

    def _ipython_display_(self) -> None:
        """Called by IPython to display the value of a cell."""
        from claude_nb.render.show import running_cell, show_reply

        if self.shown_in is None or self.shown_in != running_cell():
            show_reply(self)
        self.shown_in = None


def code_blocks(markdown: str) -> list[Code]:
    """The fenced code blocks of a Markdown text, those inside lists and quotes included."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").parse(markdown)
    return [
        Code(token.info.split()[0] if token.info.split() else "", token.content)
        for token in tokens
        if token.type == "fence"
    ]


# Claude Code adds to an image of a tool where it has put it: a file of its own, with another name each time.
_WHERE_AN_IMAGE_IS = re.compile(r"\[Image: source: [^\n]*\]")


def result_text(content: Any) -> str:
    """The text of a tool result as the API gives it: a string, or blocks of text and images."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return str(content)
    parts = [_part_text(part) for part in content]
    return "\n".join(part for part in parts if not _WHERE_AN_IMAGE_IS.fullmatch(part))


def _part_text(part: Any) -> str:
    if not isinstance(part, dict):
        return str(part)
    if part.get("type") == "text":
        return str(part.get("text", ""))
    return f"[{part.get('type', 'unknown')}]"


def result_images(content: Any) -> list[bytes]:
    """The PNG and JPEG images of a tool result as the API gives it."""
    parts = content if isinstance(content, list) else []
    sources = [part.get("source") for part in parts if isinstance(part, dict) and part.get("type") == "image"]
    decoded = [_decoded(source.get("data")) for source in sources if isinstance(source, dict)]
    return [image for image in decoded if image.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff"))]


def _decoded(data: Any) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (TypeError, ValueError):
        return b""


class TurnLog:
    """The blocks of a turn under way and what the turn is doing now.

    `activity` is a phrase for the reader ("thinking", "writing", "running Bash"), `notice` a sentence
    about trouble that Claude Code is dealing with, or None.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.activity = "waiting for Claude"
        self.notice: str | None = None
        self.usage = Usage()
        self.cost_usd: float | None = None
        self.model: str | None = None
        self.first_token: float | None = None
        self.last_message: float | None = None
        self.retries: list[int | None] = []
        # Tool calls that have ended since somebody looked, those of subagents too.
        self.ended_tools: list[ToolUseBlock] = []
        self._open: TextBlock | ThinkingBlock | ToolUseBlock | None = None
        self._open_tokens = 0
        self._unsettled: list[TextBlock | ThinkingBlock | ToolUseBlock] = []
        self._tools: dict[str, ToolUseBlock] = {}
        self._printed = ""
        self._answered = ""

    @property
    def text(self) -> str:
        """What Claude has written so far."""
        return "\n\n".join(block.text for block in self.blocks if isinstance(block, TextBlock) and block.text)

    @property
    def last_text(self) -> str:
        """The last block of text, as Claude Code records it; "" if the turn did not end with Claude's."""
        last = self.blocks[-1] if self.blocks and not self._answered else None
        return last.text if isinstance(last, TextBlock) else ""

    @property
    def refusals(self) -> int:
        """How often the API has refused the credentials in the request under way."""
        return sum(status in (401, 403) for status in self.retries)

    @property
    def tokens(self) -> int:
        """Output tokens so far, for a status line."""
        return self.usage.output_tokens + self._open_tokens

    def apply(self, message: Any, now: float) -> list[Block]:
        """Take in one of the SDK's messages, which came at `now` (monotonic seconds).

        Returns the blocks that it completed.
        """
        self.last_message = now
        handler = _HANDLERS.get(type(message).__name__)
        return handler(self, message, now) if handler else []

    def settle(self, now: float) -> list[Block]:
        """The turn is over: nothing grows any more. Tools without a result have failed."""
        for tool in self._tools.values():
            if tool.state == "running":
                tool.state = "failed"
                tool.seconds = now - tool.started
                self.ended_tools.append(tool)
        unfinished = [block for block in self.blocks if not block.done]
        for block in unfinished:
            block.done = True
        self._open = None
        return list(unfinished)

    # -- stream events ------------------------------------------------------------------------

    def _stream_event(self, message: Any, now: float) -> list[Block]:
        if message.parent_tool_use_id is not None:
            return []
        event = message.event
        match event.get("type"):
            case "content_block_delta":
                self._delta(event["delta"], now)
            case "content_block_start":
                self._start_block(event["content_block"], now)
            case "message_start":
                self.notice = None
                self.retries.clear()
            case "message_delta":
                self._open_tokens = 0
                self._count(event.get("usage") or {})
        return []

    def _start_block(self, start: dict[str, Any], now: float) -> None:
        opened: TextBlock | ThinkingBlock | ToolUseBlock
        match start.get("type"):
            case "text":
                opened, self.activity = TextBlock(start.get("text", "")), "writing"
            case "thinking":
                opened, self.activity = ThinkingBlock(start.get("thinking", "")), "thinking"
            case "tool_use":
                opened = ToolUseBlock(start["id"], start["name"], started=now)
                self._tools[opened.id] = opened
                self.activity = f"preparing {opened.name}"
            case _:
                self._open = None
                return
        self._open = opened
        self._unsettled.append(opened)
        self.blocks.append(opened)

    def _delta(self, delta: dict[str, Any], now: float) -> None:
        if self.first_token is None:
            self.first_token = now
        self._open_tokens += 1
        kind = delta.get("type")
        block = self._open
        if kind == "text_delta" and isinstance(block, TextBlock):
            block.grow(delta["text"])
        elif kind == "thinking_delta" and isinstance(block, ThinkingBlock):
            block.grow(delta["thinking"])

    def _count(self, usage: dict[str, Any]) -> None:
        self.usage.output_tokens += int(usage.get("output_tokens") or 0)

    # -- whole messages -----------------------------------------------------------------------

    def _assistant(self, message: Any, now: float) -> list[Block]:
        if message.parent_tool_use_id is not None:
            self._subagent(message, now)
            return []
        if message.model == "<synthetic>":  # Claude Code's own words: an error, or what the result says too
            return []
        self.model = message.model
        return [done for part in message.content if (done := self._settle_part(part, now)) is not None]

    def _settle_part(self, part: Any, now: float) -> Block | None:
        match type(part).__name__:
            case "TextBlock":
                text = self._unsettled_of(TextBlock) or self._append(TextBlock())
                text.settle(part.text)
                return text
            case "ThinkingBlock":
                thinking = self._unsettled_of(ThinkingBlock) or self._append(ThinkingBlock())
                thinking.settle(part.thinking)
                return thinking
            case "ToolUseBlock" | "ServerToolUseBlock":
                return self._tool_use(part, now)
        return None

    def _unsettled_of(self, kind: type[_Grows]) -> _Grows | None:
        for block in self._unsettled:
            if isinstance(block, kind):
                self._unsettled.remove(block)
                return block
        return None

    def _append(self, block: _Any) -> _Any:
        self.blocks.append(block)
        return block

    def _tool_use(self, part: Any, now: float) -> ToolUseBlock:
        tool = self._tools.get(part.id)
        if tool is None:
            tool = self._append(ToolUseBlock(part.id, part.name, started=now))
            self._tools[tool.id] = tool
        elif tool in self._unsettled:
            self._unsettled.remove(tool)
        tool.input, tool.started, tool.done = part.input, now, True
        self.activity = f"running {tool.name}"
        return tool

    def _subagent(self, message: Any, now: float) -> None:
        parent = self._tools.get(message.parent_tool_use_id)
        for part in message.content:
            if type(part).__name__ == "ToolUseBlock":
                inner = ToolUseBlock(part.id, part.name, part.input, started=now, done=True)
                self._tools[inner.id] = inner
                if parent is not None:  # else it works in the background, for an earlier turn
                    parent.inner.append(inner)

    def _user(self, message: Any, now: float) -> list[Block]:
        if isinstance(message.content, str):
            self._printed += "".join(_COMMAND_OUTPUT.findall(message.content))
            return []
        results: list[Block] = []
        for part in message.content:
            if type(part).__name__ == "ToolResultBlock":
                result = self._tool_result(part, now)
                if message.parent_tool_use_id is None:
                    self.blocks.append(result)
                    results.append(result)
        return results

    def _tool_result(self, part: Any, now: float) -> ToolResultBlock:
        result = ToolResultBlock(
            part.tool_use_id, result_text(part.content), bool(part.is_error), result_images(part.content)
        )
        tool = self._tools.get(part.tool_use_id)
        if tool is not None:
            if tool.state == "running":  # a refusal was marked when it was given
                tool.state = "failed" if result.is_error else "ok"
            tool.result = result.content
            tool.seconds = now - tool.started
            self.ended_tools.append(tool)
        self.activity = "waiting for Claude"
        return result

    def refuse(self, tool_use_id: str | None, why: str) -> None:
        """The tool call was not allowed; `why` is for the reader."""
        tool = self._tools.get(tool_use_id or "")
        if tool is not None:
            tool.state, tool.refusal = "refused", why

    def _system(self, message: Any, now: float) -> list[Block]:
        if message.subtype == "api_retry":
            self.retries.append(message.data.get("error_status"))
            self.notice = retry_notice(message.data)
        elif message.subtype == "status" and message.data.get("status") == "compacting":
            self.activity = "compacting the conversation"
        return []

    def _result(self, message: Any, now: float) -> list[Block]:
        usage = message.usage or {}
        self.usage.input_tokens = int(usage.get("input_tokens") or 0)
        self.usage.output_tokens = int(usage.get("output_tokens") or 0)
        self.usage.cache_read_tokens = int(usage.get("cache_read_input_tokens") or 0)
        self.usage.cache_creation_tokens = int(usage.get("cache_creation_input_tokens") or 0)
        self.usage.requests = message.num_turns
        self.cost_usd = message.total_cost_usd
        self._open_tokens = 0
        return [] if message.is_error or self.text else self._answer_of_command(message)

    def _answer_of_command(self, result: Any) -> list[Block]:
        """What one of Claude Code's own commands says without asking Claude: in the result, or printed."""
        self._answered = (result.result or self._printed).strip()
        if not self._answered:
            return []
        told = TextBlock(self._answered, done=True)
        self.blocks.append(told)
        return [told]


# How Claude Code marks what a command such as `/compact` printed.
_COMMAND_OUTPUT = re.compile(r"<local-command-stdout>(.*?)</local-command-stdout>", re.DOTALL)

_HANDLERS: dict[str, Callable[[TurnLog, Any, float], list[Block]]] = {
    "StreamEvent": TurnLog._stream_event,
    "AssistantMessage": TurnLog._assistant,
    "UserMessage": TurnLog._user,
    "SystemMessage": TurnLog._system,
    "ResultMessage": TurnLog._result,
}

_RETRY_CAUSES = {
    None: "the API cannot be reached",
    401: "not signed in",
    403: "not allowed",
    429: "rate limited",
    500: "the API failed",
    529: "overloaded",
}


def retry_notice(data: dict[str, Any]) -> str:
    """What Claude Code is doing about an API error, as "overloaded, try 3 of 10 in 5 s"."""
    status = data.get("error_status")
    cause = _RETRY_CAUSES.get(status, f"the API answered {status}")
    delay = float(data.get("retry_delay_ms") or 0) / 1000
    return f"{cause}, try {data.get('attempt', '?')} of {data.get('max_retries', '?')} in {delay:.0f} s"


def texts(blocks: list[Block]) -> Iterator[str]:
    """The text of each text block."""
    return (block.text for block in blocks if isinstance(block, TextBlock))
