"""Watches how much memory a session's processes take, while there are any and while there is a limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

# Seconds between two looks, each of which reads the whole process table.
EVERY = 5.0


class MemoryWatch:
    """Calls `on_excess` with bytes, those taken and those allowed, for as long as it is too much.

    `limit()` may be None, and may change; `taken()` is called in a thread, `on_excess` in the portal's loop.
    """

    def __init__(
        self,
        limit: Callable[[], int | None],
        taken: Callable[[], int],
        on_excess: Callable[[int, int], Awaitable[None]],
    ) -> None:
        self._limit = limit
        self._taken = taken
        self._on_excess = on_excess
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """There is a process; called again, a limit that was set since then is heeded."""
        if self._task is None and self._limit() is not None:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """There is none any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while (limit := self._limit()) is not None:
            try:
                taken = await asyncio.to_thread(self._taken)
                if taken > limit:
                    await self._on_excess(taken, limit)
            except Exception:
                log.exception("the memory of a session could not be watched")
            await asyncio.sleep(EVERY)
        self._task = None
