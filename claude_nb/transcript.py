"""Where Claude Code keeps a conversation's history, whether there is any, and a copy that stays.

Source of the layout: Claude Code's `CLAUDE_CONFIG_DIR/projects/<folder>/<session id>.jsonl`, one JSON
document a line. We never edit its files.

The copy
--------
Claude Code removes transcripts that it has not written to for 30 days (`cleanupPeriodDays`), a few seconds
after *any* session of the user has started. A session may be suspended for longer than that, so a copy is
kept in our own data folder, and put back where it was before the session is resumed.

Claude Code opens the file anew for each line, with O_APPEND, and never replaces it; a line that it takes
back is cut off in place. So a hard link is a copy that costs nothing and is always up to date. Where there
can be no hard link (another file system), and wherever the file at the old place has become another one, the
copy is made anew by `keep`, which is therefore called after each suspension. Beside the copy stands the
path that it came from.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_nb.event_loop import EventLoop
from claude_nb.logfile import OUR_THREADS
from claude_nb.private import cannot_write, private_folder, replace_file, unfinished
from claude_nb.shadows import need_sdk

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

log = logging.getLogger(__name__)

# A turn that used many tools ends within the last few lines; images among them make those long.
_TAIL = 16 * 1024 * 1024
_CHUNK = 256 * 1024
# Seconds for a copy; a folder on a slow network takes some.
FORK_PATIENCE = 60.0
_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{7,63}")


def config_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Claude Code's configuration folder, as the child will see it."""
    environ = os.environ if environ is None else environ
    named = environ.get("CLAUDE_CONFIG_DIR")
    return Path(named) if named else home(environ) / ".claude"


def home(environ: Mapping[str, str]) -> Path:
    """The person's home folder, as the child will see it."""
    return Path(environ.get("HOME") or Path.home())


def find_transcript(session_id: str, environ: Mapping[str, str] | None = None) -> Path | None:
    """The file of the conversation, in whichever folder it was held; None if there is none."""
    return next(config_dir(environ).glob(f"projects/*/{session_id}.jsonl"), None)


def has_history(session_id: str, environ: Mapping[str, str] | None = None) -> bool:
    """Something was said in the conversation: a session that was never prompted cannot be resumed."""
    transcript = find_transcript(session_id, environ)
    if transcript is None:
        return False
    with transcript.open("rb") as lines:
        return any(b'"type":"user"' in line for line in lines)


def spent(session_id: str, environ: Mapping[str, str] | None = None) -> float:
    """What the conversation had cost when its last process ended; 0 if that is not recorded."""
    path = find_transcript(session_id, environ)
    if path is None:
        return 0.0
    states = (entry for entry in last_entries(path) if entry.get("type") == "cost-state")
    try:
        return float(next(states, {}).get("totalCostUSD") or 0.0)
    except (OSError, TypeError, ValueError):
        return 0.0


def unwritable(session_id: str, environ: Mapping[str, str], cwd: Path) -> str | None:
    """Why Claude Code cannot write the conversation of a process in `cwd`; None if it can. Blocks."""
    there = find_transcript(session_id, environ)
    if there is not None and not os.access(there, os.W_OK):
        return f"{there} is write-protected"
    return cannot_write(config_dir(environ) / _project(cwd) if there is None else there.parent)


def fork(session_id: str, environ: Mapping[str, str], patience: float = FORK_PATIENCE) -> str:
    """Copy a conversation under an id of its own, beside the original; the new id. Blocks.

    Raises `FileNotFoundError` if there is none, `ValueError` where nothing was said, and `TimeoutError`
    after `patience` seconds.
    """
    original = find_transcript(session_id, environ)
    if original is None:
        raise FileNotFoundError(f"there is no conversation {session_id} in {config_dir(environ)}")
    copied: Future[str] = Future()
    # The caller's own thread may have a loop that runs.
    copying = (copied, _Folder(original.parent), session_id)
    threading.Thread(target=_copy_into, args=copying, name=f"{OUR_THREADS}_fork", daemon=True).start()
    return copied.result(patience)


def _copy_into(copied: Future[str], folder: _Folder, session_id: str) -> None:
    try:
        need_sdk()
        from claude_agent_sdk import fork_session_via_store

        with asyncio.Runner(loop_factory=EventLoop) as runner:
            copy = fork_session_via_store(folder, session_id)  # type: ignore[arg-type] # it has what is needed
            copied.set_result(runner.run(copy).session_id)
    except BaseException as error:  # whoever waits for it raises it
        copied.set_exception(error)


class _Folder:
    """A folder of Claude Code's conversations, for the SDK, which knows only this process's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def load(self, key: SessionKey) -> list[Any]:
        """Called by the SDK with whose entries it wants."""
        entries = []
        for line in (self._folder / f"{key['session_id']}.jsonl").read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                entries.append(json.loads(line))
        return [entry for entry in entries if isinstance(entry, dict)]

    async def append(self, key: SessionKey, entries: list[Any]) -> None:
        """Called by the SDK with the entries of the copy."""
        lines = b"".join(json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in entries)
        replace_file(self._folder / f"{key['session_id']}.jsonl", lines)


# -- the last reply --------------------------------------------------------------------------------


def last_reply_recorded(transcript: Path, reply: str) -> bool:
    """Whether the last reply in the transcript is this one: its text, or a message's `id` or `uuid`.

    Of a text that was told in several blocks the last is compared. Lines that are cut off, as the last one
    may be, count for nothing. Reads at most the last 16 MB; False if the file is gone.
    """
    try:
        for entry in last_entries(transcript):
            if _says(entry, reply):
                return True
            if entry.get("type") == "assistant" and _text(entry) and not _is_synthetic(entry):
                return False
    except FileNotFoundError:
        pass
    return False


def last_entries(transcript: Path, most: int = _TAIL, *, chunk: int = _CHUNK) -> Iterator[dict[str, Any]]:
    """The transcript's entries from the last one on, of its last `most` bytes, `chunk` read at a time."""
    for line in _lines_backwards(transcript, most, chunk):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _lines_backwards(path: Path, most: int, chunk: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        first = max(0, position - most)
        pieces: list[bytes] = []  # of the line that began further up, the last one first
        while position > first:
            size = min(chunk, position - first)
            position = file.seek(position - size)
            *lines, tail = file.read(size).split(b"\n")[::-1]
            if lines:
                yield b"".join([lines[0], *reversed(pieces)])
                yield from lines[1:]
                pieces = []
            pieces.append(tail)
        if first == 0:
            yield b"".join(reversed(pieces))


def _says(entry: Mapping[str, Any], reply: str) -> bool:
    if entry.get("type") != "assistant":
        return False
    text = _text(entry)
    names = (entry.get("uuid"), _message(entry).get("id"))
    return reply in names or bool(text and reply.rstrip().endswith(text.rstrip()))


def _message(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    message = entry.get("message")
    return message if isinstance(message, dict) else {}


def _text(entry: Mapping[str, Any]) -> str:
    """The last text block of a message, empty if there is none."""
    content = _message(entry).get("content")
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    texts = [str(b.get("text", "")) for b in blocks if isinstance(b, dict) and b.get("type") == "text"]
    return texts[-1] if texts else ""


def _is_synthetic(entry: Mapping[str, Any]) -> bool:
    """Claude Code's own words in Claude's place, such as those after an interrupt."""
    return _message(entry).get("model") == "<synthetic>" or bool(entry.get("isSidechain"))


# -- the copy that stays ---------------------------------------------------------------------------


def keep(session_id: str, environ: Mapping[str, str] | None, data: Path) -> Path | None:
    """Keep a copy of the conversation under our data folder `data`, or bring it up to date.

    None if Claude Code has no transcript of that id. Raises `OSError`, for example if the disk is full;
    the former copy is then as it was.
    """
    original = find_transcript(session_id, environ)
    if original is None:
        return None
    kept = _kept(session_id, data)
    private_folder(data, may_be_link=True)
    private_folder(kept.parent)
    _renew(original, kept)
    where = os.fspath(original.relative_to(config_dir(environ)))
    if _came_from(kept) != where:
        replace_file(kept.with_suffix(".json"), json.dumps({"path": where}).encode())
    return kept


def restore(session_id: str, environ: Mapping[str, str] | None, cwd: Path, data: Path) -> bool:
    """Put the kept copy back if Claude Code's own file is gone. Whether there is a transcript now.

    `cwd` is the session's; it tells where to put a copy that does not know where it came from. Raises
    `OSError`.
    """
    if find_transcript(session_id, environ) is not None:
        return True
    kept = _kept(session_id, data)
    if not kept.exists():
        return False
    # The age of the file decides about the clean-up, which would come again.
    os.utime(kept)
    where = _came_from(kept) or os.fspath(_project(cwd) / kept.name)
    original = config_dir(environ) / where
    original.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # somebody else was faster
        _link_or_copy(kept, original, exclusive=True)
    return True


def forget(session_id: str, data: Path) -> None:
    """Remove the kept copy. Claude Code's own file stays."""
    kept = _kept(session_id, data)
    for file in (kept, kept.with_suffix(".json"), kept.with_suffix(".longer.jsonl")):
        file.unlink(missing_ok=True)


def _kept(session_id: str, data: Path) -> Path:
    if not _SESSION_ID.fullmatch(session_id):
        raise ValueError(f"not a conversation's id: {session_id!r}")
    return data / "transcripts" / f"{session_id}.jsonl"


def _renew(original: Path, kept: Path) -> None:
    """Make `kept` the same file as `original`, or one with the same content."""
    source = original.stat()
    try:
        copy = kept.lstat()
    except FileNotFoundError:
        _link_or_copy(original, kept)
        return
    if os.path.samestat(source, copy):
        return
    if copy.st_size > source.st_size:  # no conversation gets shorter: this one is another, or damaged
        shutil.copy2(kept, kept.with_suffix(".longer.jsonl"))
    if (copy.st_size, copy.st_mtime_ns) != (source.st_size, source.st_mtime_ns):
        _link_or_copy(original, kept)


def _link_or_copy(source: Path, target: Path, *, exclusive: bool = False) -> None:
    """The target appears at once and whole. `exclusive` raises `FileExistsError` if there is one already."""
    new = unfinished(target)
    try:
        try:
            new.hardlink_to(source)
        except OSError:  # another file system, or one without hard links
            _copy(source, new)
        if exclusive:
            _place(new, target)
        else:
            new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def _copy(source: Path, new: Path) -> None:
    new.touch(mode=0o600, exist_ok=False)
    shutil.copyfile(source, new)
    status = source.stat()
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))


def _place(new: Path, target: Path) -> None:
    try:
        target.hardlink_to(new)
    except FileExistsError:
        raise
    except OSError:
        if target.exists():
            raise FileExistsError(target) from None
        new.replace(target)


def _came_from(kept: Path) -> str | None:
    """The path under Claude Code's folder that the copy was made of; None if that is not known."""
    try:
        path = json.loads(kept.with_suffix(".json").read_bytes())["path"]
        parts = Path(path).parts
    except (OSError, ValueError, TypeError, KeyError):
        return None
    inside = len(parts) == 3 and parts[0] == "projects" and parts[2] == kept.name and parts[1] != ".."
    return str(path) if inside else None


def _project(cwd: Path) -> Path:
    """Where Claude Code keeps the conversations of a folder."""
    need_sdk()
    from claude_agent_sdk import project_key_for_directory

    return Path("projects") / project_key_for_directory(str(cwd))
