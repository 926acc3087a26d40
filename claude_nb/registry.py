"""Records: what is known of each session from one kernel to the next.

One JSON file a session, `<data>/sessions/<record id>.json`, replaced at once, so that many kernels can read
while one writes. The file's name is the record's own id: a session's name can be changed, and so can Claude
Code's id of the conversation. A session's record is written by the kernel that has claimed the session
(`claims.py`). What a newer version has added to a file is kept; a file that cannot be understood is reported
in the log, left out, and never removed.

Names are unique in their folder. Who gives one looks for it and writes under the folder's own lock, which is
held for milliseconds. Two names are the same when they are in normal form C (`names.check_name`); `Review`
and `review` are two names. Sessions of runs where nobody is there are not listed and share names freely.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claude_nb import locks
from claude_nb.claims import RECORD_ID, here
from claude_nb.errors import ClaudeNbError, FolderUnusable, SessionExists
from claude_nb.names import LONGEST, check_name
from claude_nb.private import private_folder, replace_file

log = logging.getLogger(__name__)

FORMAT = 1
# Somebody else gives a name in the same folder: that takes milliseconds.
_NAMING_PATIENCE = 5.0

# By so many of its cells a notebook is known again whose file was replaced.
_CELLS_KEPT = 20

# What JSON may hold where a field is annotated so.
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "list[str]": (list,),
    "dict[str, Any] | None": (dict, type(None)),
}


@dataclass
class Record:
    """What is known of a session. Times are unix seconds, lengths of time seconds.

    `id` names the record's file for good; `session_id` is Claude Code's id of the conversation, which
    changes (`earlier_ids`). `folder` is where the name is unique, `cwd` where Claude Code runs. `process` is
    {marker, folder, guard: [pid, start], cli: [pid, start], since} while there is one. `doing` is {state,
    since, reason}, see `doing.py`. `ended` is {reason, time, turn} if the last turn was cut short. `kernel`
    is {pid, start} of the last kernel that used it; it and `process` are of the place that `host`, `boot`
    and `pid_namespace` name. `rules` and `allowed_dirs` are what was always allowed in the session.
    `scheduled` is what Claude wants to be woken for, in words.

    `own_of` is the notebook whose own session it is, as `notebooks.py` says it; None if it is a named one.
    `used_in` is the notebook that used it last, in which its rules were given, and `notebook` that one's
    path. `cells` are ids of the notebook's last cells in which Claude was asked.
    """

    id: str
    name: str
    folder: str
    session_id: str
    cwd: str = ""
    earlier_ids: list[str] = field(default_factory=list)
    model: str | None = None
    agent: str | None = None
    permission_mode: str | None = None
    append_system_prompt: str | None = None
    idle_timeout: float | None = None
    rules: list[str] = field(default_factory=list)
    scheduled: list[str] = field(default_factory=list)
    allowed_dirs: list[str] = field(default_factory=list)
    created: float = 0.0
    last_activity: float = 0.0
    turns: int = 0
    archived: bool = False
    listed: bool = True
    notebook: str | None = None
    own_of: dict[str, Any] | None = None
    used_in: dict[str, Any] | None = None
    cells: list[str] = field(default_factory=list)
    ended: dict[str, Any] | None = None
    process: dict[str, Any] | None = None
    doing: dict[str, Any] | None = None
    kernel: dict[str, Any] | None = None
    host: str = ""
    boot: str = ""
    pid_namespace: str | None = None
    version: int = FORMAT
    # What a newer version of claude_nb wrote and this one does not know.
    unknown: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    # Held while it is changed in more than one step, and from then on until that is on disk: a kernel's
    # threads change and save one record, and what was changed last must be what stays.
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    def __repr__(self) -> str:
        state = "archived" if self.archived else "live" if self.process else "asleep"
        return f"<Record of {self.name!r} in {self.folder}, {state}, {self.turns} turns>"

    def update(self, **changes: Any) -> None:
        """Change some fields."""
        assert set(changes) <= set(_FIELDS), changes
        with self.lock:
            vars(self).update(changes)

    def allow(self, rules: Iterable[str], folders: Iterable[str] = ()) -> None:
        """Allow always what the rules and folders name."""
        with self.lock:
            self.rules = [*dict.fromkeys([*self.rules, *rules])]
            self.allowed_dirs = [*dict.fromkeys([*self.allowed_dirs, *folders])]

    def ask_again(self, rule: str) -> None:
        """Allow always no more what a rule or a folder names."""
        with self.lock:
            self.rules = [kept for kept in self.rules if kept != rule]
            self.allowed_dirs = [kept for kept in self.allowed_dirs if kept != rule]

    def note_cell(self, cell: str) -> None:
        """Claude was asked in this cell of the notebook that uses the session."""
        with self.lock:
            if cell not in self.cells:
                self.cells = [*self.cells, cell][-_CELLS_KEPT:]

    def forget_allowed(self) -> bool:
        """Ask about everything again; whether anything had been allowed for always."""
        with self.lock:
            had = bool(self.rules or self.allowed_dirs or self.permission_mode == "acceptEdits")
            self.rules, self.allowed_dirs = [], []
            if self.permission_mode == "acceptEdits":
                self.permission_mode = None
            return had

    def to_json(self) -> bytes:
        """The file's content."""
        known = {name: getattr(self, name) for name in _FIELDS}
        text = json.dumps({**known, **self.unknown}, ensure_ascii=False, indent=1)
        return text.encode("utf-8", "surrogatepass") + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> Record:
        """The record in a file's content. Raises `ValueError` if it is none."""
        value = json.loads(content.decode("utf-8", "surrogatepass"))
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        known = {name: value.pop(name) for name in _FIELDS if name in value}
        for name, given in known.items():
            if not isinstance(given, _FIELDS[name]) or (type(given) is bool and bool not in _FIELDS[name]):
                raise ValueError(f"{name!r} is {given!r}")
        missing = [name for name in _REQUIRED if name not in known]
        if missing:
            raise ValueError(f"{missing[0]!r} is missing")
        return cls(**known, unknown=value)


_FIELDS = {
    f.name: _JSON_TYPES[str(f.type)] for f in dataclasses.fields(Record) if f.name not in ("unknown", "lock")
}
COPIED_BY_FORK = (
    "model", "agent", "permission_mode", "append_system_prompt", "idle_timeout", "cwd", "turns"
)  # fmt: skip

assert set(COPIED_BY_FORK) <= set(_FIELDS)

_REQUIRED = ("id", "name", "folder", "session_id")


class Registry:
    """All records of this user. `data` and `runtime` are our own folders, made when something is written."""

    def __init__(self, data: Path, runtime: Path, *, naming_patience: float = _NAMING_PATIENCE) -> None:
        self.data = data
        self.runtime = runtime
        self._naming_patience = naming_patience
        self._reported: set[tuple[str, int]] = set()

    def __repr__(self) -> str:
        return f"<Registry of {self.data}>"

    @classmethod
    def default(cls) -> Registry:
        """Where Jupyter keeps things; `JUPYTER_DATA_DIR` and `JUPYTER_RUNTIME_DIR` move it."""
        from jupyter_core.paths import jupyter_data_dir, jupyter_runtime_dir

        return cls(Path(jupyter_data_dir()) / "claude_nb", Path(jupyter_runtime_dir()) / "claude_nb")

    # -- reading ------------------------------------------------------------------------------

    def records(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        archived: bool = False,
        unlisted: bool = False,
        must_list: bool = False,
    ) -> list[Record]:
        """The folder's records, or everyone's without one, the last active first.

        The archived and the unlisted ones only come along if they are asked for. Where records cannot be
        listed there are none, for who goes on unrecorded; `must_list` raises `OSError` instead.
        """
        where = None if folder is None else normal_folder(folder)
        found = [
            record
            for record in self._all(must_list=must_list)
            if where in (None, record.folder)
            and (archived or not record.archived)
            and (unlisted or record.listed)
        ]
        return sorted(found, key=lambda record: (-record.last_activity, record.name))

    def find(self, name: str, folder: str | os.PathLike[str]) -> Record | None:
        """The listed record of that name in the folder, archived or not. Raises `InvalidName`."""
        name = check_name(name)
        return next((r for r in self.records(folder, archived=True) if r.name == name), None)

    def get(self, record_id: str) -> Record | None:
        """The record as it is on disk now; None if there is none or it cannot be understood."""
        return self._read(str(self._file(record_id)))

    def _all(self, *, must_list: bool) -> Iterator[Record]:
        folder = os.path.join(self.data, "sessions")  # noqa: PTH118 - Path objects would double the time
        try:
            names = os.listdir(folder)  # noqa: PTH208
        except FileNotFoundError:
            return
        except OSError as error:
            if must_list:
                raise
            self._report(folder, error)
            return
        for name in names:
            if name.endswith(".json") and RECORD_ID.fullmatch(name[:-5]):
                record = self._read(f"{folder}/{name}")
                if record is not None:
                    yield record

    def _read(self, file: str) -> Record | None:
        try:
            with open(file, "rb") as stream:  # noqa: PTH123
                record = Record.from_json(stream.read())
            if not file.endswith(f"{record.id}.json"):
                raise ValueError(f"it is a copy of {record.id}")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self._report(file, error)
            return None
        return record

    def _report(self, file: str, error: Exception) -> None:
        """Once for each state of the file: the registry is read every few minutes."""
        try:
            state = (file, Path(file).stat().st_mtime_ns)
        except OSError:
            state = (file, 0)
        if state not in self._reported:
            self._reported.add(state)
            log.warning("%s cannot be read and is left out: %s", file, error)

    # -- writing ------------------------------------------------------------------------------

    def save(self, record: Record) -> None:
        """Write the record. For whoever has claimed the session. Raises `OSError`."""
        private_folder(self.data, may_be_link=True)
        private_folder(self.data / "sessions")
        with record.lock:
            replace_file(self._file(record.id), record.to_json())

    def create(
        self, name: str, folder: str | os.PathLike[str], *, numbered: bool = False, **fields: Any
    ) -> Record:
        """A new record, saved if that is possible; `fields` are the record's.

        Raises `InvalidName` and `SessionExists`.
        `numbered` takes `name-2`, `name-3` and so on where the name is taken. Without a `session_id` it gets
        a new one. Of many processes that create one name at once, one succeeds.
        """
        name, where = check_name(name), normal_folder(folder)
        with self._naming(where):
            if fields.get("listed", True):
                name = self.free_name(name, where) if numbered else self._unused(name, where)
            now = time.time()
            given: dict[str, Any] = {
                "session_id": str(uuid.uuid4()),
                "cwd": where,
                "created": now,
                "last_activity": now,
            }
            given |= here()._asdict() | fields
            record = Record(id=uuid.uuid4().hex, name=name, folder=where, **given)
            try:
                self.save(record)
            except FolderUnusable as error:  # it can be used all the same; its first turn tells of it
                log.warning("the new session %r is not recorded: %s", name, error)
        return record

    def free_name(self, base: str, folder: str | os.PathLike[str]) -> str:
        """`base`, or `base-2`, `base-3` and so on: the first that no listed session of the folder has.

        Another process may take it first; `create(..., numbered=True)` does both at once.
        """
        base = check_name(base)
        taken = {record.name for record in self.records(folder, archived=True)}
        name, number = base, 1
        while name in taken:
            number += 1
            suffix = f"-{number}"
            name = base[: LONGEST - len(suffix)].rstrip() + suffix
        return name

    def rename(self, record: Record, new: str) -> None:
        """Give the session another name. Raises `InvalidName` and `SessionExists`."""
        new = check_name(new)
        if new == record.name:
            return
        with self._naming(record.folder):
            if record.listed:
                self._unused(new, record.folder)
            self._put(record, name=new)

    def move(self, record: Record, base: str, folder: str | os.PathLike[str]) -> None:
        """Give the session a name from `base` on and another folder: its notebook was renamed or moved."""
        where = normal_folder(folder)
        with self._naming(where):
            cwd = where if record.cwd == record.folder else record.cwd
            self._put(record, name=self.free_name(base, where), folder=where, cwd=cwd)

    def _put(self, record: Record, **changes: Any) -> None:
        """Change the record and its file."""
        with record.lock:
            self.save(dataclasses.replace(record, **changes))  # first, so that a full disk leaves both alike
            record.update(**changes)

    def remove(self, record: Record) -> None:
        """Forget the session. Its conversation stays where Claude Code keeps it."""
        self._file(record.id).unlink(missing_ok=True)

    def _unused(self, name: str, folder: str) -> str:
        """The name, if nobody has it."""
        there = self.find(name, folder)
        if there is not None:
            hidden = ", archived" if there.archived else ""
            raise SessionExists(
                f"There is a session {name!r} in {folder} already{hidden}. "
                f"Go on with it by `%claude /switch {name}`, or choose another name.",
                name,
                there.archived,
            )
        return name

    @contextmanager
    def _naming(self, folder: str) -> Iterator[None]:
        """Nobody else gives a name in this folder meanwhile."""
        key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
        lock = locks.take(self.runtime / "folders" / f"{key}.lock", self._naming_patience)
        if lock is None:
            raise ClaudeNbError(
                f"Another process has been naming a session in {folder} for {self._naming_patience:.0f} s. "
                "It may be stopped. Try again, or end it."
            )
        try:
            yield
        finally:
            lock.release()

    def _file(self, record_id: str) -> Path:
        if not RECORD_ID.fullmatch(record_id):
            raise ValueError(f"not a record's id: {record_id!r}")
        return self.data / "sessions" / f"{record_id}.json"


def normal_folder(folder: str | os.PathLike[str]) -> str:
    """One spelling for each folder: absolute and without symbolic links, as Claude Code has it."""
    return os.path.realpath(folder)
