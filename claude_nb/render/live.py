"""Follow a turn in the place where it was asked: a notebook's cell, a terminal, or a run nobody watches.

a person at a notebook   one display, updated as the reply grows, the last update always shown
a person at a console    one display at the end, as Markdown and as text, since it draws no updates
nobody there             one display at the end: nbval, nbconvert and papermill keep the first one
a terminal               plain text as it comes
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from claude_nb.kernel.place import Place
from claude_nb.kernel.presence import cannot_ask, front_end, loses_what_comes_later, someone_is_there
from claude_nb.render.cards import notice_line
from claude_nb.render.page import Page
from claude_nb.render.pictures import show_pictures
from claude_nb.render.terminal import Terminal, plain_page
from claude_nb.render.throttle import KERNEL_BUDGET, Throttle

if TYPE_CHECKING:
    from claude_nb.render.cards import OutputMode
    from claude_nb.turn import Turn

# The seconds in the status line go on when nothing else does.
_HEARTBEAT = 1.0


# Said once in a kernel.
_NO_UPDATES = "This front end draws no updates, so a reply is shown when it is complete."
_CANNOT_ASK = (
    "This front end runs cells without input, so you cannot be asked: a tool that no rule allows is refused "
    "(`%claude /permissions allow RULE` allows it ahead), and a reply is shown when it is complete."
)
_KEEPS_NOTHING_LATER = (
    "This front end keeps nothing that comes after a cell's end, so the cell waits for the reply."
)
_said: list[str] = []


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
    if cannot_ask(shell):
        _say_once(_CANNOT_ASK, Place.here(shell))
    if _is_captured(shell) or not someone_is_there(shell):
        return Once(mode)
    kind = front_end(shell)
    if kind == "text":
        return AtEnd(mode, Place.here(shell), keeps_later=not loses_what_comes_later(shell))
    return Cell(mode, Place.here(shell), with_text=kind == "unknown")


def _is_terminal(shell: Any) -> bool:
    return type(shell).__name__ == "TerminalInteractiveShell"


def _is_captured(shell: Any) -> bool:
    """Under `%%capture` every update would be kept as an output of its own."""
    return type(getattr(shell, "display_pub", None)).__name__ == "CapturingDisplayPublisher"


class Cell:
    """One display of a cell, updated in place; `with_text` for a front end that may not know Markdown."""

    def __init__(self, mode: OutputMode, place: Place, *, with_text: bool = False) -> None:
        self._mode = mode
        self._with_text = with_text
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
            self._show_live(markdown, turn)
            gap = self._throttle.due(time.monotonic(), len(markdown))
            # What a reader waits for most is the first word: it need not wait for the gap.
            turn.wait(gap) if begun else turn.wait_until_begun(gap)

    def finish(self, turn: Turn) -> None:
        """The last update, unthrottled; later ones come if Claude Code goes on by itself."""
        page = self._page or Page(turn, self._mode)
        with self._lock:
            self._finished = True
            self._show(page.final(), turn)
        show_pictures(turn)
        turn.on_aftermath = lambda later: self._follow_later(turn, later, page)

    def follow_in_background(self, turn: Turn) -> bool:
        """The first display is made here, so that it is this cell's on every version of ipykernel."""
        page = self._page = Page(turn, self._mode, explain=True)
        self._show(page.live(), turn)

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
                self._show(page.final(), turn)
            self._show(page.final(), turn)

        self._in_thread(follow)

    def _show_live(self, markdown: str, turn: Turn) -> None:
        """Not after the last update, which another thread may have made meanwhile."""
        with self._lock:
            if not self._finished:
                self._show(markdown, turn)

    def _show(self, markdown: str, turn: Turn) -> None:
        data = _bundle(markdown, turn) if self._with_text else {"text/markdown": markdown}
        self._place.publish(data, display_id=self._display_id, update=self._shown)
        self._shown = True


def _say_once(words: str, place: Place) -> None:
    if words not in _said:
        _said.append(words)
        place.run(print, notice_line(words), flush=True)


class AtEnd:
    """One display when the turn has ended; what comes after it is displayed by itself."""

    def __init__(self, mode: OutputMode, place: Place, *, keeps_later: bool = True) -> None:
        self._mode = mode
        self._place = place
        self._keeps_later = keeps_later

    def follow(self, turn: Turn) -> None:
        """Wait; what is shown cannot be changed."""
        _say_once(_NO_UPDATES, self._place)
        turn.wait()

    def finish(self, turn: Turn, *, explain: bool = False) -> None:
        """The whole."""
        self._place.publish(_bundle(Page(turn, self._mode, explain=explain).final(), turn))
        self._place.run(show_pictures, turn)
        turn.on_aftermath = self._follow_later

    def follow_in_background(self, turn: Turn) -> bool:
        """It is shown in this cell when it has ended, where the cell still exists for the front end then."""
        if not self._keeps_later:
            _say_once(_KEEPS_NOTHING_LATER, self._place)
            return False

        def follow() -> None:
            self.follow(turn)
            self.finish(turn, explain=True)

        threading.Thread(target=follow, daemon=True).start()
        return True

    def _follow_later(self, later: Turn) -> None:
        """Called in the portal's thread, which must not wait."""

        def follow() -> None:
            later.wait()
            self.finish(later)

        threading.Thread(target=follow, daemon=True).start()


def _bundle(markdown: str, turn: Turn) -> dict[str, str]:
    """For whoever draws Markdown, and for whoever shows text only."""
    return {"text/markdown": markdown, "text/plain": plain_page(turn)}


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
