"""SessionManager: the sessions of one kernel by name, their configuration and their end.

One manager a kernel (`claude_nb.manager()`), also without IPython. Making one starts nothing: the
portal's thread comes with the first prompt, a process with the first prompt of each session.

A name is unique in the kernel's folder. The session that `%claude` talks to until told otherwise is the
*implicit* one and bears the notebook's name; where nobody is there it is always new and not listed, so that
a headless run never meets another run's conversation.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import dataclasses
import logging
import os
import sys
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_nb import claims, transcript
from claude_nb.configuration import Configuration
from claude_nb.errors import (
    ClaudeNbError,
    SessionExists,
    SessionInUse,
    SessionNotFound,
    ShuttingDown,
    UnsupportedPlatform,
)
from claude_nb.kernel.presence import someone_is_there
from claude_nb.kernel.surroundings import Surroundings
from claude_nb.logfile import start_log, stop_log
from claude_nb.names import check_name, notebook_name
from claude_nb.overview import SessionInfo, overview, status_facts
from claude_nb.portal import Portal
from claude_nb.registry import Record, Registry
from claude_nb.shutdown import KERNEL_BACKGROUND, KERNEL_IDLE, Budget, shut_down
from claude_nb.state import ALIVE, ASLEEP, State

if TYPE_CHECKING:
    from claude_nb.asking.audit import AuditLog
    from claude_nb.asking.desk import Desk
    from claude_nb.asking.permissions import Permissions
    from claude_nb.keeper import SessionKeeper
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
        self.folder = Path.cwd()
        self.portal = Portal()
        self.surroundings = Surroundings(self.parent if hasattr(self.parent, "user_ns") else None)
        self._keeper: SessionKeeper | None = None
        self.sessions: dict[str, Session] = {}
        self._claims: dict[str, claims.Claim] = {}
        self._registry: Registry | None = None
        self._current: str | None = None
        self._lock = threading.RLock()
        self._closing: str | None = None
        self._log: logging.Handler | None = None
        self._sweeping = False
        self._hinted = False
        self._pid = os.getpid()
        atexit.register(self._at_exit)

    def __repr__(self) -> str:
        return f"<SessionManager of {self.folder}, {len(self.sessions)} sessions>"

    # -- sessions -----------------------------------------------------------------------------

    def session(self, name: str | None = None, *, model: str | None = None) -> Session:
        """The session of that name, continued or made; without a name the current one.

        Raises `InvalidName`, `SessionInUse` when another kernel has it, and `ShuttingDown` once the manager
        or the kernel is ending.
        """
        self._refuse_when_closing()
        with self._lock:
            session = self._current_session() if name is None else self._named(check_name(name))
            if model is not None:
                session.use_model(model)
            return session

    def new(self, name: str, **fields: Any) -> Session:
        """A new session, which becomes the current one. `fields` are the record's (model, agent, cwd ...).

        Raises `SessionExists` and `InvalidName`.
        """
        self._refuse_when_closing()
        with self._lock:
            session = self._adopt(self._create(check_name(name), **fields))
            self._current = session.record.id
            return session

    def switch(self, name: str) -> Session:
        """Make an existing session the current one; the other goes on. Raises `SessionNotFound`."""
        with self._lock:
            session = self.existing(name)
            self._current = session.record.id
            return session

    def existing(self, name: str | None = None) -> Session:
        """The session of that name, which must be there; without a name the current one."""
        self._refuse_when_closing()
        if name is None:
            return self.session()
        with self._lock:
            name = check_name(name)
            if self._held(name) is None and self.registry.find(name, self.folder) is None:
                raise SessionNotFound(self._unknown_words(name))
            return self._named(name)

    def rename(self, old: str, new: str) -> Session:
        """Give a session another name; its conversation stays. Raises `SessionNotFound`, `SessionExists`."""
        session = self.existing(old)
        with self._lock:
            self.registry.rename(session.record, check_name(new))
        return session

    def archive(self, name: str | None = None) -> None:
        """Stop a session and hide it from `/sessions`; its record and conversation stay."""
        session = self.existing(name)
        session.stop().result(self.stop_patience)
        session.record.archived = True
        self.keeper.save(session)
        self._let_go(session)

    def fork(self, name: str, new: str | None = None) -> Session:
        """A copy of a session as it stands, under another name; the two go their own ways from here."""
        from claude_agent_sdk import fork_session

        source = self.existing(name)
        if not transcript.has_history(source.id, self.child_environ()):
            raise ClaudeNbError(f"Session {source.name!r} has nothing to copy yet. Ask something first.")
        copy = fork_session(source.id)
        kept = {key: getattr(source.record, key) for key in _COPIED_BY_FORK}
        fields = {**kept, "session_id": copy.session_id, "numbered": new is None}
        with self._lock:
            return self._adopt(self._create(check_name(new or source.name), **fields))

    @property
    def current_name(self) -> str:
        """The name of the session that `%claude` talks to."""
        return self.session().name

    @property
    def keeper(self) -> SessionKeeper:
        """What our sessions need of us."""
        if self._keeper is None:
            from claude_nb.keeper import SessionKeeper  # with all that a first prompt needs

            self._keeper = SessionKeeper(self)
        return self._keeper

    def context_for(self, prompt: str, *, budget: int | None = None) -> list[Context]:
        """What would go along with a prompt to the current session. Raises `UnknownMention`."""
        tokens = self.context_budget if budget is None else budget
        return list(self.surroundings.told(self.session().record.id, prompt, self.folder, tokens).blocks)

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

    @property
    def registry(self) -> Registry:
        """The records of this user's sessions."""
        if self._registry is None:
            self._registry = Registry.default()
        return self._registry

    def overview(self, *, everyone: bool = False, archived: bool = False) -> list[SessionInfo]:
        """The folder's sessions (all of this user with `everyone`), the last active first."""
        folder = None if everyone else self.folder
        records = self.registry.records(folder, archived=archived)
        mine = {record.id for record in records}
        unlisted = [session.record for session in self.sessions.values() if session.record.id not in mine]
        return overview([*unlisted, *records], self.sessions, self._current, self.registry.runtime)

    def discard(self, session: Session) -> None:
        """Forget a session that was made by mistake."""
        session.stop().result(self.stop_patience)
        self._let_go(session)
        self.registry.remove(session.record)

    def stop_all(self) -> None:
        """Stop every session of this kernel; running turns get `drain_timeout` seconds."""
        if not self.portal.running:
            return
        budget = Budget(self.drain_timeout, self.interrupt_timeout, self.stop_patience)
        sessions = list(self.sessions.values())
        self.portal.run(shut_down(sessions, "all sessions were stopped", budget)).result()
        for session in sessions:
            session.conversation.reopen()

    def status(self, session: Session) -> dict[str, str]:
        """Everything about one session, as words by name; for `/status`."""
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

    # -- which session -------------------------------------------------------------------------

    def _current_session(self) -> Session:
        session = self.sessions.get(self._current or "")
        if session is None:
            session = self._implicit()
            self._current = session.record.id
        return session

    def _held(self, name: str) -> Session | None:
        return next((session for session in self.sessions.values() if session.name == name), None)

    def _named(self, name: str) -> Session:
        """One asked for by name: another kernel's is an error."""
        session = self._held(name)
        if session is not None:
            return session
        record = self.registry.find(name, self.folder)
        if record is None:
            try:
                record = self._create(name)
            except SessionExists:  # another kernel was faster; it is in use, or free again
                return self._named(name)
        return self._adopt(record)

    def _implicit(self) -> Session:
        """The notebook's own: continued if it is free, under another name if it is not, new if unwatched."""
        base = notebook_name(os.environ, self._vscode_file()) or "default"
        watched = someone_is_there(self.parent)
        held = self._held(base)
        if held is not None and held.record.listed == watched:  # asked for by name, or left for another
            return held
        if not watched:
            return self._adopt(self._create(base, listed=False))
        record = self.registry.find(base, self.folder)
        if record is None or record.archived or not self.continue_after_restart:
            return self._fresh(base)
        try:
            session = self._adopt(record)
        except SessionInUse as error:
            session = self._fresh(base)
            session.news = f"This is a new session, '{session.name}'. {error}"
            return session
        if session.turns:
            session.news = self._continuing_words(session)
        return session

    def _fresh(self, base: str) -> Session:
        """A new session of that name or the next free one; the implicit one never collides."""
        while True:
            record = self._create(base, numbered=True)
            try:
                return self._adopt(record)
            except SessionInUse:  # another kernel has found the new record and was faster
                log.info("session %r was taken by another kernel at once", record.name)

    def _continuing_words(self, session: Session) -> str:
        cut = session.record.ended
        last = f" The last turn was cancelled by a {cut['reason']}." if cut else ""
        return f"Continuing the conversation '{session.name}'.{last} `%claude -n` starts anew."

    def _create(self, name: str, *, numbered: bool = False, listed: bool = True, **fields: Any) -> Record:
        given: dict[str, Any] = {
            "model": self.model,
            "permission_mode": None,
            "append_system_prompt": self.append_system_prompt or None,
            "config_dir": str(transcript.config_dir(self.child_environ())),
            "notebook": self._notebook_path(),
        }
        given |= {key: value for key, value in fields.items() if value is not None}
        return self.registry.create(name, self.folder, numbered=numbered, listed=listed, **given)

    def _adopt(self, record: Record) -> Session:
        """Use the session in this kernel until the kernel ends or lets go of it. Raises `SessionInUse`."""
        from claude_nb.session import Session  # not needed for loading, which is to be quick

        runtime = self.registry.runtime
        owner = claims.this_kernel(self._notebook_path())
        claim = claims.claim(record.id, runtime, owner, name=record.name)
        record = self.registry.get(record.id) or record  # as its last owner left it
        record.archived = False
        session = Session(record, portal=self.portal, runtime=runtime, keeper=self.keeper)
        session.observe(self._on_state, "state")
        self._claims[record.id] = claim
        self.sessions[record.id] = session
        if self._log is None:
            self._log = start_log(runtime)
        return session

    def _let_go(self, session: Session) -> None:
        with self._lock:
            self.sessions.pop(session.record.id, None)
            claim = self._claims.pop(session.record.id, None)
            if claim is not None:
                claim.release()
            if self._current == session.record.id:
                self._current = None

    def _unknown_words(self, name: str) -> str:
        from claude_nb.prompt_line import nearest

        known = [info.name for info in self.overview()]
        near = nearest(name, known)
        hint = f"Did you mean {near!r}?" if near else "`%claude /sessions` lists them, `/new` makes one."
        return f"There is no session {name!r} in this folder. {hint}"

    def _vscode_file(self) -> str | None:
        value = (getattr(self.parent, "user_ns", None) or {}).get("__vsc_ipynb_file__")
        return value if isinstance(value, str) else None

    def _notebook_path(self) -> str | None:
        return self._vscode_file() or os.environ.get("JPY_SESSION_NAME")

    def _refuse_when_closing(self) -> None:
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

        The conversations stay. Afterwards the manager makes no more sessions.
        """
        budget = Budget(self.drain_timeout, self.interrupt_timeout, self.stop_patience)
        self._end(reason, budget)
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
        if self.portal.running and self.sessions:
            patience = budget.drain + budget.interrupt + budget.stop + _SLACK
            ending = self.portal.run(shut_down(self.sessions.values(), reason, budget))
            try:
                ending.result(patience)
            except TimeoutError:
                log.warning("[shutdown] not done after %.1f s; the guards end the rest", patience)
        self._forget()

    def _forget(self) -> None:
        for session in list(self.sessions.values()):
            claim = self._claims.pop(session.record.id)
            if not session.record.listed and session.state in ASLEEP:
                self.registry.remove(session.record)
                claim.release(forget=True)
            else:
                self.keeper.save(session)
                claim.release()
        if self._log is not None:
            stop_log(self._log)

    @property
    def stop_patience(self) -> float:
        """Seconds: all of the ladder: EOF, SIGTERM, the guard's grace and its kill."""
        return self.stop_timeout * 2 + _GUARD_GRACE * 2

    def _run_exit_before_the_sdk(self) -> None:
        """The SDK's own exit handler sends SIGTERM in mid-turn; the last to register is the first to run."""
        if "claude_agent_sdk" in sys.modules and self._closing is None:
            atexit.unregister(self._at_exit)
            atexit.register(self._at_exit)


_COPIED_BY_FORK = (
    "model", "agent", "permission_mode", "append_system_prompt", "idle_timeout", "cwd", "turns"
)  # fmt: skip

assert set(_COPIED_BY_FORK) <= {field.name for field in dataclasses.fields(Record)}


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise UnsupportedPlatform(
            "claude_nb does not support Windows yet: its guarantees about processes need POSIX. "
            "Use it inside WSL 2, where it works as on Linux."
        )
