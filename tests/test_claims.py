"""Who uses a session, and whether its last process is gone: real processes, real deaths, real races."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from claude_nb import claims, locks
from claude_nb.claims import (
    claim,
    holder,
    process_lock,
    process_lock_free,
    this_kernel,
    wait_for_process_lock,
)
from claude_nb.errors import SessionInUse

PATIENCE = 30.0

# A kernel that does what it is told: claim ID WAIT, release, fork (a worker that stays), spawn, holder ID.
KERNEL = """
import json, os, pathlib, subprocess, sys, time
from claude_nb.claims import SWEEP, claim, holder, this_kernel
from claude_nb.errors import SessionInUse
runtime, notebook = pathlib.Path(sys.argv[1]), sys.argv[2]
held = None
print("ready", flush=True)
for line in sys.stdin:
    order, *words = line.split()
    answer = "done"
    if order == "claim":
        purpose = SWEEP if "sweep" in words else "use"
        try:
            held = claim(words[0], runtime, this_kernel(notebook, purpose=purpose), wait=float(words[1]))
            answer = "won"
        except SessionInUse as error:
            answer = "lost"
    elif order == "release":
        if held: held.release()
        held = None
    elif order == "holder":
        answer = json.dumps(holder(words[0], runtime))
    elif order == "fork":
        pid = os.fork()
        if pid == 0:
            os.close(0)
            os.execv("/bin/sleep", ["sleep", "60"]) if "exec" in words else time.sleep(60)
            os._exit(0)
        answer = str(pid)
    elif order == "spawn":
        answer = str(subprocess.Popen(["/bin/sleep", "60"], close_fds=False).pid)
    elif order == "churn":  # what a kernel does all the time must not cost the claim
        for _ in range(20):
            subprocess.run(["/bin/true"])
            if os.fork() == 0: os._exit(0)
            os.wait()
            holder(words[0], runtime)
    print(answer, flush=True)
"""


class Kernel:
    def __init__(self, runtime: Path, notebook: str) -> None:
        command = [sys.executable, "-c", KERNEL, str(runtime), notebook]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.children: list[int] = []
        assert self.read() == "ready"

    def tell(self, order: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, order: str) -> str:
        self.tell(order)
        answer = self.read()
        if order.startswith(("fork", "spawn")):
            self.children.append(int(answer))
        return answer

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def end(self) -> None:
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    return tmp_path / "runtime"


@pytest.fixture
def kernels(runtime: Path) -> Iterator[Callable[[str], Kernel]]:
    """Makes play kernels; they and what they started are ended afterwards."""
    with ExitStack() as stack:

        def make(notebook: str = "a.ipynb") -> Kernel:
            kernel = Kernel(runtime, notebook)
            stack.callback(kernel.end)
            return kernel

        yield make


def new_id() -> str:
    return uuid.uuid4().hex


# -- one owner -------------------------------------------------------------------------------------


def test_of_many_kernels_at_once_exactly_one_gets_the_session(kernels: Callable[[str], Kernel]) -> None:
    crowd = [kernels(f"{number}.ipynb") for number in range(6)]
    for _ in range(30):
        record_id = new_id()
        for kernel in crowd:
            kernel.tell(f"claim {record_id} 0")
        assert sorted(kernel.read() for kernel in crowd) == [*["lost"] * 5, "won"]
        for kernel in crowd:
            assert kernel.ask("release") == "done"


def test_a_killed_winner_makes_room_for_exactly_one_other(kernels: Callable[[str], Kernel]) -> None:
    crowd = [kernels(f"{number}.ipynb") for number in range(4)]
    record_id = new_id()
    while len(crowd) > 1:
        for kernel in crowd:
            kernel.tell(f"claim {record_id} 0")
        answers = [kernel.read() for kernel in crowd]
        assert answers.count("won") == 1
        crowd.pop(answers.index("won")).kill()


def test_the_refusal_says_who_has_it_since_when_and_what_to_do(
    kernels: Callable[[str], Kernel], runtime: Path
) -> None:
    other, record_id = kernels("analysis.ipynb"), new_id()
    before = time.time()
    assert other.ask(f"claim {record_id} 0") == "won"
    with pytest.raises(SessionInUse) as caught:
        claim(record_id, runtime, this_kernel(), name="review")
    message = str(caught.value)
    assert (
        f"'review' is in use by another kernel (pid {other.process.pid}, notebook analysis.ipynb)" in message
    )
    assert "Use another name, or shut that kernel down" in message
    assert caught.value.owner["kernel"]["pid"] == other.process.pid
    assert caught.value.since is not None
    assert before <= caught.value.since <= time.time()


def test_the_time_is_said_in_words_and_the_host_when_it_is_another(
    runtime: Path, kernels: Callable[[str], Kernel]
) -> None:
    other, record_id = kernels("a.ipynb"), new_id()
    assert other.ask(f"claim {record_id} 0") == "won"
    file = runtime / "claims" / f"{record_id}.lock"
    said = {
        "kernel": {"pid": 5, "start": 6},
        "since": time.time() - 7300,
        "host": "elsewhere",
        "notebook": None,
    }
    file.write_text(json.dumps(said) + "\n")
    with pytest.raises(SessionInUse, match=r"another kernel \(pid 5, on elsewhere\), for 2 h\."):
        claim(record_id, runtime, this_kernel())
    file.write_text("")
    with pytest.raises(SessionInUse, match=r"is in use by another kernel\. Use another name") as caught:
        claim(record_id, runtime, this_kernel())
    assert (caught.value.owner, caught.value.since) == ({}, None)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *[(-5, "0 s"), (0.5, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (7300, "2 h")],
        *[(86400, "1 day"), (3 * 86400, "3 days")],
    ],
)
def test_a_length_of_time_in_words(seconds: float, words: str) -> None:
    assert claims.in_words(seconds) == words


def test_a_second_manager_of_the_same_kernel_is_refused_too(runtime: Path) -> None:
    record_id = new_id()
    with claim(record_id, runtime, this_kernel()):
        with pytest.raises(SessionInUse, match="another SessionManager of this kernel"):
            claim(record_id, runtime, this_kernel())
        alias = runtime.parent / "alias"
        alias.symlink_to(runtime.parent)
        with pytest.raises(SessionInUse):
            claim(record_id, alias / runtime.name, this_kernel())
    claim(record_id, runtime, this_kernel()).release()


def test_of_many_threads_of_one_kernel_exactly_one_gets_it(runtime: Path) -> None:
    for _ in range(30):
        record_id, won, start = new_id(), [], threading.Barrier(8)

        def race(
            record_id: str = record_id, won: list[object] = won, start: threading.Barrier = start
        ) -> None:
            start.wait(PATIENCE)
            with suppress(SessionInUse):
                won.append(claim(record_id, runtime, this_kernel()))

        threads = [threading.Thread(target=race) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(won) == 1
        won[0].release()  # type: ignore[attr-defined]


def test_nobody_can_take_it_from_a_kernel_that_forks_spawns_and_looks(
    kernels: Callable[[str], Kernel],
) -> None:
    owner, other, record_id = kernels("a.ipynb"), kernels("b.ipynb"), new_id()
    assert owner.ask(f"claim {record_id} 0") == "won"
    assert owner.ask(f"churn {record_id}") == "done"
    assert owner.ask(f"claim {record_id} 0") == "lost"
    assert other.ask(f"claim {record_id} 0") == "lost"


# -- the end of a claim ----------------------------------------------------------------------------


@pytest.mark.parametrize("child", ["fork", "fork exec", "spawn"])
def test_a_killed_kernel_frees_it_at_once_though_its_child_lives(
    child: str, kernels: Callable[[str], Kernel]
) -> None:
    owner, other, record_id = kernels("a.ipynb"), kernels("b.ipynb"), new_id()
    assert owner.ask(f"claim {record_id} 0") == "won"
    pid = int(owner.ask(child))
    owner.kill()
    assert other.ask(f"claim {record_id} 0") == "won"
    os.kill(pid, 0)


def test_the_negative_control_a_flock_would_stay_with_the_child(tmp_path: Path) -> None:
    """Why a claim is a POSIX lock."""
    file = tmp_path / "lock"
    program = (
        "import fcntl, os, sys, time; fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX); pid = os.fork()\n"
        "if pid == 0: time.sleep(60); os._exit(0)\n"
        "print(pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(file)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        process.kill()
    try:
        with file.open() as opened, pytest.raises(BlockingIOError):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_forked_child_holds_nothing_and_gives_nothing_away(runtime: Path) -> None:
    record_id = new_id()
    mine = claim(record_id, runtime, this_kernel())
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            mine.release()
            claim(record_id, runtime, this_kernel())
        except SessionInUse:
            status = 1 if mine.held else 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert mine.held
    with pytest.raises(SessionInUse):
        claim(record_id, runtime, this_kernel())
    mine.release()


def test_a_child_takes_over_once_its_parent_has_let_go(runtime: Path) -> None:
    record_id = new_id()
    mine = claim(record_id, runtime, this_kernel())
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            claim(record_id, runtime, this_kernel(), wait=PATIENCE)
            status = 0
        finally:
            os._exit(status)
    time.sleep(0.05)
    mine.release()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_claimant_waits_for_one_that_lets_go(kernels: Callable[[str], Kernel]) -> None:
    owner, other, record_id = kernels("a.ipynb"), kernels("b.ipynb"), new_id()
    assert owner.ask(f"claim {record_id} 0") == "won"
    other.tell(f"claim {record_id} {PATIENCE}")
    owner.ask("release")
    assert other.read() == "won"


def test_a_claimant_waits_for_a_sweep_though_it_would_wait_for_nobody_else(
    kernels: Callable[[str], Kernel], runtime: Path
) -> None:
    sweeping, other, record_id = kernels("a.ipynb"), kernels("b.ipynb"), new_id()
    assert sweeping.ask(f"claim {record_id} 0 sweep") == "won"
    assert holder(record_id, runtime) is None
    other.tell(f"claim {record_id} 0")
    time.sleep(0.2)
    sweeping.ask("release")
    assert other.read() == "won"


def test_a_sweep_that_never_ends_is_not_waited_for_for_ever(
    kernels: Callable[[str], Kernel], runtime: Path
) -> None:
    sweeping, record_id = kernels("a.ipynb"), new_id()
    assert sweeping.ask(f"claim {record_id} 0 sweep") == "won"
    with pytest.raises(SessionInUse):
        claim(record_id, runtime, this_kernel(), sweep_wait=0.2)


def test_releasing_twice_does_not_cost_the_next_owner_its_claim(runtime: Path) -> None:
    record_id = new_id()
    first = claim(record_id, runtime, this_kernel())
    first.release()
    second = claim(record_id, runtime, this_kernel())
    first.release()
    assert (first.held, second.held) == (False, True)
    second.release()


def test_the_next_owner_is_not_taken_for_the_last(kernels: Callable[[str], Kernel], runtime: Path) -> None:
    first, second, record_id = kernels("first.ipynb"), kernels("second.ipynb"), new_id()
    assert first.ask(f"claim {record_id} 0") == "won"
    first.kill()
    assert second.ask(f"claim {record_id} 0") == "won"
    owner = holder(record_id, runtime)
    assert owner is not None
    assert owner["notebook"] == "second.ipynb"


def test_a_dead_kernels_words_in_the_file_do_not_name_it_as_the_owner(
    kernels: Callable[[str], Kernel], runtime: Path
) -> None:
    """The new owner has the lock and has not yet said who it is."""
    dead, alive, record_id = kernels("dead.ipynb"), kernels("alive.ipynb"), new_id()
    assert dead.ask(f"claim {record_id} 0") == "won"
    file = runtime / "claims" / f"{record_id}.lock"
    words = file.read_text()
    dead.kill()
    assert alive.ask(f"claim {record_id} 0") == "won"
    file.write_text(words)
    assert holder(record_id, runtime) == {}


# -- looking ---------------------------------------------------------------------------------------


def test_looking_tells_who_has_it_and_takes_nothing(kernels: Callable[[str], Kernel], runtime: Path) -> None:
    owner, record_id = kernels("a.ipynb"), new_id()
    assert holder(record_id, runtime) is None
    assert not runtime.exists()
    assert owner.ask(f"claim {record_id} 0") == "won"
    seen = holder(record_id, runtime)
    assert seen is not None
    assert (seen["kernel"]["pid"], seen["notebook"]) == (owner.process.pid, "a.ipynb")
    assert json.loads(owner.ask(f"holder {record_id}")) == seen
    owner.ask("release")
    assert holder(record_id, runtime) is None
    assert json.loads(owner.ask(f"holder {record_id}")) is None


def test_who_only_looks_is_never_in_the_way(kernels: Callable[[str], Kernel], runtime: Path) -> None:
    owner, record_id = kernels("a.ipynb"), new_id()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            holder(record_id, runtime)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(200):
            assert owner.ask(f"claim {record_id} 0") == "won"
            owner.ask("release")
    finally:
        over.set()
        looking.join(PATIENCE)


def test_claims_are_for_this_user_only(runtime: Path) -> None:
    old = os.umask(0)
    try:
        held = claim(new_id(), runtime, this_kernel("a.ipynb"))
    finally:
        os.umask(old)
    (file,) = (runtime / "claims").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    held.release()


def test_a_forgotten_claim_leaves_no_files(runtime: Path) -> None:
    record_id = new_id()
    held = claim(record_id, runtime, this_kernel())
    process_lock(record_id, runtime).touch()
    held.release(forget=True)
    assert [path for path in runtime.rglob("*") if path.is_file()] == []


def test_whoever_waits_for_a_claim_whose_file_is_removed_does_not_win_beside_another(
    kernels: Callable[[str], Kernel],
) -> None:
    crowd = [kernels(f"{number}.ipynb") for number in range(3)]
    runtime = Path(crowd[0].process.args[3])  # type: ignore[index,call-overload]
    for _ in range(10):
        record_id = new_id()
        mine = claim(record_id, runtime, this_kernel())
        for kernel in crowd:
            kernel.tell(f"claim {record_id} 0.3")
        mine.release(forget=True)
        assert sorted(kernel.read() for kernel in crowd) == ["lost", "lost", "won"]
        for kernel in crowd:
            kernel.ask("release")


def test_claims_leak_no_descriptors(runtime: Path) -> None:
    record_id = new_id()
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208
    for _ in range(20):
        with claim(record_id, runtime, this_kernel()):
            with pytest.raises(SessionInUse):
                claim(record_id, runtime, this_kernel())
            holder(record_id, runtime)
        process_lock_free(record_id, runtime)
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208
    assert locks._table == {}


@pytest.mark.parametrize("wrong", ["", "../x", "a/b", "x" * 32])
def test_only_an_id_names_a_lock(wrong: str, runtime: Path) -> None:
    for use in (lambda: claim(wrong, runtime, {}), lambda: holder(wrong, runtime)):
        with pytest.raises(ValueError, match="not a record's id"):
            use()


# -- the process lock ------------------------------------------------------------------------------


@contextmanager
def guard_of(record_id: str, runtime: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that holds the process lock as a guard does, and lets go when its input ends."""
    flock = shutil.which("flock")
    assert flock is not None
    command = [flock, "-n", str(process_lock(record_id, runtime)), "sh", "-c", "echo ready; cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.communicate()


def test_the_process_lock_is_free_when_there_was_none_or_it_is_gone(runtime: Path) -> None:
    record_id = new_id()
    assert process_lock_free(record_id, runtime)
    assert not runtime.exists()
    with guard_of(record_id, runtime):
        assert not process_lock_free(record_id, runtime)
        assert not wait_for_process_lock(record_id, runtime, 0.05)
    assert process_lock_free(record_id, runtime)


def test_a_process_that_is_ending_is_waited_for(runtime: Path) -> None:
    record_id = new_id()
    with guard_of(record_id, runtime) as guard:
        assert guard.stdin is not None
        threading.Timer(0.2, guard.stdin.close).start()
        assert wait_for_process_lock(record_id, runtime, PATIENCE)
        guard.stdin = None


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # that is what is tested
def test_asking_for_the_process_lock_never_keeps_it_even_in_a_forked_child(runtime: Path) -> None:
    record_id = new_id()
    process_lock(record_id, runtime).touch()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            process_lock_free(record_id, runtime)

    asking = threading.Thread(target=ask)
    asking.start()
    children = []
    try:
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            children.append(pid)
        over.set()
        asking.join(PATIENCE)
        with process_lock(record_id, runtime).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        over.set()
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
