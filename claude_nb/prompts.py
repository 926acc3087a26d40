"""Prompts: those of one session wait in line here, and each is seen through until its result is there.

One worker task takes a prompt from the queue, has the process started or resumed when there is none, writes
the prompt and waits for its result.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from claude_nb.errors import ClaudeNbError, NotAnswering, ProcessDied, TurnFailed
from claude_nb.failures import process_ended, unknown_model
from claude_nb.flag import Flag
from claude_nb.reply import Status
from claude_nb.stalled import tell_of_a_stall
from claude_nb.state import ASLEEP, Event
from claude_nb.words import duration

if TYPE_CHECKING:
    from claude_nb.conversation import Conversation
    from claude_nb.keeper import SessionKeeper
    from claude_nb.process import ClaudeProcess
    from claude_nb.session import Session
    from claude_nb.turn import Turn

log = logging.getLogger(__name__)

# A reader is told that a session is resumed if it was idle for longer than this; else it is not felt.
_WORTH_SAYING = 60.0
# So many processes may die one after the other before a prompt is written to them.
_MOST_PROCESSES = 3


class Prompts:
    """Used in the portal's loop."""

    def __init__(self, owner: Conversation, session: Session, keeper: SessionKeeper) -> None:
        self._owner = owner
        self._session = session
        self._keeper = keeper
        self.queue: deque[Turn] = deque()
        # The turn under way, from the moment at which its prompt has left the queue.
        self.current: Turn | None = None
        # Whoever ends the turn under way sets it.
        self.over = Flag()
        # The process that the prompt was written to has died before it took it up.
        self._lost = False
        self._worker: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Prompts of {self._session.name!r}, {len(self.queue)} queued>"

    def add(self, turn: Turn) -> None:
        """The turn's prompt is sent when its time has come."""
        self.queue.append(turn)
        self._session.tell_followers(turn)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work())

    def lose(self) -> None:
        """The process that the prompt was written to has died before it took the prompt up."""
        self._lost = True

    def take_back(self, turn: Turn) -> None:
        """It is not sent, if it has not been."""
        if turn in self.queue:
            self.queue.remove(turn)

    def cancel(self, reason: str) -> None:
        """End those that wait as cancelled; those who follow the session may offer them again."""
        while self.queue:
            turn = self.queue.popleft()
            turn._finish(Status.CANCELLED, reason=reason)
            self._session.tell_followers(turn)

    async def _work(self) -> None:
        while self.queue:
            turn = self.current = self.queue.popleft()
            self._session.tell_followers(turn)
            try:
                await self._perform(turn)
            except ClaudeNbError as error:
                turn._finish(Status.FAILED, error=error)
            except Exception as error:
                log.exception("a turn of %r failed in claude_nb itself", self._session.name)
                failure = TurnFailed(f"claude_nb failed: {error!r}. Please report this. The session goes on.")
                failure.__cause__ = error
                turn._finish(Status.FAILED, error=failure)
            finally:
                self.current = None
            if not turn.done():
                log.error("session %r: a turn was left without an end", self._session.name)
                turn._finish(Status.FAILED, error=TurnFailed("The turn was lost. Send the prompt again."))
        self._owner.idle.start()

    async def _perform(self, turn: Turn) -> None:
        if turn.done():
            return
        self._owner.begin_work()
        await self._owner.renew_process()
        deaths = 0
        while not turn.done():
            self.over.clear()
            turn.note(self._starting_words())
            process = await self._or_over(self._owner.ready_process())
            if process is None or turn.done():
                return
            try:
                if await self._see_through(process, turn):
                    return
            except ProcessDied as error:
                deaths += 1
                if deaths == _MOST_PROCESSES:
                    raise
                log.info("session %r: a prompt goes to the next process: %s", self._session.name, error)
                await self._owner.life.end(process)

    async def _see_through(self, process: ClaudeProcess, turn: Turn) -> bool:
        """Whether the turn is over, in whatever way; False if the process takes no prompt now.

        Raises `ProcessDied` if nothing was sent because there was nobody any more to read it.
        """
        await self._until_quiet(turn)
        if not turn.done() and turn.number is None:  # else what goes along was settled when it was written
            await asyncio.to_thread(self._keeper.freshen, self._session, turn)
        if not turn.done():
            await self._use_wanted_model(process, turn)
        if turn.done():  # interrupted meanwhile
            return True
        if not self._owner.life.takes_prompts(process):
            return False
        await self._converse(process, turn)
        return True

    def _starting_words(self) -> str:
        if self._owner.state not in ASLEEP or not self._session.turns:
            return "starting Claude Code"
        idle = time.time() - self._session.record.last_activity
        if idle < _WORTH_SAYING:
            return f"resuming session '{self._session.name}'"
        return f"Resuming session '{self._session.name}' (idle for {duration(idle)})..."

    async def _or_over(self, starting: Coroutine[Any, Any, ClaudeProcess]) -> ClaudeProcess | None:
        """The process, or None if the turn was ended before it was there; it goes on starting."""
        task: asyncio.Task[ClaudeProcess] = self._owner.spawn(starting)
        over = asyncio.create_task(self.over.wait())
        waited: set[asyncio.Future[Any]] = {task, over}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if task.done():
            return task.result()
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return None

    async def _until_quiet(self, turn: Turn) -> None:
        if not self._owner.quiet.is_set():
            turn.note("Claude finishes what a background task began")
            waiting = {self._owner.spawn(self._owner.quiet.wait()), self._owner.spawn(self.over.wait())}
            _, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in rest:
                task.cancel()

    async def _use_wanted_model(self, process: ClaudeProcess, turn: Turn) -> None:
        wanted = turn.model or self._session.record.model
        if wanted == self._session.model:
            return
        try:
            await process.set_model(wanted)
        except (ProcessDied, NotAnswering):
            raise
        except Exception as error:
            raise unknown_model(wanted, error) from None
        self._session.model = self._session.record.model = wanted
        self._owner.announced.model_set()

    async def _converse(self, process: ClaudeProcess, turn: Turn) -> None:
        """Write the prompt and wait for its result. Raises `ProcessDied` if nobody has read it."""
        self._lost = False
        self._owner.attribution.expect(turn, turn.id)
        self._owner.move(Event.PROMPT)
        turn.number = self._session.turns + 1
        turn.news, self._session.news = self._session.news or turn.news, None
        self._session.last_turn = turn
        turn._start()
        while self._session.untold:
            turn.tell(self._session.untold.pop(0))
        self._owner.note_work()
        try:
            await process.query(_content(turn), turn.id)
            self._keeper.told(self._session, turn)
            self._owner.spawn(self._owner.servers.name_waited_for(process.mcp_status, turn))
            self._watch_for_a_stall(turn)
            await self.over.wait()
        finally:
            self._owner.attribution.forget()
        if self._lost and not turn.done():
            raise process_ended(process.returncode, process.stderr)

    def _watch_for_a_stall(self, turn: Turn) -> None:
        patience = self._keeper.stall_warning
        if patience > 0 and turn.stage is not None and not turn.stage.someone:
            name, tell = self._session.name, self._keeper.tell_outside
            self._owner.spawn(tell_of_a_stall(turn, name, self.over, patience, tell))


def _content(turn: Turn) -> list[dict[str, Any]]:
    """Ours first: Claude Code expands `@file` only in the last block, which is what the person typed."""
    before = [{"type": "text", "text": b} if isinstance(b, str) else dict(b) for b in turn.context]
    return [*before, {"type": "text", "text": turn.prompt}]
