"""A click during a running cell is heard at once, and nothing else is lost, delayed or changed. Kernel.

Everything holds for the newest ipykernel and for the oldest that we support.
"""

from __future__ import annotations

import ast
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_client.session import Session
from kernel_kit import OLDEST_IPYKERNEL, PATIENCE, Kernel
from shared_kernels import SharedKernels, lent_to

from claude_nb.kernel.early import EarlyComms

in_kernel = pytest.mark.kernel


SETUP = """
import comm, threading, time
from claude_nb.kernel.early import EarlyComms
from claude_nb.kernel.nested import run_beside_loop

kernel = get_ipython().kernel
as_found = kernel.shell_stream._recv_callback
early = EarlyComms(kernel)
assert early.install() and early.available

heard, routed, ran, bodies = [], [], [], []
arrived = threading.Condition()

def on_early(data, buffers):
    with arrived:
        heard.append(data["n"])
        bodies.append([bytes(buffer) for buffer in buffers])
        arrived.notify()

click = comm.create_comm(target_name="clicks", comm_id="0123abcd")
click.on_msg(lambda message: routed.append(message["content"]["data"]["n"]))
early.register("0123abcd", on_early)

def wait_for(count):
    open("begun", "w").close()
    deadline = time.monotonic() + 30
    while len(heard) < count and time.monotonic() < deadline:
        if early.needs_serving and threading.current_thread() is threading.main_thread():
            early.serve_shell(1)
        else:
            with arrived:
                arrived.wait(0.1)
"""

# For the next test: also where this one has put something of its own over it.
TEAR_DOWN = "early.remove(); click.close(); kernel.shell_stream._recv_callback = as_found"


class Clicker:
    """A front end that clicks."""

    def __init__(self, kernel: Kernel, folder: Path) -> None:
        self.kernel = kernel
        self.begun = folder / "begun"
        self.clicks = 0

    def click(self, times: int = 1, **header: Any) -> None:
        for _ in range(times):
            data = {"n": self.clicks}
            session = self.kernel.client.session
            message = session.msg("comm_msg", {"comm_id": "0123abcd", "data": data})
            message["header"].update(header)
            self.kernel.client.shell_channel.send(message)
            self.clicks += 1

    def widgets(self) -> dict[str, Any]:
        """The states of all widgets, as a page that was loaded again gets them."""
        client, comm_id = self.kernel.client, "4567cdef"
        opening = {"comm_id": comm_id, "target_name": "jupyter.widget.control", "data": {}}
        for kind, content in (
            ("comm_open", opening),
            ("comm_msg", {"comm_id": comm_id, "data": {"method": "request_states"}}),
        ):
            client.shell_channel.send(client.session.msg(kind, content, metadata={"version": "1.0.0"}))
        while True:
            message = client.get_iopub_msg(timeout=PATIENCE)
            if message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == comm_id:
                states: dict[str, Any] = message["content"]["data"]["states"]
                return states

    def start(self, code: str) -> str:
        """Start a cell and wait until it tells that it runs."""
        self.begun.unlink(missing_ok=True)
        message_id = self.kernel.start_cell(code)
        deadline = time.monotonic() + PATIENCE
        while not self.begun.exists():
            assert time.monotonic() < deadline, "the cell did not begin"
            time.sleep(0.01)
        return message_id

    def run(self, code: str) -> None:
        self.finish(self.kernel.start_cell(code))

    def finish(self, message_id: str) -> None:
        cell = self.kernel.finish(message_id)
        assert cell.error is None, cell.shown_error

    def wait_until_cells_run(self) -> None:
        """After an error ipykernel aborts cells until it has worked off its queue."""
        deadline = time.monotonic() + PATIENCE
        while self.kernel.run("").reply["status"] != "ok":
            assert time.monotonic() < deadline, "cells are still aborted"

    def get(self, expression: str) -> Any:
        return ast.literal_eval(self.kernel.eval(expression))


@contextmanager
def clicking(request: pytest.FixtureRequest, folder: Path, ipykernel: str) -> Iterator[Clicker]:
    with lent_to(request, folder, ipykernel, load=False) as kernel:
        clicker = Clicker(kernel, folder)
        clicker.run(SETUP)
        yield clicker
        clicker.run(TEAR_DOWN)


@pytest.fixture(params=["newest", "oldest"])
def clicker(request: pytest.FixtureRequest, kernels: SharedKernels, folder: Path) -> Iterator[Clicker]:
    with clicking(request, folder, request.param) as clicker:
        yield clicker


@pytest.fixture
def oldest(request: pytest.FixtureRequest, kernels: SharedKernels, folder: Path) -> Iterator[Clicker]:
    with clicking(request, folder, "oldest") as clicker:
        yield clicker


@pytest.fixture
def threaded(request: pytest.FixtureRequest, kernels: SharedKernels, folder: Path) -> Iterator[Clicker]:
    """Its kernel reads messages in a thread of its own, which ipykernel 6 has not."""
    with clicking(request, folder, "newest") as clicker:
        assert clicker.get("early.needs_serving") is False
        yield clicker


@in_kernel
def test_a_waiting_cell_hears_a_click_and_the_queued_cell_runs_afterwards(clicker: Clicker) -> None:
    waiting = clicker.start("wait_for(1)\nran.append('waited')")
    clicker.click()
    queued = clicker.kernel.start_cell("ran.append('queued')")
    clicker.finish(waiting)
    clicker.finish(queued)
    assert clicker.get("ran") == ["waited", "queued"]
    assert clicker.get("heard") == clicker.get("routed") == [0]


@in_kernel
def test_a_page_that_is_loaded_again_gets_its_widgets_while_a_cell_waits(clicker: Clicker) -> None:
    clicker.run("import ipywidgets; slider = ipywidgets.IntSlider(7)")
    waiting = clicker.start("wait_for(1)\nran.append(len(early._asking))")
    values = [state["state"].get("value") for state in clicker.widgets().values()]
    assert 7 in values
    clicker.click()
    clicker.finish(waiting)
    assert clicker.get("ran") == [0]
    assert clicker.get("heard") == clicker.get("routed") == [0]


@in_kernel
def test_a_click_is_heard_during_a_cell_that_does_not_know_of_us(threaded: Clicker) -> None:
    unaware = threaded.start(
        "open('begun', 'w').close(); end = time.monotonic() + 30\n"
        "while not heard and time.monotonic() < end: time.sleep(0.01)\n"
        "seen = list(heard)"
    )
    threaded.click()
    threaded.finish(unaware)
    assert threaded.get("seen") == [0]


@in_kernel
@pytest.mark.parametrize("wait", ["wait_for(200)", "run_beside_loop(lambda: wait_for(200))"])
def test_no_click_and_no_queued_cell_is_lost(clicker: Clicker, wait: str) -> None:
    waiting = clicker.start(f"{wait}\nseen = list(heard)\nearlier = list(ran)")
    cells = []
    for number in range(20):
        cells.append(clicker.kernel.start_cell(f"ran.append({number})"))
        clicker.click(10)
    for message_id in (waiting, *cells):
        clicker.finish(message_id)
    everything = list(range(200))
    assert clicker.get("seen") == everything
    assert clicker.get("earlier") == []
    assert clicker.get("ran") == list(range(20))
    assert clicker.get("routed") == everything
    assert clicker.get("heard") == everything


@in_kernel
def test_interrupt_comes_through_and_loses_no_click(clicker: Clicker) -> None:
    for _ in range(10):
        waiting = clicker.start("wait_for(10 ** 6)")
        clicker.click(20)
        clicker.kernel.manager.interrupt_kernel()
        clicker.click(20)
        error = clicker.kernel.finish(waiting).error
        assert error is not None
        assert error["ename"] == "KeyboardInterrupt"
        clicker.wait_until_cells_run()
    everything = list(range(400))
    assert clicker.get("heard") == everything
    assert clicker.get("routed") == everything


# Interrupts that come thick and fast, but only while the shell is served.
STORM = """
import os, signal

storms = []

def interrupt(number, frame):
    while frame is not None:
        if frame.f_code is EarlyComms.serve_shell.__code__:
            storms.append(number)
            raise KeyboardInterrupt
        frame = frame.f_back

def storm(over):
    while not over.wait(0.0005):
        os.kill(os.getpid(), signal.SIGINT)

def serve_in_a_storm(count):
    before = signal.signal(signal.SIGINT, interrupt)
    over = threading.Event()
    thread = threading.Thread(target=storm, args=(over,))
    thread.start()
    open("begun", "w").close()
    deadline = time.monotonic() + 10
    while len(heard) < count and time.monotonic() < deadline:
        try:
            early.serve_shell(1)
        except KeyboardInterrupt:
            pass
    over.set()
    thread.join()
    signal.signal(signal.SIGINT, before)
"""


@in_kernel
def test_a_storm_of_interrupts_tears_no_click_out_of_the_reader_s_hands(oldest: Clicker) -> None:
    oldest.run(STORM)
    waiting = oldest.start("serve_in_a_storm(2000)")
    for _ in range(2000):
        oldest.click()
        time.sleep(0.0002)
    oldest.finish(waiting)
    assert oldest.get("len(storms) > 10") is True
    assert oldest.get("(len(heard), len(routed))") == (2000, 2000)
    assert oldest.get("heard == routed == list(range(2000))") is True


@in_kernel
def test_a_click_brings_its_buffers_and_other_comms_are_left_alone(clicker: Clicker) -> None:
    clicker.run("other = comm.create_comm(target_name='x', comm_id='other'); theirs = []")
    clicker.run("other.on_msg(lambda message: theirs.append(message['content']['data']))")
    client = clicker.kernel.client
    content = {"comm_id": "other", "data": {"not for": "0123abcd"}}
    client.shell_channel.send(client.session.msg("comm_msg", content))
    content = {"comm_id": "0123abcd", "data": {"n": 0}}
    client.session.send(client.shell_channel.socket, "comm_msg", content, buffers=[b"one", b"two"])
    assert clicker.get("theirs") == [{"not for": "0123abcd"}]
    assert clicker.get("heard") == clicker.get("routed") == [0]
    assert clicker.get("bodies") == [[b"one", b"two"]]


@in_kernel
def test_a_forged_click_is_not_heard(clicker: Clicker) -> None:
    content = {"comm_id": "0123abcd", "data": {"n": 666}}
    Session(key=b"not the kernel's").send(clicker.kernel.client.shell_channel.socket, "comm_msg", content)
    clicker.click()
    clicker.run("wait_for(1)")
    assert clicker.get("heard") == clicker.get("routed") == [0]


@in_kernel
def test_a_handler_that_fails_harms_nobody(clicker: Clicker) -> None:
    clicker.run("def fails(data, buffers): failed.append(data['n']); raise ValueError('mine')\nfailed = []")
    clicker.run("early.register('0123abcd', fails)")
    clicker.click(3)
    assert clicker.get("failed") == clicker.get("routed") == [0, 1, 2]
    clicker.run("early.unregister('0123abcd')")
    clicker.click()
    assert clicker.get("routed") == [0, 1, 2, 3]
    assert clicker.get("failed") == [0, 1, 2]


@in_kernel
def test_removed_it_leaves_the_kernel_as_found(clicker: Clicker) -> None:
    assert clicker.get("kernel.shell_stream._recv_callback == as_found") is False
    clicker.run("early.remove()")
    clicker.click()
    assert clicker.get("kernel.shell_stream._recv_callback == as_found") is True
    assert clicker.get("early.available or early.needs_serving") is False
    assert clicker.get("heard") == []
    assert clicker.get("routed") == [0]
    clicker.run("assert early.install() and early.install(); early.register('0123abcd', on_early)")
    clicker.click()
    assert clicker.get("heard") == [1]


@in_kernel
def test_somebody_who_wraps_after_us_stays(clicker: Clicker) -> None:
    clicker.run("""
ours, theirs = kernel.shell_stream._recv_callback, []
def wrapper(frames):
    theirs.append(len(frames))
    return ours(frames)
kernel.shell_stream._recv_callback = wrapper
early.remove()
""")
    clicker.click()
    assert clicker.get("heard") == []
    assert clicker.get("routed") == [0]
    assert clicker.get("kernel.shell_stream._recv_callback is wrapper and len(theirs) > 1") is True


@in_kernel
def test_subshells_go_on_as_ever(threaded: Clicker) -> None:
    client = threaded.kernel.client
    client.control_channel.send(client.session.msg("create_subshell_request"))
    subshell = client.get_control_msg(timeout=PATIENCE)["content"]["subshell_id"]
    waiting = threaded.start("wait_for(2)")
    message = client.session.msg("execute_request", {"code": "ran.append('beside')", "silent": False})
    message["header"]["subshell_id"] = subshell
    client.shell_channel.send(message)
    beside = message["header"]["msg_id"]
    assert threaded.kernel._reply(beside, time.monotonic() + PATIENCE)["status"] == "ok"
    threaded.click(2, subshell_id=subshell)
    threaded.finish(waiting)
    assert threaded.get("ran") == ["beside"]
    assert threaded.get("heard") == [0, 1]
    assert sorted(threaded.get("routed")) == [0, 1]
    client.control_channel.send(client.session.msg("delete_subshell_request", {"subshell_id": subshell}))
    assert client.get_control_msg(timeout=PATIENCE)["content"]["status"] == "ok"


@pytest.mark.pure
def test_make_and_the_tests_mean_the_same_oldest_ipykernel() -> None:
    folder = Path(__file__).parent.parent
    assert f"\nOLDEST_IPYKERNEL := {OLDEST_IPYKERNEL}\n" in (folder / "Makefile").read_text()
    promised = OLDEST_IPYKERNEL.removesuffix(".0")
    assert f'"ipykernel>={promised}"' in (folder / "pyproject.toml").read_text()


@pytest.mark.pure
@pytest.mark.parametrize("kernel", [None, object(), SimpleNamespace(shell_stream=object(), session=None)])
def test_where_names_are_missing_it_is_not_available_and_says_so_once(
    kernel: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "claude_nb.kernel.early")
    early = EarlyComms(kernel)
    assert early.install() is False
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert not early.available
    assert not early.needs_serving
    early.serve_shell(PATIENCE)
    early.register("x", lambda data, buffers: None)
    early.remove()
