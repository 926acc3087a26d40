"""Look at processes from the kernel, and end what a guard that was killed has left behind.

A process is its pid *and* its start time, within one boot of the machine; a process of ours that nobody
wrote down bears the exact environment entry `CLAUDE_NB_SESSION=<marker>`. Names, command lines and
substrings prove nothing. The reading and the signalling is the guard's own (`guard.py`), so that kernel and
guard always mean the same process. psutil is imported where it is used, since loading the extension does not
need it and it is slow to import.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from claude_nb import guard
from claude_nb.guard import boot_id as boot_id

SWEEP_LIMIT = 5.0  # what a SIGKILL has not ended by then it cannot end
ROUND = 0.02  # between two looks at what was killed


# What /proc does not show in some containers, and what is then not promised.
NO_PROC = (
    "/proc is not mounted, and Claude Code does not start without it: run `mount -t proc proc /proc`, "
    "or have the container started with one."
)
NO_BOOT_ID = (
    "/proc shows no boot id: if kernel and guard are both killed, the next start ends only those of Claude "
    "Code's processes that carry its marker in their environment."
)
HIDDEN = (
    "/proc hides processes (`hidepid`): one of Claude Code's that changes its user or forbids tracing is "
    "not seen, and may outlive the session."
)


class Identity(NamedTuple):
    """One process for good: `start` in clock ticks since boot on Linux, in seconds since 1970 elsewhere."""

    pid: int
    start: int


def identify(pid: int) -> Identity | None:
    """Who has this pid now."""
    start = guard.started(pid)
    return None if start is None else Identity(pid, start)


def alive(identity: Identity) -> bool:
    """Whether exactly this process runs. A zombie does not."""
    row = guard.look_at(identity.pid)
    return row is not None and row[1] == identity.start and not row[2]


def not_promised(proc: str = guard.PROC) -> list[str]:
    """What is less certain here than elsewhere, since /proc does not show everything; a sentence each."""
    if not guard.LINUX:
        return []
    if not Path(proc, "self", "stat").exists():
        return [NO_PROC]
    reasons = [] if boot_id(proc) else [NO_BOOT_ID]
    # The first process always runs, and is another user's or cannot be traced.
    return reasons if guard.look_at(1, proc) else [*reasons, HIDDEN]


def carries(pid: int, marker: str) -> bool:
    """Whether the process was started with exactly our marker in its environment."""
    if not guard.LINUX:
        import psutil  # type: ignore[import-untyped, unused-ignore]

        try:
            return bool(psutil.Process(pid).environ().get(guard.MARKER_VARIABLE) == marker)
        except (psutil.Error, OSError):
            return False
    try:
        entries = Path(f"{guard.PROC}/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone, another user's, or not to be inspected
        return False
    return f"{guard.MARKER_VARIABLE}={marker}".encode() in entries


def read_ledger(ledger: str | os.PathLike[str], marker: str, proc: str = guard.PROC) -> set[Identity]:
    """The processes that a guard wrote down, if it was certainly in this boot and for this marker."""
    boot = boot_id(proc)
    try:
        entries = json.loads(Path(ledger).read_text())
        if not boot or entries["boot"] != boot or entries["marker"] != marker:
            return set()
        return {Identity(int(pid), int(start)) for pid, start in entries["processes"]}
    except (OSError, ValueError, TypeError, KeyError):
        return set()


def tree(identity: Identity) -> set[Identity]:
    """The process and its descendants, as far as they run."""
    table = guard.process_table()
    row = table.get(identity.pid)
    if row is None or row[1] != identity.start:
        return set()
    everyone = {identity, *guard.below([identity.pid], table)}
    return {Identity(pid, start) for pid, start in everyone if not table[pid][2]}


def tree_rss(identity: Identity) -> int:
    """The resident memory of the process and its descendants in bytes, pages they share counted each time."""
    import psutil  # type: ignore[import-untyped, unused-ignore]

    total = 0
    for member in tree(identity):
        with contextlib.suppress(psutil.Error, OSError):
            total += psutil.Process(member.pid).memory_info().rss
    return total


def cpu_seconds(identity: Identity) -> float:
    """Processor time of the process and its living descendants in seconds, user and system."""
    import psutil

    total = 0.0
    for member in tree(identity):
        with contextlib.suppress(psutil.Error, OSError):
            times = psutil.Process(member.pid).cpu_times()
            total += times.user + times.system
    return total


def end_left_over(
    marker: str, ledger: str | os.PathLike[str] | None = None, known: Iterable[Identity] = ()
) -> set[Identity]:
    """End what is left of a session whose guard is dead, and return the processes that were ended.

    That is: whoever `ledger` or `known` names and still runs, whoever carries `marker`, and all of their
    descendants. Call it only when the guard is gone, and not from the event loop: it blocks until two scans
    in a row find nothing, at most SWEEP_LIMIT seconds. `known` must be of this boot.
    """
    named = set(known) | (read_ledger(ledger, marker) if ledger else set())
    ended: set[Identity] = set()
    deadline = time.monotonic() + SWEEP_LIMIT
    empty = 0  # a marker reads empty in the middle of an exec, so one look is not enough
    while empty < 2 and time.monotonic() < deadline:
        left = stop_all(named | ended, marker)
        for process in left:
            guard.send(process, signal.SIGKILL)
        ended |= left
        empty = 0 if left else empty + 1
        time.sleep(ROUND)
    return {process for process in ended if not alive(process)}


def stop_all(named: set[Identity], marker: str) -> set[Identity]:
    """Stop everyone concerned, so that nothing can respawn what is killed next."""
    stopped: set[Identity] = set()
    deadline = time.monotonic() + SWEEP_LIMIT / 10
    while (new := find(named | stopped, marker) - stopped) and time.monotonic() < deadline:
        for process in new:
            guard.send(process, signal.SIGSTOP)
        stopped |= new
    return stopped


def find(named: set[Identity], marker: str) -> set[Identity]:
    """Who runs of those named, those who carry the marker, and their descendants, but never our own line."""
    table = guard.process_table()
    ours = {pid for pid, start in named if pid in table and table[pid][1] == start}
    ours |= {pid for pid in table if carries(pid, marker)}
    ours -= line_of(os.getpid(), table)
    found = {Identity(pid, table[pid][1]) for pid in ours} | {Identity(*p) for p in guard.below(ours, table)}
    return {process for process in found if not table[process.pid][2] and process.pid != os.getpid()}


def line_of(pid: int, table: guard.Table) -> set[int]:
    """The process and its ancestors."""
    line: set[int] = set()
    while pid in table and pid not in line:
        line.add(pid)
        pid = table[pid][0]
    return line
