"""The sessions of all kernels of this user, from files alone: for the server's API and the command line.

Nothing is started, claimed or written. What is told is named field by field: no prompt, no rule, no
environment and no marker is among it.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any, Literal

from claude_nb.claims import here, holder, identity_of, place_of
from claude_nb.doing import ASKING, Doing, doing_of
from claude_nb.processes import Identity, alive, cpu_seconds, tree_rss
from claude_nb.registry import Record, Registry
from claude_nb.state import State

# "asking": it waits for a person's answer. "orphaned": its kernel is dead, and a sweep will end it.
# "unused": no prompt was ever answered.
What = Literal["busy", "asking", "idle", "suspended", "dead", "orphaned", "unused", "archived"]


@dataclass(frozen=True)
class SessionRow:
    """One session. Times in unix seconds; `kernel` and `pid` are process ids of this place, None elsewhere.

    `memory` (bytes) and `cpu` (seconds) are of Claude Code, its guard and all that runs below them, `uptime`
    (seconds) of Claude Code. `since` says how long the state has lasted.
    """

    id: str
    name: str
    state: What
    since: float
    model: str | None
    agent: str | None
    turns: int
    last_activity: float
    folder: str
    notebook: str | None
    host: str
    kernel: int | None
    pid: int | None
    memory: int | None
    cpu: float | None
    uptime: float | None

    @property
    def live(self) -> bool:
        """There is a process."""
        return self.state in ("busy", "asking", "idle", "orphaned")


def look(registry: Registry, *, archived: bool = False, most: int | None = None) -> list[SessionRow]:
    """The rows, the last active first, at most so many; blocks for some milliseconds a live session.

    Sessions of runs where nobody is there come along while they have a process. Raises `OSError` where
    records cannot be listed.
    """
    records = registry.records(archived=True, unlisted=True, must_list=True)
    told = [r for r in records if r.process or (r.listed and (archived or not r.archived))]
    told.sort(key=lambda record: record.process is None)  # those with a process are never left out
    rows = [_row(record, registry) for record in told[:most]]
    return sorted(rows, key=lambda row: (-row.last_activity, row.name))


def as_dicts(rows: list[SessionRow]) -> list[dict[str, Any]]:
    """The rows as plain data, for JSON."""
    return [dataclasses.asdict(row) for row in rows]


def process_of(record: Record) -> Identity | None:
    """Claude Code behind the session, if it runs in this place."""
    cli = identity_of((record.process or {}).get("cli"))
    return cli if cli is not None and place_of(vars(record)) == here() and alive(cli) else None


def kernel_of(record: Record) -> Identity | None:
    """The kernel that used the session last, if it runs in this place."""
    kernel = identity_of(record.kernel)
    return kernel if kernel is not None and place_of(vars(record)) == here() and alive(kernel) else None


def _row(record: Record, registry: Registry) -> SessionRow:
    owner = holder(record.id, registry.runtime)
    process, said = process_of(record), doing_of(record)
    kernel = identity_of(owner.get("kernel")) if owner and place_of(owner) == here() else None
    return SessionRow(
        id=record.id,
        name=record.name,
        state=_state(record, said, process, in_use=owner is not None),
        since=said.since,
        model=record.model,
        agent=record.agent,
        turns=record.turns,
        last_activity=record.last_activity,
        folder=record.folder,
        notebook=record.notebook,
        host=record.host,
        kernel=None if kernel is None else kernel.pid,
        **_footprint(record, process),
    )


def _state(record: Record, said: Doing, process: Identity | None, *, in_use: bool) -> What:
    elsewhere = place_of(vars(record)) != here()
    if process is not None and not in_use:
        return "orphaned"
    if process is not None or (elsewhere and in_use and record.process):
        return "asking" if said.state == ASKING else "busy" if said.state == State.BUSY else "idle"
    if record.archived:
        return "archived"
    if said.state == State.DEAD and in_use:
        return "dead"
    return "suspended" if record.turns else "unused"


def _footprint(record: Record, process: Identity | None) -> dict[str, Any]:
    """What the process takes. It may end meanwhile: then it takes nothing."""
    if process is None or record.process is None:
        return {"pid": None, "memory": None, "cpu": None, "uptime": None}
    guard = identity_of(record.process.get("guard"))
    top = guard if guard is not None and alive(guard) else process
    since = record.process.get("since")
    uptime = round(max(0.0, time.time() - since), 1) if isinstance(since, int | float) else None
    return {"pid": process.pid, "memory": tree_rss(top), "cpu": round(cpu_seconds(top), 2), "uptime": uptime}
