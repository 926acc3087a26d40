"""What every test gets: private folders, no credentials, and a check that nothing is left running.

Everything that the suite starts inherits a marker of this run in its environment. After each test no
process may carry it but the suite's own; what does is ended, and the test fails.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import left_over_kit
import pytest
from kernel_kit import SETUP, Kernel, running_kernel
from shared_kernels import FAILED, SharedKernels, lent_to

from claude_nb.offline import OfflineAPI
from claude_nb.session_manager import SessionManager

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Two gigabytes that not every machine of ours has; everything else that is missing makes a test fail.
collect_ignore = [] if importlib.util.find_spec("torch") else ["test_look_torch.py"]

# What a person's own set-up could bring in: another account, another server, another kernel's identity.
FOREIGN = ("ANTHROPIC_", "CLAUDE_", "CLAUDECODE", "JPY_", "JUPYTER", "AWS_", "OTEL_", "__vsc")

# From the slowest.
SLOW = ("torture", "browser", "kernel", "cli")


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest before anything is collected: children of any test see only what is set here."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) and not name.startswith("CLAUDE_NB_"):
            del os.environ[name]
    left_over_kit.mark()
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


@pytest.fixture(scope="session")
def kernels(private_home: Path) -> Iterator[SharedKernels]:
    """Kernels that all tests of a worker share."""
    with SharedKernels() as kernels:
        yield kernels


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium. Without one the tests fail, and say how to get it.

    Not for longer than a module: while it is there, no other event loop runs in this thread.
    """
    from tools.chromium import chromium

    with chromium() as browser:
        yield browser


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
    left_over_kit.end_and_report(left_over_kit.wait_until_gone(set()))


@pytest.fixture(scope="module", autouse=True)
def nothing_left_running_of_a_module() -> Iterator[None]:
    """After the module neither: its pure tests start nothing, and to look after each would cost more."""
    before = set(left_over_kit.marked())
    yield
    left_over_kit.end_and_report(left_over_kit.wait_until_gone(before))


@pytest.fixture(autouse=True)
def nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """After the test no process that it started runs any more; what a shared kernel started is its own."""
    if request.node.get_closest_marker("pure"):
        yield
        return
    before = set(left_over_kit.marked())
    yield
    left_over_kit.end_and_report(left_over_kit.wait_until_gone(before))
