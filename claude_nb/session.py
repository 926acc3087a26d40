"""Session: one conversation with Claude Code, whatever process stands behind it now.

This is the side that anybody may call from any thread. What it asks for happens in the portal's loop, in
`conversation.py`: a prompt becomes a `Turn` and waits in the session's own queue; nothing is written to
Claude Code while it is busy, because a prompt that it reads in the middle of a turn is folded into that turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from traitlets import HasTraits, Unicode, UseEnum

from claude_nb.conversation import Conversation
from claude_nb.errors import SessionBusy, ShuttingDown
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


class Session(HasTraits):
    """One conversation. Made by `SessionManager.session`; `ask` is what it is for.

    `state` may be observed: `session.observe(callback, "state")` gets the old and the new state, in the
    portal's thread.
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

    @property
    def name(self) -> str:
        """Unique in its folder."""
        return self.record.name

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
        self.portal.call(self.conversation.enqueue, turn)
        return turn

    def tell_followers(self, turn: Turn) -> None:
        """In the portal's thread."""
        for follower in list(self.followers):
            follower(turn)

    def refuse_in_own_tool(self, what: str) -> None:
        """Raise `SessionBusy` in code that a tool of this session's runs: `what` would wait for that code."""
        if self.name in sessions_that_wait():
            raise SessionBusy(
                f"This code runs for session {self.name!r}, whose turn waits for it: it cannot {what} the "
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
        usage = await process.context_usage()
        return f"{usage.get('percentage', 0):.0f} % of {usage.get('maxTokens', 0):,} tokens"

    @property
    def servers(self) -> dict[str, str]:
        """The user's own MCP servers, and how each is, as far as Claude Code has said it."""
        return dict(self.conversation.servers.states)

    def suspend(self) -> Future[bool]:
        """End the idle process until it is needed again; False if the session is at work."""
        return self.portal.run(self.conversation.suspend())

    def stop(self) -> Future[None]:
        """End the process, interrupting what runs; the conversation stays and the next prompt resumes it.

        Raises `SessionBusy` in code that this session's own tool runs.
        """
        self.refuse_in_own_tool("stop")
        return self.portal.run(self.conversation.stop())

    def new_conversation(self) -> Future[None]:
        """Forget: the next prompt starts a conversation of its own. Done once the old process has ended.

        Raises `SessionBusy` in code that this session's own tool runs.
        """
        self.refuse_in_own_tool("stop")
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
