"""The states of a session and the events that move it between them: one table, no I/O.

A *session* is one conversation; the process behind it comes and goes. `next_state` is the only way
from one state to another, and a pair that the table does not name is an error in this package, not
in the user's notebook.

    created ──START──▶ starting ──READY──▶ idle ◀──RESULT── busy ◀─┐
                          ▲                 │ └────PROMPT────▶│    │PROMPT
                          │                 │             INTERRUPT│
                        START            SUSPEND              ▼    │
                          │                 ▼           interrupting ──RESULT──▶ idle
                      suspended ◀─ENDED─ suspending

    any live state ──STOP──▶ stopping ──ENDED──▶ stopped         (START begins again)
    any live state ──EXITED──▶ dead ──START──▶ starting          (the process ended unasked)
"""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    """What a session is doing now."""

    CREATED = "created"
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTING = "interrupting"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DEAD = "dead"


class Event(enum.StrEnum):
    """What happened to a session."""

    START = "start"  # a process is wanted
    READY = "ready"  # Claude Code has answered the first control request
    PROMPT = "prompt"  # a prompt was written
    INTERRUPT = "interrupt"  # the turn is asked to end
    RESULT = "result"  # the turn has ended
    SUSPEND = "suspend"  # the idle process is asked to end
    STOP = "stop"  # the process is asked to end, whatever it is doing
    ENDED = "ended"  # the process has ended, as asked
    EXITED = "exited"  # the process has ended unasked


# A process exists, or is being made or ended.
ALIVE = frozenset(
    {State.STARTING, State.IDLE, State.BUSY, State.INTERRUPTING, State.SUSPENDING, State.STOPPING}
)
# A prompt can be written now.
READY = frozenset({State.IDLE})
# A turn is under way.
WORKING = frozenset({State.BUSY, State.INTERRUPTING})
# The next prompt starts a process.
ASLEEP = frozenset({State.CREATED, State.SUSPENDED, State.STOPPED, State.DEAD})

_TABLE: dict[State, dict[Event, State]] = {
    State.CREATED: {Event.START: State.STARTING, Event.STOP: State.STOPPING},
    State.STARTING: {Event.READY: State.IDLE, Event.STOP: State.STOPPING, Event.EXITED: State.DEAD},
    State.IDLE: {
        Event.PROMPT: State.BUSY,
        Event.SUSPEND: State.SUSPENDING,
        Event.STOP: State.STOPPING,
        Event.EXITED: State.DEAD,
    },
    State.BUSY: {
        Event.RESULT: State.IDLE,
        Event.INTERRUPT: State.INTERRUPTING,
        Event.STOP: State.STOPPING,
        Event.EXITED: State.DEAD,
    },
    State.INTERRUPTING: {
        Event.RESULT: State.IDLE,
        # Asked twice: the second time the process is ended instead.
        Event.INTERRUPT: State.INTERRUPTING,
        Event.STOP: State.STOPPING,
        Event.EXITED: State.DEAD,
    },
    # A process that dies while it is being suspended or stopped has done what was wanted.
    State.SUSPENDING: {
        Event.ENDED: State.SUSPENDED,
        Event.EXITED: State.SUSPENDED,
        Event.STOP: State.STOPPING,
    },
    State.STOPPING: {Event.ENDED: State.STOPPED, Event.EXITED: State.STOPPED},
    State.SUSPENDED: {Event.START: State.STARTING, Event.STOP: State.STOPPING},
    State.STOPPED: {Event.START: State.STARTING},
    State.DEAD: {Event.START: State.STARTING, Event.STOP: State.STOPPING},
}


class IllegalTransition(Exception):
    """The event cannot happen in the state. `state` and `event` say which."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"a session that is {state} cannot take the event {event!s}")
        self.state = state
        self.event = event


def next_state(state: State, event: Event) -> State:
    """The state that follows `event` in `state`; raises `IllegalTransition`."""
    try:
        return _TABLE[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None
