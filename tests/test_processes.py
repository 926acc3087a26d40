"""Processes seen from the kernel: who is who, and what a killed guard leaves is ended and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import processes_kit
import pytest
from processes_kit import MARKER_VARIABLE, ZOO, Session, sleeper, wait_until

from claude_nb import processes
from claude_nb.launch import GuardState
from claude_nb.processes import Identity, alive, boot_id, end_left_over, identify, tree, tree_rss

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the zoo is Linux's")

MARKER = "test-processes-1"
BOUND = 5


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    folder = tmp_path / "session"
    folder.mkdir()
    session = Session(folder)
    try:
        yield session
    finally:
        session.end()


def write_ledger(path: Path, *listed: Identity, boot: str | None = None, marker: str = MARKER) -> Path:
    entries = {"boot": boot_id() if boot is None else boot, "marker": marker, "processes": listed}
    path.write_text(json.dumps(entries))
    return path


def kill_guard(session: Session) -> None:
    """Kill the guard once it has written down everybody who was there."""
    everybody = set(processes_kit.recorded(session.folder))
    wait_until(lambda: everybody <= processes.read_ledger(session.ledger, session.marker), 10)
    state = GuardState.read(session.state)
    assert state is not None
    os.kill(state.guard.pid, signal.SIGKILL)
    session.wait()
    assert not state.guarded


def test_nothing_is_left_of_a_session_whose_guard_was_killed(session: Session) -> None:
    session.start("--busy", "--deaf", *ZOO)
    kill_guard(session)
    before = set(session.survivors())
    assert len(before) >= len(ZOO) - 1
    ended = end_left_over(session.marker, session.ledger)
    assert session.survivors() == {}
    assert before <= ended | {process for process in before if not processes_kit.runs(*process)}


@pytest.mark.parametrize("kind", ZOO)
def test_each_kind_is_ended_when_its_guard_was_killed(kind: str, session: Session) -> None:
    session.start("--busy", kind)
    kill_guard(session)
    end_left_over(session.marker, session.ledger)
    assert session.survivors() == {}


def test_without_the_ledger_a_cleared_environment_is_not_found(session: Session) -> None:
    """Why there is a ledger."""
    session.start("--busy", "daemon_environment_cleared", "daemon")
    kill_guard(session)
    end_left_over(session.marker)
    assert set(session.survivors().values()) == {"daemon_environment_cleared"}


def test_what_was_started_since_the_ledger_was_written_is_found_by_the_marker(session: Session) -> None:
    session.start("--busy", "shell_setsid", "respawning", "shell_nohup")
    kill_guard(session)
    session.ledger.unlink()
    end_left_over(session.marker, session.ledger)
    assert session.survivors() == {}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {MARKER_VARIABLE: MARKER + "0"},
        {MARKER_VARIABLE: MARKER[:-1]},
        {MARKER_VARIABLE: " " + MARKER},
        {"X" + MARKER_VARIABLE: MARKER},
        {"TEXT": f"{MARKER_VARIABLE}={MARKER}"},
        {"TEXT": f"\n{MARKER_VARIABLE}={MARKER}\n"},
    ],
)
def test_a_similar_marker_is_somebody_elses(environment: dict[str, str], tmp_path: Path) -> None:
    with sleeper(environment) as bystander, sleeper({MARKER_VARIABLE: MARKER}) as ours:
        assert end_left_over(MARKER, tmp_path / "none") == {ours}
        assert alive(bystander)


def test_a_recycled_pid_is_somebody_elses(tmp_path: Path) -> None:
    with sleeper() as bystander, sleeper() as ours:
        before = Identity(bystander.pid, bystander.start - 1)
        assert end_left_over(MARKER, write_ledger(tmp_path / "ledger", before, ours), known=[before]) == {
            ours
        }
        assert alive(bystander)


def test_a_ledger_of_an_earlier_boot_or_another_session_proves_nothing(tmp_path: Path) -> None:
    with sleeper() as bystander:
        for ledger in (
            write_ledger(tmp_path / "boot", bystander, boot="another"),
            write_ledger(tmp_path / "marker", bystander, marker=MARKER + "0"),
        ):
            assert end_left_over(MARKER, ledger) == set()
        assert alive(bystander)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"boot": 1}', "\x00"])
def test_a_ledger_that_cannot_be_read_names_nobody(content: str, tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text(content)
    assert end_left_over(MARKER, tmp_path / "ledger") == set()


def test_a_sweep_never_ends_itself_or_who_started_it(tmp_path: Path) -> None:
    code = f"from claude_nb.processes import *; print(len(end_left_over({MARKER!r})))"
    environment = {**os.environ, MARKER_VARIABLE: MARKER}
    with sleeper({MARKER_VARIABLE: MARKER}):
        command = ["/bin/sh", "-c", f'"{sys.executable}" -c "{code}"; echo shell']
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["1", "shell"]


def test_an_identity_means_one_process_for_good() -> None:
    with sleeper() as identity:
        assert alive(identity)
        assert not alive(Identity(identity.pid, identity.start + 1))
    assert not alive(identity)
    assert identify(identity.pid) is None


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen(["/bin/sleep", "100"])
    identity = identify(process.pid)
    assert identity is not None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identify(process.pid) == identity
    assert not alive(identity)
    assert end_left_over(MARKER, known=[identity]) == set()
    process.wait()


def test_the_tree_holds_all_descendants_and_its_memory_is_their_sum(session: Session) -> None:
    session.start("child", "daemon", "own_session")
    state = GuardState.read(session.state)
    assert state is not None
    expected = {state.guard, *processes_kit.recorded(session.folder)}
    assert {tuple(process) for process in tree(state.guard)} >= {tuple(process) for process in expected}
    assert 10e6 < tree_rss(state.guard) < 200e6
    gone = Identity(state.guard.pid, state.guard.start + 1)
    assert (tree(gone), tree_rss(gone)) == (set(), 0)


def test_many_processes_are_ended_at_once() -> None:
    with ExitStack() as stack:
        crowd = {stack.enter_context(sleeper({MARKER_VARIABLE: MARKER})) for _ in range(100)}
        assert end_left_over(MARKER) == crowd
