"""However a kernel ends, nothing of ours is left: whole kernels, the real CLI, its real Bash tool.

Each trial takes a kernel of its own. TORTURE_TRIALS says how many there are of each kind, 1 by default;
`make torture` takes 50. With TORTURE_LOG=FILE each trial adds a line of JSON to it, from which
`python -m benchmarks.trials FILE` makes the table in benchmarks/RESULTS.md.

The bound is measured from the end of the kernel (or of the guard): what the guard gives the CLI to leave by
itself (0.3 s), its grace (1 s), and the 2 s that we promise.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from endings_kit import (
    BOUND,
    BY_CELL,
    SCRIPT,
    TRIAL,
    WAYS,
    Death,
    Scene,
    allow_bash,
    carriers_of,
    live_folders,
    scene,
)
from kernel_kit import Kernel, running_kernel
from processes_kit import wait_until

from claude_nb.offline import OfflineAPI
from claude_nb.processes import read_ledger

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(sys.platform != "linux", reason="the zoo is Linux's")]

TRIALS = range(int(os.environ.get("TORTURE_TRIALS", "1")))
LOG = os.environ.get("TORTURE_LOG")

of_each_trial = pytest.mark.parametrize("trial", TRIALS)
idle_and_busy = pytest.mark.parametrize("busy", [False, True], ids=["idle", "in_mid_turn"])


@pytest.fixture(scope="module")
def scripted(private_home: Path) -> Iterator[OfflineAPI]:
    with OfflineAPI(json.dumps(SCRIPT, indent=1)) as api:
        yield api


@pytest.fixture
def place(scripted: OfflineAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a runtime folder and a Claude configuration of its own, in which Bash is allowed."""
    for name in ("claude", "runtime", "zoo", "work"):
        (tmp_path / name).mkdir(mode=0o700)
    allow_bash(tmp_path / "claude")
    for name, value in scripted.environment(tmp_path / "claude").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv(TRIAL, uuid.uuid4().hex)
    return tmp_path


@contextmanager
def begun(place: Path, *, busy: bool, blocking: bool = True, guarded: bool = True) -> Iterator[Scene]:
    """A kernel with everything that could outlive it."""
    with (
        running_kernel(place / "work") as kernel,
        scene(kernel, place / "zoo", place / "runtime", guarded=guarded) as it,
    ):
        it.begin(busy=busy, blocking=blocking)
        yield it


def wait_for_nobody(it: Scene, since: float) -> float:
    """How many seconds after `since` the last one was gone; fails at the bound."""
    while not it.nobody_left():
        assert time.monotonic() < since + BOUND, f"still there after {BOUND} s: {it.survivors()}"
        time.sleep(0.01)
    return max(0.0, time.monotonic() - since)


def report(way: str, busy: bool, trial: int, seconds: float | None) -> None:
    if LOG:
        ms = None if seconds is None else round(seconds * 1000)
        line = {"way": way, "busy": busy, "trial": trial, "ms": ms}
        with Path(LOG).open("a") as file:
            file.write(json.dumps(line) + "\n")


@contextmanager
def reported(way: str, busy: bool, trial: int) -> Iterator[list[float]]:
    """Note the seconds that the trial puts into the list, or that it failed."""
    seconds: list[float] = []
    try:
        yield seconds
    except BaseException:
        report(way, busy, trial, None)
        raise
    report(way, busy, trial, seconds[0])


# `exit` and `quit()` are the same thing: one of them idle, the other in mid-turn.
EACH_WAY = [
    (way, busy)
    for way in WAYS
    for busy in (False, True)
    if (way, busy) not in (("exit", True), ("quit", False))
]


@pytest.mark.torture
@pytest.mark.parametrize(
    ("way", "busy"), EACH_WAY, ids=[f"{way}-{'in_mid_turn' if busy else 'idle'}" for way, busy in EACH_WAY]
)
@of_each_trial
def test_nothing_is_left_of_a_kernel_however_it_ends(way: str, busy: bool, trial: int, place: Path) -> None:
    with reported(way, busy, trial) as seconds, begun(place, busy=busy, blocking=way not in BY_CELL) as it:
        death = Death(it.kernel.pid)
        WAYS[way](it)
        seconds.append(wait_for_nobody(it, death.time()))
        assert it.files_are_gone
        assert it.bystanders_hurt() == []
        if way == "restart":
            assert_works_at_once(it.kernel)


def assert_works_at_once(kernel: Kernel) -> None:
    kernel.client.wait_for_ready(timeout=30)
    cell = kernel.run("%load_ext claude_nb\n%claude the code word is egret")
    assert cell.error is None, cell.shown_error
    assert "egret" in cell.markdown


@pytest.mark.torture
@of_each_trial
@idle_and_busy
def test_a_killed_guard_leaves_nothing_and_the_conversation_goes_on(
    busy: bool, trial: int, place: Path
) -> None:
    with reported("guard", busy, trial) as seconds, begun(place, busy=busy) as it:
        ours = {process for process, kind in it.kinds().items() if kind not in ("worker", "bystander")}
        # Who has cleared its environment is known only once the guard has looked, at most a second later.
        wait_until(lambda: ours <= read_ledger(it.live_folder / "ledger.json", it.marker), 100)
        guard = it.guard
        death = Death(guard[0])
        os.kill(guard[0], signal.SIGKILL)
        seconds.append(wait_for_nobody(it, death.time()))
        if busy:
            cell = it.kernel.finish(it.cell)
            assert cell.error is not None
        wait_until(lambda: it.files_are_gone, 10)
        assert it.bystanders_hurt() == []
        assert "heron" in it.kernel.run("%claude what is the code word").markdown


@pytest.mark.torture
@pytest.mark.parametrize("way", ["exit", "sigkill"])
def test_without_the_guard_the_same_is_left_running(way: str, place: Path) -> None:
    with begun(place, busy=True, blocking=way not in BY_CELL, guarded=False) as it:
        death = Death(it.kernel.pid)
        WAYS[way](it)
        with pytest.raises(AssertionError, match="still there"):
            wait_for_nobody(it, death.time())
        assert {"daemon", "daemon_environment_cleared", "cleared"} <= set(it.survivors().values())


def test_unloading_the_extension_in_mid_turn_ends_everything_and_keeps_the_kernel(place: Path) -> None:
    with begun(place, busy=True, blocking=False) as it:
        cell = it.kernel.run("manager.drain_timeout = 0.1\n%unload_ext claude_nb")
        assert cell.error is None, cell.shown_error
        assert it.nobody_left(), it.survivors()
        assert it.files_are_gone
        assert it.kernel.eval("turn.result().status.value") == "'cancelled'"
        assert it.bystanders_hurt() == []
        assert it.kernel.eval("worker.is_alive()") == "True"
        assert_works_at_once(it.kernel)


# -- while Claude Code starts ----------------------------------------------------------------------

MOMENTS = {"its_files_are_being_written": "", "the_shim_is_there": "*.sh", "the_guard_is_there": "state.json"}
at_each_moment = pytest.mark.parametrize("moment", MOMENTS)


def wait_for_start(place: Path, moment: str) -> None:
    """Until Claude Code's start has come so far."""

    def so_far() -> bool:
        folders = live_folders(place / "runtime")
        return any(not MOMENTS[moment] or list(folder.glob(MOMENTS[moment])) for folder in folders)

    wait_until(so_far, 30)


def nobody_started_here() -> bool:
    return not carriers_of(TRIAL, os.environ[TRIAL])


@at_each_moment
def test_an_interrupt_while_claude_code_starts_gives_the_cell_back(moment: str, place: Path) -> None:
    with running_kernel(place / "work") as kernel:
        message = kernel.start_cell("%claude the code word is heron")
        wait_for_start(place, moment)
        kernel.manager.interrupt_kernel()
        cell = kernel.finish(message, timeout=20)
        assert cell.error is not None
        assert cell.error["ename"] in ("TurnInterrupted", "KeyboardInterrupt")
        cell = kernel.run("%claude the code word is egret")
        assert cell.error is None, cell.shown_error
        assert "egret" in cell.markdown
        assert (
            len(live_folders(place / "runtime")) == 1
        )  # the process that was interrupted is gone or answers
        kernel.manager.shutdown_kernel()
        wait_until(nobody_started_here, BOUND)
        assert live_folders(place / "runtime") == []


@pytest.mark.torture
@of_each_trial
@at_each_moment
def test_nothing_is_left_of_a_kernel_that_is_killed_while_claude_code_starts(
    moment: str, trial: int, place: Path
) -> None:
    with running_kernel(place / "work") as kernel, reported(f"start, {moment}", True, trial) as seconds:
        kernel.start_cell("%claude the code word is heron")
        wait_for_start(place, moment)
        os.kill(kernel.pid, signal.SIGKILL)
        seconds.append(wait_until(nobody_started_here, BOUND))
