"""One kernel with everything that could outlive it, and the ways in which it can end.

A `Scene` is a real kernel with a real Claude Code behind it. Claude's Bash tool has started commands with
`&`, `nohup`, `setsid`, double forks and cleared environments; an MCP server that ignores the end of its
input runs; the kernel has a forked worker that holds its pipes, and a program of the user's own. In mid-turn
the Bash tool is still at work. Around it stand bystanders that look almost like ours.

Who is alive afterwards is read from an entry of the test's own that the environment of the kernel and all
its children has, from our marker, from what each process wrote down itself, and from what stood below the
guard before the end: ways that do not depend on each other, none on a name.

As a program: `endings_kit.py mcp FOLDER` is the MCP server (standard library only).
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

KIT = Path(__file__).resolve()
if (
    __name__ == "__main__"
):  # run by Claude Code in a bare Python, without the folder of the script on the path
    sys.path.insert(0, str(KIT.parent))

import processes_kit  # noqa: E402
from processes_kit import record, runs, stay_command, wait_until  # noqa: E402

# What the guard gives the CLI to leave by itself, what SIGTERM gives the rest, and what we promise after it.
PATIENCE, GRACE, PROMISE = 0.3, 1.0, 2.0
BOUND = PATIENCE + GRACE + PROMISE
# A whole scene on a loaded machine; jupyter_client itself kills a kernel that needs more than 5 s to end.
STAGE_PATIENCE = 40.0

# The entry, with a value of each trial's own, that everybody inherits who does not clear its environment.
TRIAL = "CLAUDE_NB_TEST_TRIAL"

ZOO = ("daemon", "daemon_environment_cleared", "daemon_term_ignoring", "orphan", "successor")
BY_SHELL = ("ampersand", "nohup", "setsid", "cleared")
NOT_OURS = ("worker", "bystander")

# What the kernel's cells say to Claude, and how Claude answers: with its Bash tool.
SCRIPT: dict[str, Any] = {
    "rules": [
        {
            "matches": r"^(work|start) in (\S+)$",
            "reply": [{"tool": "Bash", "input": {"command": "sh {2}/{1}.sh", "description": "Start it"}}],
            "then": [[{"text": "It runs."}]],
        },
        {
            "exactly": "what is the code word",
            "recall": r"the code word is (\w+)",
            "reply": [{"text": "The code word is {recall}."}],
        },
        {"matches": r"the code word is (\w+)", "reply": [{"text": "Noted: {1}."}]},
    ]
}

STAGE = """
import sys
sys.path.insert(0, {tests!r})
import endings_kit, claude_nb
manager = claude_nb.manager()
endings_kit.stage(manager, {folder!r}, guarded={guarded})
reply = manager.session().ask("the code word is heron").result()
worker = endings_kit.fork_worker({folder!r})
"""

# A shim that is only the CLI, with the marker by which its descendants are found.
BARE_SHIM = '#!/bin/sh\nexport CLAUDE_NB_SESSION={marker}\nexec "{cli}" "$@"\n'

SEGFAULT = "import ctypes, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); ctypes.string_at(0)"


# -- inside the kernel -----------------------------------------------------------------------------


def stage(manager: Any, folder: str, *, guarded: bool) -> None:
    """Give Claude an MCP server, and take its guard away if a control wants that."""
    manager.mcp_servers = {
        "inert": {"command": sys.executable, "args": ["-I", "-S", str(KIT), "mcp", folder]}
    }
    if not guarded:
        from claude_nb import launch

        launch.write_shim = write_bare_shim


def write_bare_shim(folder: Path, *, cli_path: Path, marker: str, **_: Any) -> Path:
    shim = folder / f"{marker}.sh"
    shim.write_text(BARE_SHIM.format(marker=marker, cli=cli_path))
    shim.chmod(0o700)
    return shim


def fork_worker(folder: str) -> Any:
    """A multiprocessing worker, which holds the kernel's pipes, and a program that the user starts."""
    import multiprocessing

    command = stay_command(Path(folder), "bystander").split()
    subprocess.Popen(command, start_new_session=True)
    context = multiprocessing.get_context("fork")
    # In a session of its own: ipykernel takes 1.5 s to end a worker in the kernel's group, guard or no guard.
    worker = context.Process(target=processes_kit.own_session, args=(Path(folder), "worker"), daemon=True)
    worker.start()
    return worker


# -- the MCP server --------------------------------------------------------------------------------


def serve_mcp(folder: Path) -> None:
    """Answer what a client asks at its start, offer nothing, and stay when the input has ended."""
    record(folder, "mcp")
    signal.alarm(processes_kit.LIFETIME)
    for line in iter(sys.stdin.readline, ""):
        message = json.loads(line)
        if "id" in message and "method" in message:
            result = mcp_result(message["method"], message.get("params") or {})
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
    while True:
        signal.pause()


def mcp_result(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        server = {"name": "inert", "version": "1"}
        version = parameters.get("protocolVersion")
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
    return {"tools": []} if method == "tools/list" else {}


# -- for tests -------------------------------------------------------------------------------------


def write_commands(folder: Path) -> None:
    """What Claude's Bash tool runs: daemons of each kind; `work` then goes on for as long as it may."""
    stays = {kind: stay_command(folder, kind) for kind in (*BY_SHELL, "tool")}
    start = [
        f"{stays['ampersand']} &",
        f"nohup {stays['nohup']} >/dev/null 2>&1 &",
        f"setsid {stays['setsid']} >/dev/null 2>&1 &",
        f"(env -i setsid {stays['cleared']} >/dev/null 2>&1 &)",
        f"{sys.executable} -I -S {processes_kit.KIT} zoo {folder} {' '.join(ZOO)}",
    ]
    (folder / "start.sh").write_text("\n".join(start) + "\n")
    (folder / "work.sh").write_text("\n".join([*start, stays["tool"]]) + "\n")


def allow_bash(config: Path) -> None:
    """A rule of the person's own lets the Bash tool run without asking."""
    (config / "settings.json").write_text(json.dumps({"permissions": {"allow": ["Bash"]}}))


class Scene:
    """A kernel with a session and all that belongs to it, from `begin` to `close`."""

    def __init__(self, kernel: Any, folder: Path, runtime: Path, *, guarded: bool = True) -> None:
        self.kernel = kernel
        self.folder = folder
        self.runtime = runtime
        self.guarded = guarded
        self.bystanders: list[subprocess.Popen[bytes]] = []
        self.before: set[tuple[int, int]] = set()
        write_commands(folder)

    def begin(self, *, busy: bool, blocking: bool) -> None:
        """Until everybody is there. `blocking`: a cell waits for the turn; otherwise the shell is free."""
        cell = self.kernel.run(
            STAGE.format(tests=str(KIT.parent), folder=str(self.folder), guarded=self.guarded)
        )
        assert cell.error is None, cell.shown_error
        if not busy:
            cell = self.kernel.run(f"%claude start in {self.folder}")
            assert cell.error is None, cell.shown_error
            assert "It runs." in cell.markdown
        elif blocking:
            self.cell = self.kernel.start_cell(f"%claude work in {self.folder}")
        else:
            self.kernel.run(f"turn = manager.session().ask('work in {self.folder}')")
        expected = {*ZOO, *BY_SHELL, *NOT_OURS, "mcp", *(["tool"] if busy else [])}
        wait_until(lambda: expected <= set(self.kinds().values()), STAGE_PATIENCE)
        self.start_bystanders()
        self.before = self.below_guard()

    def kinds(self) -> dict[tuple[int, int], str]:
        return {process: kind for process, kind in self.recorded().items() if runs(*process)}

    def recorded(self) -> dict[tuple[int, int], str]:
        return processes_kit.recorded(self.folder)

    @property
    def live_folder(self) -> Path:
        """The files of the one live process; the folder is named after its marker."""
        (folder,) = live_folders(self.runtime)
        return folder

    @property
    def marker(self) -> str:
        if not hasattr(self, "_marker"):
            self._files = self.live_folder
            self._marker = self._files.name
        return self._marker

    @property
    def files_are_gone(self) -> bool:
        return not self._files.exists()

    @property
    def guard(self) -> tuple[int, int]:
        state = json.loads((self.live_folder / "state.json").read_text())
        assert state["marker"] == self.marker
        pid, start = state["guard"]
        return pid, start

    def below_guard(self) -> set[tuple[int, int]]:
        """The guard and everybody below it; without a guard those of the marker."""
        if not self.guarded:
            return processes_kit.carriers(self.marker)
        family = [self.guard[0]]
        for pid in family:
            for task in Path(f"/proc/{pid}/task").iterdir():
                family += map(int, (task / "children").read_text().split())
        return {(pid, processes_kit.start_time(pid)) for pid in family}

    def start_bystanders(self) -> None:
        """Processes that a careless search would take for ours."""
        marker, name = self.marker, processes_kit.MARKER_VARIABLE
        values = (f"{marker}x", f"x{marker}", marker[:-1], f"{marker} {marker}", "other", f"={marker}")
        environments = [{name: value} for value in values]
        environments += [{f"X{name}": marker}, {"X": f"{name}={marker}"}, {}]
        inherited = {name: value for name, value in os.environ.items() if name != TRIAL}
        for environment in environments:
            command = ["claude", str(processes_kit.LIFETIME)]
            everything = {**inherited, **environment}
            bystander = subprocess.Popen(command, executable="/bin/sleep", env=everything)
            self.bystanders.append(bystander)

    def bystanders_hurt(self) -> list[str]:
        """Who of them ended or was stopped, the kernel's worker apart: that one is the kernel's to end."""
        hurt = [f"bystander {process.pid}" for process in self.bystanders if process.poll() is not None]
        own = [process for process, kind in self.recorded().items() if kind == "bystander"]
        hurt += [f"the user's program {process}" for process in own if not runs(*process)]
        everybody = [*(process.pid for process in self.bystanders), *(pid for pid, _ in own)]
        return hurt + [f"stopped: {pid}" for pid in everybody if is_stopped(pid)]

    def survivors(self) -> dict[tuple[int, int], str]:
        """Who is still there of what was started for Claude."""
        kinds = self.kinds()
        left = {process: "below the guard" for process in self.before if runs(*process)}
        left |= dict.fromkeys(self.started_here(), "started here") | kinds
        left |= dict.fromkeys(processes_kit.carriers(self.marker) - kinds.keys(), "marked")
        return {process: kind for process, kind in left.items() if kind not in NOT_OURS}

    def started_here(self) -> set[tuple[int, int]]:
        """Everybody of this trial but its kernel, of which there may be a second one."""
        kernel = self.kernel.pid if self.kernel.manager.has_kernel else None
        return {process for process in carriers_of(TRIAL, os.environ[TRIAL]) if process[0] != kernel}

    def nobody_left(self) -> bool:
        """The cheap look first; then twice nobody: an environment reads empty in the middle of an exec."""
        if any(runs(*process) for process in self.before):
            return False
        return not self.survivors() and not self.survivors()

    def close(self) -> None:
        """End everybody, whatever happened, with nothing of the code under test."""
        for process in self.bystanders:
            process.kill()
            process.wait()
        wait_until(self._killed, 20)

    def _killed(self) -> bool:
        """Whether nobody is left to kill; what multiplies is stopped first."""
        left = {*self.before, *self.kinds(), *self.started_here()}
        left = {process for process in left if runs(*process)}
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid, _ in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        return not left


def live_folders(runtime: Path) -> list[Path]:
    """The folders of the live processes' files, with names of 32 hexadecimal digits."""
    return list(runtime.glob("claude_nb/" + "[0-9a-f]" * 32))


def carriers_of(name: str, value: str) -> set[tuple[int, int]]:
    """Who has exactly this entry in its environment, but for ourselves."""
    entry = f"{name}={value}".encode()
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry in (path / "environ").read_bytes().split(b"\0"):
                found.add((int(path.name), processes_kit.start_time(path.name)))
    return {process for process in found if process[0] != os.getpid() and runs(*process)}


def is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "T"
    except OSError:
        return False


class Death:
    """When a process ended, noticed by a thread that does nothing else."""

    def __init__(self, pid: int) -> None:
        self.fd = os.pidfd_open(pid)
        self.at: float | None = None
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if poll.poll(STAGE_PATIENCE * 1000):
            self.at = time.monotonic()
        os.close(self.fd)

    def time(self) -> float:
        """The moment on the monotonic clock, waited for."""
        self.thread.join()
        assert self.at is not None, f"it did not end within {STAGE_PATIENCE} s"
        return self.at


@contextmanager
def scene(kernel: Any, folder: Path, runtime: Path, *, guarded: bool = True) -> Iterator[Scene]:
    it = Scene(kernel, folder, runtime, guarded=guarded)
    try:
        yield it
    finally:
        it.close()


def ends_with_cell(code: str) -> Callable[[Scene], object]:
    return lambda scene: scene.kernel.start_cell(code)


def ends_with_signal(number: signal.Signals) -> Callable[[Scene], object]:
    return lambda scene: os.kill(scene.kernel.pid, number)


# How a kernel can end. The ones by a cell need a free shell, so that their turn runs in the background.
BY_CELL = {
    "exit": "exit",
    "quit": "quit()",
    "os_exit": "import os; os._exit(1)",
    "segfault": SEGFAULT,
}
WAYS: dict[str, Callable[[Scene], object]] = {
    "shutdown": lambda scene: scene.kernel.manager.shutdown_kernel(),
    "restart": lambda scene: scene.kernel.manager.restart_kernel(),
    "sigterm": ends_with_signal(signal.SIGTERM),
    "sigkill": ends_with_signal(signal.SIGKILL),
    **{way: ends_with_cell(code) for way, code in BY_CELL.items()},
}


if __name__ == "__main__":
    serve_mcp(Path(sys.argv[2]))
