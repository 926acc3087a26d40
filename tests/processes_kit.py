"""Real processes to test with: a zoo of descendants that try to outlive their session, and who is left of it.

As a program (standard library only, so that it also runs in a Bash tool without our environment):

    processes_kit.py zoo FOLDER KIND...                  start these kinds, return when all of them run
    processes_kit.py cli FOLDER [OPTION...] KIND...      play a CLI with these tools; says `ready`
    processes_kit.py kernel FOLDER HOW KIND...           play a kernel that owns a session and ends this way

A play CLI prints what it reads, starts what a line `zoo KIND...` names, and leaves at the end of its input.
Each process writes `<kind>-<pid>` with its start time into FOLDER, by which it is found again even if it has
neither parent nor environment any more; each ends by itself after LIFETIME, whatever a test does.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_nb.processes import Identity

LIFETIME = 120
MARKER_VARIABLE = "CLAUDE_NB_SESSION"
KIT = Path(__file__).resolve()
PR_SET_NAME, PR_SET_DUMPABLE = 15, 4


# -- inside the zoo --------------------------------------------------------------------------------


def start_time(pid: int | str = "self") -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])


def record(folder: Path, kind: str) -> None:
    new = folder / f".{kind}-{os.getpid()}"
    new.write_text(str(start_time()))
    new.replace(folder / f"{kind}-{os.getpid()}")


def stay(folder: Path, kind: str) -> None:
    """Be there until somebody ends it."""
    signal.alarm(LIFETIME)
    record(folder, kind)
    while True:
        signal.pause()


def in_child(action: Callable[[], object]) -> None:
    if os.fork() == 0:
        try:
            action()
        finally:
            os._exit(0)


def again(folder: Path, kind: str, environment: dict[str, str] | None = None) -> None:
    """Become a fresh program that just stays, as a shell's command would."""
    command = [sys.executable, "-I", "-S", str(KIT), "stay", str(folder), kind]
    os.execve(sys.executable, command, os.environ if environment is None else environment)


def ignore_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def child(folder: Path, kind: str) -> None:
    stay(folder, kind)


def term_ignoring(folder: Path, kind: str) -> None:
    ignore_signals()
    stay(folder, kind)


def silent(folder: Path, kind: str) -> None:
    """Deaf, and without the CLI's output, which would otherwise stay open."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    term_ignoring(folder, kind)


def graceful(folder: Path, kind: str) -> None:
    """Needs a moment to end in order."""

    def end(*_: object) -> None:
        time.sleep(0.2)
        (folder / "graceful.done").touch()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    stay(folder, kind)


def own_group(folder: Path, kind: str) -> None:
    os.setpgid(0, 0)
    stay(folder, kind)


def own_session(folder: Path, kind: str) -> None:
    os.setsid()
    stay(folder, kind)


def orphan(folder: Path, kind: str) -> None:
    in_child(lambda: again(folder, kind))


def daemon(folder: Path, kind: str) -> None:
    os.setsid()
    in_child(lambda: again(folder, kind))


def environment_cleared(folder: Path, kind: str) -> None:
    again(folder, kind, {})


def daemon_environment_cleared(folder: Path, kind: str) -> None:
    os.setsid()
    in_child(lambda: again(folder, kind, {}))


def daemon_term_ignoring(folder: Path, kind: str) -> None:
    os.setsid()
    ignore_signals()
    in_child(lambda: again(folder, kind, {}))


def non_dumpable(folder: Path, kind: str) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    in_child(lambda: stay(folder, kind))


def renamed(folder: Path, kind: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"a) S 1 (b", 0, 0, 0)
    stay(folder, kind)


def stopped(folder: Path, kind: str) -> None:
    signal.alarm(LIFETIME)
    record(folder, kind)
    os.kill(os.getpid(), signal.SIGSTOP)
    signal.pause()


def first_thread_gone(folder: Path, kind: str) -> None:
    def rest() -> None:
        record(folder, kind)
        time.sleep(LIFETIME)

    threading.Thread(target=rest, daemon=True).start()
    exit_thread = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
    ctypes.CDLL(None).syscall(exit_thread, 0)


def respawning(folder: Path, kind: str) -> None:
    """A supervisor, itself a daemon deaf to SIGTERM, that replaces its child whenever it dies."""
    os.setsid()

    def supervise() -> None:
        ignore_signals()
        signal.alarm(LIFETIME)
        record(folder, kind)
        while True:
            in_child(lambda: stay(folder, kind))
            os.wait()

    in_child(supervise)


def successor(folder: Path, kind: str) -> None:
    """Told to end, it starts a copy of itself first."""
    os.setsid()

    def reborn(*_: object) -> None:
        if os.fork():
            os._exit(0)
        signal.alarm(LIFETIME)
        record(folder, kind)

    signal.signal(signal.SIGTERM, reborn)
    stay(folder, kind)


def shell_background(folder: Path, kind: str) -> None:
    shell(f"{stay_command(folder, kind)} & exit 0")


def shell_nohup(folder: Path, kind: str) -> None:
    shell(f"nohup {stay_command(folder, kind)} >/dev/null 2>&1 & exit 0")


def shell_setsid(folder: Path, kind: str) -> None:
    shell(f"setsid {stay_command(folder, kind)} >/dev/null 2>&1 & exit 0")


def shell_env_cleared(folder: Path, kind: str) -> None:
    shell(f"(env -i setsid {stay_command(folder, kind)} >/dev/null 2>&1 &)")


def shell(line: str) -> None:
    os.execv("/bin/sh", ["sh", "-c", line])


def stay_command(folder: Path, kind: str) -> str:
    return f"{sys.executable} -I -S {KIT} stay {folder} {kind}"


ZOO: dict[str, Callable[[Path, str], None]] = {
    kind.__name__: kind
    for kind in (
        child, term_ignoring, silent, graceful, own_group, own_session, orphan, daemon, environment_cleared,
        daemon_environment_cleared, daemon_term_ignoring, non_dumpable, renamed, stopped, first_thread_gone,
        respawning, successor, shell_background, shell_nohup, shell_setsid, shell_env_cleared,
    )
}  # fmt: skip


def start_zoo(folder: Path, kinds: list[str]) -> None:
    """Start one of each kind, in a process of its own, and return when all of them run."""
    for kind in kinds:
        in_child(lambda kind=kind: ZOO[kind](folder, kind))  # type: ignore[misc]
    wait_until(lambda: all(list(folder.glob(f"{kind}-*")) for kind in kinds), 20)


def play_cli(folder: Path, arguments: list[str]) -> None:
    """A CLI with a tool tree. --deaf: to SIGTERM; --busy: stays after EOF; --exit N; --die SIGNAL."""
    signal.alarm(LIFETIME)
    record(folder, "cli")
    if "--deaf" in arguments:
        ignore_signals()
    start_zoo(folder, [kind for kind in arguments if kind in ZOO])
    (folder / "environment").write_text(json.dumps(dict(os.environ)))
    print("ready", flush=True)
    if "--exit" in arguments:
        os._exit(int(arguments[arguments.index("--exit") + 1]))
    if "--die" in arguments:
        os.kill(os.getpid(), int(arguments[arguments.index("--die") + 1]))
    for line in iter(sys.stdin.readline, ""):
        if line.startswith("zoo "):
            start_zoo(folder, line.split()[1:])
        print("echo", line.strip(), flush=True)
    (folder / "eof").touch()
    while "--busy" in arguments:
        signal.pause()


def play_kernel(folder: Path, how: str, arguments: list[str]) -> None:
    """Own a session, then, told so by a line, end in the way named."""
    signal.alarm(LIFETIME)
    session = Session(folder, kernel_pid=os.getpid(), guarded="--unguarded" not in arguments)
    session.start(*arguments)
    if how == "worker":
        in_child(lambda: stay(folder, "worker"))
        wait_until(lambda: bool(list(folder.glob("worker-*"))), 10)
    print("ready", flush=True)
    sys.stdin.readline()
    DEATHS[how]()


def segfault() -> None:
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # no core file
    ctypes.string_at(0)


def kill_myself(number: int) -> Callable[[], object]:
    return lambda: os.kill(os.getpid(), number)


DEATHS: dict[str, Callable[[], object]] = {
    "exit": sys.exit,
    "os_exit": lambda: os._exit(0),
    "sigterm": kill_myself(signal.SIGTERM),
    "sigkill": kill_myself(signal.SIGKILL),
    "segfault": segfault,
    "abort": os.abort,
    "worker": kill_myself(signal.SIGKILL),
}


# -- for tests -------------------------------------------------------------------------------------


@contextmanager
def sleeper(environment: dict[str, str] | None = None) -> Iterator[Identity]:
    """A process with this environment; ended at the end, if it is still there."""
    from claude_nb.processes import identify

    with subprocess.Popen(["/bin/sleep", "100"], env=environment or {}) as process:
        identity = identify(process.pid)
        assert identity is not None
        try:
            yield identity
        finally:
            process.kill()


def eventually(condition: Callable[[], object], patience: float = 60.0) -> bool:
    """Wait for the condition, at most so many seconds, and return whether it came true."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def wait_until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait for the condition, at most so long, and return how long it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"still not so after {seconds} s: {condition}")
        time.sleep(0.005)
    return time.monotonic() - began


def recorded(folder: Path) -> dict[tuple[int, int], str]:
    """Everybody who ever wrote down its name: (pid, start time) -> kind."""
    everybody = {}
    for path in folder.glob("[a-z]*-[0-9]*"):
        kind, _, pid = path.name.rpartition("-")
        if pid.isdigit():
            everybody[int(pid), int(path.read_text())] = kind
    return everybody


def runs(pid: int, start: int) -> bool:
    """Whether this process is there and has a thread that is not dead."""
    try:
        tasks = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
        return start_time(pid) == start and any(task.rpartition(") ")[2][0] not in "ZX" for task in tasks)
    except OSError:
        return False


def carriers(marker: str) -> set[tuple[int, int]]:
    """Who has exactly this marker in its environment."""
    entry = f"{MARKER_VARIABLE}={marker}".encode()
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry in (path / "environ").read_bytes().split(b"\0"):
                found.add((int(path.name), start_time(path.name)))
    return {process for process in found if runs(*process)}


def survivors(marker: str, folder: Path | None = None) -> dict[tuple[int, int], str]:
    """Who is alive of a session: by its marker and, if the zoo was told `folder`, by what it wrote there."""
    alive = dict.fromkeys(carriers(marker), "marked")
    if folder is not None:
        alive |= {process: kind for process, kind in recorded(folder).items() if runs(*process)}
    return {process: kind for process, kind in alive.items() if kind not in ("worker", "bystander")}


def end_everybody(marker: str, folder: Path, *more: tuple[int, int]) -> None:
    """Clean up after a test, also after a failed one, without help from the code under test."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = {p for p in {*recorded(folder), *carriers(marker), *more} if runs(*p)}
        if not left:
            return
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid, _ in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        time.sleep(0.02)
    raise AssertionError(f"cannot end {left}")


class Session:
    """One guarded play CLI in a folder of its own: shim, guard, CLI, zoo."""

    def __init__(
        self, folder: Path, *, kernel_pid: int | None = None, guarded: bool = True, grace: float = 0.3
    ) -> None:
        self.folder = folder
        self.marker = marker_of(folder)
        self.state, self.ledger, self.lock = folder / "state", folder / "ledger", folder / "lock"
        self.guarded = guarded
        self.kernel_pid = kernel_pid or os.getpid()
        self.grace = grace
        self.process: subprocess.Popen[bytes] | None = None

    def shim(self, cli: str = sys.executable, **options: Any) -> Path:
        from claude_nb import launch

        given = {"kernel_pid": self.kernel_pid, "grace": self.grace, "lock": self.lock, **options}
        # A folder of its own: the guard removes it, with all that is in it, when the kernel is gone.
        return launch.write_shim(
            self.folder / "live",
            cli_path=cli,
            marker=self.marker,
            state=self.state,
            ledger=self.ledger,
            **given,
        )

    def start(self, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> None:
        """Start the play CLI behind its guard (or bare) and wait until its zoo is complete."""
        environment = {**os.environ, **(env or {})}
        if self.guarded:
            program = str(self.shim(**options))
        else:
            program = sys.executable
            environment[MARKER_VARIABLE] = self.marker
        command = [program, "-I", "-S", str(KIT), "cli", str(self.folder), *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        line = self.stdout.readline()
        if line != b"ready\n":
            raise RuntimeError(f"the play CLI said {line!r}")

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process is not None
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process is not None
        assert self.process.stdout is not None
        return self.process.stdout

    def wait(self, seconds: float = 20) -> int:
        """The exit status of the guard."""
        assert self.process is not None
        return self.process.wait(seconds)

    def survivors(self) -> dict[tuple[int, int], str]:
        """Everybody of this session who still runs, the guard included."""
        alive = survivors(self.marker, self.folder)
        guard = self.guard()
        if guard is not None and runs(*guard):
            alive[guard] = "guard"
        return alive

    def guard(self) -> tuple[int, int] | None:
        try:
            pid, start = json.loads(self.state.read_text())["guard"]
        except OSError:
            return None
        return pid, start

    def wait_until_all_gone(self, seconds: float) -> float:
        return wait_until(lambda: not self.survivors(), seconds)

    def end(self) -> None:
        """The fixture's last word."""
        guard = self.guard()
        end_everybody(self.marker, self.folder, *([guard] if guard else []))
        if self.process is not None:
            self.process.wait(10)
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()


def marker_of(folder: Path) -> str:
    """A marker of this folder's own: pytest names folders after the test and a running number."""
    return f"test-{folder.parent.parent.name}-{folder.parent.name}-{folder.name}"


@contextmanager
def kernel(folder: Path, how: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A play kernel whose session is complete; `kernel.stdin.write(b"go\\n")` ends it in the way `how`."""
    command = [sys.executable, str(KIT), "kernel", str(folder), how, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line != b"ready\n":
            raise RuntimeError(f"the play kernel said {line!r}")
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def main(role: str, folder: Path, *arguments: str) -> None:
    if role == "stay":
        stay(folder, arguments[0])
    elif role == "zoo":
        start_zoo(folder, list(arguments))
    elif role == "cli":
        play_cli(folder, list(arguments))
    elif role == "kernel":
        play_kernel(folder, arguments[0], list(arguments[1:]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
