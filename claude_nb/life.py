"""Life: the process behind a session as it comes and goes, and the session's state with it.

Everything here runs in the portal's loop, so what happens between two `await`s happens at once: the check
whether a session may be suspended and the change of its state are never apart. A prompt that arrives while
the process is being ended waits for its end and starts a new one; there are never two.

    prompt ──▶ process()   starts or resumes it, or gives the one that is there
    idle   ──▶ suspend()   stdin EOF, `stop_timeout`, SIGTERM, SIGKILL: the ladder of process.py and guard.py
    crash  ──▶ in mid-turn: started again after a pause, `max_restarts` times, also where a start fails;
               idle: by the next prompt
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from claude_nb.errors import ClaudeNbError
from claude_nb.failures import exit_words
from claude_nb.flag import Flag
from claude_nb.process import ClaudeProcess, Launch, OnMessage, OnTool
from claude_nb.processes import tree, tree_rss
from claude_nb.state import ASLEEP, WORKING, Event, State

log = logging.getLogger(__name__)

# Between a crash and the first restart; doubled at each further one. A CLI that dies at once must not spin.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_ENDING = (State.SUSPENDING, State.STOPPING)


class Owner(Protocol):
    """What a Life needs of its session."""

    @property
    def name(self) -> str:
        """For the log."""

    @property
    def state(self) -> State:
        """What the session is doing."""

    def move(self, event: Event) -> None:
        """Change the state."""

    async def launch(self) -> Launch:
        """How to start the process now; raises `ClaudeNbError` where it cannot be started."""

    def on_process_ready(self, info: dict[str, Any]) -> None:
        """Claude Code answers; `info` is what it says of itself."""

    def on_process_ended(self, process: ClaudeProcess) -> None:
        """The process is gone; the state says whether that was wanted."""

    def may_suspend(self) -> bool:
        """Nothing of the session's work would be lost."""

    def has_prompts(self) -> bool:
        """Whether a prompt waits, which starts the process itself and gets the reason if that fails."""


class Life:
    """The processes of one session, one after the other."""

    def __init__(
        self,
        owner: Owner,
        runtime: Path,
        on_message: OnMessage,
        on_tool: OnTool,
        max_restarts: Callable[[], int],
    ) -> None:
        self._owner = owner
        self._runtime = runtime
        self._on_message = on_message
        self._on_tool = on_tool
        self._max_restarts = max_restarts
        self._starting = asyncio.Lock()
        # How many stops are under way, and that none is.
        self._stops = 0
        self._unstopped = Flag()
        self._unstopped.set()
        self._outdated = False
        self._process: ClaudeProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._restart: asyncio.TimerHandle | None = None
        self.crashes = 0
        self.why_dead: str | None = None
        self.started: float | None = None

    def __repr__(self) -> str:
        return f"<Life: {self._process!r}, {self.crashes} crashes>"

    @property
    def now(self) -> ClaudeProcess | None:
        """The process that is there now, perhaps still starting or already ending."""
        return self._process

    # -- starting -----------------------------------------------------------------------------

    async def process(self) -> ClaudeProcess:
        """The process, started or resumed if there is none; one that is being ended is waited for.

        Raises what `Owner.launch` raises. Whether the process answers is its own `ready`.
        """
        async with self._starting:
            while True:
                await self._unstopped.wait()
                if self._process is not None and self._owner.state not in _ENDING:
                    return self._process
                if self._task is not None and not self._task.done():
                    await asyncio.shield(self._task)
                else:
                    self._start(await self._owner.launch())

    def takes_prompts(self, process: ClaudeProcess) -> bool:
        """Whether a prompt may be written to this process now."""
        here = process is self._process and self._owner.state is State.IDLE
        return here and self._unstopped.is_set()

    async def end(self, process: ClaudeProcess) -> None:
        """End what is left of a process that reads no more, and wait for it."""
        if process is self._process and self._task is not None:
            if self._owner.state not in _ENDING:
                process.kill()
            await asyncio.shield(self._task)

    def _start(self, how: Launch) -> None:
        # Stopped or started while `launch` looked around.
        if self._owner.state not in ASLEEP or not self._unstopped.is_set():
            return
        self._cancel_restart()
        self._owner.move(Event.START)
        process = ClaudeProcess(how, self._runtime, on_message=self._on_message, on_tool=self._on_tool)
        self._process = process
        self.started = time.monotonic()
        self._outdated = False
        process.ready.add_done_callback(lambda ready: self._on_ready(process, ready))
        self._task = asyncio.get_running_loop().create_task(self._live(process))

    def _on_ready(self, process: ClaudeProcess, ready: asyncio.Future[Any]) -> None:
        if self._process is process and self._owner.state is State.STARTING and ready.exception() is None:
            self.why_dead = None
            self._owner.move(Event.READY)
            self._owner.on_process_ready(ready.result())

    async def _live(self, process: ClaudeProcess) -> None:
        await process.run()
        self._ended(process)

    # -- ending -------------------------------------------------------------------------------

    def _ended(self, process: ClaudeProcess) -> None:
        self._process = None
        before = self._owner.state
        self._owner.move(Event.ENDED if before in _ENDING else Event.EXITED)
        if before not in _ENDING:
            self._note_death(process, before)
        self._owner.on_process_ended(process)

    def _note_death(self, process: ClaudeProcess, before: State) -> None:
        said = " / ".join(line for line in list(process.stderr)[-3:] if line.strip())
        self.why_dead = exit_words(process.returncode) + (f"; it said: {said}" if said else "")
        log.warning("session %r: the process ended unasked, %s", self._owner.name, self.why_dead)
        if before in WORKING or (before is State.STARTING and self.crashes and not self._owner.has_prompts()):
            self._restart_soon()

    def _restart_soon(self) -> None:
        """Have the session ready again before it is asked for, unless it dies again and again."""
        self.crashes += 1
        if self.crashes > self._max_restarts():
            log.error("session %r: not restarted again after %d crashes", self._owner.name, self.crashes)
            return
        pause = min(_FIRST_PAUSE * 2 ** (self.crashes - 1), _LONGEST_PAUSE)
        loop = asyncio.get_running_loop()
        self._restart = loop.call_later(pause, lambda: loop.create_task(self._restart_now()))

    async def _restart_now(self) -> None:
        if self._owner.state is not State.DEAD:
            return
        try:
            await self.process()
        except Exception as error:  # whatever it is, it may be over at the next try
            self.why_dead = str(error) if isinstance(error, ClaudeNbError) else repr(error)
            log.warning("session %r: not restarted: %s", self._owner.name, self.why_dead)
            if self._owner.state is State.DEAD and not self._owner.has_prompts():
                self._restart_soon()

    def _cancel_restart(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None

    def settled(self) -> None:
        """A turn has gone well: what crashed before is forgiven."""
        self.crashes = 0

    async def suspend(self) -> bool:
        """End the idle process to start it again when it is needed; False if it was not idle after all."""
        process, task = self._process, self._task
        if process is None or task is None or not self._owner.may_suspend():
            return False
        self._owner.move(Event.SUSPEND)
        process.request_stop()
        await asyncio.shield(task)
        return True

    @contextlib.contextmanager
    def being_stopped(self) -> Iterator[None]:
        """Meanwhile nothing is written to the process, and no other one is started."""
        self._stops += 1
        self._unstopped.clear()
        try:
            yield
        finally:
            self._stops -= 1
            if not self._stops:
                self._unstopped.set()

    def expire(self) -> None:
        """The process has failed by what it was started with, and that may be corrected soon."""
        self._outdated = self._process is not None

    async def renew(self) -> None:
        """End the idle process if it is outdated; the next one is started with what holds now."""
        process, task = self._process, self._task
        if self._outdated and process is not None and task is not None and self._owner.state is State.IDLE:
            self._owner.move(Event.SUSPEND)
            process.request_stop()
            await asyncio.shield(task)

    async def stop(self) -> None:
        """End the process whatever it is doing; without one the session is just stopped."""
        self._cancel_restart()
        process, task = self._process, self._task
        if process is None or task is None:
            if self._owner.state not in (State.STOPPED, State.CREATED):
                self._owner.move(Event.STOP)
                self._owner.move(Event.ENDED)
            return
        if self._owner.state not in _ENDING:
            self._owner.move(Event.STOP)
        process.request_stop()
        await asyncio.shield(task)

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()

    # -- looking ------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any] | None:
        """What a sweep needs to find the process when this kernel and its guard are dead."""
        state = self._process.guard_state() if self._process else None
        if self._process is None or state is None:
            return None
        return {
            "marker": self._process.marker,
            "folder": str(self._process.folder),
            "guard": list(state.guard),
            "cli": list(state.cli),
            "since": time.time(),
        }

    def memory(self) -> int:
        """Bytes that the process takes with all that runs below it."""
        state = self._process.guard_state() if self._process else None
        return tree_rss(state.guard) if state else 0

    def commands(self) -> Sequence[int]:
        """Pids of what Claude's commands left running: each has a session (setsid) of its own, the CLI's
        other children (MCP servers) share the guard's."""
        state = self._process.guard_state() if self._process else None
        if state is None:
            return []
        return [process.pid for process in tree(state.guard) if _is_elsewhere(process.pid, state.guard.pid)]


def _is_elsewhere(pid: int, posix_session: int) -> bool:
    try:
        return os.getsid(pid) != posix_session
    except OSError:  # gone meanwhile
        return False
