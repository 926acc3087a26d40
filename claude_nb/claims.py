"""Which live kernel uses a session, and whether the session's last process is gone.

Two locks stand for a session, each in a file named after its record:

* the *claim*, `claims/<record id>.lock`: the kernel that uses the session holds it from the first use until
  it lets go or dies, also while the session is suspended. It is a lock of the kernel's process alone (see
  `locks.py`), so the kernel's death frees it at once, whatever the kernel has forked. The file names the
  owner, for the message to whoever wants the session too.
* the *process lock*, `locks/<record id>.lock`: the session's guard holds it until its last descendant is
  gone. Only who has the claim starts a guard, so only who has the claim may ask about it.

Neither is ever broken: a session is free when its lock is, and another host or container that shares the
folder counts for as much as a kernel here. `runtime` is always our own runtime folder, see
`Registry.default`.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from claude_nb import locks
from claude_nb.errors import SessionInUse
from claude_nb.private import private_folder, unusable
from claude_nb.processes import Identity, alive, boot_id, identify

RECORD_ID = re.compile(r"[0-9a-f]{32}")
# The purpose of a claim that is over in a moment: who meets it waits.
SWEEP = "sweep"
# Longer than a sweep of one session can take.
SWEEP_PATIENCE = 8.0
# A claimant needs a moment between taking the lock and saying who it is.
_INTRODUCTION = 0.1
# Between two looks at a process lock.
_POLL = 0.02


# -- who and where we are --------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a pid means something: a host, a boot of it, a pid namespace (None where there are none)."""

    host: str
    boot: str
    pid_namespace: str | None


@functools.cache
def here() -> Place:
    """This process's place."""
    try:
        namespace: str | None = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = None
    return Place(socket.gethostname(), boot_id(), namespace)


def place_of(said: Mapping[str, Any]) -> Place:
    """The place that a record's or an owner's fields name."""
    return Place(str(said.get("host")), str(said.get("boot")), said.get("pid_namespace"))


def identity_of(said: Any) -> Identity | None:
    """The process that a file names as {pid, start} or [pid, start]; None where it names none."""
    if isinstance(said, Mapping):
        said = (said.get("pid"), said.get("start"))
    if isinstance(said, list | tuple) and len(said) == 2 and all(type(number) is int for number in said):
        return Identity(*said)
    return None


def this_kernel(notebook: str | None = None, *, purpose: str = "use") -> dict[str, Any]:
    """What a claim says of this process: kernel, since (unix seconds), notebook, purpose and place."""
    me = identify(os.getpid())
    kernel = None if me is None else me._asdict()
    place = here()._asdict()
    return {"kernel": kernel, "since": time.time(), "notebook": notebook, "purpose": purpose, **place}


def proven_dead(owner: Mapping[str, Any]) -> bool:
    """The kernel was one of this place and does not run any more. Of any other place nothing is proven."""
    kernel = identity_of(owner.get("kernel"))
    return kernel is not None and place_of(owner) == here() and not alive(kernel)


def in_words(seconds: float) -> str:
    """A length of time as one would say it: `3 min`, `2 h`, `4 days`."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            number = int(seconds // length)
            return "1 day" if (number, unit) == (1, "days") else f"{number} {unit}"
    return f"{max(0, int(seconds))} s"


# -- claims ----------------------------------------------------------------------------------------


class Claim:
    """This kernel's use of a session. `release` it, or use it in a `with`; the process's end releases it."""

    def __init__(self, record_id: str, runtime: Path, lock: locks.Lock) -> None:
        self.record_id = record_id
        self._runtime = runtime
        self._lock = lock

    def __repr__(self) -> str:
        return f"<Claim on {self.record_id}, {'held' if self.held else 'released'}>"

    @property
    def held(self) -> bool:
        """Whether it is in force; in a forked child it is not."""
        return self._lock.held

    def release(self, *, forget: bool = False) -> None:
        """Let another kernel use the session. `forget` when its record is gone: the lock files go too."""
        if forget and self.held and process_lock_free(self.record_id, self._runtime):
            _path(self._runtime, "locks", self.record_id).unlink(missing_ok=True)
        self._lock.release(remove=forget)

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def claim(
    record_id: str,
    runtime: Path,
    owner: Mapping[str, Any],
    *,
    wait: float = 0.0,
    sweep_wait: float = SWEEP_PATIENCE,
    name: str | None = None,
) -> Claim:
    """Take the session for this kernel, waiting at most `wait` seconds, or `sweep_wait` for a sweep of it.

    `owner` is `this_kernel()`; `name` is the session's, for the message. Raises `SessionInUse`, also
    when another manager of this very process has the session.
    """
    path = _path(runtime, "claims", record_id)
    began = time.monotonic()
    while True:
        lock = locks.take(path, max(0.0, began + wait - time.monotonic()))
        if lock is not None:
            try:
                lock.write(json.dumps({"since": time.time(), **owner}))
            except OSError:
                lock.release()
                raise
            return Claim(record_id, runtime, lock)
        rival = _introduced(path)
        swept = rival is not None and rival.get("purpose") == SWEEP
        if rival is not None and time.monotonic() >= began + (sweep_wait if swept else wait):
            raise _in_use(rival, name)
        if swept:
            time.sleep(_POLL)


def holder(record_id: str, runtime: Path) -> dict[str, Any] | None:
    """Who uses the session, without touching its claim: the owner's fields, None if nobody does.

    The answer is empty if the owner has not said who it is. A sweep is nobody's use.
    """
    owner = _introduced(_path(runtime, "claims", record_id))
    return None if owner is None or owner.get("purpose") == SWEEP else owner


def _introduced(path: Path) -> dict[str, Any] | None:
    """The lock's holder, given a moment to say who it is; None if the lock is free."""
    deadline = time.monotonic() + _INTRODUCTION
    while True:
        locked, line = locks.read(path)
        if not locked:
            return None
        owner = _parsed(line)
        if owner and not proven_dead(owner):
            return owner
        if time.monotonic() > deadline:
            return {}
        time.sleep(_INTRODUCTION / 20)


def _parsed(line: str) -> dict[str, Any]:
    try:
        owner = json.loads(line)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _in_use(owner: Mapping[str, Any], name: str | None) -> SessionInUse:
    since = owner.get("since")
    since = float(since) if isinstance(since, int | float) else None
    session = "The session" if name is None else f"Session {name!r}"
    kernel = identity_of(owner.get("kernel"))
    if kernel is not None and place_of(owner) == here() and kernel.pid == os.getpid():
        who, cure = "another SessionManager of this kernel", "shut that manager down"
    else:
        who, cure = f"another kernel{_described(owner, kernel)}", "shut that kernel down"
    duration = "" if since is None else f", for {in_words(time.time() - since)}"
    message = f"{session} is in use by {who}{duration}. Use another name, or {cure} and try again."
    return SessionInUse(message, owner, since)


def _described(owner: Mapping[str, Any], kernel: Identity | None) -> str:
    """What tells one kernel from another, in parentheses."""
    notebook, host = owner.get("notebook"), owner.get("host")
    parts = [
        f"pid {kernel.pid}" if kernel else "",
        f"notebook {notebook}" if notebook else "",
        f"on {host}" if host and host != here().host else "",
    ]
    known = ", ".join(part for part in parts if part)
    return f" ({known})" if known else ""


# -- the process lock ------------------------------------------------------------------------------


def process_lock(record_id: str, runtime: Path) -> Path:
    """The file that the session's guard locks (its `--lock`); makes the folder that it is in."""
    path = _path(runtime, "locks", record_id)
    private_folder(runtime)
    private_folder(path.parent)
    return path


def process_lock_free(record_id: str, runtime: Path) -> bool:
    """Whether no guard of the session is left anywhere. Only for who has the claim."""
    path = _path(runtime, "locks", record_id)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise unusable(path, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)  # a child that another thread has just forked has a copy of `fd`
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def wait_for_process_lock(record_id: str, runtime: Path, seconds: float) -> bool:
    """Whether the session's last guard is gone within so many seconds. Blocks; only for who has the claim."""
    deadline = time.monotonic() + seconds
    while not process_lock_free(record_id, runtime):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def _path(runtime: Path, kind: str, record_id: str) -> Path:
    if not RECORD_ID.fullmatch(record_id):
        raise ValueError(f"not a record's id: {record_id!r}")
    return runtime / kind / f"{record_id}.lock"
