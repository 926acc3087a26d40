"""Wait for what C code and child processes have printed at a cell's end.

They write to the file descriptors of stdout and stderr. ipykernel has put pipes there, and a thread for each
passes on what it reads to the stream's `write`, a moment later than the cell may have ended.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Seconds for each pipe. A program that never stops printing holds a cell up for so long, and no longer.
_PATIENCE = 1.0
_BETWEEN_LOOKS = 0.0005
# Where nothing tells what a thread is doing.
_A_MOMENT = 0.002


def drain(streams: Iterable[Any]) -> None:
    """Wait until what has been written to the streams' descriptors has reached their `write`."""
    pipes = [pipe for stream in streams if (pipe := _pipe_of(stream)) is not None]
    for descriptor, reader in pipes:
        deadline = time.monotonic() + _PATIENCE
        while not _is_drained(descriptor, reader) and time.monotonic() < deadline:
            time.sleep(_BETWEEN_LOOKS)


def _pipe_of(stream: Any) -> tuple[int, Any] | None:
    """The descriptor from which ipykernel reads, and the thread that does it."""
    descriptor, reader = getattr(stream, "_fid", None), getattr(stream, "watch_fd_thread", None)
    if type(descriptor) is not int or reader is None or not reader.is_alive():
        return None
    return descriptor, reader


def _is_drained(descriptor: int, reader: Any) -> bool:
    """Nothing is in the pipe, and its reader waits for more rather than with what it has read."""
    if _bytes_in(descriptor):
        return False
    try:
        call = Path(f"/proc/self/task/{reader.native_id}/syscall").read_text()
    except OSError:
        time.sleep(_A_MOMENT)
        return not _bytes_in(descriptor)
    # The number of the call, then its arguments; `read` has the descriptor first, waiting for a lock has not.
    return call.split()[1:2] == [hex(descriptor)]


def _bytes_in(descriptor: int) -> int:
    import fcntl  # there is none where there are no such pipes
    import termios

    answer = b"\0" * 4
    with contextlib.suppress(OSError):  # the stream has been closed
        answer = fcntl.ioctl(descriptor, termios.FIONREAD, answer)
    return int(struct.unpack("i", answer)[0])
