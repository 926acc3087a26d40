"""Let a kernel that has imported the SDK end as quickly as one that has not.

claude_agent_sdk brings some 150,000 objects with it. At the interpreter's end the garbage collector walks
through all of them and takes them apart again, several times: half a second of processor time, felt at each
shutdown and restart. Nobody needs it, since the process is about to be gone; so at the very end the collector
is told to leave alone what is there.

The very end is `logging.shutdown`, public and the first exit function that is registered, so the last to run.
IPython has then cleared the user's namespace and collected its garbage. Whatever goes with its last reference
goes as ever; only what hangs together in circles is not taken apart any more. A file in such a circle would
be closed by it, so files are flushed before.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import sys

_WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


class LastOfAll(logging.Handler):
    """A handler of no logger: it waits for `logging.shutdown`, as long as somebody holds it."""

    def __init__(self) -> None:
        super().__init__()
        self._given_up = False

    def give_up(self) -> None:
        """As if it had never been."""
        self._given_up = True

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging for a record, which no logger passes to us."""

    def close(self) -> None:
        """Called by `logging.shutdown`."""
        if not self._given_up and "claude_agent_sdk" in sys.modules:
            flush_files()
            gc.freeze()
        super().close()


def flush_files() -> None:
    """Write out what waits in the buffers of any open file."""
    for thing in gc.get_objects():
        if type(thing) in _WRITERS:
            with contextlib.suppress(Exception):  # closed, detached, or nobody reads it any more
                thing.flush()
