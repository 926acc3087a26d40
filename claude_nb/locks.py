"""Locks that a process holds as long as it lives and no longer, whatever its children do.

A POSIX record lock (`fcntl.lockf`) belongs to one process: a forked worker of a dead kernel does not keep
it, as it would keep a `flock`, and it works between hosts over NFS. In return it has two traps:

* it is lost as soon as the process closes *any* descriptor of the file. So all our locks stand in one
  table, by the file's identity, and a file that stands there is never opened again.
* it does not keep two threads of one process apart. The table does.

A lock's file may be removed by whoever holds it: each taker looks again, once it has the lock, whether the
file it locked is still the one of that name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from claude_nb.errors import ClaudeNbError
from claude_nb.private import private_folder, telling

# Between two tries for a lock that somebody holds.
POLL = 0.01
# A line about its holder is all that a lock's file contains.
_MOST_CONTENT = 8192
_LINUX = sys.platform == "linux"
# C's `struct flock`, which has another order on the BSDs and on macOS.
_FLOCK = struct.Struct("hhqqi") if _LINUX else struct.Struct("qqihhi")
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)

FileId = tuple[int, int]


@dataclass(eq=False)
class Lock:
    """A lock that this process holds."""

    path: Path
    fd: int
    pid: int

    def __repr__(self) -> str:
        return f"<Lock {self.path.name}, {'held' if self.held else 'released'}>"

    @property
    def held(self) -> bool:
        """Whether this process holds it; a forked child of the holder does not."""
        return self.fd >= 0 and self.pid == os.getpid()

    def write(self, line: str) -> None:
        """Say in the file who holds it: one line, which a reader sees whole."""
        content = line.encode() + b"\n"
        with telling(self.path):
            os.pwrite(self.fd, content, 0)  # a reader stops at the first line's end: the old tail is no harm
            os.ftruncate(self.fd, len(content))

    def release(self, *, remove: bool = False) -> None:
        """Let go, and with `remove` also remove the file. A second time, or in a forked child: nothing."""
        with _table_lock:
            if not self.held:
                return
            del _table[_file_id(os.fstat(self.fd))]
            try:
                if remove:
                    self.path.unlink(missing_ok=True)
                else:
                    os.ftruncate(self.fd, 0)  # the next holder must not be taken for this one
            finally:
                os.close(self.fd)
                self.fd = -1


_table: dict[FileId, Lock] = {}
_table_lock = threading.Lock()


def _forget_in_child() -> None:
    """A forked child holds none of its parent's locks, and closing its copies does not release them."""
    global _table_lock
    _table_lock = threading.Lock()  # another thread of the parent may have had it
    for lock in _table.values():
        os.close(lock.fd)
        lock.fd = -1
    _table.clear()


os.register_at_fork(after_in_child=_forget_in_child)


def take(path: Path, seconds: float = 0.0) -> Lock | None:
    """The lock, or None if it is not free within so many seconds. Makes the file and its folder.

    Raises `ClaudeNbError` where the file system knows no locks.
    """
    deadline = time.monotonic() + seconds
    private_folder(path.parent.parent)
    private_folder(path.parent)
    while True:
        lock = _try(path)
        if lock is not None or time.monotonic() >= deadline:
            return lock
        time.sleep(POLL)


def _try(path: Path) -> Lock | None:
    with _table_lock:
        while not held_here(path):
            with telling(path):
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            if not _locked(fd, path):
                os.close(fd)
                return None
            if _file_id_of(path) == _file_id(os.fstat(fd)):
                lock = _table[_file_id(os.fstat(fd))] = Lock(path, fd, os.getpid())
                return lock
            os.close(fd)  # its holder removed it between our two lines
        return None


def _locked(fd: int, path: Path) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        os.close(fd)
        if error.errno in _UNSUPPORTED:
            raise ClaudeNbError(
                f"Files in {path.parent} cannot be locked ({error.strerror}), so that two kernels could use "
                "one session at a time. Set JUPYTER_RUNTIME_DIR to a folder on another file system and "
                "restart the kernel."
            ) from error
        raise
    return True


def held_here(path: Path) -> bool:
    """Whether this process holds it."""
    return _file_id_of(path) in _table


def read(path: Path) -> tuple[bool, str]:
    """Whether anybody holds the lock, without taking it, and the line in its file, if need be an old one."""
    with _table_lock:
        if held_here(path):
            return True, _first_line(_table[_file_id(path.lstat())].fd)
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False, ""
        try:
            return _is_locked(fd), _first_line(fd)
        finally:
            os.close(fd)


def _is_locked(fd: int) -> bool:
    """F_GETLK: who takes a lock only to look would be in the way of who wants it."""
    kind = fcntl.F_WRLCK
    question = _FLOCK.pack(kind, 0, 0, 0, 0) if _LINUX else _FLOCK.pack(0, 0, 0, kind, 0, 0)
    answer = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, question))
    return bool(answer[0 if _LINUX else 3] != fcntl.F_UNLCK)


def _first_line(fd: int) -> str:
    line, end, _ = os.pread(fd, _MOST_CONTENT, 0).partition(b"\n")
    return line.decode(errors="replace") if end else ""


def _file_id(status: os.stat_result) -> FileId:
    return status.st_dev, status.st_ino


def _file_id_of(path: Path) -> FileId | None:
    try:
        return _file_id(path.lstat())
    except FileNotFoundError:
        return None
