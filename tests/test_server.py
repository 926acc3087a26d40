"""The server extension: real Jupyter servers, real kernels, and the real CLI behind them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import processes_kit
import psutil
import pytest
from endings_kit import SCRIPT, TRIAL, allow_bash, live_folders, write_commands
from kernel_kit import MANAGER, PATIENCE, environment
from processes_kit import wait_until
from server_kit import CONFIG, Server, running_server

from claude_nb.launch import GuardState
from claude_nb.offline import OfflineAPI
from claude_nb.processes import read_ledger
from claude_nb.registry import Record, Registry
from claude_nb.sweep import sweep

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).resolve().parents[1]
API = "claude-nb/api/sessions"
CULLING = ["--MappingKernelManager.cull_idle_timeout=4", "--MappingKernelManager.cull_interval=1"]


@pytest.fixture(scope="module")
def scripted(private_home: Path) -> Iterator[OfflineAPI]:
    with OfflineAPI(json.dumps(SCRIPT, indent=1)) as api:
        yield api


@contextmanager
def prepared(scripted: OfflineAPI, place: Path) -> Iterator[Path]:
    """Where a server and its kernels keep things; Claude may run what `zoo/work.sh` says."""
    for name in ("claude", "zoo"):
        (place / name).mkdir(mode=0o700)
    allow_bash(place / "claude")
    write_commands(place / "zoo")
    with environment({**scripted.environment(place / "claude"), TRIAL: uuid.uuid4().hex}):
        yield place


@pytest.fixture
def place(scripted: OfflineAPI, tmp_path: Path) -> Iterator[Path]:
    """For a server of the test's own."""
    with prepared(scripted, tmp_path) as place:
        yield place


@pytest.fixture(scope="module")
def shared_server(scripted: OfflineAPI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prepared(scripted, tmp_path_factory.mktemp("server")) as place, running_server(place) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """For a test that leaves the server running: without kernels and sessions, whatever has been before."""
    yield shared_server
    for kernel_id in shared_server.kernel_ids():
        shared_server.call("DELETE", f"api/kernels/{kernel_id}")
    process = psutil.Process(shared_server.process.pid)
    wait_until(lambda: process.children(recursive=True) == [], PATIENCE)
    shared_server.earlier.update(record.id for record in registry_of(shared_server).records())
    shutil.rmtree(shared_server.place / "data" / "claude_nb" / "sessions", ignore_errors=True)
    wait_until(lambda: shared_server.sessions() == [], PATIENCE)


def registry_of(server: Server) -> Registry:
    return Registry(server.place / "data" / "claude_nb", server.place / "runtime" / "claude_nb")


def disabled(place: Path) -> Path:
    """A configuration without the extension, also where the package's own file is installed."""
    (place / "disabled").mkdir()
    said = {"ServerApp": {"jpserver_extensions": {"claude_nb": False}}}
    (place / "disabled" / "jupyter_server_config.json").write_text(json.dumps(said))
    return place / "disabled"


def only_record(server: Server) -> Record:
    (record,) = registry_of(server).records()
    return record


# -- the API -----------------------------------------------------------------------------------------


def test_only_who_may_use_the_server_sees_the_sessions(server: Server) -> None:
    assert server.status("GET", API, token="") == 403
    assert server.status("GET", API, token="wrong") == 403
    assert server.get(API) == {"sessions": [], "server": server.process.pid}
    assert server.status("DELETE", API) == 405


def test_the_api_tells_what_each_session_does_and_takes_and_nothing_else(server: Server) -> None:
    with server.kernel() as kernel:
        kernel.run(f"{MANAGER}.append_system_prompt = 'confidential'")
        kernel.run(f"{MANAGER}.environment = {{'SECRET_VALUE': 'confidential'}}")
        assert "Noted" in kernel.run("%claude the code word is heron").markdown
        (row,) = server.sessions()
        assert row["state"] == "idle"
        assert row["turns"] == 1
        assert row["kernel"] == kernel.pid
        assert row["folder"] == str(server.place / "work")
        assert row["pid"] == (only_record(server).process or {})["cli"][0]
        assert row["memory"] > 50e6
        assert row["cpu"] > 0
        assert row["uptime"] > 0
        kernel.run(f"turn = {MANAGER}.session().ask('work in {server.place}/zoo')")
        wait_until(lambda: server.sessions()[0]["state"] == "busy", PATIENCE)
        told = json.dumps(server.sessions())
        assert "confidential" not in told
        assert "heron" not in told
        assert only_record(server).process["marker"] not in told  # type: ignore[index]
        kernel.run("turn.interrupt(); turn.result()")
        # An interrupt that is not honoured in time ends the process, and another takes its place.
        wait_until(lambda: server.sessions()[0]["state"] == "idle", PATIENCE)
        kernel.run("%claude /suspend")
        (row,) = server.sessions()
        assert (row["state"], row["pid"], row["memory"]) == ("suspended", None, None)
        assert row["kernel"] == kernel.pid, "suspended or not, the kernel has it"


# -- events ------------------------------------------------------------------------------------------


def test_the_life_of_a_session_is_told_in_events(server: Server) -> None:
    with server.kernel() as kernel:
        kernel.run("%claude the code word is heron")
        server.wait_for_actions("start")
        kernel.run("%claude /suspend")
        server.wait_for_actions("start", "suspend")
        kernel.run("%claude what is the code word")
        server.wait_for_actions("start", "suspend", "resume")
        kernel.run("%claude /stop")
        server.wait_for_actions("start", "suspend", "resume", "stop")
        kernel.run("%claude what is the code word")
        os.kill(server.sessions()[0]["pid"], signal.SIGKILL)
        five = ["start", "suspend", "resume", "stop", "resume", "crash"]
        server.wait_for_actions(*five)
        kernel.run("%claude what is the code word")
        server.wait_for_actions(*five, "resume")
        server.call("DELETE", f"api/kernels/{kernel.id}")
        server.wait_for_actions(*five, "resume", "shutdown")
    events = server.events()
    assert {event["id"] for event in events} == {only_record(server).id}
    assert {event["kernel_id"] for event in events[:-1]} == {kernel.id}
    assert events[-1]["reason"] == "kernel shutdown"
    assert "heron" not in json.dumps(events)


def test_a_server_that_stops_ends_its_sessions_and_tells_so(place: Path) -> None:
    with running_server(place) as server:
        with server.kernel() as kernel:
            kernel.run("%claude the code word is heron")
            server.wait_for_actions("start")
        server.stop()
        assert server.actions() == ["start", "shutdown"]
        assert only_record(server).process is None
        assert live_folders(server.place / "runtime") == []


# -- what a killed kernel leaves ---------------------------------------------------------------------


def kill_kernel_and_guard(server: Server, kernel_pid: int) -> set[tuple[int, int]]:
    """The guard first: it would end everything. The kernel is stopped, so that it ends nothing either."""
    process = only_record(server).process or {}
    state = GuardState.read(Path(process["folder"]) / "state.json")
    assert state is not None
    zoo = {p for p, kind in processes_kit.recorded(server.place / "zoo").items() if kind != "tool"}
    ledger = Path(process["folder"]) / "ledger.json"
    wait_until(lambda: zoo <= read_ledger(ledger, process["marker"]), PATIENCE)
    os.kill(kernel_pid, signal.SIGSTOP)
    os.kill(state.guard.pid, signal.SIGKILL)
    os.kill(kernel_pid, signal.SIGKILL)
    return zoo


def begin_work(server: Server, kernel: Any) -> None:
    """Claude's Bash tool has started daemons of each kind and is still at work, in the background."""
    assert "Noted" in kernel.run("%claude the code word is heron").markdown
    kernel.run(f"turn = {MANAGER}.session().ask('work in {server.place}/zoo')")
    folder = server.place / "zoo"
    wait_until(lambda: "tool" in processes_kit.recorded(folder).values(), PATIENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="the zoo is Linux's")
@pytest.mark.parametrize("restarted", [True, False], ids=["restarted", "left_dead"])
def test_what_a_killed_kernel_and_guard_left_is_ended_by_the_server(place: Path, restarted: bool) -> None:
    options = [] if restarted else ["--KernelManager.autorestart=False"]
    with running_server(place, *options) as server, server.kernel() as kernel:
        begin_work(server, kernel)
        left = kill_kernel_and_guard(server, kernel.pid)
        assert left
        wait_until(lambda: not any(processes_kit.runs(*process) for process in left), PATIENCE)
        wait_until(lambda: only_record(server).process is None, PATIENCE)
        server.wait_for_actions("start", "crash")
        assert server.events()[-1]["reason"] == "its kernel died"
        assert server.kernel_ids() == {kernel.id}, "the server has done with it what it does"
        assert live_folders(place / "runtime") == []
        wait_until(lambda: "claude_nb | swept" in server.log(), PATIENCE)


def test_without_the_extension_it_stays_until_somebody_sweeps(place: Path) -> None:
    """The control of the test above."""
    with running_server(place, config=disabled(place)) as server, server.kernel() as kernel:
        begin_work(server, kernel)
        left = kill_kernel_and_guard(server, kernel.pid)
        wait_until(lambda: "restarting kernel" in server.log(), PATIENCE)
        assert left & set(sweep(registry_of(server)).ended)


# -- culling -----------------------------------------------------------------------------------------


def test_a_kernel_whose_background_turn_works_is_not_culled_and_an_idle_one_is(place: Path) -> None:
    with running_server(place, *CULLING) as server, server.kernel() as working:
        begin_work(server, working)
        # The other one starts when the first has nothing more to say, and so has been idle for less.
        with server.kernel(load=False) as idle:
            wait_until(lambda: idle.id not in server.kernel_ids(), PATIENCE)
        assert server.kernel_ids() == {working.id}
        working.run("turn.interrupt(); turn.result()")
        wait_until(lambda: server.kernel_ids() == set(), PATIENCE)


def test_without_the_extension_it_is_culled_too(place: Path) -> None:
    """The control of the test above."""
    with running_server(place, *CULLING, config=disabled(place)) as server, server.kernel() as working:
        begin_work(server, working)
        wait_until(lambda: server.kernel_ids() == set(), PATIENCE)


# -- a broken extension does no harm -----------------------------------------------------------------


def test_records_that_cannot_be_read_do_not_harm_the_server(place: Path) -> None:
    (place / "data" / "claude_nb").mkdir(parents=True)
    (place / "data" / "claude_nb" / "sessions").write_text("not a folder")
    with running_server(place) as server:
        assert server.status("GET", API) == 503
        with server.kernel(load=False) as kernel:
            assert kernel.eval("6 * 7") == "42"
            server.call("DELETE", f"api/kernels/{kernel.id}")
        assert server.kernel_ids() == set()
        wait_until(lambda: "cannot look after the sessions" in server.log(), PATIENCE)
        server.stop()
        assert server.process.returncode == 0
        assert server.log().count("cannot look after the sessions") == 1, "said once"


def test_records_that_are_garbage_are_left_out(server: Server) -> None:
    folder = server.place / "data" / "claude_nb" / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{uuid.uuid4().hex}.json").write_text("{")
    (folder / f"{uuid.uuid4().hex}.json").write_text('{"id": 3}')
    registry_of(server).create("review", server.place)
    wait_until(lambda: names_of_this_test(server) == ["review"], PATIENCE)


def names_of_this_test(server: Server) -> list[str]:
    """Without what the server's sweep may have written once more of an earlier test's sessions."""
    return [row["name"] for row in server.sessions() if row["id"] not in server.earlier]


def test_an_extension_that_fails_to_load_is_logged_and_the_server_runs(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "broken").mkdir()
    (place / "broken" / "sitecustomize.py").write_text(
        "import sys; sys.modules['claude_nb.server.extension'] = None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(place / "broken"))
    with running_server(place) as server:
        assert server.get("api/kernels") == []
        assert "could not be loaded" in server.log()
        assert server.status("GET", API) == 404


# -- installed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [[], ["-e"]], ids=["install", "editable"])
def test_installing_the_package_enables_the_extension(how: list[str], place: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    command += [
        "--ignore-installed",
        "--no-warn-script-location",
        "--prefix",
        str(place / "prefix"),
        *how,
        str(ROOT),
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    config = place / "prefix" / "etc" / "jupyter"
    assert (config / "jupyter_server_config.d" / "claude_nb.json").is_file()
    with running_server(place, config=config) as server:
        assert server.sessions() == []


def test_the_configuration_in_the_checkout_enables_it() -> None:
    (file,) = CONFIG.rglob("*.json")
    assert json.loads(file.read_text()) == {"ServerApp": {"jpserver_extensions": {"claude_nb": True}}}
    assert file.relative_to(CONFIG).parts == ("jupyter_server_config.d", "claude_nb.json")
