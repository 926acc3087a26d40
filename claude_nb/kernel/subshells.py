"""Cells that wait for a turn in another thread than the main one: those of a kernel's subshells.

Such a cell can read what a person types, as one in the main thread can, so a question is asked there.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from claude_nb.kernel.main_thread import Ends

_T = TypeVar("_T")
_Job = Callable[[], None]


def in_subshell(kernel: Any) -> bool:
    """The running cell is one of a subshell."""
    parent = kernel.get_parent("shell") if kernel is not None else None
    return bool((parent or {}).get("header", {}).get("subshell_id"))


class Subshells:
    """The cells of subshells that wait, by what they wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Ends, queue.SimpleQueue[_Job | None]]] = []

    def __repr__(self) -> str:
        return f"<Subshells, {len(self._waiting)} cells wait>"

    def serve(self, turn: Ends, timeout: float | None = None) -> bool:
        """Wait in this thread until the turn is over, doing what is submitted for it; whether it is over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        entry = (turn, jobs)
        with self._lock:
            self._waiting.append(entry)
        turn.on_end(lambda: jobs.put(None))
        try:
            while not turn.done():
                rest = None if deadline is None else deadline - time.monotonic()
                if rest is not None and rest <= 0:
                    return False
                with contextlib.suppress(queue.Empty):
                    if (job := jobs.get(timeout=rest)) is not None:
                        job()
            return True
        finally:
            with self._lock:
                self._waiting.remove(entry)

    def wait_for(self, turn: Ends) -> bool:
        """A cell of a subshell waits for the turn now."""
        with self._lock:
            return any(waited is turn for waited, _ in self._waiting)

    def submit(self, turn: Ends, function: Callable[[], _T]) -> Future[_T] | None:
        """Have a cell that waits for the turn do it; None where none waits. From any thread."""
        future: Future[_T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        with self._lock:
            jobs = next((jobs for waited, jobs in self._waiting if waited is turn), None)
            if jobs is None:
                return None
            jobs.put(run)
        return future
