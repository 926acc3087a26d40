"""Caretaker: what the extension does in the server's loop, and when.

Twice a second it looks at the records, in a thread of its own, and acts on what it sees:

    a session's process has come or gone  ──▶ a Jupyter event
    a session is at work                  ──▶ its kernel counts as active, so that no culler ends it;
                                              not for ever while it waits for a person's answer
    a kernel is dead                      ──▶ a sweep, in the same thread; and another one a little later

A kernel's death is seen by the kernel's pid and start time, which needs no server's help and also finds
those of kernels that a server does not start. The server's own news of a restart or a shutdown only make it
faster, and find what was not in any record yet.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tornado.ioloop import PeriodicCallback

from claude_nb.claims import identity_of
from claude_nb.registry import Registry
from claude_nb.server.sweeping import SweepClock
from claude_nb.server.watching import Change, Watch
from claude_nb.sweep import sweep

SCHEMA = Path(__file__).with_name("session.yaml")
SCHEMA_ID = "urn:claude-nb:session:v1"
KERNEL_ACTIONS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
ADDRESS = "claude-nb/api/sessions"

_LOOK_EVERY_MS = 500
# A stopping server waits so long for the guards of its kernels: their patience, their grace and a little.
_LAST_PATIENCE = 3.0
# Complaints that are remembered; some name a file.
_MOST_SAID = 100
_ENDS_A_KERNEL = ("restart", "shutdown")


class Caretaker:
    """One for a server. Every callback of it catches and logs what fails."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._pid = os.getpid()
        self._registry = Registry.default()
        self._watch = Watch(self._registry)
        self._clock = SweepClock()
        # Between the thread that sees them and the loop that tells them; the loop may end in between.
        self._untold: deque[Change] = deque()
        self._thread = ThreadPoolExecutor(1, "claude_nb-watch")
        self._kernels_at_work: frozenset[int] = frozenset()
        self._said: set[str] = set()
        self._timer: PeriodicCallback | None = None

    def __repr__(self) -> str:
        return f"<Caretaker of {self._registry!r}>"

    def install(self) -> None:
        """Called once, when the server loads its extensions. What cannot be had is logged and left out."""
        for step in (self._add_handler, self._add_events, self._begin_looking):
            try:
                step()
            except Exception:
                self._app.log.exception("claude_nb | %s failed", step.__name__.strip("_").replace("_", " "))
        atexit.register(self._at_exit)

    def _add_handler(self) -> None:
        from jupyter_server.utils import url_path_join

        from claude_nb.server.handlers import Lookout, SessionsHandler

        route = url_path_join(self._app.web_app.settings["base_url"], ADDRESS)
        lookout = Lookout(self._registry)
        self._app.web_app.add_handlers(".*$", [(route, SessionsHandler, {"lookout": lookout})])

    def _add_events(self) -> None:
        self._app.event_logger.register_event_schema(SCHEMA)
        self._app.event_logger.add_listener(schema_id=KERNEL_ACTIONS, listener=self._on_kernel_action)

    def _begin_looking(self) -> None:
        self._timer = PeriodicCallback(self._tick, _LOOK_EVERY_MS)
        self._app.io_loop.add_callback(self._timer.start)

    # -- in the loop --------------------------------------------------------------------------

    async def _on_kernel_action(self, logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        """Called by the server's event logger; a cull is a shutdown, a dead kernel's restart a restart."""
        if data.get("action") in _ENDS_A_KERNEL:
            self._clock.kernel_ended(time.monotonic())
            await self._tick()

    async def _tick(self) -> None:
        """Called twice a second; never twice at once by the timer."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._look)
            self._tell()
            self._keep_working_kernels()
        except Exception as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Each complaint once: it comes back twice a second."""
        complaint = str(error) if isinstance(error, OSError) else repr(error)
        level = logging.DEBUG if complaint in self._said else logging.WARNING
        self._said = {*self._said, complaint} if len(self._said) < _MOST_SAID else {complaint}
        self._app.log.log(level, "claude_nb | cannot look after the sessions: %s", complaint)

    def _keep_working_kernels(self) -> None:
        """As if they had just said something. A culler, also the hub's, goes by these times."""
        if not self._kernels_at_work:
            return
        now = datetime.now(UTC)
        for _, kernel in self._kernels_at(self._kernels_at_work):
            kernel.last_activity = self._app.kernel_manager.last_kernel_activity = now

    def _kernels_at(self, pids: frozenset[int]) -> Iterator[tuple[str, Any]]:
        """This server's kernels with one of these pids; those of a gateway have none."""
        manager = self._app.kernel_manager
        for kernel_id in manager.list_kernel_ids():
            with contextlib.suppress(KeyError):
                kernel = manager.get_kernel(kernel_id)
                if getattr(getattr(kernel, "provisioner", None), "pid", None) in pids:
                    yield kernel_id, kernel

    def _tell(self) -> None:
        while self._untold:
            self._emit(self._untold.popleft())

    def _emit(self, change: Change) -> None:
        try:
            when = datetime.fromtimestamp(change.time, UTC)
            self._app.event_logger.emit(schema_id=SCHEMA_ID, data=self._told(change), timestamp_override=when)
        except Exception as error:
            self._complain(error)

    def _told(self, change: Change) -> dict[str, Any]:
        record = change.record
        kernel = identity_of(record.kernel)
        pid = None if kernel is None else kernel.pid
        ids = [] if pid is None else [name for name, _ in self._kernels_at(frozenset({pid}))]
        told = {
            "action": change.action,
            "id": record.id,
            "name": record.name,
            "folder": record.folder,
            "turns": record.turns,
            "reason": change.reason,
            "kernel_pid": pid,
            "kernel_id": ids[0] if ids else None,
        }
        return {name: value for name, value in told.items() if value is not None}

    # -- in the thread ------------------------------------------------------------------------

    def _look(self) -> None:
        """Look, and sweep if it is time; what the sweep set right is seen by the next look."""
        self._untold.extend(self._watch.look())
        self._kernels_at_work = self._watch.busy(time.time())
        now = time.monotonic()
        self._clock.left_behind(self._watch.orphans(), now)
        if self._clock.is_due(now):
            self._clock.swept(now)
            self._sweep()

    def _sweep(self) -> None:
        try:
            report = sweep(self._registry)
        except OSError as error:
            self._complain(error)
            return
        if report.ended or report.set_right or report.removed:
            self._app.log.info("claude_nb | swept: %s", report)

    # -- the end ------------------------------------------------------------------------------

    def _at_exit(self) -> None:
        """Called at the interpreter's exit, when the server has ended its kernels."""
        if os.getpid() != self._pid:
            return  # a child that the server has forked
        try:
            asyncio.run(self._finish())
        except Exception as error:
            self._complain(error)

    async def _finish(self) -> None:
        """End what the kernels left, and tell what became of their sessions."""
        deadline = time.monotonic() + _LAST_PATIENCE
        while True:
            self._sweep()
            self._untold.extend(self._watch.look())
            self._tell()
            if not self._watch.orphans() or time.monotonic() > deadline:
                return
            await asyncio.sleep(0.1)
