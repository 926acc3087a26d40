"""A program: be the parent of one Claude Code CLI, and leave nothing behind when it or its kernel ends.

    python -I -S guard.py [OPTIONS] -- CLI ARG...

Theory of operation
-------------------
The kernel starts this program where it would start the CLI. The guard moves into a session of its own, so
that a Ctrl-C meant for a cell reaches neither, makes itself the *subreaper* of everything below it, starts
the CLI on its own stdin, stdout and stderr, and waits. From then on

* a descendant cannot get away: whatever double-forks, changes its session or group, or clears its
  environment becomes our child when its parent dies. When `waitpid` says that we have no child, there is
  no descendant (Linux; elsewhere two scans of the process table in a row must find nothing).
* the kernel's end cannot be missed: a pidfd, opened first and then compared with the start time we were
  told, becomes readable however the kernel dies, also while a forked worker of the kernel still holds our
  stdin open. Where there are no pidfds, a closed stdin and a change of our parent say it.
* our own end is not fatal: `SIGKILL` cannot be caught, so the CLI dies with us (PR_SET_PDEATHSIG), and the
  ledger and the environment marker let the kernel find the rest (`processes.end_left_over`).

What ends a guard is that the CLI exited, that the kernel is gone, or SIGTERM. A closed stdin alone is an
orderly close: the CLI sees it too and may finish its turn. The ladder, each rung left as soon as it has
done its work; SIGUSR1, or a second SIGTERM some time after the first (two at once are one), goes straight to
the last one:

1. PATIENCE for the CLI to leave by itself, which it does at the end of its input, its transcript written;
2. SIGTERM to all that is left, and `--grace`. The tools get it together with the CLI, because a CLI whose
   tool is still running takes 1.5 s to honour a SIGTERM, and 30 ms once the tool is gone;
3. SIGSTOP to all until a scan finds nobody new, so that nothing can respawn, then SIGKILL; again, until
   nothing is left.

Only descendants are signalled, each one named by pid *and* start time, compared once more with a pidfd in
hand. The guard never reads stdin and never writes stdout, and it exits with the CLI's status, 128 + n
if signal n ended the CLI: a guard that *itself* died by a signal therefore did not finish its work.

Options: --kernel PID, --kernel-start START (default: our parent), --marker VALUE (the environment variable
CLAUDE_NB_SESSION of all descendants), --state FILE, --ledger FILE (JSON, replaced atomically), --lock FILE
(flock, held until the last descendant is gone; exit 75 if somebody has it), --folder FOLDER (removed in the
end, with the files in it, if the kernel is not there any more to do it, or has said by a file `abandoned` in
it that it will not), --grace SECONDS, --unset NAME (repeatable: not passed on to the CLI).

Imports are what a start in 10 ms allows; `json`, `signal` and `argparse` would double that. It is one file,
and longer than others, because it is compiled into one (`launch.py`) and run without our package in reach.
"""

# pathlib and contextlib cost more than the rest of the start:
# ruff: noqa: PTH105, PTH106, PTH108, PTH110, PTH118, PTH123, PTH208, SIM105
import os
import select
import sys
import time

TYPE_CHECKING = False  # `typing` is not worth its import here; type checkers know the name
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable
else:
    try:
        import _signal as signal  # the same functions without `enum`
    except ImportError:
        import signal

PATIENCE = 0.3  # an idle CLI leaves 35 to 65 ms after the end of its input
KILL_LIMIT = 5.0  # what a SIGKILL has not ended by then it cannot end: uninterruptible, or another user's
ROUND = 0.05  # between two rounds of killing, if no exit wakes us before
QUICK, SLOW, IDLE = 0.25, 1.0, 5.0  # between two looks for new descendants: news, activity, nothing
ACTIVE_FOR = 60.0  # after news or input, how long a look is worth a wake-up every SLOW
SHARE = 50  # a look may cost one part in so many of the time between two
PARENT_CHECK = 0.5  # how often we look for our parent where there is no pidfd

EX_USAGE, EX_LOCKED, EX_CANNOT_RUN, EX_NOT_FOUND = 64, 75, 126, 127
MARKER_VARIABLE = "CLAUDE_NB_SESSION"
ABANDONED = "abandoned"  # the file by which an ending kernel leaves the folder to us
LINUX = sys.platform == "linux"
PROC = "/proc"  # a container may have none, or one that lacks all but processes
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

# A process is its pid and its start time: clock ticks since boot on Linux, elsewhere seconds since 1970.
Process = tuple[int, int]
# pid -> (parent's pid, start time, whether it is a zombie)
Table = dict[int, tuple[int, int, bool]]


# -- looking at processes --------------------------------------------------------------------------


def look_at(pid: int, proc: str = PROC) -> tuple[int, int, bool] | None:
    """One row of the process table, or None if there is no such process."""
    if not LINUX:
        return ps("-p", str(pid)).get(pid)
    try:
        fd = os.open(f"{proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(fd, 2048)
    except OSError:  # it ended between the two calls
        return None
    finally:
        os.close(fd)
    # The command's name, in parentheses, may itself hold blanks and parentheses.
    fields = text[text.rindex(b")") + 2 :].split()
    # A thread may outlive its process's first one, which is then a zombie that is not dead.
    return int(fields[1]), int(fields[19]), fields[0] in b"ZX" and int(fields[17]) < 2


def process_table(proc: str = PROC) -> Table:
    """All processes that this user can see."""
    if not LINUX:
        return ps("-ax")
    try:
        names = os.listdir(proc)
    except OSError:
        return {}
    rows = ((int(name), look_at(int(name), proc)) for name in names if name.isdigit())
    return {pid: row for pid, row in rows if row}


def ps(*which: str) -> Table:
    """The process table where there is no /proc."""
    import subprocess

    command = ["/bin/ps", *which, "-o", "pid=,ppid=,stat=,lstart="]
    environment = {"LC_ALL": "C", "PATH": "/bin:/usr/bin"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        lines = process.communicate()[0].splitlines()
    table: Table = {}
    for line in lines:
        pid, ppid, state, started = line.split(None, 3)
        start = int(time.mktime(time.strptime(started.strip())))
        table[int(pid)] = (int(ppid), start, state.startswith("Z"))
    table.pop(process.pid, None)
    return table


def started(pid: int) -> int | None:
    """The start time of the process that has this pid now, or None."""
    row = look_at(pid)
    return row[1] if row else None


def below(roots: "Iterable[int]", table: Table) -> set[Process]:
    """The descendants of `roots`, without the roots themselves."""
    children: dict[int, list[int]] = {}
    for pid, row in table.items():
        children.setdefault(row[0], []).append(pid)
    found: set[int] = set()
    queue = list(roots)
    while queue:
        for pid in children.get(queue.pop(), ()):
            if pid not in found:
                found.add(pid)
                queue.append(pid)
    return {(pid, table[pid][1]) for pid in found}


def newest_pid() -> bytes | None:
    """The last pid given out: while it stays, nobody has had a child. None where that is not known."""
    try:
        fd = os.open(f"{PROC}/loadavg", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 256).rsplit(None, 1)[-1]
    finally:
        os.close(fd)


def boot_id(proc: str = PROC) -> str:
    """What tells this run of the machine from the ones before; empty where that is not known.

    After a boot pids start again.
    """
    if LINUX:
        try:
            with open(f"{proc}/sys/kernel/random/boot_id") as file:
                return file.read().strip()
        except OSError:  # some containers show no more of /proc than processes
            return ""
    import subprocess

    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()


def open_pidfd(pid: int) -> int | None:
    """A handle to the process, or None if there is no such process or no such thing as a pidfd."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def send(process: Process, number: int) -> None:
    """Signal exactly this process, or nobody."""
    pid, start = process
    handle = open_pidfd(pid)  # before the comparison: from here on it means one process
    try:
        if started(pid) != start:
            return
        if handle is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        pass  # it ended meanwhile, or became another user's
    finally:
        if handle is not None:
            os.close(handle)


# -- files -----------------------------------------------------------------------------------------


def to_json(value: object) -> str:
    """JSON of the plain values that the state and the ledger hold."""
    if value is None:
        return "null"
    if isinstance(value, str):
        plain = (c if " " <= c <= "~" and c not in '"\\' else f"\\u{ord(c) & 0xFFFF:04x}" for c in value)
        return '"' + "".join(plain) + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_json(key)}: {to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(to_json, value)) + "]"
    return repr(value)


def replace_file(path: str, value: object) -> None:
    """Write JSON for this user's eyes only; a reader sees the old text or the new one."""
    if not path:
        return
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path + ".new", flags, 0o600)
        try:
            os.write(fd, to_json(value).encode() + b"\n")
        finally:
            os.close(fd)
        os.replace(path + ".new", path)
    except OSError:
        pass  # a full disk or a folder that is gone must not cost the session


def remove_folder(folder: str) -> None:
    """The live process's own folder, whose kernel cannot tidy up any more. It has no folders in it."""
    if not folder:
        return
    try:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
    except OSError:
        pass  # whatever it was, a later sweep removes it


def complain(message: str) -> None:
    """One line for the person, on stderr."""
    try:
        os.write(2, f"claude_nb guard: {message}\n".encode(errors="replace"))
    except OSError:
        pass  # nobody is listening any more


# -- options ---------------------------------------------------------------------------------------


OPTIONS: "dict[str, Callable[[str], object]]" = {
    "--kernel": int,
    "--kernel-start": int,
    "--marker": str,
    "--state": os.path.abspath,
    "--ledger": os.path.abspath,
    "--lock": os.path.abspath,
    "--folder": os.path.abspath,
    "--grace": float,
}


class Options:
    """The command line, see the module's docstring."""

    def __init__(self, argv: list[str]) -> None:
        self.kernel = os.getppid()
        self.kernel_start = 0
        self.marker = self.state = self.ledger = self.lock = self.folder = ""
        self.grace = 1.0
        self.unset: list[str] = []
        words = iter(argv)
        for word in words:
            if word == "--":
                break
            self.take(word, next(words, None))
        self.command = list(words)
        if not self.command:
            raise ValueError("no command after --")

    def take(self, word: str, value: str | None) -> None:
        if value is None or word not in (*OPTIONS, "--unset"):
            raise ValueError(f"unknown option or no value: {word}")
        if word == "--unset":
            self.unset.append(value)
        else:
            setattr(self, word[2:].replace("-", "_"), OPTIONS[word](value))


# -- the guard -------------------------------------------------------------------------------------


class Guard:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.cli: Process = (0, 0)
        self.status: int | None = None  # the CLI's exit status, once it is known
        self.orders = 0  # to stop; two of them mean at once
        self.kernel_gone = False
        self.input_ended: float | None = None  # when stdin was seen closed
        self.known: set[Process] = set()  # the descendants of the last scan
        self.newest: bytes | None = None
        self.pause, self.next_look, self.last_news = QUICK, 0.0, 0.0

    def run(self) -> int:
        close_inherited_files()
        self.detach()
        self.watch_signals()
        lock = self.take_lock()
        if lock is None:
            complain(f"another guard holds {self.options.lock}")
            return EX_LOCKED
        self.subreaper = prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.start_cli()
        try:
            self.watch()
        finally:  # also if a mistake of ours ended the watch
            self.end()
        left = [] if self.nothing_left() else sorted(self.scan())
        if left:
            complain(f"{len(left)} processes cannot be ended: {', '.join(str(pid) for pid, _ in left)}")
        self.write_state("ended", left)
        if self.is_last() and not left:
            remove_folder(self.options.folder)
        return EX_CANNOT_RUN if self.status is None else self.status

    # starting

    def detach(self) -> None:
        """Leave the kernel's group: its Interrupt is a SIGINT to all of it."""
        try:
            os.setsid()
        except PermissionError:
            pass  # we lead a group already, which is then not the kernel's

    def watch_signals(self) -> None:
        """Turn SIGTERM and SIGCHLD into bytes on a pipe; what a terminal might send means nothing here."""
        self.wakeups, writer = os.pipe()
        os.set_blocking(self.wakeups, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def take_lock(self) -> int | None:
        """The lock's file descriptor, -1 if no lock is asked for, None if it is taken."""
        if not self.options.lock:
            return -1
        import fcntl

        fd = os.open(self.options.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return fd

    def start_cli(self) -> None:
        guard = os.getpid()
        environment = {k: v for k, v in os.environ.items() if k not in self.options.unset}
        environment[MARKER_VARIABLE] = self.options.marker
        everything = signal.valid_signals()
        signal.pthread_sigmask(signal.SIG_BLOCK, everything)  # none may be handled by the child's copy of us
        pid = os.fork()
        if pid == 0:
            become_cli(self.options.command, environment, guard)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        self.cli = (pid, started(pid) or 0)
        point_at_null(1)  # the reader must see the end of the CLI's output as soon as the CLI is gone
        os.chdir("/")  # do not keep the session's folder in use
        self.write_state("running")
        self.watch_kernel()

    def watch_kernel(self) -> None:
        self.poll = select.poll()
        self.poll.register(self.wakeups, select.POLLIN)
        self.reading = True
        self.poll.register(0, 0)  # POLLHUP is always reported, and nothing is ever read
        self.parent = os.getppid()
        self.kernel_fd = open_pidfd(self.options.kernel)
        row = look_at(self.options.kernel)
        if row is None:  # there is none, or it is hidden from us, and then known by being our parent
            self.kernel_gone = self.parent != self.options.kernel
        else:
            self.kernel_gone = row[2] or self.options.kernel_start not in (0, row[1])
        if self.kernel_fd is not None:
            self.poll.register(self.kernel_fd, select.POLLIN)
        self.activity = self.watch_input()

    def watch_input(self) -> "select.epoll | None":
        """Wake up, once each time it is armed, when the kernel writes to the CLI: a turn may begin."""
        try:
            activity = select.epoll()
            activity.register(0, select.EPOLLIN | select.EPOLLONESHOT)
        except (AttributeError, OSError):  # no epoll, or stdin is a file
            return None
        self.poll.register(activity.fileno(), select.POLLIN)
        return activity

    # watching

    def watch(self) -> None:
        """Wait until the kernel is gone, the CLI is gone, or somebody says stop."""
        while not (self.kernel_gone or self.orders or self.status is not None):
            self.wait(self.next_look - time.monotonic())
            if time.monotonic() >= self.next_look:
                self.look()

    def wait(self, seconds: float) -> None:
        """Sleep until something happens that concerns us, and note it."""
        if self.kernel_fd is None:
            seconds = min(seconds, PARENT_CHECK)
        for fd, _ in self.poll.poll(max(0.0, seconds) * 1000):
            if fd == self.wakeups:
                signals = os.read(self.wakeups, 4096)
                self.orders += signals.count(signal.SIGTERM) + 2 * signals.count(signal.SIGUSR1)
            elif fd == 0:
                self.input_ended = time.monotonic()
                self.forget_input()
            elif fd == self.kernel_fd:
                self.kernel_gone = True
                self.poll.unregister(fd)
            elif self.activity is not None:
                self.activity.poll(0)
                self.hurry()
        self.check_kernel()
        self.reap()

    def check_kernel(self) -> None:
        """Without a pidfd: the kernel is gone if we have a new parent, or if nobody has its pid."""
        if self.kernel_fd is not None:
            return
        if self.parent == self.options.kernel:
            self.kernel_gone |= os.getppid() != self.parent
            return
        try:
            os.kill(self.options.kernel, 0)
        except ProcessLookupError:
            self.kernel_gone = True
        except PermissionError:
            pass  # it is there

    def reap(self) -> bool:
        """Collect whoever has exited. False when we have no child at all."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == self.cli[0]:
                    code = os.waitstatus_to_exitcode(status)
                    self.status = code if code >= 0 else 128 - code
                if pid == 0:
                    return True
        except ChildProcessError:
            return False

    def hurry(self) -> None:
        """Something begins: look soon."""
        self.last_news = time.monotonic()
        self.pause = QUICK
        self.next_look = min(self.next_look, self.last_news + QUICK)

    def look(self) -> None:
        """Keep the ledger: seldom when nothing happens, and cheaply when nobody has had a child."""
        began = time.monotonic()
        newest = newest_pid()
        if newest is None or newest != self.newest:
            self.newest = newest
            before = self.known
            if self.scan() - before:
                self.last_news, self.pause = began, QUICK
        if self.activity is not None and self.input_ended is None:
            self.activity.modify(0, select.EPOLLIN | select.EPOLLONESHOT)
        now = time.monotonic()
        slowest = SLOW if len(self.known) > 1 or now - self.last_news < ACTIVE_FOR else IDLE
        self.next_look = now + max(self.pause, SHARE * (now - began))
        self.pause = min(2 * self.pause, slowest)

    def scan(self) -> set[Process]:
        """Our descendants now. Whoever is new goes into the ledger."""
        table = process_table()
        # Who was once seen below us stays ours, also where there is no subreaper to bring it back.
        ours = [pid for pid, start in self.known if pid in table and table[pid][1] == start]
        found = below([os.getpid(), *ours], table) | {(pid, table[pid][1]) for pid in ours}
        if found - self.known:
            entries = {"boot": boot_id(), "marker": self.options.marker, "processes": sorted(found)}
            replace_file(self.options.ledger, entries)
        self.known = found
        return found

    # ending

    def end(self) -> None:
        """The ladder: patience, SIGTERM and grace, SIGKILL."""
        self.write_state("ending")
        self.let_cli_leave()
        if self.status is not None:
            self.forget_input()  # who still writes to the CLI must learn that it is gone
            point_at_null(0)
        if not self.nothing_left():
            self.terminate()
            self.kill()

    def let_cli_leave(self) -> None:
        began = time.monotonic()
        while self.status is None and self.orders < 2:
            # The input may end only now, when the kernel's last thread is gone: patience counts from there.
            left = max(began, self.input_ended or 0.0) + PATIENCE - time.monotonic()
            if left <= 0:
                return
            self.wait(left)

    def terminate(self) -> None:
        for process in self.scan():
            send(process, signal.SIGTERM)
            send(process, signal.SIGCONT)  # a stopped one would not notice
        deadline = time.monotonic() + self.options.grace
        while not self.nothing_left() and self.orders < 2 and time.monotonic() < deadline:
            self.wait(min(ROUND, deadline - time.monotonic()))

    def kill(self) -> None:
        deadline = time.monotonic() + KILL_LIMIT
        while not self.nothing_left() and time.monotonic() < deadline:
            for process in self.stop_all():
                send(process, signal.SIGKILL)
            self.wait(ROUND)

    def stop_all(self) -> set[Process]:
        """Stop every descendant. Who is stopped has no more children, so this comes to an end."""
        stopped: set[Process] = set()
        deadline = time.monotonic() + ROUND * 10
        while (new := self.scan() - stopped) and time.monotonic() < deadline:
            for process in new:
                send(process, signal.SIGSTOP)
            stopped |= new
        return stopped

    def nothing_left(self) -> bool:
        if self.reap():
            return False
        return self.subreaper or not (self.scan() or self.scan())

    # telling

    def is_last(self) -> bool:
        """Nobody comes after us: the kernel is gone, or it is ending and has left the files to us."""
        return self.kernel_gone or os.path.exists(os.path.join(self.options.folder, ABANDONED))

    def write_state(self, phase: str, left: "Iterable[Process]" = ()) -> None:
        options = self.options
        value = {
            "phase": phase,
            "marker": options.marker,
            "boot": boot_id(),
            "guard": (os.getpid(), started(os.getpid())),
            "kernel": (options.kernel, options.kernel_start),
            "cli": self.cli,
            "status": self.status,
            "left": list(left),
        }
        replace_file(options.state, value)

    def forget_input(self) -> None:
        """Nothing more can come from stdin: stop asking."""
        if self.reading:
            self.reading = False
            self.poll.unregister(0)
        if self.activity is not None:
            self.poll.unregister(self.activity.fileno())
            self.activity.close()
            self.activity = None


def close_inherited_files() -> None:
    """Everything but stdin, stdout and stderr: a pipe of the kernel's held here would never end."""
    for name in os.listdir("/dev/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                pass  # the listing's own


def point_at_null(fd: int) -> None:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, fd)
    os.close(null)


def prctl(option: int, value: int) -> bool:
    """Call prctl(2); False where there is none."""
    if not LINUX:
        return False
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def become_cli(command: list[str], environment: dict[str, str], guard: int) -> None:
    """Run in the child: become the CLI, with nothing inherited from kernel or guard that it would feel."""
    status = EX_CANNOT_RUN
    try:
        os.setpgid(0, 0)  # a CLI that signals its own group must not hit us
        for number in signal.valid_signals():
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_DFL)  # ipykernel leaves SIGINT ignored between cells
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(status)  # the guard died before the line above
        os.execve(command[0], command, environment)
    except FileNotFoundError as error:
        status = EX_NOT_FOUND
        complain(f"cannot start {command[0]}: {error.strerror}")
    except OSError as error:
        complain(f"cannot start {command[0]}: {error.strerror}")
    finally:
        os._exit(status)


def main(argv: list[str]) -> int:
    try:
        options = Options(argv)
    except ValueError as error:
        complain(str(error))
        return EX_USAGE
    return Guard(options).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
