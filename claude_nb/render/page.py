"""A turn as one Markdown text: what Claude wrote, made harmless, with cards for its tools.

`Page` keeps what is finished, so that showing a long turn again and again costs only its last block.
While a turn runs a status line stands at the end. What is left at the end of the turn, and is saved with
the notebook, holds only what is equal in every run: no times, tokens, pids or ids.
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

from claude_nb.quoted import Quoted
from claude_nb.render.cards import notice, status_line, thinking_card, tool_card
from claude_nb.render.escape import fence
from claude_nb.render.harmless import HarmlessStream
from claude_nb.render.marks import ENDED
from claude_nb.reply import (
    Block,
    NoticeBlock,
    PrintedBlock,
    Reply,
    Status,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from claude_nb.words import counted

if TYPE_CHECKING:
    from claude_nb.render.cards import OutputMode
    from claude_nb.turn import Turn

_MCP_TOOL = re.compile(r"\bmcp__(\w+?)__(\w+)")
# Characters of one text: longer than anything Claude writes, and all that a page can take.
MOST_SHOWN = 1_000_000

_ENDINGS = {
    Status.INTERRUPTED: "Interrupted",
    Status.CANCELLED: "Cancelled",
    Status.FAILED: "The turn failed here",
}


class Page:
    """The Markdown of one turn, as it grows.

    With `explain` a failure is told here; otherwise the cell's own error tells it. Keys and tokens in what
    tools got and gave are `masked`. Any thread may ask: an
    interrupt ends a turn in the main thread while another one still shows it.
    """

    def __init__(self, turn: Turn, mode: OutputMode, *, explain: bool = False, masked: bool = True) -> None:
        self._turn = turn
        self._mode = mode
        self._explain = explain
        self._masked = masked
        self._quoted = Quoted()
        # What is kept from one showing to the next is changed by each, so one is made after the other.
        self._lock = threading.Lock()
        # By block, not by place: the blocks of an attempt that broke are taken out again.
        self._texts: dict[TextBlock, HarmlessStream] = {}
        self._taken: dict[TextBlock, int] = {}
        # What is finished; a live tool's card tells its time, a final one does not.
        self._finished: dict[tuple[Block, bool], str] = {}

    def live(self, now: float | None = None) -> str:
        """The turn as it stands, with a status line."""
        now = time.monotonic() if now is None else now
        with self._lock:
            parts = self._parts(now)
        parts.append(status_line(status_words(self._turn, now)))
        return _join(parts)

    def final(self) -> str:
        """The turn after its end, as it is saved."""
        with self._lock:
            parts = self._parts(None)
        reply = self._turn.reply
        if reply is not None and self._turn.person_interrupted and not reply.reason:
            pass  # the cell's own error tells it
        elif reply is not None and reply.status in _ENDINGS:
            parts.append(_ending(reply, self._explain, bool(parts)))
        elif not parts:
            parts.append(notice("Claude gave no text.", "info"))
        for later in self._turn.aftermath:
            # No cell has its error.
            page = Page(later, self._mode, explain=True, masked=self._masked)
            parts.append(notice("Later, when a background task had ended:", "info"))
            parts.append(page.final() if later.done() else page.live())
        return _join(parts)

    def _parts(self, now: float | None) -> list[str]:
        news = [notice(self._turn.news, "info")] if self._turn.news else []
        shown = [(block, self._part(block, now)) for block in self._turn.blocks]
        return news + _spaced(
            [(part, isinstance(block, ThinkingBlock | ToolUseBlock)) for block, part in shown if part]
        )

    def _part(self, block: Block, now: float | None) -> str:
        key = (block, now is not None)
        if key in self._finished:
            return self._finished[key]
        finished = _is_finished(block)  # asked first: it may grow in another thread while it is written
        part = self._written(block, now)
        if finished:
            self._finished[key] = part
        return part

    def _written(self, block: Block, now: float | None) -> str:
        if isinstance(block, NoticeBlock):
            return notice(block.text, block.level)
        if isinstance(block, PrintedBlock) and not block.is_markdown:
            return fence(block.text)
        if isinstance(block, TextBlock):
            return self._text(block)
        if isinstance(block, ThinkingBlock):
            text = block.text
            if self._masked:
                text = self._quoted.masked(text, self._turn.blocks)
            return thinking_card(text, self._mode)
        if isinstance(block, ToolUseBlock):
            return self._tool(block, now)
        return ""  # a tool result is in its tool's card

    def _text(self, block: TextBlock) -> str:
        stream = self._texts.setdefault(block, HarmlessStream())
        done, whole = block.done, block.text
        text = whole[:MOST_SHOWN]
        if self._masked:
            text = self._quoted.masked(text, self._turn.blocks, partial=not done)
        taken = self._taken.get(block, 0)
        if len(text) < taken:  # settled with another text than was streamed
            stream = self._texts[block] = HarmlessStream()
            taken = 0
        stream.feed(text[taken:])
        self._taken[block] = len(text)
        return _join([stream.value(partial=not done), _not_shown(len(whole[MOST_SHOWN:]))])

    def _tool(self, block: ToolUseBlock, now: float | None) -> str:
        pending = self._turn.question if now is not None else None
        asks = pending is not None and pending.question.is_about(block)
        return tool_card(
            block.name,
            block.input,
            state="waiting" if asks else block.state,
            result=block.shown_result,
            output_mode=self._mode,
            masked=self._masked,
            seconds=_seconds(block, now) if now is not None and not asks else None,
        )


def _seconds(tool: ToolUseBlock, now: float) -> float | None:
    """How long the tool took; while it runs in whole seconds, which do not flicker."""
    if tool.seconds is not None:
        return tool.seconds
    whole = int(now - tool.started)
    return whole or None


def _spaced(parts: list[tuple[str, bool]]) -> list[str]:
    """A card, as the second of each says, has no margin below: text that follows would stick to it."""
    return [
        part + "\n<p></p>" if card and not next_is_card else part
        for (part, card), (_, next_is_card) in zip(parts, [*parts, ("", False)][1:], strict=True)
    ]


def _is_finished(block: Block) -> bool:
    """Nothing about it will change any more."""
    return block.result is not None if isinstance(block, ToolUseBlock) else block.done


def _not_shown(characters: int) -> str:
    if not characters:
        return ""
    return notice(f"{characters:,} more characters are not shown; the reply's `text` holds all.", "info")


def status_words(turn: Turn, now: float) -> str:
    """What goes on, for how long, and how many tokens have come: "thinking · 3 s · 120 tokens"."""
    log = turn.log
    activity = _MCP_TOOL.sub(r"\1 · \2", turn.activity or log.activity)
    silent = turn.silent_for(now)
    silence = f"nothing has come for {silent:.0f} s; Interrupt ends the turn" if silent is not None else ""
    if silence and not turn.activity:  # what came last may be over long since
        activity = "waiting for Claude"
    words = [log.notice or activity, f"{now - turn.created:.0f} s"]
    if log.tokens:
        words.append(counted(log.tokens, "token"))
    if silence:
        words.append(silence)
    return " · ".join(words)


def _ending(reply: Reply, explain: bool, after_text: bool) -> str:
    """In small letters where the status line stood; a failure is told once, here or as the cell's error."""
    if reply.status is Status.FAILED and explain:
        return notice(f"{type(reply.error).__name__}: {reply.error}", "error")
    if reply.status is Status.FAILED and not after_text:
        return ""
    reason = f": {reply.reason}" if reply.reason else ""
    return status_line(f"{ENDED} {_ENDINGS[reply.status]}{reason}")


def _join(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part)
