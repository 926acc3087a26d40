"""Which notebook a kernel runs, and whether a conversation is that notebook's.

A name proves nothing: notebooks are renamed, and the next `Untitled.ipynb` is another one. What does:

* the kernel's own id, which is in the name of its connection file: a restart keeps it
* the file's inode together with the time of its birth, which a rename keeps, also into another folder. A
  device's number is no part of it: it is another one after a boot, and on each host that mounts a folder
* ids of cells in which Claude was asked: a file that was replaced (by git, say) or moved by copying has them

Where a file system does not tell the time of birth an inode may have been used again, and the cells decide.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from claude_nb.names import without_suffix

_CONNECTION_FILE = re.compile(r"kernel-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json")
# statx(2): AT_FDCWD, the mask for the time of birth, the struct's size and where that time stands in it.
_AT_FDCWD, _STATX_BTIME, _STATX_SIZE, _STATX_BORN = -100, 0x800, 256, 80
# A notebook whose cells are looked at; one with more output than that is not read for it.
_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True)
class Notebook:
    """A notebook's file as one kernel has it. `born` is in nanoseconds; what is not known is None.

    Without a `path` it is no notebook but a console.
    """

    path: str | None = None
    inode: int | None = None
    born: int | None = None
    kernel: str | None = None

    @classmethod
    def at(cls, path: str | None, kernel: str | None = None) -> Notebook:
        """The one at this path, as it is on disk now."""
        return cls(path, *_identity(path), kernel)

    @classmethod
    def said(cls, value: Mapping[str, Any] | None) -> Notebook | None:
        """What `as_json` gave; None where nothing was said."""
        if value is None:
            return None
        known = {name: value.get(name) for name in ("path", "inode", "born", "kernel")}
        return cls(**known)

    def as_json(self) -> dict[str, Any]:
        """For a record."""
        return asdict(self)

    @property
    def never_named(self) -> bool:
        """It still has the name that every new notebook gets first."""
        return self.path is not None and Path(self.path).name.startswith("Untitled")

    @property
    def is_there(self) -> bool:
        """The file at its path is still this one, as far as that can be seen."""
        if self.path is None or not os.path.lexists(self.path):
            return False
        return self._is(Notebook.at(self.path)) is not False

    def is_of(self, now: Notebook) -> bool:
        """The same kernel runs it, perhaps after a restart."""
        return self.kernel is not None and self.kernel == now.kernel

    def is_same(self, now: Notebook, cells: Iterable[str] = ()) -> bool:
        """Whether a kernel's notebook is this one, in whose `cells` Claude was asked."""
        if self.is_of(now):
            return True
        if self.path is None or now.path is None:
            return self.path is now.path
        if self.inode is None and now.inode is None:  # the kernel does not see the server's files
            return self.path == now.path
        proven = self._is(now)
        if proven is None and self.path == now.path and not list(cells):
            return True
        if proven:
            return True
        moved = self.path == now.path or not self.is_there
        return moved and _has_one(now.path, cells)

    def _is(self, other: Notebook) -> bool | None:
        """By what the file system says; None if it does not say enough."""
        if self.inode is None or other.inode is None or self.inode != other.inode:
            return False
        if self.born is None or other.born is None:
            return None
        return self.born == other.born

    def follow(self, now: Notebook, cells: Iterable[str] = ()) -> Notebook:
        """This notebook where it is now; `now` is what a kernel that runs it was told when it started."""
        if self.inode is None:  # a file that is there now may be another one of the same name
            return now if self.path != now.path else replace(self, kernel=now.kernel)
        if self._is(now) is not False or _has_one(now.path, cells):
            return now
        for path in _siblings(self.path):
            found = Notebook.at(path, now.kernel)
            if self._is(found) is not False:
                return found
        return replace(self, kernel=now.kernel)


def here(told: str | None, folder: Path, kernel: Any) -> Notebook:
    """This kernel's. `told` is the path that its front end gave, `folder` where it was started."""
    if not told:
        return Notebook(kernel=_kernel_id(kernel))
    path = without_suffix(told)
    absolute = folder / path
    if not absolute.exists() and (folder / absolute.name).exists():  # it was relative to the server's folder
        absolute = folder / absolute.name
    return Notebook.at(str(absolute), _kernel_id(kernel))


def _kernel_id(kernel: Any) -> str | None:
    """The server's id of the kernel; None where the connection file is one that other kernels use too."""
    if kernel is None:
        return None
    from ipykernel.connect import get_connection_file

    with contextlib.suppress(RuntimeError, AttributeError):
        found = _CONNECTION_FILE.fullmatch(Path(get_connection_file()).name)
        return found[1] if found else None
    return None


def _identity(path: str | None) -> tuple[int | None, int | None]:
    if path is None:
        return None, None
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None, None
    return status.st_ino, _born(path, status)


def _born(path: str, status: os.stat_result) -> int | None:
    """The time of a file's birth. Python tells it everywhere but on Linux."""
    told = getattr(status, "st_birthtime", None)
    if told is not None or sys.platform != "linux":
        return None if told is None else int(told * 1e9)
    answer = ctypes.create_string_buffer(_STATX_SIZE)
    statx = getattr(ctypes.CDLL(None), "statx", None)
    if statx is None or statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, answer) != 0:
        return None
    (mask,) = struct.unpack_from("=I", answer)
    seconds, nanoseconds = struct.unpack_from("=qI", answer, _STATX_BORN)
    return int(seconds) * 1_000_000_000 + int(nanoseconds) if mask & _STATX_BTIME else None


def _siblings(path: str | None) -> list[str]:
    """The notebooks of the same folder."""
    try:
        return [] if path is None else [str(each) for each in sorted(Path(path).parent.glob("*.ipynb"))]
    except OSError:
        return []


def _has_one(path: str | None, cells: Iterable[str]) -> bool:
    """The notebook at this path has one of these cells."""
    wanted = [f'"{cell}"'.encode() for cell in cells]
    if not wanted or path is None:
        return False
    try:
        file = Path(path)
        content = file.read_bytes() if file.stat().st_size <= _LARGEST else b""
    except OSError:
        return False
    return any(cell in content for cell in wanted)
