"""What `/sessions` and `/status` tell, as data: one row a session, of this kernel and of others.

Read from records, locks and the live sessions; nothing is started and nothing is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from claude_nb.claims import holder
from claude_nb.doing import doing_of
from claude_nb.processes import cpu_seconds, tree_rss
from claude_nb.registry import Record
from claude_nb.state import ASLEEP, WORKING, State
from claude_nb.words import ago, counted, duration, megabytes

if TYPE_CHECKING:
    from claude_nb.session import Session

# Just after its turn a session is live; an idle time is worth telling from here on.
_IDLE_AFTER = 60.0


@dataclass(frozen=True)
class SessionInfo:
    """One row of `/sessions`. `last_activity` is in unix seconds; `state` and `active` are words.

    `working` says of a session of any kernel that a turn is under way.
    """

    name: str
    state: str
    model: str | None
    agent: str | None
    turns: int
    last_activity: float
    active: str
    current: bool
    live: bool
    working: bool
    folder: str
    archived: bool


def overview(
    records: list[Record], sessions: Mapping[str, Session], current: str | None, runtime: Path
) -> list[SessionInfo]:
    """The rows, the last active first. `sessions` are this kernel's, by record id."""
    rows = [_row(record, sessions.get(record.id), current, runtime) for record in records]
    return sorted(rows, key=lambda row: (-row.last_activity, row.name))


def _row(record: Record, session: Session | None, current: str | None, runtime: Path) -> SessionInfo:
    now = time.time()
    record = record if session is None else session.record
    return SessionInfo(
        name=record.name,
        state=state_words(session) if session is not None else _elsewhere(record, runtime, now),
        model=record.model,
        agent=record.agent,
        turns=record.turns,
        last_activity=record.last_activity,
        active=ago(now - record.last_activity),
        current=record.id == current,
        live=session is not None and session.state not in ASLEEP,
        working=session.state in WORKING if session is not None else doing_of(record).state in WORKING,
        folder=record.folder,
        archived=record.archived,
    )


def _elsewhere(record: Record, runtime: Path, now: float) -> str:
    if holder(record.id, runtime) is not None:
        return "in use by another kernel"
    if record.archived:
        return "archived"
    return _asleep(record, now) if record.turns else "never used"


def _asleep(record: Record, now: float) -> str:
    if record.last_activity == record.created:
        return "copied, not used yet"
    return f"suspended {duration(now - record.last_activity)}"


def status_facts(session: Session, idle_timeout: float) -> dict[str, str]:
    """Everything about one session, as words by name."""
    record = session.record
    facts = {
        "session": session.name,
        "state": state_words(session),
        "turns": str(session.turns),
        "last active": ago(time.time() - record.last_activity),
        "model": record.model or "Claude Code's default",
        "persona": record.agent or "none",
        "folder": record.cwd,
        "conversation": session.id,
    }
    if session.servers:
        facts["MCP servers"] = ", ".join(f"{name}: {state}" for name, state in session.servers.items())
    if session.conversation.unwritten is not None:
        facts["history"] = f"cannot be written: {session.conversation.unwritten}"
    if record.ended:
        facts["last turn"] = f"cancelled by a {record.ended['reason']}"
    alarms = [alarm.in_words() for alarm in session.conversation.scheduled.ahead(time.time())]
    if alarms:
        facts["scheduled"] = ", ".join(alarms)
    return facts | _process_facts(session) | _idle_facts(session, idle_timeout)


def _process_facts(session: Session) -> dict[str, str]:
    process = session.life.now
    state = process.guard_state() if process else None
    if state is None or session.life.started is None:
        return {"process": "none now; the next prompt starts it"}
    return {
        "process": f"pid {state.cli.pid}, up {duration(time.monotonic() - session.life.started)}",
        "memory": megabytes(tree_rss(state.guard)),
        "CPU": f"{cpu_seconds(state.guard):.1f} s",
        "guard": f"pid {state.guard.pid}" if state.guarded else "not running",
    }


def _idle_facts(session: Session, idle_timeout: float) -> dict[str, str]:
    facts = {"queue": counted(session.queued, "prompt")} if session.queued else {}
    if not idle_timeout:
        return facts | {"suspension": "never"}
    if session.conversation.scheduled.ahead(time.time()):
        return facts | {"suspension": "not while something is scheduled"}
    if session.idle_since is None:
        return facts | {"suspension": f"after {duration(idle_timeout)} without work"}
    left = idle_timeout - (time.monotonic() - session.idle_since)
    return facts | {"suspension": f"in {duration(max(left, 0.0))}"}


def state_words(session: Session) -> str:
    """The state as a reader says it: "live", "busy", "idle 3 min", "suspended 2 h"."""
    state = session.state
    if session.conversation.asking is not None:
        return "waiting for you"
    if state in WORKING:
        return "busy"
    if state is State.IDLE:
        idle = time.monotonic() - session.idle_since if session.idle_since is not None else 0.0
        return f"idle {duration(idle)}" if idle >= _IDLE_AFTER else "live"
    if state is State.SUSPENDED:
        return _asleep(session.record, time.time())
    if state is State.DEAD:
        return f"dead ({session.life.why_dead})" if session.life.why_dead else "dead"
    return str(state)
