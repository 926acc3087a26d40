"""Records of sessions: their files, their names, and many processes at once. Real files, real races."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from work_kit import calls

from claude_nb.doing import doing_of, note
from claude_nb.errors import ClaudeNbError, InvalidName, SessionExists
from claude_nb.registry import Record, Registry
from claude_nb.state import State

PATIENCE = 30


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "data", tmp_path / "runtime")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def record_files(registry: Registry) -> list[Path]:
    return sorted((registry.data / "sessions").iterdir())


# -- files -----------------------------------------------------------------------------------------


def test_what_is_saved_is_read_again(registry: Registry, folder: Path) -> None:
    record = registry.create("review", folder, model="opus", notebook="a.ipynb", idle_timeout=60)
    record.turns, record.earlier_ids, record.ended = 3, ["x"], {"reason": "shutdown", "time": 1.5, "turn": 3}
    record.process = {"marker": "m", "folder": "/f", "guard": [1, 2], "cli": [3, 4], "since": 1.0}
    registry.save(record)
    assert registry.get(record.id) == record
    assert registry.find("review", folder) == record
    assert Registry(registry.data, registry.runtime).records() == [record]


def test_looking_writes_nothing(registry: Registry, folder: Path) -> None:
    assert registry.records() == []
    assert registry.find("review", folder) is None
    assert registry.get("0" * 32) is None
    assert registry.free_name("default", folder) == "default"
    assert not registry.data.exists()
    assert not registry.runtime.exists()


def test_records_are_for_this_user_only(registry: Registry, folder: Path) -> None:
    old = os.umask(0)
    try:
        registry.create("review", folder)
    finally:
        os.umask(old)
    for path in (registry.data, *registry.data.rglob("*"), *registry.runtime.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_the_default_follows_jupyters_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "d"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "r"))
    registry = Registry.default()
    assert (registry.data, registry.runtime) == (tmp_path / "d" / "claude_nb", tmp_path / "r" / "claude_nb")


def test_what_a_newer_version_wrote_is_kept(registry: Registry, folder: Path) -> None:
    record = registry.create("review", folder)
    (file,) = record_files(registry)
    value = json.loads(file.read_text()) | {"version": 7, "colour": {"deep": ["teal"]}}
    file.write_text(json.dumps(value))
    read = registry.get(record.id)
    assert read is not None
    read.turns = 1
    registry.save(read)
    assert json.loads(file.read_text()) == value | {"turns": 1}


BROKEN = [
    "",
    "{",
    "[]",
    "null",
    "\0" * 100,
    "[" * 100_000,
    '{"id": "x"}',
    '{"id": "ID", "name": 5, "folder": "/f", "session_id": "s"}',
    '{"id": "ID", "name": "n", "folder": "/f", "session_id": "s", "turns": "many"}',
    '{"id": "ID", "name": "n", "folder": "/f", "session_id": "s", "turns": true}',
    '{"id": "ID", "name": "n", "folder": "/f", "session_id": "s", "process": [1]}',
    '{"id": "another", "name": "n", "folder": "/f", "session_id": "s"}',
]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_reported_once_left_out_and_left_there(
    content: str, registry: Registry, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = registry.create("review", folder)
    broken = registry.data / "sessions" / ("0" * 32 + ".json")
    broken.write_text(content.replace("ID", "0" * 32))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert registry.records() == [record]
    assert len(caplog.records) == 1
    assert broken.name in caplog.text
    assert broken.read_text() == content.replace("ID", "0" * 32)


@pytest.mark.parametrize("encoded", [b"\xff\xfe{}", "caf\u00e9".encode("latin-1")])
def test_a_file_that_is_no_text_is_left_out(encoded: bytes, registry: Registry, folder: Path) -> None:
    record = registry.create("review", folder)
    (registry.data / "sessions" / ("0" * 32 + ".json")).write_bytes(encoded)
    assert registry.records() == [record]


def test_what_is_not_a_records_file_is_left_out(registry: Registry, folder: Path) -> None:
    record = registry.create("review", folder)
    sessions = registry.data / "sessions"
    (sessions / ("1" * 32 + ".json")).mkdir()
    (sessions / ("2" * 32 + ".json")).symlink_to(sessions / "nowhere")
    (sessions / "notes.json").write_text("{}")
    (sessions / f".{record.id}.json.1-1.new").write_text("half")
    assert registry.records() == [record]


def test_a_path_of_odd_bytes_is_a_folder_like_others(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9 \xff")
    record = registry.create("r\u00e9sum\u00e9 漢字", folder)
    assert registry.find("r\u00e9sum\u00e9 漢字", folder) == record


def test_only_an_id_names_a_file(registry: Registry) -> None:
    for wrong in ("../../etc/passwd", "", "x" * 32, "0" * 31):
        with pytest.raises(ValueError, match="not a record's id"):
            registry.get(wrong)


def test_a_failed_save_leaves_the_old_record(registry: Registry, folder: Path) -> None:
    record = registry.create("review", folder)
    bad = dataclasses.replace(record, ended={"reason": object()})
    with pytest.raises(TypeError):
        registry.save(bad)
    assert registry.records() == [record]
    assert len(record_files(registry)) == 1


def test_a_reader_never_sees_half_a_record(registry: Registry, folder: Path) -> None:
    record = registry.create("review", folder, append_system_prompt="x" * 100_000)
    program = (
        "import sys, pathlib; from claude_nb.registry import Registry\n"
        "r = Registry(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])); record = r.get(sys.argv[3])\n"
        "print('ready', flush=True)\n"
        "while True: record.turns += 1; r.save(record)\n"
    )
    with running(program, str(registry.data), str(registry.runtime), record.id) as writer:
        assert line_of(writer) == "ready"
        seen = set()
        for _ in range(300):
            (now,) = registry.records()
            seen.add(now.turns)
        assert len(seen) > 1
        writer.send_signal(signal.SIGKILL)
        writer.wait(PATIENCE)
    (last,) = registry.records()
    assert last.turns >= max(seen)


# -- lists and names -------------------------------------------------------------------------------


def test_the_last_active_comes_first(registry: Registry, folder: Path) -> None:
    for name, active in (("b", 2), ("c", 3), ("a", 1)):
        registry.create(name, folder, last_activity=active)
    assert [record.name for record in registry.records(folder)] == ["c", "b", "a"]


def test_the_archived_and_the_unlisted_come_only_when_asked_for(registry: Registry, folder: Path) -> None:
    registry.create("plain", folder)
    registry.create("hidden", folder, archived=True)
    registry.create("nobody", folder, listed=False)
    assert {r.name for r in registry.records(folder)} == {"plain"}
    assert {r.name for r in registry.records(folder, archived=True)} == {"plain", "hidden"}
    assert {r.name for r in registry.records(folder, unlisted=True)} == {"plain", "nobody"}
    assert registry.find("nobody", folder) is None
    assert registry.find("hidden", folder) is not None


def test_a_name_is_unique_in_its_folder_only(registry: Registry, folder: Path, tmp_path: Path) -> None:
    first = registry.create("review", folder)
    second = registry.create("review", tmp_path)
    assert registry.records(folder) == [first]
    assert registry.records(tmp_path) == [second]
    assert len(registry.records()) == 2
    with pytest.raises(SessionExists, match="/switch review") as caught:
        registry.create("review", folder)
    assert (caught.value.name, caught.value.archived) == ("review", False)


def test_an_archived_session_keeps_its_name(registry: Registry, folder: Path) -> None:
    registry.create("review", folder, archived=True)
    with pytest.raises(SessionExists, match="archived") as caught:
        registry.create("review", folder)
    assert caught.value.archived


def test_unlisted_sessions_share_names(registry: Registry, folder: Path) -> None:
    for _ in range(3):
        registry.create("default", folder, listed=False)
    registry.create("default", folder)
    assert registry.free_name("default", folder) == "default-2"


def test_a_folder_has_one_name_whichever_way_leads_there(
    registry: Registry, folder: Path, tmp_path: Path
) -> None:
    record = registry.create("review", folder)
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert registry.find("review", link) == record
    assert registry.find("review", f"{folder}/../{folder.name}/") == record


def test_two_ways_to_write_an_accent_are_one_name_and_two_cases_are_two(
    registry: Registry, folder: Path
) -> None:
    record = registry.create("cafe\u0301", folder)
    assert record.name == "caf\u00e9"
    assert registry.find("cafe\u0301", folder) == record
    with pytest.raises(SessionExists):
        registry.create("caf\u00e9", folder)
    registry.create("Caf\u00e9", folder)


def test_the_next_free_name_has_a_number(registry: Registry, folder: Path) -> None:
    names = [registry.create("default", folder, numbered=True).name for _ in range(4)]
    assert names == ["default", "default-2", "default-3", "default-4"]
    registry.remove(registry.find("default-2", folder) or pytest.fail("it is gone"))
    assert registry.free_name("default", folder) == "default-2"


def test_a_numbered_name_is_never_too_long(registry: Registry, folder: Path) -> None:
    names = [registry.create("n" * 100, folder, numbered=True).name for _ in range(2)]
    assert names[1] == "n" * 98 + "-2"


def test_a_session_can_be_renamed_but_not_to_anothers_name(registry: Registry, folder: Path) -> None:
    record, other = registry.create("draft", folder), registry.create("review", folder)
    with pytest.raises(SessionExists):
        registry.rename(record, "review")
    with pytest.raises(InvalidName):
        registry.rename(record, "../review")
    assert record.name == "draft"
    registry.rename(record, "draft")
    registry.rename(record, "final")
    assert record.name == "final"
    assert registry.find("draft", folder) is None
    assert registry.find("final", folder) == record
    assert registry.find("review", folder) == other


def test_a_removed_session_is_gone_and_its_name_free(registry: Registry, folder: Path) -> None:
    record = registry.create("review", folder)
    registry.remove(record)
    registry.remove(record)
    assert registry.get(record.id) is None
    registry.create("review", folder)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-n", ".hidden", "a\nb"])
def test_an_invalid_name_is_refused(name: str, registry: Registry, folder: Path) -> None:
    with pytest.raises(InvalidName):
        registry.create(name, folder)
    assert not registry.data.exists()


# -- many processes --------------------------------------------------------------------------------


def running(program: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process that is killed when its `with` is left."""

    class Killed(subprocess.Popen[str]):
        def __exit__(self, *exception: object) -> None:
            self.kill()
            super().__exit__(*exception)  # type: ignore[arg-type]

    command = [sys.executable, "-c", program, *arguments]
    return Killed(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


NAMER = """
import sys, pathlib
from claude_nb.errors import SessionExists
from claude_nb.registry import Registry
registry = Registry(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    how, name = line.split()
    try:
        if how == "rename":
            registry.rename(registry.create(f"tmp {id(line)}", sys.argv[3], numbered=True), name)
            print(name, flush=True)
        else:
            print(registry.create(name, sys.argv[3], numbered=how == "numbered").name, flush=True)
    except SessionExists:
        print("taken", flush=True)
"""


@pytest.fixture
def namers(registry: Registry, folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that give names when they are told."""
    with ExitStack() as stack:
        arguments = [str(registry.data), str(registry.runtime), str(folder)]
        processes = [stack.enter_context(running(NAMER, *arguments)) for _ in range(4)]
        assert [line_of(process) for process in processes] == ["ready"] * 4
        yield processes


@pytest.mark.parametrize("how", ["create", "rename"])
def test_of_many_that_want_one_name_one_gets_it(
    how: str, namers: list[subprocess.Popen[str]], registry: Registry, folder: Path
) -> None:
    for number in range(30):
        for process in namers:
            tell(process, f"{how} name{number}")
        assert sorted(line_of(process) for process in namers) == [f"name{number}", *["taken"] * 3]
        assert [record.name for record in registry.records(folder)].count(f"name{number}") == 1


def test_many_that_want_any_free_name_get_one_each(
    namers: list[subprocess.Popen[str]], registry: Registry, folder: Path
) -> None:
    for _ in range(10):
        for process in namers:
            tell(process, "numbered default")
    names = {line_of(process) for _ in range(10) for process in namers}
    assert names == {"default", *(f"default-{number}" for number in range(2, 41))}
    assert {record.name for record in registry.records(folder)} == names


def test_threads_of_one_process_do_not_share_a_name_either(registry: Registry, folder: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: registry.create("default", folder, numbered=True).name, range(24)))
    assert len(set(made)) == 24


def test_a_stopped_process_does_not_keep_others_from_naming_for_ever(
    registry: Registry, folder: Path
) -> None:
    registry = Registry(registry.data, registry.runtime, naming_patience=0.2)
    program = (
        "import sys, pathlib, time; from claude_nb.registry import Registry\n"
        "registry = Registry(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        "with registry._naming(sys.argv[3]): print('inside', flush=True); time.sleep(60)\n"
    )
    with running(program, str(registry.data), str(registry.runtime), str(folder)) as process:
        assert line_of(process) == "inside"
        with pytest.raises(ClaudeNbError, match="Try again"):
            registry.create("review", folder)
        process.kill()
        process.wait(PATIENCE)
        registry.create("review", folder)


# -- work ------------------------------------------------------------------------------------------


def test_two_hundred_records_cost_a_few_calls_each(registry: Registry, folder: Path) -> None:
    for number in range(200):
        registry.save(
            Record(f"{number:032x}", f"s{number}", str(folder), "x", append_system_prompt="p" * 500)
        )
    assert calls(lambda: registry.records(folder)) < 200 * 200
    assert len(registry.records(folder)) == 200


# -- many threads of one kernel ----------------------------------------------------------------------


def test_what_many_threads_change_in_a_record_is_neither_lost_nor_set_back(
    registry: Registry, folder: Path
) -> None:
    """As in a kernel: the portal notes what the session does, while cells rename it and allow things."""
    record = registry.create("review", folder)
    numbers: list[int] = []
    over = threading.Event()

    def work() -> None:
        for number in range(400):
            with record.lock:
                note(record, State.BUSY if number % 2 else State.SUSPENDED)
                registry.save(record)

    def allow(mine: str) -> None:
        for number in range(400):
            record.allow([f"Bash({mine} {number})"])
            registry.save(record)

    def rename() -> None:
        for number in range(100):
            registry.rename(record, f"review {number}")
            there = registry.get(record.id)
            assert there is not None
            assert there.name == f"review {number}"

    def look() -> None:
        while not over.is_set():
            there = registry.get(record.id)
            assert there is not None
            numbers.append(doing_of(there).number)

    with ThreadPoolExecutor(5) as threads:
        looking = threads.submit(look)
        try:
            for done in [
                *map(threads.submit, [work, rename]),
                *(threads.submit(allow, each) for each in "ab"),
            ]:
                done.result(PATIENCE)
        finally:
            over.set()
        looking.result(PATIENCE)
    assert numbers == sorted(numbers)
    last = registry.get(record.id)
    assert last == record
    assert len(record.rules) == 800
