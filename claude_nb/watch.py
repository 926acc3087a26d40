"""Notice at once, in an event loop, that a process has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator

from claude_nb.processes import Identity, identify


@contextlib.contextmanager
def watched(process: Identity) -> Iterator[asyncio.Event]:
    """An event that is set when the process has ended; nobody polls for it.

    Where the system has no pidfds (macOS) it is never set, and the end of the process's output says it.
    """
    gone = asyncio.Event()
    try:
        fd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        fd = None
    if identify(process.pid) != process:  # ended already; what has the pid now is another's
        gone.set()
    loop = asyncio.get_running_loop()
    if fd is not None:
        loop.add_reader(fd, gone.set)
    try:
        yield gone
    finally:
        if fd is not None:
            loop.remove_reader(fd)
            os.close(fd)
