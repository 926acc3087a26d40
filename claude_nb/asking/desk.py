"""The questions that wait for a person, and how each is put to them.

A question belongs to a turn and is put where the turn was asked: as a card with buttons in a notebook, by
`input()` in a terminal, and by `input()` too where no front end has drawn the card soon and a
cell waits that can read. There is no time limit, and nothing but an answer is an answer. A question that
nobody sees stays open until a cell waits for its turn (`/wait`, `turn.result()`); then it is put there.

What a background agent asks belongs to the turn that started it, too, but does not end with it.

    ask ── put (card ── drawn? ── else input) ── answered ── the card becomes one line of text
                └──────── asked again in another cell ──┘
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from claude_nb.asking.question import PLAN, Decision, Question
from claude_nb.kernel.main_thread import Interrupted
from claude_nb.kernel.tools import RUN_CELL
from claude_nb.render import marks
from claude_nb.reply import ToolUseBlock

if TYPE_CHECKING:
    from claude_nb.asking.card import Event, QuestionCard
    from claude_nb.kernel.execute import Execution
    from claude_nb.kernel.surroundings import Stage, Surroundings
    from claude_nb.portal import Portal
    from claude_nb.turn import Turn

log = logging.getLogger(__name__)

# Seconds that a front end gets to draw a card before it is taken to be one that shows none; and one that has
# shown some before, which may be slow now.
_DRAWN_WITHIN, _DRAWN_AGAIN_WITHIN = 2.0, 15.0
# Code that is done sooner needs no button.
_STOP_AFTER = 1.5
WAITING = "waiting for you"


class Pending:
    """One open question of a turn. `answer` may be called from any thread, more than once."""

    def __init__(self, question: Question, turn: Turn, portal: Portal, agent: str | None = None) -> None:
        self.question = question
        self.turn = turn
        # The background agent that asks.
        self.agent = agent
        self.since = time.monotonic()
        self.stage: Stage | None = turn.stage
        self._portal = portal
        self.decided: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self.drawn = asyncio.Event()
        self.card: QuestionCard | None = None
        self.handle: Any = None
        self.showing: asyncio.Future[None] | None = None
        self.putting: asyncio.Task[None] | None = None
        self.reading: Future[Decision] | None = None

    def __repr__(self) -> str:
        state = "answered" if self.decided.done() else "open"
        return f"<Pending: {self.question.tool} of {self.question.session!r}, {state}>"

    def is_put_in(self, stage: Stage) -> bool:
        """It stands in that cell already, or is being put there. In the portal's loop."""
        if self.stage is None or _cell(self.stage) != _cell(stage):
            return False
        return self.drawn.is_set() or (self.putting is not None and not self.putting.done())

    async def shown(self) -> None:
        """A card that a thread is making is there; it is made to the end though its way was given up."""
        if self.showing is not None:
            await asyncio.wait({self.showing})

    @property
    def decision(self) -> Decision | None:
        """What was answered."""
        return self.decided.result() if self.decided.done() and not self.decided.cancelled() else None

    def answer(self, decision: Decision) -> None:
        """The first answer counts."""
        self._portal.call(self._decide, decision)

    def on_event(self, event: Event) -> None:
        """Called by the card, in whatever thread its message came."""
        if event.kind == "drawn":
            self._portal.call(self.drawn.set)
        elif event.decision is not None:
            self.answer(event.decision)

    def _decide(self, decision: Decision) -> None:
        if not self.decided.done():
            self.decided.set_result(decision)


class Desk:
    """The open questions of a kernel."""

    def __init__(self, surroundings: Surroundings, portal: Portal) -> None:
        self._surroundings = surroundings
        self._portal = portal
        self._turns: weakref.WeakKeyDictionary[Turn, asyncio.Lock] = weakref.WeakKeyDictionary()
        # A card was drawn in this kernel's front end.
        self._drew = False

    def __repr__(self) -> str:
        return f"<Desk of {self._surroundings!r}>"

    async def ask(self, question: Question, turn: Turn, agent: str | None = None) -> Decision:
        """Put the question and wait for its answer, for as long as the turn goes on, or the background agent.

        In the portal's loop. Claude may call several tools at once; a turn's questions are put one by one.
        """
        async with self._turns.setdefault(turn, asyncio.Lock()):
            return await self._ask(question, turn, agent)

    async def _ask(self, question: Question, turn: Turn, agent: str | None) -> Decision:
        if turn.done() and agent is None:
            return Decision("deny", "The turn was ended.", by="interrupt")
        if turn.done() and not _is_seen(turn.stage):
            return Decision("deny", "the turn is over, and nobody waits where it was asked", by="nobody")
        pending = turn.question = Pending(_with_plan(question, turn), turn, self._portal, agent)
        if agent is None:
            turn.on_end(lambda: pending.answer(Decision("deny", "The turn was ended.", by="interrupt")))
        turn.note(WAITING)
        turn.session.conversation.note_work()
        decision = Decision("deny", "The question was withdrawn.", by="interrupt")
        self._put(pending)
        try:
            decision = await pending.decided
        finally:
            turn.question = None
            turn.note("")
            turn.session.conversation.note_work()
            await self._settle(pending, decision)
        return decision

    def ask_again(self, turn: Turn) -> None:
        """A cell waits for the turn now: put its open question there. From any thread."""
        pending = turn.question
        if pending is None:
            return
        stage = self._surroundings.stage()

        def put() -> None:
            if pending.reading is None and not pending.decided.done() and not pending.is_put_in(stage):
                pending.stage = stage
                self._put(pending)

        self._portal.call(put)

    async def offer_stop(self, turn: Turn, execution: Execution, ended: asyncio.Future[Any]) -> None:
        """A button that ends the code, once it has run for a while. In the portal's loop."""
        while not ended.done() and execution.seconds < _STOP_AFTER:
            await asyncio.wait({ended}, timeout=_STOP_AFTER / 4)
        if ended.done():
            return
        turn._runs(execution)
        try:
            if turn.stage is not None and turn.stage.takes_cards and self._hears_clicks:
                await self._show_stop(turn, turn.stage, execution, ended)
        except Exception:  # the code goes on without a button
            log.exception("no Stop button could be shown")
        await asyncio.wait({ended})
        turn._runs(None)

    async def _show_stop(
        self, turn: Turn, stage: Stage, execution: Execution, ended: asyncio.Future[Any]
    ) -> None:
        from claude_nb.asking.card import QuestionCard, show_card, swap

        question = Question(turn.session.name, RUN_CELL, {"code": execution.code})

        def stop(event: Event) -> None:
            """Called by the card, in whatever thread its message came."""
            if event.kind == "stop":
                execution.stop()

        def show() -> tuple[QuestionCard, Any]:
            card = QuestionCard(question, stop)
            card.title, card.phase = "Claude's code is running", "running"
            self._listen(card)
            return card, show_card(card)

        card, handle = await asyncio.to_thread(_in_place(stage, show))
        await asyncio.wait({ended})

        def settle() -> None:
            self._forget(card)
            swap(handle, f"> {marks.ENDED} You stopped the code." if execution.stopped else "")

        await asyncio.to_thread(_in_place(stage, settle))

    # -- in the portal's loop ------------------------------------------------------------------

    def _put(self, pending: Pending) -> None:
        """One way at a time: what was tried before is given up."""
        if pending.putting is not None:
            pending.putting.cancel()
        pending.putting = asyncio.get_running_loop().create_task(self._put_here(pending))

    async def _put_here(self, pending: Pending) -> None:
        """By a card if it is drawn, else by `input()`."""
        try:
            if await self._by_card(pending):
                return
            await self._by_input(pending)
        except Interrupted:
            pending.answer(Decision("deny", "The person interrupted.", by="interrupt"))
        except Exception as error:
            log.exception("a question of %r could not be asked", pending.question.session)
            reason = f"the question could not be shown: {error}"
            pending.answer(Decision("deny", reason, by="nobody"))

    async def _by_card(self, pending: Pending) -> bool:
        """Whether a person sees it, or may see it later."""
        stage = pending.stage
        if stage is None or not stage.takes_cards:
            return False
        waited_for = self._surroundings.main_thread.waits_for(pending.turn)
        if waited_for and not self._hears_clicks:
            return False
        await self._show_card(pending, stage)
        waiting = {asyncio.ensure_future(pending.drawn.wait()), asyncio.ensure_future(_until(pending))}
        patience = _DRAWN_AGAIN_WITHIN if self._drew else _DRAWN_WITHIN
        await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        self._drew = self._drew or pending.drawn.is_set()
        return pending.drawn.is_set() or pending.decided.done()

    @property
    def _hears_clicks(self) -> bool:
        """While a cell runs."""
        early = self._surroundings.early
        return early is not None and early.available

    async def _show_card(self, pending: Pending, stage: Stage) -> None:
        from claude_nb.asking.card import QuestionCard, show_card, swap

        await pending.shown()
        if pending.decided.done():
            return
        former, old = pending.card, pending.handle
        pending.drawn.clear()

        def show() -> None:
            if old is not None:
                swap(old, f"> {marks.INFO} Asked again in another cell.")
            if former is not None:
                self._forget(former)
            card = QuestionCard(pending.question, pending.on_event)
            self._listen(card)
            pending.card, pending.handle = card, show_card(card)

        pending.showing = asyncio.ensure_future(asyncio.to_thread(_in_place(stage, show)))
        await asyncio.shield(pending.showing)

    async def _by_input(self, pending: Pending) -> None:
        """In a cell that waits for the turn; where none does the question stays open until one comes."""
        surroundings, stage = self._surroundings, pending.stage
        if pending.decided.done() or stage is None or not stage.someone:
            return
        read = _in_place(stage, lambda: self._read(pending))
        beside = not surroundings.main_thread.waits_for(pending.turn)
        if beside and not surroundings.subshells.wait_for(pending.turn):
            return
        await self._settle(pending, None)
        if pending.decided.done():  # by a click at the last moment
            return
        # `ask_again` must not begin a second one: this one is open until it is answered.
        if beside:
            pending.reading = surroundings.subshells.submit(pending.turn, read)
        else:
            pending.reading = surroundings.main_thread.submit(read, pending.turn.interrupted, in_cell=True)
        if pending.reading is None:  # the cell has stopped waiting
            return
        try:
            pending.answer(await asyncio.wrap_future(pending.reading))
        finally:
            pending.reading = None

    def _read(self, pending: Pending) -> Decision:
        """In the main thread."""
        from claude_nb.asking.ask_input import ask_by_input

        return ask_by_input(pending.question, input, print)

    async def _settle(self, pending: Pending, decision: Decision | None) -> None:
        """The card becomes static: what was decided, or where it is asked instead."""
        from claude_nb.asking.card import swap
        from claude_nb.asking.shown import settled_markdown

        await pending.shown()
        card, handle, stage = pending.card, pending.handle, pending.stage
        pending.card = pending.handle = None
        if handle is None or card is None or stage is None:
            return
        # Nobody has answered where the turn was interrupted: its own end is said once.
        unanswered = decision is None or decision.by == "interrupt"
        text = "" if decision is None or unanswered else settled_markdown(pending.question, decision)

        def settle() -> None:
            self._forget(card)
            swap(handle, text)

        await asyncio.to_thread(_in_place(stage, settle))

    def _listen(self, card: QuestionCard) -> None:
        if self._surroundings.early is not None:
            self._surroundings.early.register(card.comm_id, lambda data, _: card.receive(data))

    def _forget(self, card: QuestionCard) -> None:
        if self._surroundings.early is not None:
            self._surroundings.early.unregister(card.comm_id)


async def _until(pending: Pending) -> None:
    await asyncio.shield(pending.decided)


def _with_plan(question: Question, turn: Turn) -> Question:
    """Claude Code asks about a plan without telling it; what Claude wrote does."""
    if question.kind != "plan" or "plan" in question.input:
        return question
    told = [block.input for block in turn.blocks if isinstance(block, ToolUseBlock) and block.name == PLAN]
    return replace(question, input={**told[-1], **question.input}) if told else question


def _is_seen(stage: Stage | None) -> bool:
    """A question can be answered there though no cell waits for it."""
    return stage is not None and (stage.takes_cards or stage.kind == "chat")


def _cell(stage: Stage) -> str:
    return "" if stage.place is None else stage.place.cell


def _in_place(stage: Stage, function: Any) -> Any:
    """The function, such that what it shows lands in the stage's cell."""
    place = stage.place
    return function if place is None else lambda: place.run(function)
