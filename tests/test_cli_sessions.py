"""`jupyter claude sessions` and `sweep`, each as a process of its own, on real records and real processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes_kit import wait_until
from test_cli import run
from test_sweep import BOUND, left

from claude_nb.claims import claim, this_kernel
from claude_nb.cli.sessions import HEADER
from claude_nb.doing import note
from claude_nb.registry import Registry
from claude_nb.state import State


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """This user's records, for this test and the commands that it runs."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    return Registry.default()


def test_without_sessions_it_says_how_to_make_one(registry: Registry) -> None:
    answer = run("sessions")
    assert answer.returncode == 0
    assert "%claude" in answer.stdout
    assert json.loads(run("sessions", "--json").stdout) == []
    assert not registry.data.exists(), "looking writes nothing"


def test_records_that_cannot_be_read_are_said_in_one_line(registry: Registry) -> None:
    registry.data.mkdir(parents=True)
    (registry.data / "sessions").touch()
    answer = run("sessions")
    assert answer.returncode == 1
    assert answer.stderr.startswith("jupyter claude sessions: The session records cannot be read: ")
    assert answer.stderr.count("\n") == 1


def test_a_poor_encoding_and_a_reader_that_has_seen_enough_are_no_errors(
    registry: Registry, tmp_path: Path
) -> None:
    registry.create("名前", tmp_path, turns=1)
    command = [sys.executable, "-m", "claude_nb.cli", "sessions"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert r"\u540d\u524d" in answer.stdout
    for words in (command, [*command[:-1], "--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        answer = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
        os.close(writer)
        assert answer.returncode in (0, 141)
        assert answer.stderr == ""


def test_sessions_of_every_folder_are_listed_with_what_each_is_doing(
    registry: Registry, tmp_path: Path
) -> None:
    now = time.time()
    registry.create("older", tmp_path / "a", turns=3, last_activity=now - 7200, model="haiku")
    used = registry.create("used", tmp_path / "b", turns=1, last_activity=now - 60)
    registry.create("hidden", tmp_path / "b", turns=1, archived=True)
    registry.create("nobodys", tmp_path / "b", turns=1, listed=False)
    with claim(used.id, registry.runtime, this_kernel()):
        answer = run("sessions")
        data = json.loads(run("sessions", "--all", "--json").stdout)
    header, *lines = answer.stdout.splitlines()
    assert re.split(r"\s{2,}", header) == list(HEADER)
    assert [line.split()[0] for line in lines] == ["used", "older"]
    assert f" {os.getpid()} " in lines[0], "the kernel that has it"
    assert "suspended 2 h" in lines[1]
    assert str(tmp_path / "a") in lines[1]
    assert {row["name"]: row["state"] for row in data} == {
        "used": "suspended",
        "older": "suspended",
        "hidden": "archived",
    }
    assert {row["name"]: row["kernel"] for row in data} == {
        "used": os.getpid(),
        "older": None,
        "hidden": None,
    }


def test_a_live_session_is_listed_with_what_it_takes(registry: Registry) -> None:
    registry.data.parent.mkdir()
    with left(registry, "child") as session:
        record = session.record()
        note(record, State.BUSY)
        registry.save(record)
        (row,) = json.loads(run("sessions", "--json").stdout)
        assert row["state"] == "busy"
        assert row["memory"] > 1e6
        assert row["cpu"] > 0
        assert row["pid"] == (record.process or {})["cli"][0]
        assert "MB" in run("sessions").stdout
        assert session.marker not in json.dumps(row)
        session.kill_both()
        (row,) = json.loads(run("sessions", "--json").stdout)
        assert row["state"] != "busy"
        assert row["kernel"] is None


def test_a_sweep_of_nothing_says_so(registry: Registry) -> None:
    answer = run("sweep")
    assert answer.returncode == 0
    assert answer.stdout == "0 processes ended, 0 records set right.\n"


def test_a_sweep_ends_what_a_killed_kernel_and_guard_left(registry: Registry) -> None:
    registry.data.parent.mkdir()
    with left(registry, "child", "daemon") as session:
        session.kill_both()
        assert session.survivors()
        answer = run("sweep", "--json")
        assert answer.returncode == 0, answer.stderr
        report = json.loads(answer.stdout)
        wait_until(lambda: not session.survivors(), BOUND)
    assert {"pid", "start"} == set(report["ended"][0])
    assert [record["name"] for record in report["set_right"]] == ["review"]
    assert os.getpid() not in [process["pid"] for process in report["ended"]]
    assert json.loads(run("sweep", "--json").stdout)["ended"] == []
