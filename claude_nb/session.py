"""Session: one conversation with Claude Code, whatever process stands behind it now.

This is the side that anybody may call from any thread. What it asks for happens in the portal's loop, in
`conversation.py`: a prompt becomes a `Turn` and waits in the session's own queue; nothing is written to
Claude Code while it is busy, because a prompt that it reads in the middle of a turn is folded into that turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import All, HasTraits, Unicode, UseEnum

from claude_nb.conversation import Conversation
from claude_nb.errors import ClaudeNbError, SessionBusy, ShuttingDown
from claude_nb.kernel.execute import sessions_that_wait
from claude_nb.life import Life
from claude_nb.portal import Portal
from claude_nb.registry import Record
from claude_nb.state import State
from claude_nb.turn import Awaited, Context, Told, Turn

if TYPE_CHECKING:
    from claude_nb.keeper import SessionKeeper
    from claude_nb.kernel.surroundings import Stage
    from claude_nb.reply import NoticeBlock


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alone:
    """An observer that is called once the step is done that changes the trait; its errors are its own."""

    handler: Callable[..., Any]

    def __call__(self, change: Any) -> None:
        """Called by traitlets at the change itself."""
        try:
            asyncio.get_running_loop().call_soon(self._call, change)
        except RuntimeError:  # not in the portal
            self._call(change)

    def _call(self, change: Any) -> None:
        try:
            self.handler(change)
        except Exception:
            log.exception("an observer of %r failed", change["owner"])


class Session(HasTraits):
    """One conversation. Made by `SessionManager.session`; `ask` is what it is for.

    `state` may be observed: `session.observe(callback, "state")` gets the old and the new state, in the
    portal's thread, once the step is done that has changed it. A callback that raises is logged.
    """

    state = UseEnum(State, default_value=State.CREATED, read_only=True)
    model = Unicode(None, allow_none=True, help="The model in use; None is Claude Code's own default.")

    def __init__(self, record: Record, *, portal: Portal, runtime: Path, keeper: SessionKeeper) -> None:
        super().__init__(model=record.model)
        self.record = record
        self.portal = portal
        # Claude Code's own slash commands, agents and models, known once it has been started.
        self.commands: list[str] = []
        self.agents: list[str] = []
        self.models: list[dict[str, str]] = []
        # A line for the reader of the next turn, such as which conversation is continued.
        self.news: str | None = None
        if record.scheduled:  # by the process of an earlier kernel
            lost = ", ".join(record.scheduled)
            self.news = f"The last kernel has ended, and with it what Claude had scheduled: {lost}."
            record.update(scheduled=[])
        # What Claude Code has said to the person between turns.
        self.untold: list[NoticeBlock] = []
        self.last_turn: Turn | None = None
        # The last reply as Claude Code should have recorded it.
        self.last_text = ""
        # Called in the portal's thread with each turn that is queued, begins, or is begun by Claude itself.
        self.followers: list[Callable[[Turn], object]] = []
        # What an earlier kernel left of it was seen to.
        self.taken_over = False
        self._keeper = keeper
        self.conversation = Conversation(self, runtime, keeper)
        if record.turns:
            self.set_trait("state", State.SUSPENDED)

    def __repr__(self) -> str:
        return f"<Session {self.name!r}, {self.state}, {self.turns} turns>"

    def observe(self, handler: Callable[..., Any], names: Any = All, type: Any = "change") -> None:
        """Call `handler` when a trait changes, after the change, whatever other handlers do."""
        super().observe(Alone(handler), names, type)

    def unobserve(self, handler: Callable[..., Any], names: Any = All, type: Any = "change") -> None:
        """Call it no more."""
        super().unobserve(Alone(handler), names, type)

    @property
    def name(self) -> str:
        """Unique in its folder."""
        return self.record.name

    @property
    def called(self) -> str:
        """What prints call it: a notebook's own has another name where nobody watches, but is this one."""
        return self.name if self.record.own_of is None else "this session"

    @property
    def id(self) -> str:
        """Claude Code's id of the conversation."""
        return self.record.session_id

    @property
    def transcript(self) -> Path | None:
        """Claude Code's record of the conversation; None where there is none."""
        return self._keeper.transcript_of(self)

    @property
    def turns(self) -> int:
        """How many turns the conversation has had."""
        return self.record.turns

    @property
    def life(self) -> Life:
        """The process behind it."""
        return self.conversation.life

    @property
    def pid(self) -> int | None:
        """The process id of Claude Code; None when there is no process now."""
        process = self.life.now
        state = process.guard_state() if process else None
        return state.cli.pid if state else None

    @property
    def idle_since(self) -> float | None:
        """Since when it has been idle, in monotonic seconds; None while it is at work or asleep."""
        return self.conversation.idle.since

    @property
    def running(self) -> Turn | None:
        """The turn under way."""
        return self.conversation.running

    @property
    def pending(self) -> list[Turn]:
        """The turn under way and those that wait for it."""
        running = self.running
        return [*([running] if running else []), *self.conversation.queue]

    @property
    def queued(self) -> int:
        """How many prompts wait for their turn."""
        return len(self.conversation.queue)

    # -- what a user asks of it, from any thread ---------------------------------------------

    def ask(
        self,
        prompt: str,
        *,
        context: Sequence[Context] | None = None,
        model: str | None = None,
        stage: Stage | None = None,
    ) -> Turn:
        """Send a prompt; returns at once with the Turn that will answer it.

        `context` are texts and images (as the API has them) that go before the prompt and that Claude Code
        does not expand; by default what happened in the notebook and the variables that the prompt mentions
        by `@name`. `model` is used from this prompt on. `stage` is where its tools ask and show things, by
        default the calling cell. Raises `ShuttingDown` when the session takes no
        more prompts, `UnknownMention` and `ValueError` for an empty prompt, `SessionBusy` in code that this
        session's own tool runs, which would wait for itself, and `SessionInUse` in a forked process.
        """
        self.portal.refuse_in_fork()
        if self.conversation.closing is not None:
            raise ShuttingDown(f"Session {self.name!r} takes no new prompts: {self.conversation.closing}.")
        if not prompt.strip():
            raise ValueError("The prompt is empty. Write what you want to ask.")
        self.refuse_in_own_tool("prompt")
        told = self._keeper.context_for(self, prompt) if context is None else Told(tuple(context))
        turn = Turn(self, prompt, context=told.blocks, model=model)
        turn.told, turn.stage = told, stage or self._keeper.stage()
        self._keeper.asked(self, turn)
        self.portal.call(self.conversation.enqueue, turn)
        return turn

    def tell_followers(self, turn: Turn) -> None:
        """In the portal's thread."""
        for follower in list(self.followers):
            try:
                follower(turn)
            except Exception:  # what shows the session must not keep it from working
                log.exception("a follower of session %r failed", self.name)

    def refuse_in_own_tool(self, what: str) -> None:
        """Raise `SessionBusy` in code that a tool of this session's runs: `what` would wait for that code."""
        if self.name in sessions_that_wait():
            raise SessionBusy(
                f"This code runs for {self.called}, whose turn waits for it: it cannot {what} the "
                "same session. Use another one, or do it in a cell of your own."
            )

    def wait_for(self, turn: Turn, timeout: float | None = None) -> bool:
        """Wait for the turn in the calling thread; in the main thread its tools can run code meanwhile.

        Raises `SessionBusy` in code that this session's own tool runs.
        """
        if not turn.done():
            self.refuse_in_own_tool("wait for")
        return self._keeper.wait_for(turn, timeout)

    def unrecorded(self) -> AbstractContextManager[None]:
        """What the calling thread shows meanwhile is a reply, and no output of the user's."""
        return self._keeper.unrecorded()

    def awaited(self, turn: Turn) -> AbstractContextManager[Awaited]:
        """While a coroutine of the calling thread waits for the turn. Raises as `wait_for`."""
        if not turn.done():
            self.refuse_in_own_tool("wait for")
        return self._keeper.awaited(turn)

    def interrupt(self, turn: Turn | None = None) -> None:
        """Ask the turn (the running one if none is given) to end; returns at once."""
        if not self.portal.stopped:  # nothing runs any more
            self.portal.call(self.conversation.interrupt, turn)

    def wake(self) -> Future[None]:
        """Have the process ready ahead of the next prompt."""
        return self.portal.run(self.conversation.wake())

    async def context_fill(self) -> str | None:
        """How full the context is, as "12 %"; None when nobody can say it now. In the portal."""
        process = self.life.now
        if process is None or self.state is not State.IDLE:
            return None
        try:
            usage = await process.context_usage()
        except ClaudeNbError:  # it has just ended, or does not answer
            return None
        return f"{usage.get('percentage', 0):.0f} % of {usage.get('maxTokens', 0):,} tokens"

    @property
    def servers(self) -> dict[str, str]:
        """The user's own MCP servers, and how each is, as far as Claude Code has said it."""
        return dict(self.conversation.servers.states)

    def suspend(self, *, force: bool = False) -> Future[bool]:
        """End the idle process until it is needed again; False if the session is at work.

        Also False where Claude Code cannot write the history, unless `force` says that it may be lost.
        """
        return self.portal.run(self.conversation.suspend(force))

    def check_history(self) -> Future[str | None]:
        """Why Claude Code cannot write the history, so that its process is the only copy; None if it can."""
        return self.portal.run(self.conversation.check_history())

    def stop(self) -> Future[None]:
        """End the process, interrupting what runs; the conversation stays and the next prompt resumes it.

        Prompts that wait end as cancelled, with the reason "stopped". Raises `SessionBusy` in code that this
        session's own tool runs.
        """
        self.refuse_in_own_tool("stop")
        self.portal.call(self.conversation.cancel_queue)  # at once: what is asked next is meant to be sent
        return self.portal.run(self.conversation.stop())

    def new_conversation(self) -> Future[None]:
        """Forget: the next prompt starts a conversation of its own. Done once the old process has ended.

        Raises `SessionBusy` in code that this session's own tool runs.
        """
        self.refuse_in_own_tool("stop")
        self.portal.call(self.conversation.cancel_queue)
        return self.portal.run(self.conversation.new_conversation())

    def use_model(self, model: str | None) -> None:
        """Use another model from the next prompt on; None is Claude Code's own default."""
        self.portal.refuse_in_fork()
        self.record.model = model
        self._keeper.save(self)

    def use_mode(self, mode: str) -> Future[None]:
        """Use another permission mode of Claude Code's: default, plan or acceptEdits."""
        return self.portal.run(self.conversation.use_mode(mode))

    def set_idle_timeout(self, seconds: float | None) -> None:
        """Suspend after so many seconds without work; 0 is never, None what the manager says."""
        self.portal.refuse_in_fork()
        self.record.idle_timeout = seconds
        self._keeper.save(self)
        self.portal.call(self.conversation.idle.start)
