"""Sessions in this process, without a kernel."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

from claude_nb.session import Session
from claude_nb.session_manager import SessionManager
from claude_nb.turn import Turn

# A turn of a loaded machine; the longest benchmark takes some seconds.
PATIENCE = 300.0
_numbers = itertools.count(1)


@contextmanager
def manager() -> Iterator[SessionManager]:
    """A manager whose processes are ended in the end."""
    manager = SessionManager()
    try:
        yield manager
    finally:
        manager.shutdown("the benchmark is over")


@contextmanager
def fresh_session(manager: SessionManager) -> Iterator[Session]:
    """A session that nobody had before; its process is ended, outside of what is timed."""
    session = manager.session(f"benchmark {next(_numbers)}")
    try:
        yield session
    finally:
        session.stop().result(PATIENCE)


def wait_for_text(turn: Turn) -> None:
    """Until the first piece of the reply's text is there, as a caller in another thread sees it."""
    deadline, version = time.monotonic() + PATIENCE, -1
    while not turn.text:
        version = turn.wait_for_change(version, 1.0)
        if (turn.done() and not turn.text) or time.monotonic() > deadline:
            raise RuntimeError(f"no text came: {turn!r}")
