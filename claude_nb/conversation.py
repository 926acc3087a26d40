"""Conversation: what a session does in the portal's loop; one method is one step of it.

While a prompt is seen through (`prompts.py`), Claude Code's messages, interrupts, the idle clock and the end
of the process come in between, each in one piece: nothing here is ever interrupted but at an `await`.

`life.py` has the process and its states, `attribution.py` the question whose message is it, `ends.py` how a
turn ends, `idle.py` the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_nb.announced import Announced
from claude_nb.attribution import Attribution
from claude_nb.doing import ASKING, doing_of, keeps_kernel
from claude_nb.ends import Ends
from claude_nb.errors import ClaudeNbError, NetworkDown, NotSignedIn, ProcessDied, ShuttingDown
from claude_nb.failures import foreign_history, not_signed_in
from claude_nb.flag import Flag
from claude_nb.idle import IdleClock
from claude_nb.life import Life
from claude_nb.memory import MemoryWatch
from claude_nb.notices import told_by, unwritten
from claude_nb.process import Answer, ClaudeProcess, Launch
from claude_nb.prompts import Prompts
from claude_nb.reply import NoticeBlock, Status
from claude_nb.scheduled import GRACE, Scheduled
from claude_nb.servers import Servers
from claude_nb.signs import SignsOfLife
from claude_nb.spending import Spending
from claude_nb.state import WORKING, Event, State, next_state
from claude_nb.turn import Turn
from claude_nb.words import megabytes

if TYPE_CHECKING:
    from claude_nb.keeper import SessionKeeper
    from claude_nb.session import Session

log = logging.getLogger(__name__)

# One 401 may be a token that Claude Code is about to refresh; the second is the answer.
_REFUSALS_BEFORE_GIVING_UP = 2
# Why a prompt that waited for its turn was not sent.
STOPPED = "stopped"
# The SIGINT with which a shutdown begins comes milliseconds before its request; a busy kernel is slower.
_SHUTDOWN_FOLLOWS = 2.0


class Conversation:
    """The portal's side of one session."""

    def __init__(self, session: Session, runtime: Path, keeper: SessionKeeper) -> None:
        self._session = session
        self._keeper = keeper
        self.record = session.record
        self.life = Life(self, runtime, self._on_message, self._on_tool, lambda: keeper.max_restarts)
        self.attribution = Attribution(self._make_own)
        self.spending = Spending()
        self.servers = Servers()
        self.idle = IdleClock(
            lambda: keeper.idle_timeout_of(session),
            self.may_suspend,
            lambda: self.spawn(self.suspend_if_idle()),
        )
        self.closing: str | None = None
        # Why Claude Code cannot write what is said; its process is the only copy then.
        self.unwritten: str | None = None
        # How often all that was said has been forgotten.
        self.begun_anew = 0
        self._prompts = Prompts(self, session, keeper)
        # Not while Claude Code has a turn of its own.
        self.quiet = Flag()
        self.quiet.set()
        self._unverified = False
        self.announced = Announced()
        self.scheduled = Scheduled()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ends = Ends(session, keeper)
        self._memory = MemoryWatch(lambda: keeper.max_memory, self.life.memory, self._on_excess)
        self._signs = SignsOfLife(self._at_work, self._show_life)

    def __repr__(self) -> str:
        return f"<Conversation of {self._session!r}, {len(self._prompts.queue)} queued>"

    @property
    def name(self) -> str:
        """The session's, for `Life`."""
        return self._session.name

    @property
    def state(self) -> State:
        """The session's, for `Life`."""
        state: State = self._session.state
        return state

    @property
    def running(self) -> Turn | None:
        """The turn under way, Claude's own included."""
        return self._prompts.current or self.attribution.own

    @property
    def queue(self) -> list[Turn]:
        """The prompts that wait."""
        return list(self._prompts.queue)

    # -- prompts ------------------------------------------------------------------------------

    def move(self, event: Event) -> None:
        """Change the state; called by `Life` in the portal's loop."""
        old, new = self.state, next_state(self.state, event)
        log.debug("session %r: %s, %s to %s", self._session.name, event, old, new)
        self._session.set_trait("state", new)

    def enqueue(self, turn: Turn) -> None:
        if self.closing is not None:
            turn._finish(Status.CANCELLED, reason=self.closing)
            return
        self.idle.stop()
        self._prompts.add(turn)

    def begin_work(self) -> None:
        """Called by `Prompts` before anything is done for a prompt, and when Claude begins a turn itself."""
        self._signs.start()
        if self.life.now is not None:
            self._memory.start()  # a limit may have been set since the process was started

    async def ready_process(self) -> ClaudeProcess:
        """The process, started or resumed, once it answers."""
        process = await self.life.process()
        await asyncio.shield(process.ready)
        return process

    async def renew_process(self) -> None:
        """End a process that was started with what may have been corrected since; called before a prompt."""
        if not self.attribution.tasks and self.attribution.quiet:
            await self.life.renew()

    def has_prompts(self) -> bool:
        """Asked by `Life` when a process could not be started."""
        return self._prompts.current is not None or bool(self._prompts.queue)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that is kept until it is done; the loop alone would forget it."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- messages -----------------------------------------------------------------------------

    def _on_message(self, message: Any) -> None:
        now = time.monotonic()
        kind = type(message).__name__
        if kind == "SystemMessage" and message.subtype == "init":
            self._on_init(message.data)
        cost = self.spending.of_turn(message.total_cost_usd) if kind == "ResultMessage" else None
        self._follow_changes(message)
        if self.scheduled.heard(message):
            self._on_scheduled()
        turn = self.attribution.whose(message)
        self.note_work()
        if turn is None or (turn.done() and told_by(message) is not None):
            self._keep_notice(message)
            self.idle.look_again()
            return
        turn._apply(message, now)
        self._ends.log_tools(turn)
        if kind == "ResultMessage":
            turn.log.cost(cost)
            self._on_result(turn, message)
        elif turn.log.refusals >= _REFUSALS_BEFORE_GIVING_UP and not turn.done():
            turn._finish(Status.FAILED, error=not_signed_in(turn.log.retries[-1]))
            self.life.expire()
            self._hurry(turn)

    def _keep_notice(self, message: Any) -> None:
        """Said outside of a turn: it is told in the one that waits, or in the next."""
        notice, waiting = told_by(message), self._prompts.current
        if notice is not None and waiting is not None and not waiting.done():
            waiting.tell(notice)
        elif notice is not None:
            self._session.untold.append(notice)

    def _on_init(self, init: dict[str, Any]) -> None:
        """Each turn begins with it. After a resume it tells whether this is the conversation we know."""
        process = self.life.now
        if self.servers.named(init.get("mcp_servers"), self._prompts.current) and process is not None:
            self.spawn(self.servers.look(process.mcp_status))
        new = init.get("session_id", self._session.id)
        resumed, self._unverified = self._unverified, False
        if new == self._session.id:
            return
        turn = self._prompts.current
        if resumed and turn is not None:
            turn._finish(Status.FAILED, error=foreign_history(self._session.name, self._session.id, new))
            self._hurry(turn)
            return
        # `/clear` and compaction change Claude Code's id of the conversation.
        self.record.earlier_ids.append(self._session.id)
        self.record.session_id = new
        self._keeper.save(self._session)

    def _follow_changes(self, message: Any) -> None:
        """What Claude Code itself changes holds for the session, also after a suspension."""
        changes = self.announced.heard(message)
        if changes.mode is not None:
            self.record.permission_mode = changes.mode
        if changes.model is not None:
            self._session.model = changes.model
            self._session.use_model(changes.model)
        if changes.forgotten:
            self._begin_anew()
        turn = self.working
        if changes.title is not None and turn is not None and turn.prompt.lstrip().startswith("/rename"):
            self.spawn(asyncio.to_thread(self._keeper.rename, self._session, changes.title))
        if changes.mode is not None or changes.forgotten:
            self._keeper.save(self._session)

    def _on_scheduled(self) -> None:
        """Claude wants to be woken later, or no more; the record says so to whoever finds it dead."""
        ahead = self.scheduled.ahead(time.time())
        self.record.update(scheduled=[alarm.in_words() for alarm in ahead])
        self._keeper.save(self._session)
        loop = asyncio.get_running_loop()
        for alarm in ahead:
            if not alarm.recurring:  # once it is over, nothing need come of it that starts the idle clock
                loop.call_later(max(0.0, alarm.due + GRACE - time.time()) + 1, self.idle.look_again)

    def _lost_with_process(self) -> str | None:
        """What goes with the process and will not come back, in words."""
        alarms = [alarm.in_words() for alarm in self.scheduled.ahead(time.time())]
        self.scheduled.clear()
        if self.closing is None:  # else the next kernel tells it
            self.record.update(scheduled=[])
        scheduled = f"what Claude had scheduled: {', '.join(alarms)}" if alarms else None
        return " and ".join(filter(None, (self.attribution.forget_tasks(), scheduled))) or None

    def _begin_anew(self) -> None:
        """Nothing that was said before is known any more."""
        self.record.turns = 0
        self.begun_anew += 1
        self._session.news = None
        self._ends.forget()
        self._keeper.forgotten(self._session)

    def _on_result(self, turn: Turn, result: Any) -> None:
        # Who waits for a turn goes on in the middle of this step, and finds the state that is right after it.
        own = self.attribution.end_own()
        self.quiet.set()
        if turn is own and self.attribution.turn is None and self.state in WORKING:
            self.move(Event.RESULT)
        if own is not None:
            self._ends.by_own(own, result if turn is own else None, self.closing)
        if turn is own:
            self.note_work()
            self.idle.start()
            return
        if not result.is_error:
            self.life.settled()
        self.move(Event.RESULT)
        self._prompts.over.set()
        self._ends.by_result(turn, result, self.closing, self.attribution.take_ended())
        if turn.reply is not None and isinstance(turn.reply.error, NotSignedIn | NetworkDown):
            self.life.expire()  # a key, an address or a proxy may be set before the next prompt

    def note_work(self) -> None:
        """What the session is doing may have changed, and its record tells others of it."""
        self._ends.note_work()

    def _make_own(self) -> Turn:
        """Claude Code has started a turn by itself."""
        self.idle.stop()
        self.begin_work()
        self.quiet.clear()
        own = Turn(self._session, "")
        last = self._session.last_turn
        own.stage = last.stage if last is not None else None
        own._start()
        if self.state is State.IDLE:
            self.move(Event.PROMPT)
        self._session.tell_followers(own)
        return own

    async def _on_tool(self, name: str, tool_input: dict[str, Any], context: Any) -> Answer:
        """Called by the process for each tool that no rule of Claude Code's allows."""
        turn = self.attribution.started(context.agent_id) or self.working
        begun = time.monotonic()
        answer = await self._keeper.permit(self._session, turn, name, tool_input, context)
        if turn is not None:
            turn.log.waited(context.tool_use_id, time.monotonic() - begun)
        if turn is not None and not answer.allowed:
            if answer.told:
                turn.log.refuse(context.tool_use_id, answer.told)
            else:  # nobody has refused it: the turn was interrupted
                turn.log.interrupt()
        return answer

    @property
    def working(self) -> Turn | None:
        """The turn that Claude works on now, its own included."""
        return self.attribution.turn or self.attribution.own

    @property
    def acting(self) -> Turn | None:
        """The turn for which a tool of ours is called now: if none is under way, it is an agent's."""
        return self.working or self.attribution.of_agents

    @property
    def asking(self) -> Turn | None:
        """The turn that waits for an answer, perhaps one that is over and whose agent works on."""
        turns = (self.working, *list(self.attribution.tasks.values()))
        return next((turn for turn in turns if turn is not None and turn.question is not None), None)

    # -- the process comes and goes -----------------------------------------------------------

    async def launch(self) -> Launch:
        """How to start the process; called by `Life` in the portal's loop."""
        if self.closing is not None:
            raise ShuttingDown(f"Session {self._session.name!r} is not started: {self.closing}.")
        how = await asyncio.to_thread(self._keeper.launch_of, self._session)
        self._unverified = how.resume
        if how.resume and not self.record.turns:  # its process died in the first one, which is on disk
            self.record.turns = 1
        self._session.model = how.model
        self.servers.begin()
        self.spending.begin(await asyncio.to_thread(self._keeper.spent, self._session) if how.resume else 0.0)
        self.announced.started(how.permission_mode)
        await self.check_history()
        return how

    async def check_history(self) -> str | None:
        """Why the process is the only copy of the conversation; None if Claude Code can write it.

        Once it could not, what is missing stays missing as long as the process lives.
        """
        if self.unwritten is None:
            self.unwritten = await asyncio.to_thread(self._keeper.unwritten, self._session)
            if self.unwritten is not None:
                told = unwritten(self._session.called, self.unwritten)
                log.warning("%s", told)
                self._session.untold.append(NoticeBlock(told, "unwritten", "warning"))
        return self.unwritten

    def on_process_ready(self, info: dict[str, Any]) -> None:
        """Called by `Life` when Claude Code answers."""
        self._session.commands = [command["name"] for command in info.get("commands", [])]
        self._session.agents = [agent["name"] for agent in info.get("agents", [])]
        self._session.models = list(info.get("models", []))
        self.record.process = self.life.facts()
        self._keeper.save(self._session)
        self.idle.start()
        self._memory.start()

    def on_process_ended(self, process: ClaudeProcess) -> None:
        """Called by `Life` when nothing of the process is left."""
        turn = self.attribution.turn
        own = self.attribution.end_own()
        if own is not None:
            self._ends.own_with_process(own, process, self.closing)
        lost = self._lost_with_process()
        if lost and self.closing is None:
            self._session.news = f"The process of {self._session.called} has ended, and with it {lost}."
        self.idle.stop()
        self._signs.stop()
        self._memory.stop()
        self.quiet.set()
        self.record.process = None
        self.unwritten = None
        if turn is not None:  # else a prompt may wait for the next process, and its turn is not over
            self._prompts.over.set()
            untouched = not (self.attribution.heard or turn.wants_interrupt or turn.done() or self.closing)
            if untouched:  # nobody has read it: it goes to the next process
                self._prompts.lose()
            else:
                self._ends.with_process(turn, process, self.closing)
        self._keeper.save(self._session)

    def _show_life(self) -> None:
        said = doing_of(self.record)
        if said.state == ASKING and not keeps_kernel(said, time.time()):
            return
        turn = self._prompts.current or self.working or self._session.last_turn
        if turn is not None:
            self._keeper.show_life(turn)

    async def wake(self) -> None:
        await self.ready_process()

    async def use_mode(self, mode: str) -> None:
        self.record.permission_mode = mode
        self._keeper.save(self._session)
        process = self.life.now
        if process is None:
            return
        try:
            await asyncio.shield(process.ready)
        except ClaudeNbError:
            return  # who wants it to start is told why it does not
        # One that has just died, or ends, is followed by one that is started in this mode.
        with contextlib.suppress(ProcessDied):
            await process.set_permission_mode(mode)
            self.announced.mode_set(mode)

    # -- idle ---------------------------------------------------------------------------------

    def may_suspend(self) -> bool:
        """Nothing of the session's work would be lost; asked by `Life` immediately before."""
        idle = self.state is State.IDLE and not self._at_work() and not self.scheduled.ahead(time.time())
        return idle and self.unwritten is None

    def _at_work(self) -> bool:
        busy = self._prompts.current is not None or bool(self._prompts.queue)
        return busy or not self.attribution.quiet or bool(self.attribution.tasks)

    async def suspend_if_idle(self) -> None:
        """The idle clock has run out."""
        if await asyncio.to_thread(self.life.commands):
            self.idle.start()  # a command that Claude started still runs
        elif not await self.suspend():
            self.idle.start()

    async def suspend(self, force: bool = False) -> bool:
        """End the process if nothing is at work; whether it was ended.

        One that is the only copy of the conversation is ended only by `force`.
        """
        if force:
            self.unwritten = None
        elif self.life.now is not None and self.may_suspend():
            await self.check_history()
        suspended = await self.life.suspend()
        if suspended:
            await asyncio.to_thread(self._keeper.keep, self._session)
        return suspended

    async def _on_excess(self, taken: int, limit: int) -> None:
        """The processes take too much memory: an idle session is suspended, a reader of a turn is warned."""
        too_much = f"took {megabytes(taken)}, more than max_memory allows ({megabytes(limit)})"
        turn = self.working
        if turn is not None and not turn.done():
            turn.warn(f"The processes of {self._session.called} {too_much}.")
        elif self.may_suspend() and not await asyncio.to_thread(self.life.commands):
            # Not waited for: the end of the process ends the watch that has called this.
            self.spawn(self._suspend_for(f"'{self._session.name}' was suspended: its processes {too_much}."))

    async def _suspend_for(self, reason: str) -> None:
        if await self.suspend():
            log.info("session %s", reason)
            self._session.news = self._session.news or f"Session {reason}"

    # -- interrupting and ending --------------------------------------------------------------

    def interrupt(self, turn: Turn | None) -> None:
        turn = turn or self.working or self._prompts.current
        if turn is None or turn.done():
            return
        if turn is self.attribution.own:
            self._hurry(turn)
        elif turn is not self._prompts.current:
            self._prompts.take_back(turn)
            turn._finish(Status.INTERRUPTED)
        elif self.attribution.turn is None:  # nothing written yet: starting, or Claude's own turn goes first
            turn._finish(Status.INTERRUPTED)
            self._prompts.over.set()
        else:
            self._hurry(turn)

    def _hurry(self, turn: Turn) -> None:
        """Interrupt the running turn; the second time, or when nothing comes of it, end the process."""
        process = self.life.now
        if process is None or self.state not in WORKING:
            return
        again = self.state is State.INTERRUPTING
        turn.wants_interrupt = True
        turn.log.interrupt()
        self.move(Event.INTERRUPT)
        turn.note("interrupting")
        if again:
            log.info("session %r: interrupted twice, ending the process", self._session.name)
            self.life.kill()
        else:
            self.spawn(self._see_interrupted(process, self._end_of(turn)))

    def _end_of(self, turn: Turn) -> Flag:
        """Set when the turn's result is there; a prompt's turn may have failed before that."""
        if turn is not self.attribution.own:
            return self._prompts.over
        over = Flag()
        turn.on_end(over.set)
        return over

    async def _see_interrupted(self, process: ClaudeProcess, over: Flag) -> None:
        await process.interrupt()
        if await over.wait_at_most(self._keeper.interrupt_timeout):
            return
        if self.life.now is process and self.state is State.INTERRUPTING:
            log.info("session %r: the interrupt was not honoured, ending the process", self._session.name)
            self.life.kill()

    async def new_conversation(self) -> None:
        with self.life.being_stopped():  # what is asked meanwhile belongs to the new one
            await self.stop()
            self.record.earlier_ids.append(self._session.id)
            self.record.session_id = str(uuid.uuid4())
            self._begin_anew()
            self._keeper.save(self._session)

    def cancel_queue(self) -> None:
        """A stop or a new conversation was asked for: what waits now is not sent any more."""
        self._prompts.cancel(STOPPED)

    async def stop(self) -> None:
        """End the process in an orderly way, whatever it is doing."""
        with self.life.being_stopped():
            await self.cut(self._keeper.interrupt_timeout)
            had_process = self.life.now is not None
            await self.life.stop()
        if had_process:
            await asyncio.to_thread(self._keeper.keep, self._session)

    # -- the end, step by step, for `shutdown.py` ----------------------------------------------

    def close(self, reason: str) -> None:
        """Take no more prompts; the queued ones end as cancelled."""
        self.closing = reason
        self.idle.stop()
        last = self._session.last_turn
        if last is not None and last.wants_interrupt and last.ended_within(_SHUTDOWN_FOLLOWS):
            # Jupyter interrupts a kernel just before it asks it to shut down: it was not the person.
            last.cancelled(reason)
            self._ends.note_cut(last, reason)
        self._prompts.cancel(reason)

    def reopen(self) -> None:
        """Take prompts again."""
        self.closing = None

    def tell(self, what: str) -> None:
        """The reader of the running turn is told what happens."""
        turn = self.running
        if turn is not None:
            turn.note(what)

    async def over(self, seconds: float) -> bool:
        """Whether the running turn ends by itself within so many seconds."""
        turn = self.running
        return turn is None or await self._end_of(turn).wait_at_most(seconds)

    def abandon(self) -> None:
        """The running turn has had its time; what comes of it now is not waited for."""
        for turn in (self._prompts.current, self.attribution.own):
            if turn is not None:
                turn._finish(Status.CANCELLED, reason=self.closing)

    async def cut(self, seconds: float) -> bool:
        """Interrupt the running turn and give it so long to be recorded; whether it was."""
        turn = self._prompts.current
        if turn is not None and self.attribution.turn is None:  # nothing of it was written
            turn._finish(Status.CANCELLED, reason=self.closing or STOPPED)
            self._prompts.over.set()
        turn = self.working
        if turn is None:
            return True
        over = self._end_of(turn)
        if self.state is State.BUSY:
            self._hurry(turn)
        return await over.wait_at_most(seconds)
