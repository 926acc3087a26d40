"""Say on stderr that nothing comes of a turn, where nobody sees how it goes (nbval, nbconvert, papermill).

There the cell shows a reply when it is complete, and Claude Code may wait ten minutes for an API that says no
more. The line is no output of the cell's: the notebook stays as it is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Protocol

from claude_nb.flag import Flag
from claude_nb.words import duration

log = logging.getLogger(__name__)


class Awaited(Protocol):
    """A turn."""

    def done(self) -> bool:
        """It has ended."""

    def silence(self, now: float) -> float | None:
        """Return the seconds since its last word; None if none is expected now."""

    @property
    def hindrance(self) -> str:
        """What Claude Code says about why nothing comes."""


async def tell_of_a_stall(
    turn: Awaited, session: str, over: Flag, patience: float, tell: Callable[[str], object]
) -> None:
    """Tell once, when nothing has come for `patience` seconds, or never if the turn is `over` before."""
    while not turn.done():
        silent = turn.silence(time.monotonic())
        if silent is not None and silent >= patience:
            line = stall_words(session, silent, turn.hindrance)
            log.info("%s", line)
            await asyncio.to_thread(tell, line)
            return
        if await over.wait_at_most(patience - (silent or 0.0)):
            return


def stall_words(session: str, silent: float, hindrance: str) -> str:
    """Return which session waits, since when, what is known of it, and how to end it."""
    since = time.strftime("%H:%M:%S", time.localtime(time.time() - silent))
    why = f" ({hindrance})" if hindrance else ""
    return (
        f"claude_nb: session '{session}' waits for Claude; nothing has come since {since}, "
        f"for {duration(silent)}{why}. Ctrl-C ends the run, `kill -INT {os.getpid()}` this turn."
    )
