"""The graceful end of sessions, in four phases with a budget each.

1. New prompts are refused with `ShuttingDown`; what is queued ends as cancelled.
2. Running turns get up to `drain` seconds to end by themselves.
3. What still runs is interrupted, which records it, and ends as cancelled with the reason.
4. The processes are stopped side by side; what they left is ended by their guards.

One line a phase goes to the log: `[shutdown] draining 2 turns`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_nb.state import ASLEEP

if TYPE_CHECKING:
    from claude_nb.session import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """Seconds for each phase. `stop` is how long the end of the processes is waited for."""

    drain: float
    interrupt: float
    stop: float

    @property
    def whole(self) -> float:
        """All phases."""
        return self.drain + self.interrupt + self.stop


# Jupyter sends SIGTERM 2.5 s after its shutdown request: what the kernel has to do must be over by then.
KERNEL_BACKGROUND = Budget(drain=1.5, interrupt=0.2, stop=0.1)
KERNEL_IDLE = Budget(drain=0.0, interrupt=0.15, stop=0.05)


async def shut_down(sessions: Iterable[Session], reason: str, budget: Budget) -> int:
    """End the sessions; returns how many processes are still there when the budget is used up."""
    sessions = list(sessions)
    began = time.monotonic()
    for session in sessions:
        session.conversation.close(reason)
    await _drain(sessions, budget.drain, began)
    await _interrupt(sessions, budget.interrupt, began)
    left = await _stop(sessions, budget.stop)
    log.info("[shutdown] done, %d processes left%s", left, " to their guards" if left else "")
    return left


async def stop_for_now(sessions: Iterable[Session], reason: str, budget: Budget) -> int:
    """The same, and afterwards they take prompts again, whether or not anybody still waits for it."""
    sessions = list(sessions)
    try:
        return await shut_down(sessions, reason, budget)
    finally:
        for session in sessions:
            session.conversation.reopen()


async def _drain(sessions: list[Session], seconds: float, began: float) -> None:
    running = [session for session in sessions if session.running is not None]
    if not running or seconds <= 0:
        return
    log.info("[shutdown] draining %d turns", len(running))
    for session in running:
        session.conversation.tell(f"finishing, for at most {seconds:g} s: {session.conversation.closing}")
    await asyncio.gather(*(_settle(session, seconds, began) for session in running))


async def _settle(session: Session, seconds: float, began: float) -> None:
    turn = session.running
    if turn is not None and await session.conversation.over(seconds):
        took = time.monotonic() - began
        log.info("[shutdown] turn %s of %r settled after %.1f s", turn.number, session.name, took)


async def _interrupt(sessions: list[Session], seconds: float, began: float) -> None:
    running = [session for session in sessions if session.running is not None]
    if not running:
        return
    for session in running:
        session.conversation.tell(f"interrupted: {session.conversation.closing}")
    log.info("[shutdown] interrupting after %.1f s", time.monotonic() - began)
    await asyncio.gather(*(session.conversation.cut(seconds) for session in running))
    for session in running:
        session.conversation.abandon()


async def _stop(sessions: list[Session], seconds: float) -> int:
    stops = [asyncio.ensure_future(s.life.stop()) for s in sessions if s.state not in ASLEEP]
    if stops:
        await asyncio.wait(stops, timeout=seconds)
    left = [session.life.now for session in sessions if session.life.now is not None]
    for process in left:
        process.leave_files_to_guard()
    return len(left)
