"""A turn as the entries of a chat, rendered anew only where it has changed.

A turn under way and one that was read from the record (`past.py`) are shown alike.
"""

from __future__ import annotations

import html
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from claude_nb.asking.card import choice_state
from claude_nb.asking.parts import choices, form, seen, title
from claude_nb.asking.shown import card_html, outcome, tag
from claude_nb.chat.log import Entry, Kind
from claude_nb.chat.past import PastTurn
from claude_nb.chat.wording import as_said_in_a_chat
from claude_nb.kernel.tools import RUN_CELL
from claude_nb.quoted import Quoted
from claude_nb.render.html import HtmlStream, notice_html, printed_html, thinking_html, tool_html
from claude_nb.reply import (
    Block,
    NoticeBlock,
    PrintedBlock,
    Reply,
    Status,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from claude_nb.words import counted

if TYPE_CHECKING:
    from claude_nb.asking.desk import Pending
    from claude_nb.kernel.execute import Execution

log = logging.getLogger(__name__)

_ENDINGS = {
    Status.INTERRUPTED: "Interrupted",
    Status.CANCELLED: "Cancelled",
    Status.FAILED: "The turn failed",
}


class Shown(Protocol):
    """What a turn needs to be shown."""

    @property
    def id(self) -> str:
        """The prompt's, for Claude Code too."""

    @property
    def prompt(self) -> str:
        """What was asked; empty where Claude went on by itself."""

    @property
    def news(self) -> str | None:
        """A line for the reader."""

    @property
    def blocks(self) -> list[Block]:
        """What came of it so far."""

    @property
    def reply(self) -> Reply | None:
        """Its end, if it has come to it and that is known."""

    @property
    def question(self) -> Pending | None:
        """What it asks now."""

    @property
    def execution(self) -> Execution | None:
        """The code that one of its tools has been running for a while."""


_Turn = TypeVar("_Turn", bound=Shown)


class TurnView(Generic[_Turn]):
    """One turn's entries; `entries` may be asked for again and again while the turn grows."""

    def __init__(self, turn: _Turn) -> None:
        self.turn = turn
        self.key = turn.id
        # By which the page knows each block: blocks of an attempt that broke are taken out again.
        self._names: dict[Block, int] = {}
        self._texts: dict[int, _Text] = {}
        # The entry of a block, with what it was made of.
        self._made: dict[int, tuple[object, Entry]] = {}
        # The pictures of each tool call's result.
        self._images: dict[str, list[bytes]] = {}
        # Each question with the number of blocks that came before it.
        self._asked: list[tuple[int, Pending]] = []
        self._quoted = Quoted()

    def entries(self) -> list[Entry]:
        """The turn as it stands."""
        self._note_question()
        blocks = self.turn.blocks
        results = [block for block in blocks if isinstance(block, ToolResultBlock) and block.images]
        self._images = {result.tool_use_id: result.images for result in results}
        found = [*self._prompt(), *self._news()]
        for index, block in enumerate(blocks):
            found += self._questions(index, index + 1)
            found += self._block(self._name(block), block)
        found += self._questions(len(blocks))
        return [*found, *self._end()]

    def _name(self, block: Block) -> int:
        return self._names.setdefault(block, len(self._names))

    def _entry(self, name: str, kind: Kind, html: str = "", **more: Any) -> Entry:
        return Entry(f"{self.key}/{name}", self.key, kind, html, **more)

    def _prompt(self) -> list[Entry]:
        if not self.turn.prompt:
            text = notice_html("Claude goes on, since a background task has ended", "info")
            return [self._entry("prompt", "notice", text)]
        return [self._entry("prompt", "prompt", html.escape(seen(self.turn.prompt)))]

    def _news(self) -> list[Entry]:
        news = self.turn.news
        return [self._entry("news", "notice", notice_html(as_said_in_a_chat(news), "info"))] if news else []

    # -- blocks -------------------------------------------------------------------------------

    def _block(self, index: int, block: Block) -> list[Entry]:
        match block:
            case NoticeBlock():
                return [self._entry(str(index), "notice", notice_html(block.text, block.level))]
            case PrintedBlock() if not block.is_markdown:
                return [self._entry(str(index), "text", printed_html(block.text))]
            case TextBlock():
                return self._text(index, block)
            case ThinkingBlock() if block.text.strip():
                stamp, done = (len(block.text), block.done), block.done
                return [self._made_once(index, stamp, "thinking", lambda: self._thinking(block), done)]
            case ToolUseBlock():
                return [self._tool(index, block)]
        return []

    def _tool(self, index: int, block: ToolUseBlock) -> Entry:
        """A card, unfolded where it has pictures; with a Stop button while its code runs for long."""
        images = self._images.get(block.id, [])
        stop, asks = self._can_stop(block), self._asks(block)

        def card() -> str:
            html = tool_html(block, images, asks=asks)
            return html.replace("<details", "<details open", 1) if images else html

        stamp = (*_stamp(block), len(images), stop, asks)
        return self._made_once(index, stamp, "tool", card, block.done, {"stop": True} if stop else {})

    def _asks(self, block: ToolUseBlock) -> bool:
        """The question that is open now is about this call."""
        return self.turn.question is not None and self.turn.question.question.is_about(block)

    def _can_stop(self, block: ToolUseBlock) -> bool:
        execution = self.turn.execution
        return (
            execution is not None
            and block.name == RUN_CELL
            and block.state == "running"
            and block.input.get("code") == execution.code
        )

    def execution(self, entry: str) -> Execution | None:
        """The running code that an entry offers to stop."""
        for block in self.turn.blocks:
            if (
                entry == f"{self.key}/{self._name(block)}"
                and isinstance(block, ToolUseBlock)
                and self._can_stop(block)
            ):
                return self.turn.execution
        return None

    def _thinking(self, block: ThinkingBlock) -> str:
        return thinking_html(self._quoted.masked(block.text, self.turn.blocks))

    def _text(self, index: int, block: TextBlock) -> list[Entry]:
        if not block.text.strip():
            return []
        text = self._texts.setdefault(index, _Text())
        done = block.done
        shown = self._quoted.masked(block.text, self.turn.blocks, partial=not done)
        finished, tail = text.html(shown, done)
        return [self._entry(str(index), "text", finished, tail=tail, done=done)]

    def _made_once(
        self,
        index: int,
        stamp: object,
        kind: Kind,
        make: Callable[[], str],
        done: bool,
        more: Mapping[str, Any] | None = None,
    ) -> Entry:
        """All of it is the tail, of which only what has changed is told."""
        made = self._made.get(index)
        if made is None or made[0] != stamp:
            entry = self._entry(str(index), kind, tail=make(), done=done, more=more or {})
            made = self._made[index] = stamp, entry
        return made[1]

    # -- questions ----------------------------------------------------------------------------

    def _note_question(self) -> None:
        pending = self.turn.question
        if pending is not None and all(pending is not known for _, known in self._asked):
            self._asked.append((len(self.turn.blocks), pending))

    def _questions(self, first: int, end: float = math.inf) -> list[Entry]:
        """Return those that were asked when so many blocks were there."""
        asked = [pending for anchor, pending in self._asked if first <= anchor < end]
        return [self._question(pending) for pending in asked if not self._is_withdrawn(pending)]

    def _is_withdrawn(self, pending: Pending) -> bool:
        """The turn was ended, and so was the question: nobody has answered it."""
        decision = pending.decision
        if decision is not None:
            return decision.by == "interrupt"
        return self.turn.question is not pending

    def _question(self, pending: Pending) -> Entry:
        question, decision = pending.question, pending.decision
        more = {
            "phase": "answered" if decision else "asking",
            "form": form(question),
            "title": title(question),
            "tag": tag(question),
            "rule": seen(question.rule or ""),
            "choices": [choice_state(choice) for choice in choices(question)],
            "outcome": outcome(question, decision) if decision else "",
        }
        body = card_html(question, masked=more["phase"] != "asking")
        return self._entry(f"question-{question.id}", "question", body, more=more)

    def pending(self, entry: str) -> Pending | None:
        """The open question that an entry shows."""
        for _, pending in self._asked:
            if entry == f"{self.key}/question-{pending.question.id}" and pending.decision is None:
                return pending
        return None

    # -- the end ------------------------------------------------------------------------------

    def _end(self) -> list[Entry]:
        reply = self.turn.reply
        if reply is None:
            return self._cut()
        more = {"status": str(reply.status), "words": _end_words(reply), "retry": bool(self.turn.prompt)}
        failure = ""
        if reply.status is Status.FAILED:
            failure = notice_html(as_said_in_a_chat(f"{type(reply.error).__name__}: {reply.error}"), "error")
        return [self._entry("end", "end", failure, more=more)]

    def _cut(self) -> list[Entry]:
        """The last turn of a kernel that ended before it."""
        if not isinstance(self.turn, PastTurn) or self.turn.cut is None:
            return []
        words = " \u00b7 ".join(filter(None, ("Cut short", self.turn.cut)))
        return [self._entry("end", "end", more={"status": "cancelled", "words": words, "retry": True})]


class _Text:
    """A text that grows, as HTML of which the finished part is rendered once."""

    def __init__(self) -> None:
        self._stream = HtmlStream()
        self._taken = ""
        # How many pieces are finished, and they.
        self._finished = (0, "")

    def html(self, text: str, done: bool) -> tuple[str, str]:
        if not text.startswith(self._taken):  # settled with another text than was streamed
            self._stream, self._taken, self._finished = HtmlStream(), "", (0, "")
        self._stream.feed(text[len(self._taken) :])
        self._taken = text
        pieces, tail = self._stream.value(partial=not done)
        count, finished = self._finished
        self._finished = len(pieces), finished + "".join(pieces[count:])
        return self._finished[1], tail


def _stamp(block: ToolUseBlock) -> tuple[object, ...]:
    """What its card shows; equal as long as nothing of that has changed."""
    inner = tuple((tool.id, tool.state) for tool in block.inner)
    return block.state, block.done, block.result is None, block.refusal, inner


def _end_words(reply: Reply) -> str:
    """How it ended, how long it took and what it cost: "Interrupted · 12 s · 340 tokens"."""
    words = [_ENDINGS[reply.status]] if reply.status in _ENDINGS else []
    if reply.reason:
        words.append(reply.reason)
    words.append(f"{reply.usage.seconds:.1f} s")
    if reply.usage.output_tokens:
        words.append(counted(reply.usage.output_tokens, "token"))
    return " \u00b7 ".join(words)


def entries_of(turns: Sequence[Shown]) -> list[tuple[str, list[Entry]]]:
    """The entries of turns that change no more."""
    return [(turn.id, entries_or_failure(TurnView(turn))) for turn in turns]


def entries_or_failure(view: TurnView[Any]) -> list[Entry]:
    """The turn's entries, or one that says that it cannot be shown: the other turns can."""
    try:
        return view.entries()
    except Exception as error:
        log.exception("turn %s cannot be shown in a chat", view.key)
        words = (
            f"claude_nb cannot show this turn: {error!r}. Please report this. `/history` has what was said."
        )
        return [Entry(f"{view.key}/failed", view.key, "notice", notice_html(words, "error"))]
