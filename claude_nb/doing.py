"""What a session is doing and what became of it, as its record says it: for who sees only files.

`record.doing` is {state, since, reason, happened}. The kernel that has the session writes it whenever it
saves the record, a sweep does it for a dead kernel. `happened` are the last things that a server tells as
events, each {number, action, time, reason}; the number counts them from 1 on, so that a reader misses none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from claude_nb.registry import Record
from claude_nb.state import State

if TYPE_CHECKING:
    from claude_nb.session import Session

Action = Literal["start", "suspend", "resume", "stop", "crash", "shutdown"]
ACTIONS: tuple[Action, ...] = get_args(Action)

# At work, but for a person's answer.
ASKING = "asking"
# There is a process, and nobody has asked it to end.
LIVE = frozenset({State.BUSY, State.IDLE, ASKING})
# Seconds for which a kernel is kept for an answer: who was called away is back by then, or asks again.
_ANSWER_PATIENCE = 3600.0
# A server looks twice a second; nobody suspends and wakes a session more often than that.
_KEPT = 8


@dataclass(frozen=True)
class Happening:
    """One thing that happened to a session; `time` in unix seconds."""

    number: int
    action: Action
    time: float
    reason: str | None


@dataclass(frozen=True)
class Doing:
    """`since` in unix seconds; `reason` is why it ended, where that is known."""

    state: str
    since: float
    reason: str | None = None
    happened: tuple[Happening, ...] = ()

    @property
    def live(self) -> bool:
        """There is a process, and nobody has asked it to end."""
        return self.state in LIVE

    @property
    def number(self) -> int:
        """How many things have happened."""
        return self.happened[-1].number if self.happened else 0


def doing_of(record: Record) -> Doing:
    """What the record says; one by a version that did not say it is taken to be idle, or suspended."""
    said = record.doing or {}
    state, since, reason = said.get("state"), said.get("since"), said.get("reason")
    happened = tuple(_happened(said.get("happened")))
    if not isinstance(state, str) or not isinstance(since, int | float):
        return Doing(State.IDLE if record.process else State.SUSPENDED, record.last_activity, None, happened)
    return Doing(state, float(since), reason if isinstance(reason, str) else None, happened)


def state_of(record: Record) -> str:
    """The same in a word, without a look at what has happened: this is asked at each message."""
    state = (record.doing or {}).get("state")
    return state if isinstance(state, str) else doing_of(record).state


def keeps_kernel(said: Doing, now: float) -> bool:
    """A server should keep the kernel, though nobody runs a cell; `now` in unix seconds."""
    return said.state == State.BUSY or (said.state == ASKING and now - said.since < _ANSWER_PATIENCE)


def _happened(said: Any) -> Iterator[Happening]:
    """What can be understood of it."""
    for one in said if isinstance(said, list) else ():
        if isinstance(one, dict) and one.get("action") in ACTIONS:
            number, when, reason = one.get("number"), one.get("time"), one.get("reason")
            if type(number) is int and isinstance(when, int | float):
                why = reason if isinstance(reason, str) else None
                yield Happening(number, cast(Action, one["action"]), float(when), why)


def note(record: Record, state: str, reason: str | None = None) -> None:
    """Put the state (a `State` or `ASKING`) into the record, and what has happened thereby."""
    with record.lock:
        old, now = doing_of(record), time.time()
        if record.doing is not None and old.state == state:
            return
        happened = list(old.happened)
        action = _action(record, state, reason)
        if action is not None:
            happened.append(Happening(old.number + 1, action, now, reason))
        kept = [vars(one) for one in happened[-_KEPT:]]
        record.doing = {"state": str(state), "since": now, "reason": reason, "happened": kept}


def _action(record: Record, new: str, reason: str | None) -> Action | None:
    """What has happened to the process when the record's state becomes a new one."""
    old = doing_of(record)
    was_live = record.doing is not None and old.live
    if new in LIVE:
        first = old.number == 0 and record.turns == 0
        return None if was_live else "start" if first else "resume"
    if not was_live:
        return None
    if new in (State.SUSPENDING, State.SUSPENDED):
        return "suspend"
    if new in (State.STOPPING, State.STOPPED):
        return "shutdown" if reason else "stop"
    return "crash"


def note_now(session: Session, ending: bool) -> None:
    """Called by the kernel before it saves the record. `ending`: the kernel itself comes to its end."""
    state: str = session.state
    if at_work(session):
        state = _work(session)
    elif state in (State.BUSY, State.INTERRUPTING):
        state = State.IDLE
    note(session.record, state, session.conversation.closing if ending else None)


def note_left_behind(record: Record) -> None:
    """Called by a sweep: the kernel that had the session is dead, and its process is gone."""
    said = doing_of(record)
    if said.live:
        note(record, State.DEAD, "its kernel died")
    elif said.state in (State.STOPPING, State.STARTING):
        note(record, State.STOPPED, said.reason)
    elif said.state == State.SUSPENDING:
        note(record, State.SUSPENDED)


def at_work(session: Session) -> bool:
    """A turn is under way, the person's or Claude's own, or a task that Claude sent to the background."""
    turn = session.conversation.working
    return (turn is not None and not turn.done()) or bool(session.conversation.attribution.tasks)


def _work(session: Session) -> str:
    """Claude asks, and nothing else of its, no command and no agent, goes on meanwhile."""
    turn, tasks = session.conversation.working, session.conversation.attribution.tasks
    if turn is not None and not turn.done() and turn.question is None:
        return State.BUSY
    questions = [asks.question for asks in (turn, *tasks.values()) if asks is not None and asks.question]
    agents = {question.agent for question in questions}
    return ASKING if questions and agents >= set(tasks) else State.BUSY


def noted(session: Session) -> bool:
    """Whether the record is right about the session being at work."""
    said = state_of(session.record)
    return said == _work(session) if at_work(session) else said not in (State.BUSY, ASKING)
