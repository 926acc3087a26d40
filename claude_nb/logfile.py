"""The log of one kernel's sessions: a private file in our runtime folder, named by `/status`."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from claude_nb.private import private_folder

_LOGGER = logging.getLogger("claude_nb")


class _PrivateFile(logging.FileHandler):
    """Made when there is something to say, for this user's eyes only."""

    def _open(self):  # type: ignore[no-untyped-def]
        path = Path(self.baseFilename)
        private_folder(path.parent.parent)
        private_folder(path.parent)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return os.fdopen(fd, "a", encoding="utf-8")


def start_log(runtime: Path) -> logging.Handler:
    """Write what this kernel's sessions log to a file; the handler says where (`baseFilename`)."""
    file = runtime / "logs" / f"kernel-{os.getpid()}.log"
    handler = _PrivateFile(file, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.INFO)
    _LOGGER.addHandler(handler)
    if _LOGGER.level == logging.NOTSET:
        _LOGGER.setLevel(logging.INFO)
    # A handler of ours is no reason for the lines to appear in a cell, nor to hide them from a user's own.
    return handler


def stop_log(handler: logging.Handler) -> None:
    """Close the file, and remove it if it was never needed."""
    _LOGGER.removeHandler(handler)
    handler.close()
