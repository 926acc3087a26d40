"""Do while nobody waits what would make somebody wait: import the SDK, sweep what dead kernels left.

The import takes about a second, and a second thread that imports slows down the cell that runs meanwhile.
So it starts only when no cell has run for a moment; a prompt that comes before imports it itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

# Shorter than the pause in which a person reads, longer than the gap between the cells of Run All.
_IDLE_BEFORE_IMPORT = 0.4


class Warmer:
    """Imports claude_agent_sdk and does `chore` once, in a thread, when the shell has been idle."""

    def __init__(self, shell: Any, chore: Callable[[], None]) -> None:
        self._shell = shell
        self._chore = chore
        self._done = False
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Wait for the end of the cell that runs now."""
        self._shell.events.register("pre_run_cell", self._busy)
        self._shell.events.register("post_run_cell", self._idle)

    def stop(self) -> None:
        """Never mind."""
        self._cancel()
        for event, callback in (("pre_run_cell", self._busy), ("post_run_cell", self._idle)):
            if callback in self._shell.events.callbacks[event]:
                self._shell.events.unregister(event, callback)

    def _busy(self, *_: Any) -> None:
        """Called by IPython before each cell."""
        self._cancel()

    def _idle(self, *_: Any) -> None:
        """Called by IPython after each cell."""
        self._cancel()
        if self._done:
            self.stop()
            return
        self._timer = threading.Timer(_IDLE_BEFORE_IMPORT, self._warm)
        self._timer.name = "claude_nb_warm"
        self._timer.daemon = True
        self._timer.start()

    def _warm(self) -> None:
        self._done = True
        import_sdk()
        try:
            self._chore()
        except Exception:  # who needs it will see why it fails
            log.exception("what was to be done ahead of the first prompt failed")

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def import_sdk() -> None:
    """Import the SDK; a failure is reported where it is used."""
    try:
        import claude_agent_sdk  # noqa: F401
    except Exception:
        log.exception("claude_agent_sdk could not be imported")
