"""Work for the main thread, where the user's code belongs.

A tool that runs code, and `input()`, must happen in the kernel's main thread. It has time for that while a
cell of ours waits there (`serve`), and between cells, when its event loop turns. Whoever is first takes the
job; a job runs once. `await` in a cell lets the loop turn, too.

Nothing but the main thread runs jobs, perhaps one inside another. A job stays in line until it has begun, so
that an Interrupt at any moment loses none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from claude_nb.kernel.interrupts import Interrupts

log = logging.getLogger(__name__)

_T = TypeVar("_T")

# A turn's end and a tool's job wait this long at most where the main thread looks at the socket itself.
_LOOK = 0.02


class Ends(Protocol):
    """Something that is waited for, such as a Turn."""

    def done(self) -> bool:
        """It is over."""

    def on_end(self, callback: Callable[[], object]) -> None:
        """Call it when it is over, at once if it is already; from any thread."""


class Interrupted(Exception):
    """The person interrupted the kernel while the job ran."""


class Job:
    """A function to be run once in the main thread; `future` has its outcome.

    A person's Interrupt during the function ends it. Then `on_interrupt` is called, except where the
    KeyboardInterrupt itself reaches whoever waits for `owner`.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        on_interrupt: Callable[[], None],
        in_cell: bool,
        owner: Ends | None,
    ) -> None:
        self.future: Future[Any] = Future()
        self.in_cell = in_cell
        self._function = function
        self._on_interrupt = on_interrupt
        self._owner = owner

    @property
    def waits(self) -> bool:
        """It has not begun, and nobody has cancelled it."""
        return not (self.future.running() or self.future.done())

    def run(self) -> None:
        """Run it unless it was cancelled. KeyboardInterrupt passes, everything else is the future's."""
        with Interrupts() as interrupts:
            interrupted = self._run(interrupts) or interrupts.heard
        if interrupted:
            raise KeyboardInterrupt

    def run_for(self, turn: Ends) -> None:
        """Run it in a cell that waits for the turn and that KeyboardInterrupt ends."""
        try:
            self.run()
        except KeyboardInterrupt:
            if self._owner is not None and self._owner is not turn:
                self._on_interrupt()
            raise

    def run_unwatched(self) -> None:
        """Run it where KeyboardInterrupt must not pass."""
        try:
            self.run()
        except KeyboardInterrupt:
            self._on_interrupt()

    def _run(self, interrupts: Interrupts) -> bool:
        """Whether it was interrupted."""
        if not self.waits or not self.future.set_running_or_notify_cancel():
            return False
        try:
            result = interrupts.call(self._function)
        except KeyboardInterrupt:
            self.future.set_exception(Interrupted())
            return True
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)
        return False


class MainThread:
    """The kernel's main thread as a worker."""

    def __init__(self, loop: Callable[[], asyncio.AbstractEventLoop | None]) -> None:
        self._loop = loop
        self._jobs: deque[Job] = deque()
        # Rung for each job and each end of a turn; `serve` looks for what it was.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._waited: list[Ends] = []
        self._announced: weakref.WeakSet[Ends] = weakref.WeakSet()
        # Seconds between two looks at the kernel's socket, where the waiting thread has to do that itself.
        self.meanwhile: Callable[[float], None] | None = None

    def __repr__(self) -> str:
        return f"<MainThread, {len(self._jobs)} jobs, waiting for {len(self._waited)}>"

    def submit(
        self,
        function: Callable[[], _T],
        on_interrupt: Callable[[], None] = lambda: None,
        *,
        in_cell: bool = False,
        owner: Ends | None = None,
    ) -> Future[_T]:
        """Have the function run in the main thread as soon as it has time; from any thread.

        With `in_cell` only while a cell of ours waits there, as `input()` needs. `owner` is the turn that it
        is a part of.
        """
        job = Job(function, on_interrupt, in_cell, owner)
        self._jobs.append(job)
        self._bell.put(None)
        self._tell_loop()
        return job.future

    @property
    def waits(self) -> bool:
        """A cell in the main thread waits for a turn now."""
        return bool(self._waited)

    def has_time(self) -> bool:
        """A job would be done soon: a cell of ours waits, or the loop turns when there is none."""
        return self.waits or self._loop() is not None

    def waits_for(self, turn: Ends) -> bool:
        """The main thread waits for that turn now, perhaps in a nested way."""
        return turn in self._waited

    def serve(self, turn: Ends, timeout: float | None = None) -> bool:
        """Do jobs in the main thread, which calls this, until the turn is over; whether it is.

        KeyboardInterrupt passes.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if turn not in self._announced:
            self._announced.add(turn)
            turn.on_end(self._ring)
        with self.waiting(turn):
            while not turn.done():
                rest = None if deadline is None else deadline - time.monotonic()
                if rest is not None and rest <= 0:
                    return False
                self._serve_once(turn, rest)
        return True

    @contextlib.contextmanager
    def waiting(self, turn: Ends) -> Iterator[None]:
        """A cell in the main thread waits for the turn; its jobs are run by `serve` or by the loop."""
        try:
            self._waited.append(turn)
            self._tell_loop()  # a question may have waited for a cell
            yield
        finally:
            with contextlib.suppress(ValueError):
                self._waited.remove(turn)

    def _serve_once(self, turn: Ends, timeout: float | None) -> None:
        """Do one job, or else wait for something to happen."""
        job = self._next()
        if job is not None:
            job.run_for(turn)
        elif self.meanwhile is not None:
            self.meanwhile(_LOOK if timeout is None else min(_LOOK, timeout))
        else:
            self._wait_for_bell(timeout)

    def _wait_for_bell(self, timeout: float | None) -> None:
        """Until it has rung since it was last looked at; what it rang for is looked for by the caller."""
        with contextlib.suppress(queue.Empty):
            self._bell.get(timeout=timeout)
            while True:
                self._bell.get_nowait()

    def _next(self) -> Job | None:
        """The first job that waits and may run now; it stays in line until it has begun."""
        for job in list(self._jobs):
            if not job.waits:
                with contextlib.suppress(ValueError):
                    self._jobs.remove(job)
            elif self._waited or not job.in_cell:
                return job
        return None

    def _ring(self) -> None:
        self._bell.put(None)

    def _tell_loop(self) -> None:
        loop = self._loop()
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the kernel ends
                loop.call_soon_threadsafe(self._run_waiting)

    def _run_waiting(self) -> None:
        """Called by the main thread's loop: between cells, and while a cell awaits."""
        while (job := self._next()) is not None:
            job.run_unwatched()


def is_main_thread() -> bool:
    """Here is the main thread."""
    return threading.current_thread() is threading.main_thread()
