"""Roster: the sessions that this kernel uses: which one is meant, made or continued, claimed, let go of.

A name is unique in the kernel's folder. The session that `%claude` talks to until told otherwise is the
*implicit* one and bears the notebook's name; where nobody is there it is always new and not listed, so that
a headless run never meets another run's conversation.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from claude_nb import claims
from claude_nb.errors import SessionExists, SessionInUse, SessionNotFound
from claude_nb.kernel.presence import someone_is_there
from claude_nb.names import check_name, notebook_name
from claude_nb.registry import Record, Registry
from claude_nb.state import ASLEEP

if TYPE_CHECKING:
    from claude_nb.session import Session
    from claude_nb.session_manager import SessionManager

log = logging.getLogger(__name__)


class Roster:
    """A manager's sessions. `on_joined` is called with each one that is used from now on."""

    def __init__(self, manager: SessionManager, on_joined: Callable[[Session], None]) -> None:
        self._manager = manager
        self._on_joined = on_joined
        # By their records' ids: a name may change.
        self.sessions: dict[str, Session] = {}
        self.current_id: str | None = None
        self.lock = threading.RLock()
        self._claims: dict[str, claims.Claim] = {}

    def __repr__(self) -> str:
        return f"<Roster, {len(self.sessions)} sessions>"

    def current(self) -> Session:
        """The session that `%claude` talks to."""
        session = self.sessions.get(self.current_id or "")
        return self.make_current(self._implicit()) if session is None else session

    def make_current(self, session: Session) -> Session:
        """`%claude` talks to this one from now on."""
        self.current_id = session.record.id
        return session

    def existing(self, name: str) -> Session:
        """The one of that name, which must be there. Raises `SessionNotFound`, `SessionInUse`."""
        if self._held(name) is None and self._registry.find(name, self._manager.folder) is None:
            raise SessionNotFound(self._unknown_words(name))
        return self.named(name)

    def named(self, name: str) -> Session:
        """One asked for by name, made if there is none. Raises `SessionInUse` if it is another kernel's."""
        session = self._held(name)
        if session is not None:
            return session
        record = self._registry.find(name, self._manager.folder)
        if record is None:
            try:
                record = self._create(name)
            except SessionExists:  # another kernel was faster; it is in use, or free again
                return self.named(name)
        return self._adopt(record)

    def new(self, name: str, *, numbered: bool = False, **fields: Any) -> Session:
        """One made now. Raises `SessionExists`, unless it may get a number behind its name."""
        return self._adopt(self._create(check_name(name), numbered=numbered, **fields))

    def let_go(self, session: Session) -> None:
        """It is free for other kernels."""
        with self.lock:
            self.sessions.pop(session.record.id, None)
            claim = self._claims.pop(session.record.id, None)
            if claim is not None:
                claim.release()
            if self.current_id == session.record.id:
                self.current_id = None

    def let_go_of_all(self) -> None:
        """The kernel ends: records are set down; of a run that nobody watched nothing stays."""
        for session in list(self.sessions.values()):
            claim = self._claims.pop(session.record.id)
            if not session.record.listed and session.state in ASLEEP:
                self._registry.remove(session.record)
                claim.release(forget=True)
            else:
                self._manager.keeper.save(session)
                claim.release()

    @property
    def _registry(self) -> Registry:
        return self._manager.registry

    def _held(self, name: str) -> Session | None:
        return next((session for session in self.sessions.values() if session.name == name), None)

    def _implicit(self) -> Session:
        """The notebook's own: continued if it is free, under another name if it is not, new if unwatched."""
        base = notebook_name(os.environ, self._vscode_file()) or "default"
        watched = someone_is_there(self._manager.parent)
        held = self._held(base)
        if held is not None and held.record.listed == watched:  # asked for by name, or left for another
            return held
        if not watched:
            return self._adopt(self._create(base, listed=False))
        record = self._registry.find(base, self._manager.folder)
        if record is None or record.archived or not self._manager.continue_after_restart:
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
            "model": self._manager.model,
            "permission_mode": None,
            "append_system_prompt": self._manager.append_system_prompt or None,
            "notebook": self._notebook_path(),
        }
        given |= {key: value for key, value in fields.items() if value is not None}
        return self._registry.create(name, self._manager.folder, numbered=numbered, listed=listed, **given)

    def _adopt(self, record: Record) -> Session:
        """Use the session in this kernel until the kernel ends or lets go of it. Raises `SessionInUse`."""
        from claude_nb.session import Session  # not needed for loading, which is to be quick

        runtime = self._registry.runtime
        owner = claims.this_kernel(self._notebook_path())
        claim = claims.claim(record.id, runtime, owner, name=record.name)
        record = self._registry.get(record.id) or record  # as its last owner left it
        record.archived = False
        manager = self._manager
        session = Session(record, portal=manager.portal, runtime=runtime, keeper=manager.keeper)
        self._claims[record.id] = claim
        self.sessions[record.id] = session
        self._on_joined(session)
        return session

    def _unknown_words(self, name: str) -> str:
        from claude_nb.prompt_line import nearest

        known = [info.name for info in self._manager.overview()]
        near = nearest(name, known)
        hint = f"Did you mean {near!r}?" if near else "`%claude /sessions` lists them, `/new` makes one."
        return f"There is no session {name!r} in this folder. {hint}"

    def _vscode_file(self) -> str | None:
        value = (getattr(self._manager.parent, "user_ns", None) or {}).get("__vsc_ipynb_file__")
        return value if isinstance(value, str) else None

    def _notebook_path(self) -> str | None:
        return self._vscode_file() or os.environ.get("JPY_SESSION_NAME")
