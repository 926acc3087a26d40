"""Signs of life: while a session is at work, its kernel says something from time to time.

A Jupyter server that ends idle kernels takes silence for idleness. There is a timer only while something is
at work: a session that sleeps wakes nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

# Seconds between two. A server that ends idle kernels waits for minutes.
EVERY = 20.0


class SignsOfLife:
    """Calls `show` in the portal's loop, again and again, as long as `at_work()`."""

    def __init__(self, at_work: Callable[[], bool], show: Callable[[], None]) -> None:
        self._at_work = at_work
        self._show = show
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Something is at work, or may be."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY, self._tick)

    def stop(self) -> None:
        """Nothing is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        if not self._at_work():
            return
        try:
            self._show()
        except Exception:  # a kernel that ends has no socket any more
            log.debug("no sign of life could be sent", exc_info=True)
        self.start()
