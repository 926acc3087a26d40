"""What has become of the sessions since the last look, read from their records. No loop, no tornado.

A look at a folder in which nothing has changed is one `stat`; else only the records that were replaced are
read. Whoever writes a record replaces its file, which changes the folder's time.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from claude_nb import guard
from claude_nb.claims import RECORD_ID, here, identity_of, place_of
from claude_nb.doing import Action, doing_of, keeps_kernel
from claude_nb.everywhere import kernel_of, process_of
from claude_nb.processes import Identity, alive, line_of
from claude_nb.registry import Record, Registry

# A folder's time may have a resolution of a second; what changed since then could look unchanged.
_COARSE = 2.0

# What tells that a file is another one: replaced, or written in place.
Version = tuple[int, int, int]


@dataclass(frozen=True)
class Change:
    """One thing that has happened to a session; `time` in unix seconds."""

    action: Action
    record: Record
    time: float
    reason: str | None = None


class Watch:
    """The records as they were at the last look. Not for two threads at once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._folder = registry.data / "sessions"
        self._looked: tuple[int, float] | None = None
        self._versions: dict[str, Version] = {}
        self._records: dict[str, Record] = {}

    def __repr__(self) -> str:
        return f"<Watch on {self._folder}, {len(self._records)} records>"

    def look(self) -> list[Change]:
        """What has happened since the last look; the first one tells nothing. Raises `OSError`."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            changed = 0
        now = time.time()
        known = self._looked
        if known is not None and known[0] == changed and changed / 1e9 < known[1] - _COARSE:
            return []
        changes = self._read_changed() if changed else self._forget(set())
        self._looked = (changed, now)
        return changes if known is not None else []

    def _read_changed(self) -> list[Change]:
        versions = dict(_versions(self._folder))
        changes = self._forget(set(versions))
        for name, version in versions.items():
            if self._versions.get(name) == version:
                continue
            new = self._registry.get(name)
            if new is None:  # replaced or removed at this moment, or not a record: see next time
                continue
            changes += _changes(self._records.get(name), new)
            self._versions[name], self._records[name] = version, new
        return changes

    def _forget(self, there: set[str]) -> list[Change]:
        """The records that are gone: of a run where nobody was there, or removed by hand."""
        gone = [name for name in self._records if name not in there]
        for name in gone:
            del self._versions[name]
        records = [self._records.pop(name) for name in gone]
        return [Change("shutdown", record, time.time()) for record in records if doing_of(record).live]

    def busy(self, now: float) -> frozenset[int]:
        """The pids of the kernels to be kept, since a session is at work, and of the processes above them.

        `now` in unix seconds.
        """
        found: set[int] = set()
        for record in self._records.values():
            if record.process and keeps_kernel(doing_of(record), now) and process_of(record):
                kernel = kernel_of(record)
                found |= _line(kernel) if kernel is not None else set()
        return frozenset(found)

    def orphans(self) -> frozenset[str]:
        """The ids of the sessions whose record names a process, and whose kernel, of this place, is dead."""
        return frozenset(name for name, record in self._records.items() if _orphaned(record))


def _versions(folder: Path) -> list[tuple[str, Version]]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".json") and RECORD_ID.fullmatch(entry.name[:-5]):
                try:
                    state = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                found.append((entry.name[:-5], (state.st_mtime_ns, state.st_ino, state.st_size)))
    return found


def _changes(old: Record | None, new: Record) -> Iterator[Change]:
    """What has happened in this place since the old version of the record, in order."""
    if place_of(vars(new)) == here():
        seen = 0 if old is None else doing_of(old).number
        for one in doing_of(new).happened:
            if one.number > seen:
                yield Change(one.action, new, one.time, one.reason)


def _orphaned(record: Record) -> bool:
    if record.process is None or place_of(vars(record)) != here():
        return False
    kernel = identity_of(record.kernel)
    return kernel is not None and not alive(kernel)


@functools.lru_cache(maxsize=64)
def _line(kernel: Identity) -> frozenset[int]:
    """The kernel and what stands above it: a server may know only the program that started the kernel."""
    return frozenset({kernel.pid, *line_of(kernel.pid, guard.process_table())})
