"""What a transcript says, and the copy that outlives Claude Code's clean-up."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from claude_nb import transcript
from claude_nb.session_manager import SessionManager
from claude_nb.transcript import find_transcript, forget, has_history, keep, last_reply_recorded, restore

PATIENCE = 60.0
# Claude Code cleans up some seconds after a start.
CLEAN_UP = 30.0
ID = "5553f9a8-13cf-4b3e-a23c-4084d3a74a29"
LONG_AGO = 40 * 86400


class NoLoops(asyncio.DefaultEventLoopPolicy):
    """A user's own policy; its loops are not for us."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        raise AssertionError("the user's policy is the user's alone")


# -- a transcript of our own -----------------------------------------------------------------------


def user(text: str) -> dict[str, Any]:
    return {"type": "user", "uuid": f"u-{text}", "message": {"role": "user", "content": text}}


def assistant(*texts: str, uuid: str = "a", model: str = "m", tools: int = 0) -> dict[str, Any]:
    content = [{"type": "text", "text": text} for text in texts]
    content += [{"type": "tool_use", "id": f"t{n}", "name": "Bash"} for n in range(tools)]  # type: ignore[misc]
    message = {"role": "assistant", "id": f"msg-{uuid}", "model": model, "content": content}
    return {"type": "assistant", "uuid": uuid, "message": message}


LAST_PROMPT = {"type": "last-prompt", "lastPrompt": "x", "leafUuid": "y"}


def lines(*entries: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in entries)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"CLAUDE_CONFIG_DIR": str(tmp_path / "config")}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def original(environ: dict[str, str]) -> Path:
    """A transcript as Claude Code writes it."""
    file = Path(environ["CLAUDE_CONFIG_DIR"]) / "projects" / "-home-me-project" / f"{ID}.jsonl"
    file.parent.mkdir(parents=True)
    file.touch(mode=0o600)
    file.write_bytes(lines(user("hello"), assistant("Hi.")))
    return file


def append(file: Path, content: bytes) -> None:
    with file.open("ab") as opened:
        opened.write(content)


# -- the last reply --------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["The answer.", "The answer.\n", "I look.\n\nThe answer.", "a2", "msg-a2"])
def test_the_last_reply_is_found_by_its_text_or_its_ids(named: str, original: Path) -> None:
    append(original, lines(user("more"), assistant("The answer.", uuid="a2"), LAST_PROMPT))
    assert last_reply_recorded(original, named)


@pytest.mark.parametrize("named", ["Hi.", "a", "The answer. And more", "answer", "", "b"])
def test_what_is_not_the_last_reply_is_not_found(named: str, original: Path) -> None:
    append(original, lines(user("more"), assistant("The answer.", uuid="a2"), LAST_PROMPT))
    assert not last_reply_recorded(original, named)


def test_tools_and_claude_codes_own_words_may_follow_the_reply(original: Path) -> None:
    append(
        original, lines(assistant(uuid="t", tools=2), assistant("API Error", uuid="s", model="<synthetic>"))
    )
    assert last_reply_recorded(original, "Hi.")
    assert last_reply_recorded(original, "t")


def test_a_line_that_is_cut_off_counts_for_nothing(original: Path) -> None:
    whole = lines(assistant("Later.", uuid="later"))
    content = original.read_bytes()
    for cut in range(len(whole) - 1):
        original.write_bytes(content + whole[:cut])
        assert last_reply_recorded(original, "Hi.")
        assert not last_reply_recorded(original, "later")
    original.write_bytes(content + whole[:-1])
    assert last_reply_recorded(original, "later")


@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 1000])
def test_lines_are_read_from_the_end_whatever_their_length(chunk: int, original: Path) -> None:
    entries = [user("x" * 300), assistant("é漢字" * 50, uuid="w"), user(""), LAST_PROMPT]
    original.write_bytes(lines(*entries))
    assert list(transcript.last_entries(original, chunk=chunk)) == entries[::-1]
    original.write_bytes(b"\n\n" + lines(*entries)[:-1])
    assert list(transcript.last_entries(original, chunk=chunk)) == entries[::-1]


def test_no_more_than_the_end_is_read(original: Path) -> None:
    append(original, lines(*(user("x" * 100) for _ in range(1000))))
    assert len(list(transcript.last_entries(original, 1000))) < 10
    assert list(transcript.last_entries(original, 0)) == []


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"null\n", b"[]\n", b'{"type":"assistant","message":3}\n', b"\xff\xfe\n", b"{\n"]
)
def test_nonsense_holds_no_reply(content: bytes, original: Path) -> None:
    original.write_bytes(content)
    assert not last_reply_recorded(original, "Hi.")


def test_a_transcript_that_is_gone_holds_no_reply(tmp_path: Path) -> None:
    assert not last_reply_recorded(tmp_path / "none", "Hi.")


# -- the copy --------------------------------------------------------------------------------------


def test_a_copy_costs_nothing_and_grows_with_the_original(
    original: Path, environ: dict[str, str], data: Path
) -> None:
    kept = keep(ID, environ, data)
    assert kept == data / "transcripts" / f"{ID}.jsonl"
    assert kept.samefile(original)
    append(original, lines(user("more")))
    assert kept.read_bytes() == original.read_bytes()
    assert keep(ID, environ, data) == kept


def test_copies_are_for_this_user_only(original: Path, environ: dict[str, str], data: Path) -> None:
    old = os.umask(0)
    try:
        keep(ID, environ, data)
    finally:
        os.umask(old)
    for path in (data, *data.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_an_original_that_was_replaced_is_copied_anew(
    original: Path, environ: dict[str, str], data: Path
) -> None:
    kept = keep(ID, environ, data)
    assert kept is not None
    new = original.with_name("new")
    new.write_bytes(original.read_bytes() + lines(user("more")))
    new.replace(original)
    assert not kept.samefile(original)
    keep(ID, environ, data)
    assert kept.samefile(original)
    assert {path.name for path in kept.parent.iterdir()} == {f"{ID}.jsonl", f"{ID}.json"}


def test_a_longer_copy_is_not_lost_to_a_shorter_original(
    original: Path, environ: dict[str, str], data: Path
) -> None:
    kept = keep(ID, environ, data)
    assert kept is not None
    content = original.read_bytes()
    original.unlink()
    original.write_bytes(content[:50])
    keep(ID, environ, data)
    assert kept.read_bytes() == content[:50]
    assert (kept.parent / f"{ID}.longer.jsonl").read_bytes() == content


@pytest.fixture
def distant_data(tmp_path: Path) -> Iterator[Path]:
    """A data folder on another file system, to which there are no hard links."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system here")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder) / "data"


def test_on_another_file_system_the_copy_is_brought_up_to_date(
    original: Path, environ: dict[str, str], distant_data: Path
) -> None:
    kept = keep(ID, environ, distant_data)
    assert kept is not None
    append(original, lines(user("more")))
    assert kept.read_bytes() != original.read_bytes()
    keep(ID, environ, distant_data)
    assert kept.read_bytes() == original.read_bytes()
    before = kept.stat().st_ino
    keep(ID, environ, distant_data)
    assert kept.stat().st_ino == before
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    original.unlink()
    assert restore(ID, environ, Path("/home/me/project"), distant_data)
    assert original.read_bytes() == kept.read_bytes()
    assert stat.S_IMODE(original.stat().st_mode) == 0o600


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Writing more fails, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failed_copy_leaves_the_former_one(
    original: Path, environ: dict[str, str], distant_data: Path
) -> None:
    kept = keep(ID, environ, distant_data)
    assert kept is not None
    content = kept.read_bytes()
    append(original, lines(user("x" * 3_000_000)))
    with no_file_larger_than(2_000_000), pytest.raises(OSError, match="File too large"):
        keep(ID, environ, distant_data)
    assert kept.read_bytes() == content
    assert not list(kept.parent.glob(".*"))


def test_there_is_nothing_to_keep_of_a_session_that_was_never_prompted(
    environ: dict[str, str], data: Path
) -> None:
    assert keep(ID, environ, data) is None
    assert not restore(ID, environ, Path("/home/me/project"), data)
    assert not data.exists()


def test_what_was_removed_is_put_back_where_it_was_and_young(
    original: Path, environ: dict[str, str], data: Path
) -> None:
    content = original.read_bytes()
    os.utime(original, (time.time() - LONG_AGO,) * 2)
    keep(ID, environ, data)
    original.unlink()
    original.parent.rmdir()
    assert not has_history(ID, environ)
    assert restore(ID, environ, Path("/elsewhere"), data)
    assert find_transcript(ID, environ) == original
    assert has_history(ID, environ)
    assert original.read_bytes() == content
    assert time.time() - original.stat().st_mtime < 3600
    assert stat.S_IMODE(original.stat().st_mode) == 0o600


def test_what_is_there_is_not_touched(original: Path, environ: dict[str, str], data: Path) -> None:
    keep(ID, environ, data)
    original.unlink()
    original.write_bytes(b"another\n")
    before = original.stat()
    assert restore(ID, environ, Path("/home/me/project"), data)
    assert original.read_bytes() == b"another\n"
    assert original.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    "said",
    [
        *[None, "", "{", "[]", '{"path": 5}', '{"path": "../../x.jsonl"}', '{"path": "/etc/passwd"}'],
        *[json.dumps({"path": f"projects/../{ID}.jsonl"}), json.dumps({"path": "projects/p/other.jsonl"})],
    ],
)
def test_a_copy_that_does_not_know_where_it_came_from_goes_to_the_sessions_folder(
    said: str | None, original: Path, environ: dict[str, str], data: Path
) -> None:
    kept = keep(ID, environ, data)
    assert kept is not None
    where = kept.with_suffix(".json")
    where.unlink() if said is None else where.write_text(said)
    original.unlink()
    assert restore(ID, environ, Path("/home/me/project"), data)
    assert find_transcript(ID, environ) == original


def test_a_forgotten_copy_is_gone_and_the_original_stays(
    original: Path, environ: dict[str, str], data: Path
) -> None:
    keep(ID, environ, data)
    forget(ID, data)
    forget(ID, data)
    assert list((data / "transcripts").iterdir()) == []
    assert original.exists()


@pytest.mark.parametrize("wrong", ["", "../../x", "a/b", ".hidden-file-name", "x" * 100])
def test_only_an_id_names_a_copy(wrong: str, environ: dict[str, str], data: Path) -> None:
    for use in (lambda: restore(wrong, environ, data, data), lambda: forget(wrong, data)):
        with pytest.raises(ValueError, match="not a conversation's id"):
            use()


# -- forks -----------------------------------------------------------------------------------------


def test_a_fork_uses_no_loop_of_the_users(original: Path, environ: dict[str, str]) -> None:
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(NoLoops())
    try:
        copy = transcript.fork(original.stem, environ)
    finally:
        asyncio.set_event_loop_policy(before)
    assert copy != original.stem
    assert has_history(copy, environ)


def test_a_fork_that_a_slow_disk_holds_up_is_given_up(original: Path, environ: dict[str, str]) -> None:
    content = original.read_bytes()
    original.unlink()
    os.mkfifo(original)  # who reads it waits for a writer
    with pytest.raises(TimeoutError):
        transcript.fork(original.stem, environ, patience=0.1)
    original.write_bytes(content)  # lets it go on


# -- the real CLI ----------------------------------------------------------------------------------


def ask(manager: SessionManager, name: str, prompt: str) -> str:
    return manager.session(name).ask(prompt).result(PATIENCE).text


def eventually(condition: Callable[[], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.cli
@pytest.mark.parametrize("where", ["data", "distant_data"])
def test_a_conversation_goes_on_after_its_transcript_was_removed(
    where: str, manager: SessionManager, request: pytest.FixtureRequest
) -> None:
    data: Path = request.getfixturevalue(where)
    session = manager.session("review")
    ask(manager, "review", "the code word is heron")
    session.stop().result(PATIENCE)
    keep(session.id, None, data)
    original = find_transcript(session.id)
    assert original is not None
    original.unlink()
    assert restore(session.id, None, manager.folder, data)
    before = session.id
    assert ask(manager, "review", "what is the code word") == "The code word is heron."
    assert session.id == before
    session.stop().result(PATIENCE)
    kept = keep(session.id, None, data)
    assert kept is not None
    assert kept.read_bytes() == original.read_bytes()
    assert last_reply_recorded(kept, "The code word is heron.")


@pytest.mark.cli
def test_the_negative_control_a_removed_transcript_leaves_no_history(manager: SessionManager) -> None:
    session = manager.session("review")
    ask(manager, "review", "the code word is heron")
    session.stop().result(PATIENCE)
    original = find_transcript(session.id)
    assert original is not None
    original.unlink()
    assert not has_history(session.id)


@pytest.mark.cli
def test_the_cli_only_appends_to_its_transcript(manager: SessionManager, data: Path) -> None:
    """A canary for what hard links rest on: also over interrupts, compaction and resuming."""
    session = manager.session("review")
    ask(manager, "review", "the code word is heron")
    kept, original = keep(session.id, None, data), find_transcript(session.id)
    assert kept is not None
    assert original is not None
    content = b""

    def check() -> None:
        nonlocal content
        assert kept.samefile(original)
        assert kept.read_bytes().startswith(content)
        content = kept.read_bytes()

    check()
    turn = session.ask("stream 50 lines")
    assert eventually(lambda: bool(turn.log.text), PATIENCE)
    turn.interrupt()
    turn.result(PATIENCE)
    check()
    session.stop().result(PATIENCE)
    check()
    ask(manager, "review", "/compact")
    session.stop().result(PATIENCE)
    check()
    assert all(json.loads(line) for line in content.splitlines())


@pytest.mark.cli
def test_each_reply_is_recorded_when_the_process_has_ended(manager: SessionManager) -> None:
    session = manager.session("review")
    for prompt in ("the code word is heron", "run a long command", "ECHO *markdown*\n\n漢字"):
        text = ask(manager, "review", prompt)
        session.stop().result(PATIENCE)
        original = find_transcript(session.id)
        assert original is not None
        assert last_reply_recorded(original, text)
        assert not last_reply_recorded(original, text + " and more")


@pytest.mark.cli
def test_the_copy_outlives_claude_codes_own_clean_up(manager: SessionManager, data: Path) -> None:
    session = manager.session("old")
    ask(manager, "old", "the code word is heron")
    session.stop().result(PATIENCE)
    original = find_transcript(session.id)
    assert original is not None
    kept = keep(session.id, None, data)
    assert kept is not None
    os.utime(original, (time.time() - LONG_AGO,) * 2)
    ask(manager, "new", "ECHO anything")
    assert eventually(lambda: not original.exists(), CLEAN_UP), "the CLI does not clean up as it did"
    assert restore(session.id, None, manager.folder, data)
    assert ask(manager, "old", "what is the code word") == "The code word is heron."
