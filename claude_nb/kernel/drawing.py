"""Pictures of the user's figures and images, drawn where nobody else draws.

matplotlib and Pillow are not made for two threads: to draw a figure takes its canvas and its layout for a
moment, to read an image moves in its file, and the user's own `savefig` or `load` fails meanwhile. So we draw
in the main thread only, between cells or while a cell waits for us, and not while another thread is inside
one of these libraries. Else the picture that the reader saw last stands for the figure.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from claude_nb.kernel.main_thread import Interrupted, MainThread, is_main_thread
from claude_nb.kernel.pictures import is_drawn, picture_of, whole_of

if TYPE_CHECKING:
    from claude_nb.kernel.cells import CellRecorder

# Seconds. The main thread is not held up by more than a cell that has just begun.
_PATIENCE = 3.0
_LIBRARIES = ("matplotlib", "mpl_toolkits", "PIL")
_OUR_THREADS = "claude_nb"

_AS_SHOWN = "This is how it was shown last; it was not drawn anew, because code of the user's is running."
_NOT_DRAWN = (
    "It was not drawn, because code of the user's is running, and it has not been shown in the notebook yet. "
    "Look again when that code has ended."
)


@dataclass(frozen=True)
class Picture:
    """A PNG, or none; `note` says what Claude should know of it."""

    png: bytes | None
    note: str = ""


class Drawings:
    """Makes pictures of values; its methods may be called in any thread."""

    def __init__(self, main_thread: MainThread, recorder: Callable[[], CellRecorder | None]) -> None:
        self._main_thread = main_thread
        self._recorder = recorder

    def of(self, value: Any) -> Picture:
        """The value's picture, as it is now if that can be drawn without harm, else as it was shown last."""
        if not is_drawn(value):
            return Picture(picture_of(value))
        drawn = self._drawn(value)
        if drawn is not None:
            return drawn
        recorder = self._recorder()
        shown = None if recorder is None else recorder.pictures.of(whole_of(value))
        return Picture(shown, _AS_SHOWN) if shown else Picture(None, _NOT_DRAWN)

    def _drawn(self, value: Any) -> Picture | None:
        """The picture as it is now; None if it must not be drawn."""
        caller = threading.get_ident()
        if is_main_thread():
            return Picture(picture_of(value)) if self._is_ours(caller) else None
        if not (self._main_thread.has_time() and self._is_ours(caller)):
            return None

        def draw() -> Picture | None:
            return Picture(picture_of(value)) if self._is_ours(caller) else None

        future = self._main_thread.submit(draw)
        try:
            return future.result(_PATIENCE)
        except (TimeoutError, CancelledError, Interrupted):
            future.cancel()
            return None

    def _is_ours(self, caller: int) -> bool:
        """No code of the user's runs, in a cell or inside of a library that draws, but what waits for us."""
        recorder = self._recorder()
        busy = (recorder.threads() if recorder is not None else set()) - {caller}
        if self._main_thread.waits:
            busy.discard(threading.main_thread().ident or 0)
        return not busy and not _another_thread_draws()


def _another_thread_draws() -> bool:
    """A thread other than this one is inside of a library that draws; ours only look at what stands there."""
    ours = {thread.ident for thread in threading.enumerate() if thread.name.startswith(_OUR_THREADS)}
    ours.add(threading.get_ident())
    return any(_is_inside(frame) for thread, frame in sys._current_frames().items() if thread not in ours)


def _is_inside(frame: Any) -> bool:
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if type(name) is str and name.partition(".")[0] in _LIBRARIES:
            return True
        frame = frame.f_back
    return False
