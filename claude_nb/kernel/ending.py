"""Hear that the kernel is about to end, while there is still time to end its sessions well.

Jupyter's shutdown and restart begin with SIGINT, which ends the foreground turn as any Interrupt does; a few
milliseconds later the shutdown request arrives and ipykernel calls `do_shutdown` in its control thread. That
is the moment: SIGTERM follows 2.5 s later. Every other death is the guards' affair; a Python handler for
SIGTERM would only make it slower.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


class ShutdownHook:
    """Calls `before(reason)` when the kernel is asked to shut down or restart."""

    def __init__(self, kernel: Any, before: Callable[[str], None]) -> None:
        self._kernel = kernel
        self._before = before
        self._original: Callable[[bool], Any] = kernel.do_shutdown

    def install(self) -> None:
        """In force from now on."""
        self._kernel.do_shutdown = self._do_shutdown

    def remove(self) -> None:
        """As it was found; if somebody else has hooked in after us, only our part is left out."""
        if self._kernel.__dict__.get("do_shutdown") == self._do_shutdown:
            del self._kernel.do_shutdown
        self._before = _nothing

    def _do_shutdown(self, restart: bool) -> Any:
        """Called by ipykernel for a shutdown request."""
        try:
            self._before("kernel restart" if restart else "kernel shutdown")
        except Exception:  # ipykernel would not answer, and Jupyter would wait until it loses its patience
            log.exception("the sessions could not be ended as they should; their guards end the processes")
        return self._original(restart)


def _nothing(reason: str) -> None:
    pass
