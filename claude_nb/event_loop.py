"""The event loop of the portal: its own, whatever policy the user's code sets for asyncio, and safe to fork.

A user may install another policy at any time (`uvloop.install()`), one that knows no child watcher, and
asyncio would ask it for one at every start of a process. A user's code may fork (multiprocessing), and each
such worker has copies of the pipes to Claude Code, which would then never see the end of its input.
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events
import logging
import os
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from claude_nb.logfile import OUR_THREADS

log = logging.getLogger(__name__)

# What is talked to by pipes, of every loop of ours in this process.
_children: weakref.WeakSet[asyncio.SubprocessTransport] = weakref.WeakSet()


class EventLoop(asyncio.SelectorEventLoop):
    """A loop for a thread of ours, made without the policy."""

    def __init__(self) -> None:
        super().__init__()
        self.set_exception_handler(_log)
        self.set_default_executor(ThreadPoolExecutor(thread_name_prefix=f"{OUR_THREADS}_worker"))
        self._child_watcher: Any = None

    async def _make_subprocess_transport(self, *args: Any, **kwargs: Any) -> asyncio.SubprocessTransport:
        """Called by asyncio to start a process; the loop's part that each kind of loop has of its own."""
        if sys.version_info >= (3, 14):  # there the watcher is the loop's
            transport = await super()._make_subprocess_transport(*args, **kwargs)
        else:
            transport = await self._start_process(*args, **kwargs)
        _children.add(transport)
        return transport  # type: ignore[no-any-return]

    async def _start_process(self, *args: Any, **kwargs: Any) -> Any:
        """What asyncio does, but for the policy's watcher."""
        ready = self.create_future()
        make = asyncio.unix_events._UnixSubprocessTransport  # type: ignore[attr-defined]
        transport = make(self, *args, waiter=ready, **kwargs)
        told: Any = self._child_watcher_callback  # type: ignore[attr-defined]
        self._watcher_of_processes().add_child_handler(transport.get_pid(), told, transport)
        try:
            await ready
        except BaseException:
            transport.close()
            raise
        return transport

    def _watcher_of_processes(self) -> Any:
        if self._child_watcher is None:
            make = asyncio.PidfdChildWatcher if _has_pidfds() else asyncio.ThreadedChildWatcher
            self._child_watcher = make()
            self._child_watcher.attach_loop(self)
        return self._child_watcher


def _has_pidfds() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # macOS, an old kernel, or a sandbox that forbids it
        return False
    return True


def _log(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Called by asyncio with what nobody has caught, in whatever thread; asyncio's own lines are shown."""
    log.error("in the portal: %s", context.get("message"), exc_info=context.get("exception"))


def _close_pipes_in_child() -> None:
    """A forked child must hold no end of a pipe to its parent's processes."""
    for transport in list(_children):
        for fd in (0, 1, 2):
            pipe = transport.get_pipe_transport(fd)
            end = pipe.get_extra_info("pipe") if pipe is not None else None
            if end is not None:
                end.close()
    _children.clear()


os.register_at_fork(after_in_child=_close_pipes_in_child)
