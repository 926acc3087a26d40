"""The log of one kernel's sessions: a private file in our runtime folder, named by `/status`.

What other libraries log in our threads goes there, too. Where nobody has configured logging, Python writes
such lines to stderr, which is the output of whatever cell runs at the moment.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from claude_nb.private import private_folder

_LOGGER = logging.getLogger("claude_nb")
# What is said before the first session's log begins is not for a cell either.
_LOGGER.addHandler(logging.NullHandler())
# The names of all our threads begin with it.
OUR_THREADS = "claude_nb"


class _PrivateFile(logging.FileHandler):
    """Made when there is something to say, for this user's eyes only."""

    def _open(self):  # type: ignore[no-untyped-def]
        path = Path(self.baseFilename)
        private_folder(path.parent.parent)
        private_folder(path.parent)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return os.fdopen(fd, "a", encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging. What cannot be written is lost: its reader has a notice, a cell no line."""
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Called by logging where writing failed, to print a traceback."""


class _LastResort(logging.Handler):
    """Has Python's place for records that no handler has taken; those of our threads go to our file."""

    def __init__(self, before: logging.Handler, file: logging.Handler) -> None:
        super().__init__(before.level)
        self.before = before
        self.file: logging.Handler | None = file

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging for a record of a logger that has no handler."""
        ours = (record.threadName or "").startswith(OUR_THREADS)
        (self.file if ours and self.file is not None else self.before).handle(record)

    def give_up(self, file: logging.Handler) -> None:
        """Write to that file no more, also where another handler has been put before this one."""
        if self.file is file:
            self.file = None
        if isinstance(self.before, _LastResort):
            self.before.give_up(file)


def start_log(runtime: Path) -> logging.Handler:
    """Write what this kernel's sessions log to a file; the handler says where (`baseFilename`)."""
    file = runtime / "logs" / f"kernel-{os.getpid()}.log"
    handler = _PrivateFile(file, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.INFO)
    _LOGGER.addHandler(handler)
    if _LOGGER.level == logging.NOTSET:
        _LOGGER.setLevel(logging.INFO)
    if logging.lastResort is not None:
        logging.lastResort = _LastResort(logging.lastResort, handler)
    # A handler of ours is no reason for the lines to appear in a cell, nor to hide them from a user's own.
    return handler


def stop_log(handler: logging.Handler) -> None:
    """Close the file, and remove it if it was never needed."""
    _LOGGER.removeHandler(handler)
    resort = logging.lastResort
    if isinstance(resort, _LastResort):
        resort.give_up(handler)
        if resort.file is None:
            logging.lastResort = resort.before
    handler.close()
