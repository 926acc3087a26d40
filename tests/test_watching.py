"""What a record says of a session, how a server reads it, and when it sweeps. Pure, but for small files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from claude_nb.claims import claim, this_kernel
from claude_nb.doing import ASKING, doing_of, note, note_left_behind
from claude_nb.everywhere import look
from claude_nb.processes import identify
from claude_nb.registry import Record, Registry
from claude_nb.server.sweeping import SweepClock
from claude_nb.server.watching import Watch
from claude_nb.state import State
from claude_nb.sweep import sweep

pytestmark = pytest.mark.pure


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "data", tmp_path / "runtime")


@pytest.fixture
def record(registry: Registry, tmp_path: Path) -> Record:
    return registry.create("review", tmp_path)


def became(registry: Registry, record: Record, *states: str, reason: str | None = None) -> None:
    for state in states:
        note(record, state, reason)
    registry.save(record)


def seen(watch: Watch) -> list[str]:
    return [change.action for change in watch.look()]


def with_process(record: Record, kernel: int) -> Record:
    """As if `kernel` had the session and this very process were its Claude Code."""
    me, it = identify(os.getpid()), identify(kernel)
    assert me is not None
    assert it is not None
    record.process = {
        "marker": "0" * 32,
        "folder": "",
        "guard": list(me),
        "cli": list(me),
        "since": time.time(),
    }
    record.kernel = it._asdict()
    return record


# -- what a record says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "reason", "action"),
    [
        (State.SUSPENDED, None, "suspend"),
        (State.SUSPENDING, None, "suspend"),
        (State.STOPPED, None, "stop"),
        (State.STOPPED, "kernel shutdown", "shutdown"),
        (State.STOPPING, "kernel restart", "shutdown"),
        (State.DEAD, None, "crash"),
    ],
)
def test_each_end_of_a_process_is_told_by_its_own_name(
    record: Record, state: State, reason: str | None, action: str
) -> None:
    note(record, State.IDLE)
    note(record, state, reason)
    assert [one.action for one in doing_of(record).happened] == ["start", action]
    assert doing_of(record).happened[-1].reason == reason


def test_a_turn_is_nothing_that_is_told(record: Record) -> None:
    for state in (State.STARTING, State.IDLE, State.BUSY, State.IDLE, State.IDLE):
        note(record, state)
    assert [one.action for one in doing_of(record).happened] == ["start"]


def test_the_time_of_a_state_is_that_of_its_beginning(record: Record) -> None:
    note(record, State.BUSY)
    since = doing_of(record).since
    note(record, State.BUSY)
    assert doing_of(record).since == since


def test_a_session_with_turns_from_before_is_resumed(record: Record) -> None:
    record.turns = 3
    note(record, State.IDLE)
    assert [one.action for one in doing_of(record).happened] == ["resume"]


def test_a_sweep_says_that_the_kernel_died_unless_it_had_begun_to_end(record: Record) -> None:
    note(record, State.BUSY)
    note_left_behind(record)
    assert (doing_of(record).state, doing_of(record).reason) == ("dead", "its kernel died")
    note(record, State.IDLE)
    note(record, State.STOPPING, "kernel restart")
    note_left_behind(record)
    assert [one.action for one in doing_of(record).happened] == ["start", "crash", "resume", "shutdown"]


@pytest.mark.parametrize(
    "said", [None, {}, {"state": 3}, {"happened": [1, {"action": "explode"}], "since": ""}]
)
def test_what_cannot_be_understood_is_taken_for_nothing(
    record: Record, said: dict[str, object] | None
) -> None:
    record.doing = said
    assert doing_of(record).state == State.SUSPENDED
    assert doing_of(record).happened == ()


# -- watching ----------------------------------------------------------------------------------------


def test_the_first_look_tells_nothing_and_the_next_ones_tell_everything_once(
    registry: Registry, record: Record, tmp_path: Path
) -> None:
    became(registry, record, State.IDLE)
    watch = Watch(registry)
    assert seen(watch) == []
    became(registry, record, State.SUSPENDED)
    became(registry, registry.create("other", tmp_path), State.IDLE)
    assert sorted(seen(watch)) == ["start", "suspend"]
    assert seen(watch) == []


def test_nothing_is_missed_between_two_looks(registry: Registry, record: Record) -> None:
    watch = Watch(registry)
    seen(watch)
    became(registry, record, State.IDLE, State.SUSPENDED, State.IDLE, State.BUSY, State.DEAD)
    assert seen(watch) == ["start", "suspend", "resume", "crash"]


def test_a_live_session_whose_record_is_removed_was_shut_down(registry: Registry, record: Record) -> None:
    became(registry, record, State.IDLE)
    watch = Watch(registry)
    seen(watch)
    registry.remove(record)
    assert seen(watch) == ["shutdown"]


def test_another_hosts_sessions_are_its_own_servers_to_tell_of(registry: Registry, record: Record) -> None:
    watch = Watch(registry)
    seen(watch)
    record.host = "elsewhere"
    became(registry, record, State.IDLE)
    assert seen(watch) == []


def test_there_may_be_no_folder_yet(registry: Registry, tmp_path: Path) -> None:
    watch = Watch(registry)
    assert seen(watch) == []
    became(registry, registry.create("review", tmp_path), State.IDLE)
    assert seen(watch) == ["start"]


def test_only_a_kernel_with_something_at_work_is_busy(registry: Registry, record: Record) -> None:
    watch = Watch(registry)
    became(registry, with_process(record, os.getpid()), State.IDLE)
    watch.look()
    assert watch.busy(time.time()) == set()
    became(registry, record, State.BUSY)
    watch.look()
    assert os.getpid() in watch.busy(time.time())
    assert os.getppid() in watch.busy(time.time()), (
        "a server may know only the program that started the kernel"
    )
    assert watch.orphans() == set()


def test_a_session_of_a_dead_kernel_is_an_orphan_and_keeps_nobody(registry: Registry, record: Record) -> None:
    kernel = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    became(registry, with_process(record, kernel.pid), State.BUSY)
    kernel.communicate()
    watch = Watch(registry)
    watch.look()
    assert watch.orphans() == {record.id}
    assert watch.busy(time.time()) == set()
    (row,) = look(registry)
    assert row.state == "orphaned"


def test_a_question_that_nobody_answers_keeps_its_kernel_for_an_hour(
    registry: Registry, record: Record
) -> None:
    watch = Watch(registry)
    became(registry, with_process(record, os.getpid()), State.BUSY, ASKING)
    watch.look()
    asked = doing_of(record).since
    assert os.getpid() in watch.busy(asked + 3599)
    assert watch.busy(asked + 3601) == set()
    became(registry, record, State.BUSY)
    watch.look()
    assert os.getpid() in watch.busy(asked + 3601), "the answer came after all"
    assert [one.action for one in doing_of(record).happened] == ["start"], "it is nothing that is told"


def test_a_session_that_asks_is_listed_as_asking(registry: Registry, record: Record) -> None:
    with claim(record.id, registry.runtime, this_kernel()):
        became(registry, with_process(record, os.getpid()), ASKING)
        (row,) = look(registry)
    assert (row.state, row.live) == ("asking", True)


# -- rows --------------------------------------------------------------------------------------------


def test_a_look_is_bounded_and_never_leaves_out_a_live_session(registry: Registry, tmp_path: Path) -> None:
    old = registry.create("old", tmp_path, last_activity=1.0)
    for number in range(5):
        registry.create(f"new-{number}", tmp_path)
    with claim(old.id, registry.runtime, this_kernel()):
        became(registry, with_process(old, os.getpid()), State.IDLE)
        rows = look(registry, most=2)
    assert len(rows) == 2
    assert {row.name: row.state for row in rows}["old"] == "idle"


def test_a_sweep_that_finds_no_folder_of_sessions_says_so_and_touches_nothing(registry: Registry) -> None:
    registry.data.mkdir()
    (registry.data / "sessions").write_text("not a folder")
    (registry.runtime / ("0" * 32)).mkdir(parents=True)
    report = sweep(registry)
    assert "\n" not in str(report)
    assert str(registry.data / "sessions") in str(report)
    assert (report.ended, report.set_right, report.removed) == (set(), [], [])


# -- when to sweep -----------------------------------------------------------------------------------


def sweeps(clock: SweepClock, start: float, end: float) -> list[float]:
    """When, looking twice a second."""
    found = []
    for half_second in range(int(start * 2), int(end * 2)):
        if clock.is_due(half_second / 2):
            clock.swept(half_second / 2)
            found.append(half_second / 2)
    return found


def test_sweeps_come_ever_more_seldom_until_a_kernel_ends() -> None:
    clock = SweepClock()
    assert sweeps(clock, 0, 10) == [0, 1, 3, 7]
    assert len(sweeps(clock, 10, 10_000)) < 40
    clock.kernel_ended(10_000)
    assert sweeps(clock, 10_000, 10_005) == [10_000, 10_001, 10_003]


def test_only_a_new_orphan_hurries_the_sweep() -> None:
    clock = SweepClock()
    sweeps(clock, 0, 1000)
    clock.left_behind(frozenset({"a"}), 1000)
    assert clock.is_due(1000)
    sweeps(clock, 1000, 2000)
    clock.left_behind(frozenset({"a"}), 2000)
    assert not clock.is_due(2000)
    clock.left_behind(frozenset({"a", "b"}), 2000)
    assert clock.is_due(2000)
