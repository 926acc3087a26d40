"""A turn as plain text: in a terminal, and in a front end that shows nothing but text.

What is printed cannot be taken back, so it is printed line by line and word by word, with our marks spelled
out (see `marks`) and what cannot be seen made visible.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from claude_nb.kernel.tools import RUN_CELL
from claude_nb.quoted import Quoted
from claude_nb.render.cards import notice_line, tool_line
from claude_nb.render.escape import readable, visible
from claude_nb.render.marks import ENDED, spelled_lines
from claude_nb.reply import Block, NoticeBlock, TextBlock, ToolUseBlock

if TYPE_CHECKING:
    from claude_nb.render.cards import OutputMode
    from claude_nb.turn import Turn

# The seconds in the status line go on when nothing else does.
_HEARTBEAT = 1.0
BEGINS_AGAIN = "The connection to the API broke. The reply begins again:"


def as_plain(text: str) -> str:
    """What Claude wrote, for whoever shows no Markdown."""
    return spelled_lines(readable(text))


def plain_page(turn: Turn) -> str:
    """Return the whole turn as it stands, as a terminal would have printed it."""
    parts = [notice_line(turn.news)] if turn.news else []
    blocks, quoted = turn.blocks, Quoted()
    for block in blocks:
        if isinstance(block, NoticeBlock):
            parts.append(notice_line(block.text, block.level))
        elif isinstance(block, TextBlock):
            parts.append(as_plain(quoted.masked(block.text, blocks)))
        elif isinstance(block, ToolUseBlock) and block.done:
            parts.append(visible(tool_line(block.name, block.input, block.state)))
    reply = turn.reply
    if reply is not None and reply.status != "completed":
        ending = f"{ENDED} {str(reply.status).capitalize()}"
        parts.append(f"{ending}: {reply.error}" if reply.error is not None else ending)
    return "\n\n".join(part for part in parts if part.strip()) or notice_line("Claude gave no text.")


class Terminal:
    """Plain text as it comes, tool calls as lines. The main thread may finish what another one follows."""

    def __init__(self, mode: OutputMode) -> None:
        self._mode = mode
        self._quoted = Quoted()
        self._printed: list[Block] = []
        self._current: Block | None = None
        self._line = 0  # where the line begins that is being written, in the current text
        self._written = 0  # characters of that line, as shown
        self._status = 0
        self._news_told = False
        self._lock = threading.Lock()
        self._finished = False

    def follow(self, turn: Turn) -> None:
        """Print what is new each time there is something new."""
        version = -1
        while not turn.done():
            version = turn.wait_for_change(version, _HEARTBEAT)
            with self._lock:
                if not self._finished:
                    self._print(turn)

    def finish(self, turn: Turn) -> None:
        """The rest of the text and how it ended."""
        with self._lock:
            self._finished = True
            self._print_new(turn, to_the_end=True)
            self._clear_status()
            reply = turn.reply
            if reply is not None and reply.status != "completed":
                print(f"\n{ENDED} {str(reply.status).capitalize()}", end="")
            print(flush=True)

    def follow_in_background(self, turn: Turn) -> bool:
        """Two texts at once would be one muddle."""
        return False

    def _print(self, turn: Turn) -> None:
        self._print_new(turn)
        if _others_print(turn):
            self._clear_status()
        elif not self._in_text and sys.stdout.isatty():
            self._print_status(turn)

    def _print_new(self, turn: Turn, *, to_the_end: bool = False) -> None:
        self._print_news(turn)
        blocks = turn.blocks
        self._leave_abandoned(blocks)
        while len(self._printed) < len(blocks):
            block = blocks[len(self._printed)]
            self._current = block
            done = block.done  # asked first: it may grow while it is printed
            if isinstance(block, NoticeBlock):
                self._clear_status()
                print(notice_line(block.text, block.level), end="\n\n", flush=True)
            elif isinstance(block, TextBlock):
                whole = done or to_the_end
                self._print_text(self._quoted.masked(block.text, blocks, partial=not whole), whole)
            elif isinstance(block, ToolUseBlock) and done and not self._print_tool(block):
                return
            if not done:
                return
            self._next_block(block)

    def _leave_abandoned(self, blocks: list[Block]) -> None:
        """What is printed cannot be taken back: say that an attempt broke, and go on where it began."""
        begun = [*self._printed, self._current] if self._in_text else self._printed
        left = [block for block in begun if block not in blocks]
        if any(isinstance(block, TextBlock) and block.text for block in left):
            self._clear_status()
            print("\n" * self._in_text + notice_line(BEGINS_AGAIN, "warning"), end="\n\n", flush=True)
        if left:
            self._printed = [block for block in self._printed if block in blocks]
            self._line = self._written = 0

    def _print_news(self, turn: Turn) -> None:
        if turn.news and not self._news_told:
            self._news_told = True
            self._clear_status()
            print(notice_line(turn.news), end="\n\n", flush=True)

    def _print_text(self, text: str, done: bool) -> None:
        """All of it, or up to the last blank: what is half a word may turn out to be something else."""
        rest = text[self._line :]
        if not done:
            rest = rest[: max(rest.rfind(" "), rest.rfind("\n")) + 1]
        shown = as_plain(rest)
        if self._written < len(shown):
            self._clear_status()
            print(shown[self._written :], end="", flush=True)
        begun = rest.rfind("\n") + 1
        self._line += begun
        self._written = len(as_plain(rest[begun:])) if begun else max(self._written, len(shown))

    def _print_tool(self, block: ToolUseBlock) -> bool:
        """One line once its outcome is known; whether it was printed."""
        if block.state == "running":
            return False
        if self._mode != "quiet":
            self._clear_status()
            print(visible(tool_line(block.name, block.input, block.state)), flush=True)
        return True

    def _next_block(self, block: Any) -> None:
        if isinstance(block, TextBlock) and block.text:
            print("\n", flush=True)
        self._printed.append(block)
        self._line = self._written = 0

    @property
    def _in_text(self) -> bool:
        return self._line + self._written > 0

    def _print_status(self, turn: Turn) -> None:
        from claude_nb.render.page import status_words

        self._clear_status()
        line = visible(status_words(turn, time.monotonic()))[:78]
        print(line, end="", flush=True)
        self._status = len(line)

    def _clear_status(self) -> None:
        if self._status:
            print("\r" + " " * self._status + "\r", end="", flush=True)
            self._status = 0


def _others_print(turn: Turn) -> bool:
    """A question is being asked, or code of Claude's runs: the line is theirs."""
    runs = (block for block in turn.blocks if isinstance(block, ToolUseBlock) and block.name == RUN_CELL)
    return turn.question is not None or any(block.state == "running" for block in runs)
