"""What dead kernels left is ended, their records are set right, and all else is left alone."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import processes_kit
import pytest
from processes_kit import MARKER_VARIABLE, sleeper, wait_until
from work_kit import calls

from claude_nb import processes
from claude_nb.claims import claim, here, holder, place_of, process_lock, this_kernel
from claude_nb.errors import SessionInUse
from claude_nb.launch import GuardState
from claude_nb.processes import Identity, alive
from claude_nb.registry import Record, Registry
from claude_nb.sweep import SIGNATURE, UNLISTED_KEPT, sign, sweep, take_over

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the zoo is Linux's")

BOUND = 20.0

# A kernel with one claimed session: signs its folder, starts a guarded play CLI with a zoo, saves the record.
KERNEL = """
import os, subprocess, sys, time
from pathlib import Path
from claude_nb import launch
from claude_nb.claims import claim, identity_of, process_lock, this_kernel
from claude_nb.processes import identify
from claude_nb.registry import Registry
from claude_nb.sweep import sign
data, runtime, marker, zoo, kit, named, guarded, *kinds = sys.argv[1:]
registry = Registry(Path(data), Path(runtime))
folder = registry.runtime / marker
folder.mkdir(mode=0o700, parents=True)
sign(folder)
record = registry.create("review", "/", numbered=True, kernel=this_kernel()["kernel"])
held = claim(record.id, registry.runtime, this_kernel("a.ipynb"))
shim = launch.write_shim(
    folder, cli_path=sys.executable, kernel_pid=os.getpid(), marker=marker, state=folder / "state.json",
    ledger=folder / "ledger.json", lock=process_lock(record.id, registry.runtime), grace=float(guarded),
)
process = subprocess.Popen(
    [shim, "-I", "-S", kit, "cli", zoo, "--busy", *kinds], stdin=subprocess.PIPE, stdout=subprocess.PIPE
)
assert process.stdout.readline() == b"ready\\n"
state = launch.GuardState.read(folder / "state.json")
record.process = {"marker": marker, "folder": str(folder), "guard": list(state.guard), "cli": list(state.cli)}
if named == "named":
    registry.save(record)
else:
    registry.remove(record)
print(record.id, flush=True)
sys.stdin.readline()
"""


class Left:
    """A session of a play kernel that can be killed, together with its guard."""

    def __init__(
        self, registry: Registry, zoo: Path, *kinds: str, named: bool = True, grace: float = 0.3
    ) -> None:
        zoo.mkdir()
        self.registry, self.zoo, self.marker = registry, zoo, uuid.uuid4().hex
        self.folder = registry.runtime / self.marker
        places = [registry.data, registry.runtime, self.marker, zoo, processes_kit.KIT]
        words = [str(w) for w in (*places, "named" if named else "unnamed", grace, *kinds)]
        self.kernel = subprocess.Popen(
            [sys.executable, "-c", KERNEL, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.kernel.stdout is not None
        self.record_id = self.kernel.stdout.readline().strip()
        state = GuardState.read(self.folder / "state.json")
        if state is None:
            self.kernel.kill()
            self.kernel.communicate()
            raise RuntimeError("the play kernel did not start")
        self.guard = state.guard

    def record(self) -> Record:
        record = self.registry.get(self.record_id)
        assert record is not None
        return record

    def survivors(self) -> dict[tuple[int, int], str]:
        return processes_kit.survivors(self.marker, self.zoo)

    def kill_both(self) -> None:
        """The guard first: it would end everything when its kernel is gone."""
        everybody = set(processes_kit.recorded(self.zoo))
        ledger = self.folder / "ledger.json"
        wait_until(lambda: everybody <= processes.read_ledger(ledger, self.marker), BOUND)
        os.kill(self.guard.pid, signal.SIGKILL)
        self.kill_kernel()
        wait_until(lambda: not alive(self.guard), BOUND)

    def kill_kernel(self) -> None:
        self.kernel.kill()
        self.kernel.wait(BOUND)

    def end(self) -> None:
        self.kernel.kill()
        self.kernel.communicate()
        processes_kit.end_everybody(self.marker, self.zoo, self.guard)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "data", tmp_path / "runtime")


@contextmanager
def left(registry: Registry, *kinds: str, **options: Any) -> Iterator[Left]:
    session = Left(registry, registry.data.with_name(f"zoo-{uuid.uuid4().hex[:6]}"), *kinds, **options)
    try:
        yield session
    finally:
        session.end()


def dead() -> Identity:
    with sleeper() as identity:
        pass
    return identity


def dead_record(registry: Registry, **fields: Any) -> Record:
    """A record whose kernel and guard of this place are dead."""
    marker = uuid.uuid4().hex
    folder = registry.runtime / marker
    folder.mkdir(parents=True)
    gone = dead()
    process = {"marker": marker, "folder": str(folder), "guard": list(gone), "cli": list(gone), "since": 1.0}
    given: dict[str, Any] = {"kernel": gone._asdict(), "process": process, **fields}
    return registry.create("review", "/", numbered=True, **given)


KINDS = ("child", "daemon", "daemon_environment_cleared", "shell_setsid", "respawning", "term_ignoring")


# -- what is ended ---------------------------------------------------------------------------------


def test_what_a_killed_kernel_and_its_killed_guard_left_is_ended(registry: Registry) -> None:
    with left(registry, *KINDS) as session:
        session.kill_both()
        before = set(session.survivors())
        assert len(before) >= len(KINDS) - 1
        report = sweep(registry)
        assert session.survivors() == {}
        assert before <= {tuple(process) for process in report.ended}
        assert [record.id for record in report.set_right] == [session.record_id]
        assert session.record().process is None
        assert not session.folder.exists()
        assert report.left_alone == {}


def test_the_negative_control_without_a_sweep_they_live_on(registry: Registry) -> None:
    with left(registry, "daemon") as session:
        session.kill_both()
        time.sleep(0.5)
        assert session.survivors()


def test_a_folder_that_no_record_names_is_swept_by_its_state(registry: Registry) -> None:
    with left(registry, *KINDS, named=False) as session:
        session.kill_both()
        assert session.survivors()
        report = sweep(registry)
        assert session.survivors() == {}
        assert report.removed == [session.folder]
        assert not session.folder.exists()


def test_what_the_guard_has_ended_only_needs_its_record_set_right(registry: Registry) -> None:
    with left(registry, "daemon", grace=0.0) as session:
        session.kill_kernel()
        wait_until(lambda: not alive(session.guard), BOUND)
        assert session.survivors() == {}
        assert session.record().process is not None
        report = sweep(registry)
        assert (report.ended, [r.id for r in report.set_right]) == (set(), [session.record_id])
        assert session.record().process is None


def test_any_number_of_sweeps_at_once_do_no_harm(registry: Registry) -> None:
    with left(registry, *KINDS) as first, left(registry, "daemon", named=False) as second:
        first.kill_both()
        second.kill_both()
        program = (
            "import sys, pathlib\n"
            "from claude_nb.registry import Registry; from claude_nb.sweep import sweep\n"
            "print(len(sweep(Registry(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))).set_right))\n"
        )
        command = [sys.executable, "-c", program, str(registry.data), str(registry.runtime)]
        sweeps = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        with ThreadPoolExecutor(4) as pool:
            reports = list(pool.map(lambda _: sweep(registry), range(4)))
        counts = [int(process.communicate(timeout=BOUND)[0]) for process in sweeps]
        assert sum(counts) + sum(len(report.set_right) for report in reports) == 1
        assert first.survivors() == second.survivors() == {}
        assert not first.folder.exists()
        assert not second.folder.exists()
        assert first.record().process is None
        assert holder(first.record_id, registry.runtime) is None


def test_who_takes_over_a_session_can_end_what_is_left_of_it(registry: Registry) -> None:
    with left(registry, "daemon") as session:
        session.kill_both()
        with claim(session.record_id, registry.runtime, this_kernel()):
            record = session.record()
            assert take_over(registry, record)
            assert record.process is None
        assert session.survivors() == {}
        assert session.record() == record


def test_a_kernel_that_claims_a_session_in_a_sweep_waits_for_its_end(registry: Registry) -> None:
    with left(registry, *KINDS) as session:
        session.kill_both()
        with ThreadPoolExecutor(1) as pool:
            swept = pool.submit(sweep, registry)
            with claim(session.record_id, registry.runtime, this_kernel()):
                take_over(registry, session.record())
                assert session.survivors() == {}
            swept.result(BOUND)


def test_a_record_that_was_taken_over_is_this_kernels_and_place(registry: Registry) -> None:
    record = dead_record(registry, boot="earlier", host="elsewhere", pid_namespace=None, turns=3)
    with claim(record.id, registry.runtime, this_kernel()):
        assert take_over(registry, record) == set()
        assert take_over(registry, record) == set()
    after = registry.get(record.id)
    assert after is not None
    assert after == record
    assert place_of(vars(after)) == here()
    assert (after.kernel, after.process, after.turns) == (this_kernel()["kernel"], None, 3)


# -- what is left alone ----------------------------------------------------------------------------


def test_a_live_kernels_session_is_left_alone(registry: Registry) -> None:
    with left(registry, "daemon") as session:
        before = session.survivors()
        report = sweep(registry)
        assert report.left_alone == {"review": "it is in use"}
        assert session.survivors() == before
        assert session.record().process is not None
        assert session.folder.exists()


def test_a_live_kernels_folder_without_a_record_is_left_alone(registry: Registry) -> None:
    with left(registry, "daemon", named=False) as session:
        before = session.survivors()
        sweep(registry)
        assert session.survivors() == before
        assert session.folder.exists()


def test_a_session_that_this_kernel_uses_is_left_alone(registry: Registry) -> None:
    record = dead_record(registry)
    with claim(record.id, registry.runtime, this_kernel()) as held:
        assert sweep(registry).left_alone == {"review": "it is in use"}
        assert held.held
    assert registry.get(record.id) == record


def test_a_guard_that_is_still_at_work_is_left_to_it(registry: Registry) -> None:
    with left(registry, "term_ignoring", grace=2.0) as session:
        session.kill_kernel()
        report = sweep(registry)
        (reason,) = report.left_alone.values()
        assert "guard" in reason
        mine = claim(session.record_id, registry.runtime, this_kernel())
        with mine, pytest.raises(SessionInUse, match="guard"):
            take_over(registry, session.record())
        wait_until(lambda: not alive(session.guard), BOUND)
        sweep(registry)
        assert session.record().process is None


def test_a_kernel_that_runs_keeps_its_process_even_without_a_claim(registry: Registry) -> None:
    with sleeper() as kernel:
        record = dead_record(registry, kernel=kernel._asdict())
        assert sweep(registry).left_alone == {"review": f"its kernel runs, pid {kernel.pid}"}
        assert registry.get(record.id) == record


def test_a_process_lock_that_is_held_is_respected(registry: Registry) -> None:
    record = dead_record(registry)
    flock = shutil.which("flock")
    assert flock is not None
    command = [flock, "-n", str(process_lock(record.id, registry.runtime)), "sh", "-c", "echo ready; cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guard:
        assert guard.stdout is not None
        guard.stdout.readline()
        assert sweep(registry).left_alone == {"review": "its guard still has its lock"}
        guard.communicate()
    assert len(sweep(registry).set_right) == 1


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ({"host": "elsewhere"}, "it is of another host, elsewhere"),
        ({"host": "elsewhere", "boot": "another"}, "it is of another host, elsewhere"),
        ({"pid_namespace": "pid:[1]"}, "it is of another container"),
    ],
)
def test_another_hosts_or_containers_session_is_left_alone(
    place: dict[str, str], reason: str, registry: Registry
) -> None:
    record = dead_record(registry, **place)
    marked = {MARKER_VARIABLE: str((record.process or {})["marker"])}
    with sleeper(marked) as bystander:
        assert sweep(registry).left_alone == {"review": reason}
        assert registry.get(record.id) == record
        assert Path(str((record.process or {})["folder"])).exists()
        with claim(record.id, registry.runtime, this_kernel()):
            assert take_over(registry, record) == set()  # the locks are free, and more cannot be known
        assert record.process is None
        assert alive(bystander)


def test_of_an_earlier_boot_only_the_record_is_set_right(registry: Registry) -> None:
    """Pids have started again: whoever bears one of those is somebody else."""
    with sleeper() as bystander:
        record = dead_record(registry, boot="earlier")
        assert record.process is not None
        record.process |= {"guard": list(bystander), "cli": list(bystander)}
        record.kernel = bystander._asdict()
        registry.save(record)
        report = sweep(registry)
        assert (report.ended, len(report.set_right)) == (set(), 1)
        assert alive(bystander)
    after = registry.get(record.id)
    assert after is not None
    assert after.process is None
    assert (
        list(registry.runtime.glob("[0-9a-f]*[0-9a-f]")) == [] or not Path(record.process["folder"]).exists()
    )


def test_a_recycled_pid_is_somebody_elses(registry: Registry) -> None:
    with sleeper() as bystander:
        recycled = [bystander.pid, bystander.start - 1]
        record = dead_record(registry, kernel={"pid": recycled[0], "start": recycled[1]})
        assert record.process is not None
        record.process |= {"guard": recycled, "cli": recycled}
        registry.save(record)
        report = sweep(registry)
        assert (report.ended, len(report.set_right)) == (set(), 1)
        assert alive(bystander)


def test_another_program_named_claude_is_never_touched(registry: Registry, tmp_path: Path) -> None:
    claude = tmp_path / "claude"
    shutil.copy("/bin/sleep", claude)
    record = dead_record(registry)
    assert record.process is not None
    similar = {MARKER_VARIABLE: record.process["marker"] + "0", "X": record.process["marker"]}
    with subprocess.Popen([str(claude), "100"], env=similar) as process:
        try:
            assert sweep(registry).ended == set()
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.parametrize(
    "process",
    [
        {},
        {"marker": 5},
        {"marker": "../../x", "folder": "/"},
        {"marker": "f" * 32, "folder": "relative"},
        {"marker": "f" * 32, "folder": None, "guard": "x", "cli": [1]},
    ],
    ids=str,
)
def test_a_record_of_nonsense_ends_nobody_and_removes_nothing(
    process: dict[str, Any], registry: Registry
) -> None:
    record = dead_record(registry, process=process)
    precious = registry.data / "precious"
    precious.touch()
    report = sweep(registry)
    assert report.ended == set()
    assert precious.exists()
    after = registry.get(record.id)
    assert after is not None
    assert after.process in (None, process)


def test_no_folder_is_removed_but_a_processs_own(registry: Registry, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    linked = dead_record(registry)
    assert linked.process is not None
    folder = Path(linked.process["folder"])
    folder.rmdir()
    folder.symlink_to(precious)
    other = dead_record(registry)
    assert other.process is not None
    other.process["folder"] = str(precious)
    registry.save(other)
    assert len(sweep(registry).set_right) == 2
    assert (precious / "file").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"host": "elsewhere"}, "it is of another host, elsewhere"),
        ({"pid_namespace": "pid:[1]"}, "it is of another container"),
        ({"kernel": None}, "it does not say whose it is"),
    ],
)
def test_a_folder_of_unknown_or_foreign_origin_is_left_alone(
    change: dict[str, Any], reason: str, registry: Registry
) -> None:
    folder = registry.runtime / uuid.uuid4().hex
    folder.mkdir(parents=True)
    sign(folder)
    signature = json.loads((folder / SIGNATURE).read_text()) | {"kernel": dead()._asdict()} | change
    (folder / SIGNATURE).write_text(json.dumps(signature))
    assert sweep(registry).left_alone == {folder.name: reason}
    assert folder.exists()


def test_a_folder_whose_kernel_died_before_it_started_anything_is_removed(registry: Registry) -> None:
    folder = registry.runtime / uuid.uuid4().hex
    folder.mkdir(parents=True)
    sign(folder)
    signature = json.loads((folder / SIGNATURE).read_text())
    assert sweep(registry).removed == []
    (folder / SIGNATURE).write_text(json.dumps(signature | {"kernel": dead()._asdict()}))
    assert sweep(registry).removed == [folder]
    assert not folder.exists()


def test_what_is_not_a_processs_folder_is_left_alone(registry: Registry) -> None:
    (registry.runtime / "claims").mkdir(parents=True)
    (registry.runtime / "mine").mkdir()
    (registry.runtime / ("e" * 32)).touch()
    sweep(registry)
    assert {path.name for path in registry.runtime.iterdir()} == {"claims", "mine", "e" * 32}


# -- tidying ---------------------------------------------------------------------------------------


def test_the_record_of_a_run_where_nobody_was_there_is_forgotten_after_a_day(registry: Registry) -> None:
    now = time.time()
    old = registry.create("default", "/", listed=False, last_activity=now - UNLISTED_KEPT - 10)
    young = registry.create("default", "/", listed=False)
    used = registry.create("default", "/", listed=False, last_activity=now - UNLISTED_KEPT - 10)
    listed = registry.create("default", "/", last_activity=now - 10 * UNLISTED_KEPT)
    with claim(used.id, registry.runtime, this_kernel()):
        sweep(registry)
    there = {record.id for record in registry.records(unlisted=True)}
    assert there == {young.id, used.id, listed.id}
    assert not (registry.runtime / "claims" / f"{old.id}.lock").exists()


def test_what_a_killed_writer_left_is_removed_when_it_is_old(registry: Registry) -> None:
    record = registry.create("review", "/")
    sessions = registry.data / "sessions"
    old, young = sessions / f".{record.id}.json.1-1.new", sessions / f".{record.id}.json.2-1.new"
    old.touch()
    young.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    sweep(registry)
    assert not old.exists()
    assert young.exists()


def test_a_sweep_of_nothing_makes_nothing(registry: Registry) -> None:
    assert str(sweep(registry)) == "0 processes ended, 0 records set right"
    assert not registry.data.exists()
    assert not registry.runtime.exists()


def test_a_sweep_with_nothing_to_do_is_cheap(registry: Registry) -> None:
    record = registry.create("review", "/")
    for number in range(200):
        registry.save(dataclasses.replace(record, id=f"{number:032x}", name=f"s{number}"))
    assert calls(lambda: sweep(registry)) < 200 * 200
