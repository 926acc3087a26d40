"""What every test gets: private folders, no credentials, and a check that nothing is left running.

Everything that the suite starts inherits a marker of this run in its environment. After each test no
process may carry it but the suite's own; what does is ended, and the test fails.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import psutil
import pytest
import shared_kernels
from kernel_kit import SETUP, Kernel, running_kernel
from shared_kernels import FAILED, SharedKernels, lent_to

from claude_nb.offline import OfflineAPI
from claude_nb.session_manager import SessionManager

RUN = f"{os.getpid()}-{uuid.uuid4().hex}"
MARKER = "CLAUDE_NB_TEST_RUN"

# Two gigabytes that not every machine of ours has; everything else that is missing makes a test fail.
collect_ignore = [] if importlib.util.find_spec("torch") else ["test_look_torch.py"]

# What a person's own set-up could bring in: another account, another server, another kernel's identity.
FOREIGN = ("ANTHROPIC_", "CLAUDE_", "CLAUDECODE", "JPY_", "JUPYTER", "AWS_", "OTEL_", "__vsc")

# From the slowest.
SLOW = ("torture", "browser", "kernel", "cli")

# A process that was told to end may need a moment to be gone.
LEFT_OVER_PATIENCE = 5.0


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest before anything is collected: children of any test see only what is set here."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) and not name.startswith("CLAUDE_NB_"):
            del os.environ[name]
    os.environ[MARKER] = RUN
    config.addinivalue_line("markers", "nests: runs a loop inside itself, which changes asyncio for good")
    # A run in the background of a shell ignores these, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Called by pytest: what takes long comes first, so that no worker is left with it at the end."""
    items.sort(
        key=lambda item: min((SLOW.index(m.name) for m in item.iter_markers() if m.name in SLOW), default=9)
    )


@pytest.fixture(scope="session", autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HOME and every folder that Claude Code, Jupyter and IPython would use, in a temporary place."""
    home = tmp_path_factory.mktemp("home")
    folders = {
        "HOME": home,
        "CLAUDE_CONFIG_DIR": home / "claude",
        "JUPYTER_CONFIG_DIR": home / "jupyter" / "config",
        "JUPYTER_DATA_DIR": home / "jupyter" / "data",
        "JUPYTER_RUNTIME_DIR": home / "jupyter" / "runtime",
        "IPYTHONDIR": home / "ipython",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_CONFIG_HOME": home / "config",
    }
    for name, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.environ[name] = str(folder)
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
    return home


@pytest.fixture(scope="session")
def offline(private_home: Path) -> Iterator[OfflineAPI]:
    """The loopback Messages API with the built-in script and the tests' own, for the whole run."""
    with OfflineAPI(script=Path(__file__).parent / "script.yaml") as api:
        yield api


@pytest.fixture
def api(offline: OfflineAPI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OfflineAPI:
    """The API, with the environment that makes Claude Code talk to it and a configuration of its own."""
    config = tmp_path / "claude"
    config.mkdir(mode=0o700)
    for name, value in offline.environment(config).items():
        monkeypatch.setenv(name, value)
    return offline


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Called by pytest after each phase of a test: a kernel that it failed with is not used again."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="module")
def kernels(private_home: Path) -> Iterator[SharedKernels]:
    """Kernels that the tests of a module share."""
    with SharedKernels() as kernels:
        yield kernels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the notebook is."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records, trusted folders and the audit log of this test alone."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def manager(
    api: OfflineAPI, own_data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SessionManager]:
    """One without a kernel, in a folder of its own; it is shut down afterwards."""
    monkeypatch.chdir(folder)
    manager = SessionManager(drain_timeout=1)
    yield manager
    manager.shutdown()


@pytest.fixture
def kernel(
    request: pytest.FixtureRequest, kernels: SharedKernels, api: OfflineAPI, own_data: Path, folder: Path
) -> Iterator[Kernel]:
    """As good as fresh, with a person at it who sees no widget, and with the newest ipykernel.

    For other ones see `kernel_kit.on_each_ipykernel`. A test that ends or restarts it needs `own_kernel`.
    """
    with lent_to(request, folder, getattr(request, "param", "newest")) as kernel:
        yield kernel


@pytest.fixture
def headless(
    request: pytest.FixtureRequest, kernels: SharedKernels, api: OfflineAPI, own_data: Path, folder: Path
) -> Iterator[Kernel]:
    """One whose cells nobody watches, as under nbval, nbconvert and papermill."""
    with lent_to(request, folder, someone_there=False) as kernel:
        yield kernel


@pytest.fixture
def own_kernel(api: OfflineAPI, own_data: Path, folder: Path) -> Iterator[Kernel]:
    """A new one, which the test may restart or end."""
    with running_kernel(folder) as kernel:
        yield kernel


@pytest.fixture
def code_is_allowed(request: pytest.FixtureRequest) -> None:
    """In `kernel`, if the test uses it: Claude may run code and add cells."""
    if "kernel" in request.fixturenames:
        kernel = request.getfixturevalue("kernel")
        assert kernel.run(SETUP).error is None
        for tool in ("run_cell", "add_cell"):
            assert kernel.run(f"%claude /permissions allow mcp__kernel__{tool}").error is None


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running_at_all() -> Iterator[None]:
    """After the run no process that it started runs any more."""
    yield
    end_and_report(wait_until_gone(set()))


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """After the test no process that it started runs any more; what a shared kernel started is its own."""
    before = set(marked())
    yield
    end_and_report(wait_until_gone(before | shared_kernels.processes))


def end_and_report(left: list[psutil.Process]) -> None:
    """Kill what is left, and fail."""
    described = [describe(process) for process in left]
    for process in left:
        process.kill()
    if left:
        pytest.fail(f"{len(left)} processes were left running and have been killed: {described}")


def wait_until_gone(before: set[psutil.Process]) -> list[psutil.Process]:
    """The marked processes that are neither in `before` nor gone when the patience is over."""
    deadline = time.monotonic() + LEFT_OVER_PATIENCE
    while True:
        left = [process for process in marked() if not {process, *ancestors(process)} & before]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def ancestors(process: psutil.Process) -> list[psutil.Process]:
    """Who started it, and who started that."""
    try:
        return process.parents()
    except psutil.Error:
        return []


def marked() -> list[psutil.Process]:
    """The living processes, other than this one, that carry the exact marker of this run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(MARKER) == RUN:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def describe(process: psutil.Process) -> str:
    """A line about a process, for a failure's message."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return str(process.pid)
