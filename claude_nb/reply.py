"""What one prompt produced: its blocks, and the Reply made of them. No I/O and no clock."""

from __future__ import annotations

import base64
import enum
import re
from dataclasses import dataclass, field
from typing import Any, Literal


class Status(enum.StrEnum):
    """How a turn stands. The last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    FAILED = "failed"


FINAL = frozenset({Status.COMPLETED, Status.INTERRUPTED, Status.CANCELLED, Status.FAILED})

ToolState = Literal["running", "ok", "failed", "refused", "interrupted"]


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


class PrintedBlock(TextBlock):
    """What a command of Claude Code's own printed, such as `/usage`: its lines are lines."""

    @property
    def is_markdown(self) -> bool:
        """Some commands print Markdown, with headings; the others plain text."""
        return self.text.lstrip().startswith("#")


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

    @property
    def shown_result(self) -> str | None:
        """What a reader sees as its result; what Claude is told of an end without one is for Claude."""
        if self.state == "refused":
            return self.refusal
        return None if self.state == "interrupted" else self.result


@dataclass(eq=False)
class ToolResultBlock:
    """What a tool call returned: its text, whether it failed, and its images (PNG or JPEG)."""

    tool_use_id: str
    content: str
    is_error: bool = False
    images: list[bytes] = field(default_factory=list, repr=False)
    done: bool = True
    type: Literal["tool_result"] = "tool_result"


@dataclass(eq=False)
class NoticeBlock:
    """Something that Claude Code says to the person beside the reply, in one line.

    `kind` is Claude Code's name for it, such as "compact_boundary".
    """

    text: str
    kind: str
    level: Literal["info", "warning"] = "info"
    done: bool = True
    type: Literal["notice"] = "notice"


Block = TextBlock | ThinkingBlock | ToolUseBlock | ToolResultBlock | NoticeBlock


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
        text: all that Claude wrote in the turn, Markdown, its text blocks joined by blank lines; for one of
            Claude Code's own commands what it printed.
        status: `completed`, `interrupted`, `cancelled` (`reason` says why) or `failed` (see `error`).
        session: the session's name.
        blocks: text, thinking, tool uses, tool results and Claude Code's notices in the order they came.
        usage: tokens and seconds.
        cost_usd: US dollars that the turn has cost, as Claude Code reckons; None where it does not say.
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
    def notices(self) -> list[str]:
        """What Claude Code said to the person beside the reply, one line each."""
        return [block.text for block in self.blocks if isinstance(block, NoticeBlock)]

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
        from claude_nb.render.show import show_value

        show_value(self)


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


# Claude Code marks an error of its own for Claude: a reader sees that the tool has failed.
_ERROR_TAGS = re.compile(r"\A\s*<tool_use_error>(.*?)(?:</tool_use_error>)?\s*\Z", re.DOTALL)


def result_text(content: Any) -> str:
    """The text of a tool result as the API gives it: a string, or blocks of text and images."""
    if content is None:
        return ""
    if isinstance(content, str):
        return _ERROR_TAGS.sub(r"\1", content)
    if not isinstance(content, list):
        return str(content)
    parts = [_part_text(part) for part in content]
    return "\n".join(part for part in parts if not _WHERE_AN_IMAGE_IS.fullmatch(part))


def _part_text(part: Any) -> str:
    if not isinstance(part, dict):
        return str(part)
    if part.get("type") == "text":
        return _ERROR_TAGS.sub(r"\1", str(part.get("text", "")))
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
