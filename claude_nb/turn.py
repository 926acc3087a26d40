"""Turn: what `Session.ask` returns, with which any thread or event loop follows one prompt to its Reply.

The session's portal thread writes (`_apply`, `_finish`), everybody else reads and waits. Waiting is plain
`threading`, because that is what lets KeyboardInterrupt through at once in a kernel's main thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from claude_nb.errors import SessionBusy, TurnInterrupted
from claude_nb.reply import FINAL, Block, NoticeBlock, Reply, Status
from claude_nb.turn_log import TurnLog

if TYPE_CHECKING:
    import asyncio

    from claude_nb.asking.desk import Pending
    from claude_nb.kernel.execute import Execution
    from claude_nb.kernel.surroundings import Stage
    from claude_nb.session import Session

log = logging.getLogger(__name__)

# A reader who sees nothing for this long wonders; before that it is Claude thinking.
SILENCE = 30.0
# The longest that an interrupted wait holds the caller's thread: the promise is "within a second".
INTERRUPT_PATIENCE = 0.9
# Seconds. A loop that sleeps does not hear an Interrupt before it wakes.
_HEARTBEAT = 0.1


# A text, or an image as the API has it.
Context = str | Mapping[str, Any]


@dataclass(frozen=True)
class Told:
    """What goes before a prompt; `mark` says how far its session then knows the notebook.

    `mentioned` are the blocks about what the prompt mentions; they are among `blocks`.
    """

    blocks: tuple[Context, ...] = ()
    mark: Any = None
    mentioned: tuple[Context, ...] = ()


@dataclass(frozen=True)
class Awaited:
    """A coroutine's wait for a turn; in the main thread a person can interrupt it."""

    in_main_thread: bool = False
    was_interrupted: Callable[[], bool] = lambda: False


class Turn:
    """One prompt and all that follows until its result.

    `result()`, `await turn` and `async for block in turn` may be used from any thread or loop, by
    several at once, before and after the turn has ended.
    """

    def __init__(
        self, session: Session, prompt: str, *, context: Sequence[Context] = (), model: str | None = None
    ) -> None:
        # By which Claude Code knows the prompt, too.
        self.id = str(uuid.uuid4())
        self.session = session
        self.prompt = prompt
        self.context = tuple(context)
        self.told = Told(self.context)
        self.model = model
        self.log = TurnLog()
        # Turns that Claude Code started by itself when a background task of this one had ended.
        self.aftermath: list[Turn] = []
        self.on_aftermath: Callable[[Turn], None] | None = None
        self.wants_interrupt = False
        # Which turn of its conversation it is, counted from 1; None until it runs.
        self.number: int | None = None
        # A line for its reader, such as which conversation is continued.
        self.news: str | None = None
        self._warned = False
        # The execution whose cell shows it already, for when IPython displays the value of that cell.
        self.shown_in: str | None = None
        self.created = time.monotonic()
        self.status = Status.QUEUED
        self.activity = ""
        self.version = 0
        # When its prompt went to Claude Code, in monotonic seconds; None as long as it waits.
        self.sent: float | None = None
        # When it ended, in monotonic seconds.
        self.ended: float | None = None
        # Not one for all, because who waits for the end must not be woken by each token.
        self._condition = threading.Condition()
        self._begun = threading.Event()
        self._ended = threading.Event()
        self._completed: list[Block] = []
        self._reply: Reply | None = None
        self._watchers: list[Callable[[], None]] = []
        self._at_end: list[Callable[[], object]] = []
        # Called in the session's thread after each change; they only take note of it.
        self.followers: list[Callable[[], object]] = []
        # Where it was asked, and what it asks there.
        self.stage: Stage | None = None
        self.added_cell = False
        # The person interrupted the wait for it, or what one of its tools ran where no cell waited for it.
        self.person_interrupted = False
        self.question: Pending | None = None
        # The code that one of its tools has been running for a while; it can be stopped alone.
        self.execution: Execution | None = None

    def __repr__(self) -> str:
        return f"<Turn of {self.session.name!r}, {self.status}>"

    def _ipython_display_(self) -> None:
        """Called by IPython to display the value of a cell."""
        from claude_nb.render.show import show_value

        show_value(self)

    # -- what is there now --------------------------------------------------------------------

    def done(self) -> bool:
        """The turn has ended, in whatever way."""
        return self._reply is not None

    def begun(self) -> bool:
        """Claude has begun to answer, or the turn has ended without an answer."""
        return self._begun.is_set()

    @property
    def reply(self) -> Reply | None:
        """The reply once the turn has ended, else None. Never raises; `result` does."""
        return self._reply

    @property
    def text(self) -> str:
        """What Claude has written so far."""
        return self.log.text

    @property
    def blocks(self) -> list[Block]:
        """The blocks so far, the last of them perhaps still growing."""
        return list(self.log.blocks)

    def silent_for(self, now: float) -> float | None:
        """Return the seconds since the last word of a reply that is awaited; None if that is as usual."""
        silence = self.silence(now)
        return silence if silence is not None and silence >= SILENCE else None

    def silence(self, now: float) -> float | None:
        """Return the seconds since the last word of a reply that is awaited; None if none is expected now.

        A tool may work for long without a word, and so may a person think about a question.
        """
        if self.sent is None or self.done() or self.question is not None or self.log.runs_tool:
            return None
        return now - max(self.sent, self.log.last_message or self.sent)

    @property
    def hindrance(self) -> str:
        """Why nothing comes, as "overloaded, try 3 of 10 in 5 s"; "" if Claude Code does not say it."""
        return self.log.notice or self.activity

    # -- waiting ------------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> Reply:
        """Wait for the reply, for at most `timeout` seconds.

        Raises what the turn failed with (a `TurnFailed`, `NotSignedIn`, `ClaudeNotFound`, ...),
        `TimeoutError` when the time is over (the turn goes on), and `TurnInterrupted` when the person
        interrupts the wait, which interrupts the turn. A turn that `interrupt()` ended returns its Reply.
        """
        self._refuse_to_wait_for_itself()
        try:
            finished = self.session.wait_for(self, timeout)
        except KeyboardInterrupt:
            raise self.interrupted_by_person() from None
        if not finished:
            raise TimeoutError(f"the turn of {self.session.name!r} is not over after {timeout} s; it goes on")
        return self._outcome()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the turn has ended, for at most `timeout` seconds; whether it has."""
        if not self.done():
            self.session.portal.refuse_in_fork()
            if timeout is None:
                self.session.refuse_in_own_tool("wait for")
        return self._ended.wait(timeout)

    def on_end(self, callback: Callable[[], object]) -> None:
        """Call it once the turn has ended, at once if it has; in whatever thread ends it."""
        with self._condition:
            if not self.done():
                self._at_end.append(callback)
                return
        callback()

    def wait_until_begun(self, timeout: float) -> bool:
        """Wait until the turn has `begun`, for at most `timeout` seconds; whether it has."""
        return self._begun.wait(timeout)

    def wait_for_change(self, version: int, timeout: float) -> int:
        """Wait until the turn has another version than `version`, for at most `timeout` seconds.

        Returns the version that it has then.
        """
        with self._condition:
            self._condition.wait_for(lambda: self.version != version or self.done(), timeout)
            return self.version

    def interrupted_by_person(self) -> TurnInterrupted:
        """Interrupt the turn for a person who waits for it; the exception to raise, within a second."""
        self.person_interrupted = True
        self.interrupt()
        try:
            stopped = self.wait(INTERRUPT_PATIENCE)
        except KeyboardInterrupt:
            self.interrupt()
            stopped = False
        if stopped:
            return TurnInterrupted(
                f"the turn of {self.session.name!r} was interrupted; the session is ready.", self._reply
            )
        return TurnInterrupted(
            f"Claude Code has not confirmed the interrupt of {self.session.name!r} yet. The next prompt "
            "waits for it; interrupt again to end the process (the conversation is kept).",
            self._reply,
        )

    def __await__(self) -> Generator[Any, None, Reply]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> Reply:
        async for _ in self:
            pass
        return self._outcome()

    async def __aiter__(self) -> AsyncIterator[Block]:
        """Each block once it is complete: text, thinking, tool use, tool result."""
        import asyncio

        if not self.done():
            self.session.portal.refuse_in_fork()
        changed = asyncio.Event()
        try:
            unwatch = self._watch(asyncio.get_running_loop(), changed)
        except RuntimeError:
            raise RuntimeError(
                "A turn can only be awaited in asyncio. Elsewhere use `turn.result()`; under trio "
                "`await trio.to_thread.run_sync(turn.result)`."
            ) from None
        seen = 0
        with self.session.awaited(self) as wait:
            try:
                while True:
                    changed.clear()
                    ended = self.done()
                    for block in self._completed[seen:]:
                        seen += 1
                        yield block
                    if ended:
                        break
                    await _changed(changed, _HEARTBEAT if wait.in_main_thread else None)
            except asyncio.CancelledError:
                if wait.was_interrupted():
                    self.interrupt()
                raise
            finally:
                unwatch()
        if wait.in_main_thread and self.person_interrupted:
            # What a cell that awaits gets for an Interrupt; KeyboardInterrupt in a task would end the loop.
            raise asyncio.CancelledError(f"the turn of {self.session.name!r} was interrupted")

    def _watch(self, loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> Callable[[], None]:
        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the reader's loop was closed before its reader
                loop.call_soon_threadsafe(changed.set)

        self._watchers.append(wake)
        return lambda: self._watchers.remove(wake)

    def _refuse_to_wait_for_itself(self) -> None:
        if self.done():
            return
        self.session.portal.refuse_in_fork()
        if self.session.portal.is_here:
            raise SessionBusy(
                f"result() of a turn of {self.session.name!r} was called in the thread that has to "
                "produce it. Use `await turn` there."
            )

    def _outcome(self) -> Reply:
        assert self._reply is not None
        if self._reply.error is not None:
            raise self._reply.error
        return self._reply

    # -- steering -----------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Ask the turn to end; returns at once.

        A second call, when the first has not been honoured yet, ends the process; the conversation is kept.
        """
        if not self.done():
            self.session.interrupt(self)

    def interrupted(self) -> None:
        """The person interrupted the kernel while a tool of this turn ran code."""
        self.person_interrupted = True
        self.interrupt()

    def ended_within(self, seconds: float) -> bool:
        """It has ended, and not longer ago than so many seconds."""
        return self.ended is not None and time.monotonic() - self.ended < seconds

    def cancelled(self, reason: str) -> None:
        """It was not the person who interrupted the turn: its reply is cancelled, with the reason."""
        if self._reply is not None and self._reply.status is Status.INTERRUPTED:
            self.status = self._reply.status = Status.CANCELLED
            self._reply.reason = reason

    # -- the session's side, in the portal ----------------------------------------------------

    def _add_aftermath(self, turn: Turn) -> None:
        self.aftermath.append(turn)
        self._changed()
        if self.on_aftermath is not None:
            self.on_aftermath(turn)

    def _apply(self, message: Any, now: float) -> None:
        self._complete(self.log.apply(message, now))
        if self.log.first_token is not None and not self._begun.is_set():
            self._begun.set()
        self._changed()

    def tell(self, notice: NoticeBlock) -> None:
        """What Claude Code says to the person outside of the turn's own messages."""
        self._complete(self.log.tell(notice))
        self._changed()

    def warn(self, sentence: str) -> None:
        """One line more for the turn's reader; the first of its kind is enough."""
        if not self._warned:
            self._warned = True
            self.news = f"{self.news} {sentence}" if self.news else sentence
            self._changed()

    def note(self, activity: str) -> None:
        """What happens outside of Claude Code's messages, such as starting the process."""
        self.activity = activity
        self._changed()

    def _runs(self, execution: Execution | None) -> None:
        """Code of a tool's that takes long, as long as it runs."""
        self.execution = execution
        self._changed()

    def _start(self) -> None:
        self.status = Status.RUNNING
        self.sent = time.monotonic()
        self.activity = ""
        self._changed()

    def _finish(self, status: Status, *, reason: str | None = None, error: Exception | None = None) -> None:
        if self.done():
            return
        assert status in FINAL
        self.ended = now = time.monotonic()
        self._complete(self.log.settle(now))
        self.log.usage.seconds = now - self.created
        if self.log.first_token is not None:
            self.log.usage.first_token_seconds = self.log.first_token - self.created
        reply = self._make_reply(status, reason, error)
        if error is not None and hasattr(error, "reply"):
            error.reply = reply
        with self._condition:
            self.status = status
            self._reply = reply
            self.version += 1
            self._condition.notify_all()
        self._begun.set()
        self._ended.set()
        self._wake_watchers()
        self._tell_followers()
        for callback in self._at_end:
            try:
                callback()
            except Exception:
                log.exception("what was to happen at the end of %r failed", self)

    def _make_reply(self, status: Status, reason: str | None, error: Exception | None) -> Reply:
        return Reply(
            text=self.log.text,
            status=status,
            session=self.session.name,
            prompt=self.prompt,
            blocks=list(self.log.blocks),
            usage=self.log.usage,
            cost_usd=self.log.cost_usd,
            model=self.log.model,
            reason=reason,
            error=error,
        )

    def _complete(self, blocks: list[Block]) -> None:
        self._completed.extend(blocks)
        if blocks:
            self._wake_watchers()

    def _changed(self) -> None:
        with self._condition:
            self.version += 1
            self._condition.notify_all()
        self._tell_followers()

    def _tell_followers(self) -> None:
        for follower in list(self.followers):
            try:
                follower()
            except Exception:
                log.exception("a follower of %r failed", self)

    def _wake_watchers(self) -> None:
        for wake in list(self._watchers):
            wake()


async def _changed(event: asyncio.Event, heartbeat: float | None) -> None:
    """Until it is set, or for a heartbeat; `wait_for` of Python 3.11 may lose a cancellation."""
    import asyncio

    if heartbeat is None:
        await event.wait()
        return
    beat = asyncio.get_running_loop().call_later(heartbeat, event.set)
    try:
        await event.wait()
    finally:
        beat.cancel()
