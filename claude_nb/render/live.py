"""Follow a turn in the place where it was asked: a notebook's cell, a terminal, or a run nobody watches.

a person at a notebook   one display, updated as the reply grows, the last update always shown
nobody there             one display at the end: nbval, nbconvert and papermill keep the first one
a terminal               plain text as it comes
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from claude_nb.kernel.place import Place
from claude_nb.kernel.presence import someone_is_there
from claude_nb.kernel.tools import RUN_CELL
from claude_nb.render.cards import notice_line, tool_line
from claude_nb.render.harmless import visible
from claude_nb.render.page import Page, status_words
from claude_nb.render.pictures import show_pictures
from claude_nb.render.throttle import KERNEL_BUDGET, Throttle
from claude_nb.reply import Block, NoticeBlock, TextBlock, ToolUseBlock

if TYPE_CHECKING:
    from claude_nb.render.cards import OutputMode
    from claude_nb.turn import Turn

# The seconds in the status line go on when nothing else does.
_HEARTBEAT = 1.0
BEGINS_AGAIN = "The connection to the API broke. The reply begins again:"


class Output(Protocol):
    """Where a turn is shown."""

    def follow(self, turn: Turn) -> None:
        """Show the turn until it has ended. KeyboardInterrupt passes; `finish` may follow it."""

    def finish(self, turn: Turn) -> None:
        """Show what is left in the end."""

    def follow_in_background(self, turn: Turn) -> bool:
        """Show the turn while other cells run; False where what comes after the cell would be lost."""


def output_for(shell: Any, mode: OutputMode) -> Output:
    """The output that fits where the shell shows things now."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return Terminal(mode) if _is_terminal(shell) else Once(mode)
    if _is_captured(shell) or not someone_is_there(shell):
        return Once(mode)
    return Cell(mode, Place.here(shell))


def _is_terminal(shell: Any) -> bool:
    return type(shell).__name__ == "TerminalInteractiveShell"


def _is_captured(shell: Any) -> bool:
    """Under `%%capture` every update would be kept as an output of its own."""
    return type(getattr(shell, "display_pub", None)).__name__ == "CapturingDisplayPublisher"


class Cell:
    """One display of a cell, updated in place."""

    def __init__(self, mode: OutputMode, place: Place) -> None:
        self._mode = mode
        # What comes after the cell has ended is still this cell's.
        self._place = place
        self._display_id = uuid.uuid4().hex
        self._shown = False
        self._page: Page | None = None
        self._throttle = Throttle(time.monotonic(), KERNEL_BUDGET)
        self._lock = threading.Lock()
        self._finished = False

    def follow(self, turn: Turn) -> None:
        """Update the display as the turn changes, at a rate that a page can keep up with."""
        version = -1
        page = self._page = self._page or Page(turn, self._mode)
        while not turn.done():
            version = turn.wait_for_change(version, _HEARTBEAT)
            if turn.done():
                break
            begun = turn.begun()
            markdown = page.live()
            self._show_live(markdown)
            gap = self._throttle.due(time.monotonic(), len(markdown))
            # What a reader waits for most is the first word: it need not wait for the gap.
            turn.wait(gap) if begun else turn.wait_until_begun(gap)

    def finish(self, turn: Turn) -> None:
        """The last update, unthrottled; later ones come if Claude Code goes on by itself."""
        page = self._page or Page(turn, self._mode)
        with self._lock:
            self._finished = True
            self._show(page.final())
        show_pictures(turn)
        turn.on_aftermath = lambda later: self._follow_later(turn, later, page)

    def follow_in_background(self, turn: Turn) -> bool:
        """The first display is made here, so that it is this cell's on every version of ipykernel."""
        page = self._page = Page(turn, self._mode, explain=True)
        self._show(page.live())

        def follow() -> None:
            self.follow(turn)
            self.finish(turn)

        self._in_thread(follow)
        return True

    def _in_thread(self, function: Callable[[], None]) -> None:
        """What is shown from there is still this cell's."""
        threading.Thread(target=self._place.run, args=(function,), daemon=True).start()

    def _follow_later(self, turn: Turn, later: Turn, page: Page) -> None:
        """Called in the portal's thread, which must not wait."""

        def follow() -> None:
            while not later.wait(max(self._throttle.due(time.monotonic(), 0), _HEARTBEAT)):
                self._show(page.final())
            self._show(page.final())

        self._in_thread(follow)

    def _show_live(self, markdown: str) -> None:
        """Not after the last update, which another thread may have made meanwhile."""
        with self._lock:
            if not self._finished:
                self._show(markdown)

    def _show(self, markdown: str) -> None:
        self._place.publish({"text/markdown": markdown}, display_id=self._display_id, update=self._shown)
        self._shown = True


class Once:
    """One display, at the end."""

    def __init__(self, mode: OutputMode) -> None:
        self._mode = mode

    def follow(self, turn: Turn) -> None:
        """Wait; nobody sees what comes before the end."""
        turn.wait()

    def finish(self, turn: Turn) -> None:
        """The one display."""
        from IPython.display import display

        display({"text/markdown": Page(turn, self._mode).final()}, raw=True)
        show_pictures(turn)

    def follow_in_background(self, turn: Turn) -> bool:
        """What comes after the cell is lost here."""
        return False


class Terminal:
    """Plain text as it comes, tool calls as lines."""

    def __init__(self, mode: OutputMode) -> None:
        self._mode = mode
        self._printed: list[Block] = []
        self._current: Block | None = None
        self._written = 0
        self._status = 0
        self._news_told = False

    def follow(self, turn: Turn) -> None:
        """Print what is new each time there is something new."""
        version = -1
        while not turn.done():
            version = turn.wait_for_change(version, _HEARTBEAT)
            self._print_new(turn)
            if _others_print(turn):
                self._clear_status()
            elif self._at_line_start(turn) and sys.stdout.isatty():
                self._print_status(status_words(turn, time.monotonic()))

    def finish(self, turn: Turn) -> None:
        """The rest of the text and how it ended."""
        self._print_new(turn)
        self._clear_status()
        reply = turn.reply
        if reply is not None and reply.status != "completed":
            print(f"\n[{reply.status}]", end="")
        print(flush=True)

    def follow_in_background(self, turn: Turn) -> bool:
        """Two texts at once would be one muddle."""
        return False

    def _print_new(self, turn: Turn) -> None:
        self._print_news(turn)
        blocks = turn.blocks
        self._leave_abandoned(blocks)
        while len(self._printed) < len(blocks):
            block = blocks[len(self._printed)]
            self._current = block
            if isinstance(block, NoticeBlock):
                print(notice_line(block.text, block.level), end="\n\n", flush=True)
            elif isinstance(block, TextBlock):
                self._print_text(block.text)
            elif isinstance(block, ToolUseBlock) and block.done and not self._print_tool(block):
                return
            if not block.done:
                return
            self._next_block(block)

    def _leave_abandoned(self, blocks: list[Block]) -> None:
        """What is printed cannot be taken back: say that an attempt broke, and go on where it began."""
        begun = [*self._printed, self._current] if self._written else self._printed
        left = [block for block in begun if block not in blocks]
        if any(isinstance(block, TextBlock) and block.text for block in left):
            self._clear_status()
            print("\n" * bool(self._written) + notice_line(BEGINS_AGAIN, "warning"), end="\n\n", flush=True)
        if left:
            self._printed = [block for block in self._printed if block in blocks]
            self._written = 0

    def _print_news(self, turn: Turn) -> None:
        if turn.news and not self._news_told:
            self._news_told = True
            self._clear_status()
            print(visible(turn.news), end="\n\n", flush=True)

    def _print_text(self, text: str) -> None:
        if self._written < len(text):
            self._clear_status()
            print(visible(text[self._written :]), end="", flush=True)
            self._written = len(text)

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
        self._written = 0

    def _at_line_start(self, turn: Turn) -> bool:
        return self._written == 0

    def _print_status(self, words: str) -> None:
        self._clear_status()
        line = visible(words)[:78]
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
