"""End what a dead kernel and its dead guard have left, and set their records right.

Normally there is nothing to do: a guard ends everything when its kernel dies. What remains is for the case
that both were killed. A sweep looks at the records that name a process, and at the signed runtime folders
that no record names, and touches only what is provably nobody's:

* it was started in this place (host, boot, pid namespace), where a pid means something to us. Of an earlier
  boot nothing can run, so there only the record is set right. Another host's or container's is left alone.
* nobody has claimed the session. While it is swept, the sweep has the claim, so that no kernel resumes it.
* its kernel and its guard do not run, each by pid and start time, and its process lock is free.

Then `processes.end_left_over` ends who carries the exact marker or stands in the ledger. Any number of sweeps
may run at once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from claude_nb import claims, processes
from claude_nb.claims import here, identity_of, place_of, this_kernel
from claude_nb.doing import note_left_behind
from claude_nb.errors import ClaudeNbError, SessionInUse
from claude_nb.launch import GuardState
from claude_nb.private import UNFINISHED, replace_file
from claude_nb.processes import Identity, alive
from claude_nb.registry import Record, Registry

log = logging.getLogger(__name__)

SIGNATURE = "kernel.json"
# The record of a run where nobody was there is of no use once its kernel is gone, but for finding out why.
UNLISTED_KEPT = 86400.0
# A file that is still being written after so long has lost its writer.
_UNFINISHED_KEPT = 3600.0
_MARKER = re.compile(r"[0-9a-f]{32}")


@dataclass
class SweepReport:
    """What a sweep did. `left_alone` gives for each record's name or folder the reason why."""

    ended: set[Identity] = field(default_factory=set)
    set_right: list[Record] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    left_alone: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """A line for the log and the terminal."""
        done = f"{len(self.ended)} processes ended, {len(self.set_right)} records set right"
        done += f", {len(self.removed)} folders removed" if self.removed else ""
        reasons = "".join(f"; {name} left alone: {reason}" for name, reason in self.left_alone.items())
        return done + reasons


def sign(folder: Path) -> None:
    """Called by a kernel for the runtime folder of a process that it is about to start: whose it is."""
    replace_file(folder / SIGNATURE, json.dumps(this_kernel()).encode())


def sweep(registry: Registry) -> SweepReport:
    """Look at everything, once. Blocks, some milliseconds where there is nothing to do. Does not raise."""
    report = SweepReport()
    try:
        records = registry.records(archived=True, unlisted=True, must_list=True)
    except OSError as error:
        report.left_alone["everything"] = f"the session records cannot be read: {error}"
        log.warning("nothing can be swept, since %s", report.left_alone["everything"])
        return report
    named = {str(record.process.get("marker")) for record in records if record.process}
    for record in records:
        if record.process or _outdated(record):
            _try(record.name, report, partial(_sweep_record, registry, record, report))
    for folder in _folders(registry.runtime):
        if folder.name not in named:
            _try(folder.name, report, partial(_sweep_folder, folder, report))
    _try("unfinished files", report, partial(_remove_unfinished, registry))
    if report.ended or report.set_right or report.removed:
        log.info("swept: %s", report)
    return report


def _try(what: str, report: SweepReport, step: Callable[[], None]) -> None:
    """One thing that cannot be swept does not keep us from the others."""
    try:
        step()
    except SessionInUse:
        report.left_alone[what] = "it is in use"
    except (OSError, ClaudeNbError) as error:
        report.left_alone[what] = str(error)


# -- records ---------------------------------------------------------------------------------------


def take_over(registry: Registry, record: Record) -> set[Identity]:
    """Make the record this kernel's; for who has just claimed it, before it starts a process of its own.

    What an earlier process has left is ended first, and the processes that were ended are returned: none of
    another host or container, of which nothing can be said but that the locks are free. Afterwards
    `process` is None, `kernel` and place are ours, and the record is saved, if it can be. Raises
    `SessionInUse` while the process may still be somebody's. Blocks, some milliseconds or, if there is
    somebody to end, seconds.
    """
    ended: set[Identity] = set()
    if record.process is not None:
        reason = _reason_to_wait(registry, record)
        if reason is not None:
            raise SessionInUse(
                f"Session {record.name!r} cannot be used yet: {reason}. "
                "Try again in a moment, or use another name.",
                {"kernel": record.kernel, "notebook": record.notebook, "host": record.host},
            )
        ended = _end_process(registry, record)
    record.kernel = this_kernel()["kernel"]
    record.host, record.boot, record.pid_namespace = here()
    try:
        registry.save(record)
    except OSError as error:  # the claim on the session is in force all the same
        log.warning("session %r: its record could not be written: %s", record.name, error)
    return ended


def _sweep_record(registry: Registry, record: Record, report: SweepReport) -> None:
    if _elsewhere(record) and not _outdated(record):
        report.left_alone[record.name] = str(_elsewhere(record))
        return
    me = this_kernel(purpose=claims.SWEEP)
    with claims.claim(record.id, registry.runtime, me, name=record.name) as claim:
        now = registry.get(record.id)  # its kernel may have written it since, and let go
        if now is None:
            return
        reason = _reason_to_wait(registry, now) if now.process else None
        if reason is not None:
            report.left_alone[now.name] = reason
        elif now.process and not _elsewhere(now):
            report.ended |= _end_process(registry, now)
            report.set_right.append(now)
        if reason is None and _outdated(now):
            registry.remove(now)
            claim.release(forget=True)


def _elsewhere(record: Record) -> str | None:
    """Why we cannot know the record's processes; None if they were started here, be it before this boot."""
    place = place_of(vars(record))
    if place.host != here().host:
        return f"it is of another host, {record.host}"
    if place.boot == here().boot and place.pid_namespace != here().pid_namespace:
        return "it is of another container"
    return None


def _reason_to_wait(registry: Registry, record: Record) -> str | None:
    """Why the process of a record that we have claimed may still be somebody's; None if it is nobody's."""
    if place_of(vars(record)) == here():
        kernel, guard = identity_of(record.kernel), _guard_of(record)
        if kernel is not None and kernel.pid != os.getpid() and alive(kernel):
            return f"its kernel runs, pid {kernel.pid}"
        if guard is not None and alive(guard):
            return f"its guard is still ending it, pid {guard.pid}"
    if not claims.process_lock_free(record.id, registry.runtime):
        return "its guard still has its lock"
    return None


def _guard_of(record: Record) -> Identity | None:
    process = record.process or {}
    state = GuardState.read(_folder_of(process) / "state.json")
    if state is not None and state.marker == process.get("marker"):
        return state.guard
    return identity_of(process.get("guard"))


def _end_process(registry: Registry, record: Record) -> set[Identity]:
    process = record.process or {}
    ended: set[Identity] = set()
    if _MARKER.fullmatch(str(process.get("marker"))):
        folder = _folder_of(process)
        if place_of(vars(record)) == here():
            cli = identity_of(process.get("cli"))
            known = [] if cli is None else [cli]
            ended = processes.end_left_over(process["marker"], folder / "ledger.json", known)
        if not _elsewhere(record):
            _remove_folder(folder, process["marker"])
    record.process = None
    note_left_behind(record)
    registry.save(record)
    return ended


def _folder_of(process: Mapping[str, Any]) -> Path:
    return Path(str(process.get("folder") or os.devnull))


def _outdated(record: Record) -> bool:
    """Of a run where nobody was there, and over for some time."""
    return not record.listed and time.time() - record.last_activity > UNLISTED_KEPT


# -- runtime folders -------------------------------------------------------------------------------


def _folders(runtime: Path) -> Iterator[Path]:
    """The runtime folders of processes."""
    try:
        entries = sorted(os.listdir(runtime))  # noqa: PTH208 - there may be none at all
    except FileNotFoundError:
        return
    yield from (runtime / name for name in entries if _MARKER.fullmatch(name))


def _sweep_folder(folder: Path, report: SweepReport) -> None:
    """A folder that no record names: what is known of it is its signature and the guard's state."""
    signature = _read(folder / SIGNATURE)
    state = GuardState.read(folder / "state.json")
    kernel = identity_of(signature.get("kernel"))
    if kernel is None:
        if folder.is_dir():
            report.left_alone[folder.name] = "it does not say whose it is"
        return
    if place_of(signature).host != here().host:
        report.left_alone[folder.name] = f"it is of another host, {signature.get('host')}"
    elif place_of(signature).boot != here().boot:
        _remove_folder(folder, folder.name)
        report.removed.append(folder)
    elif place_of(signature) != here():
        report.left_alone[folder.name] = "it is of another container"
    elif not alive(kernel) and not (state and state.guarded):
        known = [state.cli] if state and state.marker == folder.name and state.boot == here().boot else []
        report.ended |= processes.end_left_over(folder.name, folder / "ledger.json", known)
        _remove_folder(folder, folder.name)
        report.removed.append(folder)


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _remove_folder(folder: Path, marker: str) -> None:
    """Remove the files in it and the folder, if it is a process's folder indeed."""
    if folder.name != marker or not folder.is_absolute() or folder.is_symlink():
        return
    try:
        for file in folder.iterdir():
            file.unlink(missing_ok=True)
        folder.rmdir()
    except FileNotFoundError:
        pass  # another sweep was faster
    except OSError as error:
        log.info("%s cannot be removed: %s", folder, error)


def _remove_unfinished(registry: Registry) -> None:
    """What a writer that was killed has left beside the records."""
    too_old = time.time() - _UNFINISHED_KEPT
    for file in (registry.data / "sessions").glob(f".*{UNFINISHED}"):
        with contextlib.suppress(FileNotFoundError):
            if file.lstat().st_mtime < too_old:
                file.unlink()
