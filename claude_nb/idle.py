"""The idle clock of one session: when it has stood still for long enough, the session is suspended.

It runs only while the session is idle: a suspended session has no timer, and wakes nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class IdleClock:
    """Calls `over` in the portal's loop when the session has been idle for `timeout()` seconds; 0: never."""

    def __init__(
        self, timeout: Callable[[], float], is_idle: Callable[[], bool], over: Callable[[], object]
    ) -> None:
        self._timeout = timeout
        self._is_idle = is_idle
        self._over = over
        self._timer: asyncio.TimerHandle | None = None
        # Since when the session has been idle, in monotonic seconds; None if it is at work or asleep.
        self.since: float | None = None

    def start(self) -> None:
        """The clock starts anew, if the session is idle."""
        self.stop()
        if not self._is_idle():
            return
        self.since = time.monotonic()
        timeout = self._timeout()
        if timeout > 0:
            self._timer = asyncio.get_running_loop().call_later(timeout, self._over)

    def stop(self) -> None:
        """The session is at work, or has no process."""
        self.since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look_again(self) -> None:
        """What kept the session from being idle may have ended, or begun."""
        if self._timer is None or not self._is_idle():
            self.start()
