"""The event-loop thread of a kernel: every session's I/O runs in it, whatever the main thread does.

A kernel's main thread is often busy for minutes and its own event loop belongs to the user. So
everything that must go on meanwhile (reading what Claude Code writes, timers, interrupts) lives on one
loop in one daemon thread. Other threads hand in coroutines or callbacks; they never touch the loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from claude_nb.errors import SessionInUse, ShuttingDown
from claude_nb.event_loop import EventLoop
from claude_nb.logfile import OUR_THREADS

log = logging.getLogger(__name__)
_T = TypeVar("_T")

# Long enough for a loop to start on a loaded machine; without it nothing can work.
_START_TIMEOUT = 10.0


class Portal:
    """One event loop in one daemon thread, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # A forked child has the object but not the thread, and its parent's sessions are not its own.
        self._pid = os.getpid()
        self.stopped = False

    def __repr__(self) -> str:
        return f"<Portal {'running' if self.running else 'not running'}>"

    @property
    def running(self) -> bool:
        """The thread is there, in this process."""
        return self._thread is not None and self._thread.is_alive() and self._pid == os.getpid()

    @property
    def is_here(self) -> bool:
        """The caller runs in the portal's own thread, where waiting for it would never end."""
        return threading.current_thread() is self._thread

    def refuse_in_fork(self) -> None:
        """Raise `SessionInUse` in a process that was forked from the portal's own."""
        if self._pid != os.getpid():
            raise SessionInUse(
                f"This process ({os.getpid()}) was forked from the one that has the session ({self._pid}). "
                "Send prompts there, or to a session of this process's own: `claude_nb.manager().new(NAME)`."
            )

    def start(self) -> asyncio.AbstractEventLoop:
        """The loop, started if it is not running.

        Raises `SessionInUse` in a forked child, and `ShuttingDown` once it was stopped.
        """
        self.refuse_in_fork()  # its copy of the lock may be held by a thread that it has not
        with self._lock:
            if self.stopped:
                raise ShuttingDown(
                    "The sessions of this manager have ended. `claude_nb.manager()` has new ones."
                )
            if not self.running or self._loop is None:
                self._loop = self._start_thread()
            return self._loop

    def _start_thread(self) -> asyncio.AbstractEventLoop:
        started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._thread = threading.Thread(target=_run_loop, args=(started,), name=OUR_THREADS, daemon=True)
        self._thread.start()
        return started.result(_START_TIMEOUT)

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
        """Run the coroutine in the portal; the future may be waited for in any other thread."""
        try:
            loop = self.start()
        except BaseException:
            coroutine.close()  # it would be reported as never awaited
            raise
        return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call the function in the portal, soon; calls are made in the order they were handed in."""
        self.start().call_soon_threadsafe(function, *args)

    def stop(self, timeout: float) -> bool:
        """End the loop and its thread for good; True if it ended within `timeout` seconds."""
        if self._pid != os.getpid() or self.is_here:
            return True
        with self._lock:
            self.stopped = True
            thread, loop = self._thread, self._loop
            if thread is None or loop is None or not self.running:
                return True
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout)
            return not thread.is_alive()


def _run_loop(started: concurrent.futures.Future[asyncio.AbstractEventLoop]) -> None:
    # Inherited by what is started here: an Interrupt, which goes to the kernel's whole process group, must
    # not end a child in the millisecond before it has a session of its own.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    loop = EventLoop()
    loop.call_soon(started.set_result, loop)
    try:
        loop.run_forever()
        _cancel_what_is_left(loop)
    finally:
        loop.close()


def _cancel_what_is_left(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(_until_over(tasks))
    loop.run_until_complete(loop.shutdown_asyncgens())


async def _until_over(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
