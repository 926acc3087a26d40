"""SessionManager: what one may do with the sessions of one kernel, and their end.

One manager a kernel (`claude_nb.manager()`), also without IPython. Making one starts nothing: the
portal's thread comes with the first prompt, a process with the first prompt of each session.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import sys
import threading
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_nb.configuration import Configuration
from claude_nb.errors import (
    ClaudeNbError,
    FolderUnusable,
    ShuttingDown,
    UnsupportedPlatform,
)
from claude_nb.kernel.surroundings import Surroundings
from claude_nb.logfile import start_log, stop_log
from claude_nb.names import check_name
from claude_nb.portal import Portal
from claude_nb.shutdown import KERNEL_BACKGROUND, KERNEL_IDLE, Budget, shut_down, stop_for_now
from claude_nb.state import ALIVE, State

if TYPE_CHECKING:
    from concurrent.futures import Future

    from claude_nb.asking.audit import AuditLog
    from claude_nb.asking.desk import Desk
    from claude_nb.asking.permissions import Permissions
    from claude_nb.keeper import SessionKeeper
    from claude_nb.overview import SessionInfo
    from claude_nb.registry import Registry
    from claude_nb.roster import Roster
    from claude_nb.session import Session
    from claude_nb.trust import Trusted
    from claude_nb.turn import Context

log = logging.getLogger(__name__)

# What waits for the portal in another thread waits a little longer than what it waits for.
_SLACK = 0.5
# A guard's grace, and a little more.
_GUARD_GRACE = 2.0
# More live processes than this are worth a warning: each has some 200 MB.
_MANY = 10
# Seconds between two looks for what other kernels have left.
_SWEEP_EVERY = 300.0


class SessionManager(Configuration):
    """This kernel's sessions. Configure it with `%config SessionManager` or `ipython_config.py`."""

    def __init__(self, **kwargs: Any) -> None:
        _refuse_windows()
        super().__init__(**kwargs)
        self.folder = _working_folder()
        self.portal = Portal()
        self.surroundings = Surroundings(self.parent if hasattr(self.parent, "user_ns") else None)
        self._closing: str | None = None
        self._log: logging.Handler | None = None
        self._sweeping = False
        self._hinted = False
        self._pid = os.getpid()
        atexit.register(self._at_exit)

    def __repr__(self) -> str:
        return f"<SessionManager of {self.folder}, {len(self.sessions)} sessions>"

    @cached_property
    def roster(self) -> Roster:
        """Which sessions this kernel uses."""
        from claude_nb.roster import Roster  # not needed for loading, which is to be quick

        return Roster(self, self._on_joined)

    @property
    def sessions(self) -> dict[str, Session]:
        """Those that this kernel uses, by their records' ids."""
        return self.roster.sessions if "roster" in vars(self) else {}

    # -- sessions -----------------------------------------------------------------------------

    def session(self, name: str | None = None, *, model: str | None = None) -> Session:
        """The session of that name, continued or made; without a name the current one.

        Raises `InvalidName`, `SessionInUse` when another kernel has it, and `ShuttingDown` once the manager
        or the kernel is ending.
        """
        self._refuse_when_closing()
        with self.roster.lock:
            session = self.roster.current() if name is None else self.roster.named(check_name(name))
            if model is not None:
                session.use_model(model)
            return session

    def new(self, name: str, **fields: Any) -> Session:
        """A new session, which becomes the current one. `fields` are the record's (model, agent, cwd ...).

        Raises `SessionExists` and `InvalidName`.
        """
        self._refuse_when_closing()
        with self.roster.lock:
            return self.roster.make_current(self.roster.new(name, **fields))

    def switch(self, name: str) -> Session:
        """Make an existing session the current one; the other goes on. Raises `SessionNotFound`."""
        with self.roster.lock:
            return self.roster.make_current(self.existing(name))

    def existing(self, name: str | None = None) -> Session:
        """The session of that name, which must be there; without a name the current one."""
        self._refuse_when_closing()
        if name is None:
            return self.session()
        with self.roster.lock:
            return self.roster.existing(check_name(name))

    def rename(self, old: str, new: str) -> Session:
        """Give a session another name; its conversation stays. Raises `SessionNotFound`, `SessionExists`."""
        session = self.existing(old)
        with self.roster.lock:
            self.registry.rename(session.record, check_name(new))
        return session

    def archive(self, name: str | None = None) -> None:
        """Stop a session and hide it from `/sessions`; its record and conversation stay.

        Raises `SessionBusy` in code that this session's own tool runs; the session then goes on as before.
        """
        session = self.existing(name)
        session.refuse_in_own_tool("archive")
        try:
            # Whoever still has the session, such as another chat, starts nothing that we have let go of.
            self.portal.call(session.conversation.close, "it was archived")
            self.wait_until_stopped(session, session.stop())
        except BaseException:  # its stop goes on, but it is not archived
            reopened = threading.Event()
            self.portal.call(session.conversation.reopen)
            self.portal.call(reopened.set)
            reopened.wait(_SLACK)
            raise
        session.record.archived = True
        self.keeper.save(session)
        self.roster.let_go(session)

    def fork(self, name: str, new: str | None = None) -> Session:
        """A copy of a session as it stands, under another name; the two go their own ways from here."""
        from claude_nb import transcript
        from claude_nb.registry import COPIED_BY_FORK

        source = self.existing(name)
        if not transcript.has_history(source.id, self.child_environ()):
            raise ClaudeNbError(f"Session {source.name!r} has nothing to copy yet. Ask something first.")
        try:
            copy = transcript.fork(source.id, self.child_environ())
        except TimeoutError:
            where = transcript.config_dir(self.child_environ())
            raise ClaudeNbError(
                f"The conversation of {source.name!r} is not copied after {transcript.FORK_PATIENCE:.0f} s: "
                f"there is no new session. Is the disk of {where} slow? Try again."
            ) from None
        kept = {key: getattr(source.record, key) for key in COPIED_BY_FORK}
        with self.roster.lock:
            return self.roster.new(new or source.name, numbered=new is None, **kept, session_id=copy)

    @cached_property
    def keeper(self) -> SessionKeeper:
        """What our sessions need of us."""
        from claude_nb.keeper import SessionKeeper  # with all that a first prompt needs

        return SessionKeeper(self)

    def context_for(
        self, prompt: str, *, budget: int | None = None, session: Session | None = None
    ) -> list[Context]:
        """What would go along with a prompt to the session, or the current one. Raises `UnknownMention`."""
        tokens = self.context_budget if budget is None else budget
        record = (session or self.session()).record
        return list(self.surroundings.told(record.id, prompt, self.folder, tokens).blocks)

    def hint_once(self) -> str | None:
        """Something that the reader of a first turn in this folder should know."""
        if self._hinted:
            return None
        self._hinted = True
        from claude_nb.allowing import hint

        return hint(self)

    @cached_property
    def desk(self) -> Desk:
        """The questions that wait for a person."""
        from claude_nb.asking.desk import Desk

        return Desk(self.surroundings, self.portal)

    @cached_property
    def permissions(self) -> Permissions:
        """Who decides whether a tool may run."""
        from claude_nb.asking.permissions import Permissions

        return Permissions(self)

    @cached_property
    def audit(self) -> AuditLog:
        """Every tool call and who decided about it."""
        from claude_nb.asking.audit import AuditLog

        return AuditLog(self.registry.data)

    @cached_property
    def trusted(self) -> Trusted:
        """The folders whose own settings are loaded."""
        from claude_nb.trust import Trusted

        return Trusted(self.registry.data)

    @cached_property
    def registry(self) -> Registry:
        """The records of this user's sessions."""
        from claude_nb.registry import Registry

        return Registry.default()

    def overview(self, *, everyone: bool = False, archived: bool = False) -> list[SessionInfo]:
        """The folder's sessions (all of this user with `everyone`), the last active first."""
        from claude_nb.overview import overview  # not needed for loading, which is to be quick

        folder = None if everyone else self.folder
        records = self.registry.records(folder, archived=archived)
        mine = {record.id for record in records}
        unlisted = [session.record for session in self.sessions.values() if session.record.id not in mine]
        return overview([*unlisted, *records], self.sessions, self.roster.current_id, self.registry.runtime)

    def discard(self, session: Session) -> None:
        """Forget a session that was made by mistake."""
        self.wait_until_stopped(session, session.stop())
        self.roster.let_go(session)
        self.registry.remove(session.record)

    def wait_until_stopped(self, session: Session, stopping: Future[None]) -> None:
        """Wait for what its `stop` or `new_conversation` returned. Raises `ClaudeNbError` after a while."""
        from claude_nb.answers import as_subject, wait_for

        wait_for(stopping, self.stop_patience, f"{as_subject(session)} is still being stopped")

    def stop_all(self) -> None:
        """Stop every session of this kernel; running turns get `drain_timeout` seconds.

        Raises `SessionBusy` in code that the tool of one of them runs.
        """
        from claude_nb.answers import wait_for

        if not self.portal.running:
            return
        self.refuse_in_own_tool()
        budget = Budget(self.drain_timeout, self.interrupt_timeout, self.stop_patience)
        stopping = stop_for_now(self.sessions.values(), "all sessions were stopped", budget)
        wait_for(self.portal.run(stopping), budget.whole + _SLACK, "Sessions are still being stopped")

    def refuse_in_own_tool(self) -> None:
        """Raise `SessionBusy` in code that the tool of one of our sessions runs: to end it is to wait."""
        for session in list(self.sessions.values()):
            session.refuse_in_own_tool("stop")

    def status(self, session: Session) -> dict[str, str]:
        """Everything about one session, as words by name; for `/status`."""
        from claude_nb.overview import status_facts

        facts = status_facts(session, self.keeper.idle_timeout_of(session))
        if self.portal.running:
            with contextlib.suppress(Exception):  # Claude Code may be too old, or too busy to say it
                fill = self.portal.run(session.context_fill()).result(_SLACK)
                facts |= {"context": fill} if fill else {}
        return facts | {"log": self.log_file or "none yet"}

    @property
    def many_live(self) -> int:
        """More live processes than this are worth a warning."""
        return _MANY

    @property
    def live(self) -> list[Session]:
        """This kernel's sessions with a process."""
        return [session for session in self.sessions.values() if session.state in ALIVE]

    @property
    def log_file(self) -> str | None:
        """Where this kernel's log is; None before the first session."""
        return getattr(self._log, "baseFilename", None)

    @property
    def closed(self) -> bool:
        """It has ended and makes no more sessions."""
        return self._closing is not None

    def _refuse_when_closing(self) -> None:
        self.portal.refuse_in_fork()
        if self._closing is not None:
            raise ShuttingDown(f"No new prompts: {self._closing}. Restart the kernel to go on.")

    def child_environ(self) -> dict[str, str]:
        """The environment as Claude Code will have it, but for what is scrubbed from it."""
        return {**os.environ, **self.environment}

    # -- what other kernels leave ---------------------------------------------------------------

    def sweep(self) -> None:
        """End what dead kernels and dead guards have left, and set their records right. Blocks briefly."""
        from claude_nb.sweep import sweep

        report = sweep(self.registry)
        if report.ended or report.set_right or report.removed:
            log.info("[sweep] %s", report)

    def _sweep_regularly(self) -> None:
        """In the portal's loop, from the first process on."""
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, self.sweep)
        loop.call_later(_SWEEP_EVERY, self._sweep_regularly)

    def _on_joined(self, session: Session) -> None:
        """Called by the roster."""
        session.observe(self._on_state, "state")
        if self._log is None:
            self._log = start_log(self.registry.runtime)

    def _on_state(self, change: Any) -> None:
        """Called in the portal's thread when a session changes its state."""
        if change["old"] is State.STARTING:
            self._run_exit_before_the_sdk()
        if change["new"] is State.STARTING and not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(_SWEEP_EVERY, self._sweep_regularly)
        if change["new"] is State.STARTING and len(self.live) > _MANY:
            log.warning("there are %d live sessions; each takes some 200 MB", len(self.live))

    # -- the end ------------------------------------------------------------------------------

    def shutdown(self, reason: str = "shutdown") -> None:
        """End every session in an orderly way and wait for it; running turns get `drain_timeout` seconds.

        The conversations stay. Afterwards the manager makes no more sessions. An Interrupt cuts short what
        still runs. Raises `SessionBusy` in code that the tool of one of the sessions runs.
        """
        self.refuse_in_own_tool()
        try:
            self._end(reason, Budget(self.drain_timeout, self.interrupt_timeout, self.stop_patience))
        finally:
            self.portal.stop(_SLACK)
            atexit.unregister(self._at_exit)

    def shutdown_kernel(self, reason: str) -> None:
        """The kernel ends: as much as there is time for before Jupyter loses its patience."""
        working = any(session.running is not None for session in self.sessions.values())
        self._end(reason, KERNEL_BACKGROUND if working else KERNEL_IDLE)

    def _at_exit(self) -> None:
        """Called at the interpreter's exit, if no shutdown request came before."""
        self._end("exit of the kernel", Budget(drain=0.0, interrupt=0.15, stop=0.05))

    def _end(self, reason: str, budget: Budget) -> None:
        if self._closing is not None or self._pid != os.getpid():
            return  # a forked worker must not end its parent's sessions
        self._closing = reason
        try:
            self._end_sessions(reason, budget)
        except KeyboardInterrupt:  # who interrupts has waited long enough for turns to end by themselves
            self._end_sessions(reason, replace(budget, drain=0.0))
            raise
        finally:
            if self.sessions:
                self.roster.let_go_of_all()
            if self._log is not None:
                stop_log(self._log)

    def _end_sessions(self, reason: str, budget: Budget) -> None:
        """Do not raise but for an Interrupt; the guards end what is left."""
        if not self.portal.running or not self.sessions:
            return
        patience = budget.whole + _SLACK
        ending = self.portal.run(shut_down(self.sessions.values(), reason, budget))
        try:
            ending.result(patience)
        except TimeoutError:
            log.warning("[shutdown] not done after %.1f s; the guards end the rest", patience)
        except Exception:
            log.exception("[shutdown] failed; the guards end the rest")
        except KeyboardInterrupt:
            ending.cancel()
            raise

    @property
    def stop_patience(self) -> float:
        """Seconds: all of the ladder: the interrupt, EOF, SIGTERM, the guard's grace and its kill."""
        return self.interrupt_timeout + self.stop_timeout * 2 + _GUARD_GRACE * 2

    def _run_exit_before_the_sdk(self) -> None:
        """The SDK's own exit handler sends SIGTERM in mid-turn; the last to register is the first to run."""
        if "claude_agent_sdk" in sys.modules and self._closing is None:
            atexit.unregister(self._at_exit)
            atexit.register(self._at_exit)


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise FolderUnusable(
            "The working folder of this kernel has been removed. Go to another one with `%cd FOLDER`, then "
            "load claude_nb again.",
            os.environ.get("PWD", "."),
        ) from None


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise UnsupportedPlatform(
            "claude_nb does not support Windows yet: its guarantees about processes need POSIX. "
            "Use it inside WSL 2, where it works as on Linux."
        )
