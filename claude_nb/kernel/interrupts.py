"""Kernel > Interrupt during a piece of work: it ends what was to be interrupted, and nothing around it.

SIGINT raises KeyboardInterrupt wherever the main thread is at that moment: also in the bookkeeping around the
user's code, where a result would be lost, or in the kernel's event loop, which it would end. So during our
work a handler of ours looks where the main thread is. Inside of `call` it raises; elsewhere it takes a note
(`heard`), and whoever began the work raises it at the end.

`kick` does the same to the work from another thread, but leaves no note: it was not the person.
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

_T = TypeVar("_T")

# A signal reaches a thread within microseconds; a handler runs as soon as that thread runs Python.
_KICK_ARRIVES = 0.5


class Interrupts:
    """A context in the main thread; in other threads it does nothing, since no signal arrives there."""

    def __init__(self) -> None:
        self.heard = False
        # Asked each time whether raising would hit the right one; it may note the interrupt instead.
        self.spares: Callable[[], bool] = lambda: False
        self._before: Any = None
        self._in_force = False
        self._boundary: FrameType | None = None
        self._kicks = threading.Lock()
        self._kicked = False
        self._arrived = False

    def __repr__(self) -> str:
        return f"<Interrupts, {'in force' if self._in_force else 'not in force'}, heard: {self.heard}>"

    @property
    def came(self) -> bool:
        """There was one, of whatever kind."""
        return self.heard or self._arrived

    def __enter__(self) -> Self:
        self._before = signal.getsignal(signal.SIGINT)
        # A handler that is not Python's could not be put back.
        if threading.current_thread() is threading.main_thread() and self._before is not None:
            self._in_force = True
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._in_force:
            return
        with self._kicks:
            self._in_force = False
        deadline = time.monotonic() + _KICK_ARRIVES
        while self._kicked and not self._arrived and time.monotonic() < deadline:
            time.sleep(0.001)
        signal.signal(signal.SIGINT, self._before)

    def call(self, function: Callable[[], _T]) -> _T:
        """Call it; only in there an interrupt raises KeyboardInterrupt."""
        self._boundary = sys._getframe()
        try:
            return function()
        finally:
            self._boundary = None

    def kick(self) -> None:
        """Raise KeyboardInterrupt in what is called now, once; from any thread."""
        with self._kicks:
            if self._in_force and not self._kicked:
                self._kicked = True
                interrupt_main_thread()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Called by Python in the main thread."""
        if not self._was_kick():
            self.heard = True
        if self._is_inside(frame) and not self.spares():
            raise KeyboardInterrupt

    def _was_kick(self) -> bool:
        """Whether it was one of ours, or of the work around it, whose handler waits for it."""
        outer = getattr(self._before, "__self__", None)
        if self._kicked and not self._arrived:
            self._arrived = True
            return True
        return isinstance(outer, Interrupts) and outer._was_kick()

    def _is_inside(self, frame: FrameType | None) -> bool:
        if self._boundary is None:
            return False
        while frame is not None:
            frame = frame.f_back
            if frame is self._boundary:
                return True
        return False


class Overheard:
    """Takes note of interrupts that another handler acts on, for as long as somebody listens.

    In a cell that awaits, ipykernel's own handler cancels the cell; who is awaited there only sees that it
    was cancelled, not why.
    """

    def __init__(self) -> None:
        self._count = 0
        self._listeners = 0
        self._before: Any = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[Callable[[], bool]]:
        """In the main thread; gives a function that tells whether there was an interrupt meanwhile."""
        before = self._count
        self._listeners += 1
        self._hook_in()
        try:
            yield lambda: self._count != before
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._let_go()

    def _hook_in(self) -> None:
        now = signal.getsignal(signal.SIGINT)
        if callable(now) and now not in (self._handle, signal.default_int_handler):
            self._before = now
            signal.signal(signal.SIGINT, self._handle)

    def _let_go(self) -> None:
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> Any:
        """Called by Python in the main thread."""
        self._count += 1
        return self._before(number, frame)


def interrupt_main_thread() -> None:
    """Have it run its SIGINT handler, also in a system call that waits."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()
