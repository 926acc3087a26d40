"""Roster: the sessions that this kernel uses: which one is meant, made or continued, claimed, let go of.

A name is unique in the kernel's folder. The session that `%claude` talks to until told otherwise is the
*implicit* one and bears the notebook's name; where nobody is there it is always new and not listed, so that
a headless run never meets another run's conversation.

A conversation follows its notebook (`notebooks.py`), not the notebook's name. What was always allowed in one
notebook never holds in another, also where the session itself is used by both.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_nb import claims
from claude_nb.errors import ClaudeNbError, SessionExists, SessionInUse, SessionNotFound
from claude_nb.kernel.presence import someone_is_there
from claude_nb.names import check_name, notebook_name, quoted
from claude_nb.notebooks import Notebook, here
from claude_nb.registry import Record, Registry, normal_folder
from claude_nb.state import ASLEEP
from claude_nb.words import ago, counted

if TYPE_CHECKING:
    from claude_nb.session import Session
    from claude_nb.session_manager import SessionManager

log = logging.getLogger(__name__)

# Seconds. A shutdown must be over 2.5 s after it was asked for, turns that get time included.
_LOCK_PATIENCE = 0.2


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
        self._writing = threading.Lock()

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
            claim = self._take_claim(session)
            if claim is not None:
                claim.release()
            if self.current_id == session.record.id:
                self.current_id = None

    def let_go_of_all(self) -> None:
        """The kernel ends: records are set down; of a run that nobody watched nothing stays.

        Does not raise, and a thread that hangs with our lock does not hold it up.
        """
        locked = self.lock.acquire(timeout=_LOCK_PATIENCE)
        try:
            for session in list(self.sessions.values()):
                try:
                    self._let_go_at_end(session)
                except Exception:
                    log.exception("session %r could not be let go of", session.name)
        finally:
            if locked:
                self.lock.release()

    def _let_go_at_end(self, session: Session) -> None:
        passing = not session.record.listed and session.state in ASLEEP
        claim: claims.Claim | None = None
        try:
            if not passing:
                self._manager.keeper.save(session)
            claim = self._take_claim(session)
            if passing and claim is not None:
                self._registry.remove(session.record)
        finally:
            claim = claim or self._take_claim(session)
            if claim is not None:  # else let go of already
                claim.release(forget=passing)

    @contextmanager
    def writing(self, session: Session) -> Iterator[bool]:
        """Whether the session's record is ours to write; it stays so meanwhile.

        Once a session was let go of, its record is the next kernel's.
        """
        with self._writing:
            yield session.record.id in self._claims

    def _take_claim(self, session: Session) -> claims.Claim | None:
        """Return the claim to release; from now on nothing of ours writes the record."""
        with self._writing:
            return self._claims.pop(session.record.id, None)

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
            return self._adopt(self._create(base, listed=False, own=True))
        if not self._manager.continue_after_restart:
            return self._fresh(base)
        now = self.notebook
        record = self._own_record(now, base)
        if record is None:
            session = self._fresh(base)
            session.news = self._other_words(session, now, base)
            return session
        try:
            return self._continued(record, now)
        except SessionInUse as error:
            session = self._fresh(base)
            session.news = f"This is a new session, '{session.name}'. {error}"
            return session

    def _own_record(self, now: Notebook, base: str) -> Record | None:
        """The one of this notebook, the last active first, whatever its name was; None if there is none."""
        folder = normal_folder(self._manager.folder)
        owned: list[tuple[Record, Notebook]] = []
        for record in self._registry.records():
            named = record.name == base and record.folder == folder
            known = Notebook.said(record.own_of)
            if known is None and named:  # asked for by this name, or made by an older version
                known = Notebook.said(record.used_in) or Notebook(record.notebook)
            if known is not None and (named or known.path is not None or known.is_of(now)):
                owned.append((record, known))
        for record, known in owned:
            if known.is_of(now):
                return record
        if now.never_named:
            return None
        return next((record for record, known in owned if known.is_same(now, record.cells)), None)

    def _continued(self, record: Record, now: Notebook) -> Session:
        """The record's session, under the name that its notebook has now. Raises `SessionInUse`."""
        known = Notebook.said(record.own_of)
        session = self._adopt(record)
        record = session.record
        former = record.name
        renamed = known is not None and self._follow(record, known, known.follow(now, record.cells))
        if session.turns:
            before = f" (called '{former}' before its notebook was renamed)" if renamed else ""
            session.news = _joined(self._continuing_words(session, before), session.news)
        return session

    def _follow(self, record: Record, known: Notebook, new: Notebook) -> bool:
        """The record goes where its notebook has gone; whether it has another name now."""
        record.update(own_of=new.as_json(), used_in=new.as_json(), notebook=new.path)
        name, folder = record.name, normal_folder(self._manager.folder)
        kept = not _bears_the_name_of(name, known) or _bears_the_name_of(name, new)
        if kept and record.folder == folder:
            return False
        base = name if kept else _name_of(new)
        try:
            self._registry.move(record, base, folder)
        except (ClaudeNbError, OSError) as error:
            log.warning("session %r could not be called %r: %s", name, base, error)
        return record.name != name

    def _other_words(self, session: Session, now: Notebook, base: str) -> str | None:
        """Where a notebook has nothing to continue: another conversation that may be meant; None if none."""
        for record in self._registry.records(self._manager.folder):
            known = Notebook.said(record.own_of) or Notebook(record.notebook)
            if record.id == session.record.id or not record.turns or now.path is None:
                continue
            if record.name != base and (record.own_of is None or known.is_there or known.path is None):
                continue
            if claims.holder(record.id, self._registry.runtime) is not None:
                continue
            of = f" of {Path(known.path).name}" if known.path else ""
            return (
                f"This is a new conversation, '{session.name}'. There is another, '{record.name}'{of} "
                f"({counted(record.turns, 'turn')}, {ago(time.time() - record.last_activity)}): "
                f"`%claude /switch {quoted(record.name)}` takes it up."
            )
        return None

    def _fresh(self, base: str) -> Session:
        """A new session of that name or the next free one; the implicit one never collides."""
        while True:
            record = self._create(base, numbered=True, own=True)
            try:
                return self._adopt(record)
            except SessionInUse:  # another kernel has found the new record and was faster
                log.info("session %r was taken by another kernel at once", record.name)

    def _continuing_words(self, session: Session, before: str) -> str:
        cut = session.record.ended
        last = f" The last turn was cancelled by a {cut['reason']}." if cut else ""
        return f"Continuing the conversation '{session.name}'{before}.{last} `%claude -n` starts anew."

    def _create(
        self, name: str, *, numbered: bool = False, listed: bool = True, own: bool = False, **fields: Any
    ) -> Record:
        now = self.notebook
        given: dict[str, Any] = {
            "model": self._manager.model,
            "permission_mode": None,
            "append_system_prompt": self._manager.append_system_prompt or None,
            "notebook": now.path,
            "own_of": now.as_json() if own else None,
            "used_in": now.as_json(),
        }
        given |= {key: value for key, value in fields.items() if value is not None}
        return self._registry.create(name, self._manager.folder, numbered=numbered, listed=listed, **given)

    def _adopt(self, record: Record) -> Session:
        """Use the session in this kernel until the kernel ends or lets go of it. Raises `SessionInUse`."""
        from claude_nb.session import Session  # not needed for loading, which is to be quick

        runtime = self._registry.runtime
        owner = claims.this_kernel(self.notebook.path)
        claim = claims.claim(record.id, runtime, owner, name=record.name)
        record = self._registry.get(record.id) or record  # as its last owner left it
        record.archived = False
        manager = self._manager
        session = Session(record, portal=manager.portal, runtime=runtime, keeper=manager.keeper)
        session.news = _joined(session.news, self._forget_rules_of_others(record))
        self._claims[record.id] = claim
        self.sessions[record.id] = session
        self._on_joined(session)
        return session

    def _forget_rules_of_others(self, record: Record) -> str | None:
        """What another notebook was always allowed is asked about again; what to tell of that, if anything.

        A session whose own notebook is gone becomes this notebook's.
        """
        now = self.notebook
        user = Notebook.said(record.used_in) or Notebook(record.notebook)
        owner = Notebook.said(record.own_of)
        if user.is_same(now, record.cells):
            record.update(used_in=user.follow(now, record.cells).as_json())
            return None
        if owner is not None and not owner.is_same(now, record.cells) and not owner.is_there:
            record.update(own_of=now.as_json())
        record.update(used_in=now.as_json(), notebook=now.path, cells=[])
        if not record.forget_allowed():
            return None
        where = Path(user.path).name if user.path is not None else "another kernel"
        return f"What was always allowed in {where} is asked about again here."

    def _unknown_words(self, name: str) -> str:
        from claude_nb.prompt_line import nearest

        known = [info.name for info in self._manager.overview()]
        near = nearest(name, known)
        hint = f"Did you mean {near!r}?" if near else "`%claude /sessions` lists them, `/new` makes one."
        return f"There is no session {name!r} in this folder. {hint}"

    def _vscode_file(self) -> str | None:
        value = (getattr(self._manager.parent, "user_ns", None) or {}).get("__vsc_ipynb_file__")
        return value if isinstance(value, str) else None

    @property
    def notebook(self) -> Notebook:
        """The one that this kernel runs, as its file is now."""
        told = self._vscode_file() or os.environ.get("JPY_SESSION_NAME")
        return here(told, Path(self._manager.folder), getattr(self._manager.parent, "kernel", None))


def _name_of(notebook: Notebook) -> str:
    """What its own session is called."""
    return notebook_name({}, notebook.path) or "default"


def _bears_the_name_of(name: str, notebook: Notebook) -> bool:
    """It was made from the notebook's name, perhaps with a number behind it."""
    return re.fullmatch(rf"{re.escape(_name_of(notebook))}(-\d+)?", name) is not None


def _joined(*sentences: str | None) -> str | None:
    return " ".join(filter(None, sentences)) or None
