"""The process's own stderr, which a terminal or a log shows and no cell.

ipykernel puts a pipe on descriptor 2, so that what is written there, also by way of `sys.__stderr__`, is an
output of the running cell. Where the descriptor led before is known to the stream that ipykernel has put into
`sys.stderr`: its `fileno` is meant for child processes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any


class OwnStderr:
    """Made while `sys.stderr` is the kernel's, before any cell captures it."""

    def __init__(self, kernel: Any) -> None:
        self._stream: Any = sys.__stderr__ if kernel is None else _kernels_stream()

    def __repr__(self) -> str:
        return f"<OwnStderr: {self._stream!r}>"

    def write_line(self, line: str) -> None:
        """Write it if anybody can read it. May block as long as the reader does not read."""
        descriptor = self._descriptor()
        if descriptor is not None:
            with contextlib.suppress(OSError):  # closed
                os.write(descriptor, f"{line}\n".encode())

    def _descriptor(self) -> int | None:
        for stream in (self._stream, sys.__stderr__ if self._stream is not None else None):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # none, or a stream without a pipe
                return int(stream.fileno())  # type: ignore[union-attr]
        return None


def _kernels_stream() -> Any:
    """None where `%%capture` or the user has put another one there: nobody knows then where it led."""
    from ipykernel.iostream import OutStream

    return sys.stderr if isinstance(sys.stderr, OutStream) else None
