"""A real kernel as a notebook front end sees it: run cells, look at their outputs, interrupt, end it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

# A first turn starts Claude Code and imports the SDK; on a loaded machine that takes a while.
PATIENCE = 100.0
# For an Interrupt to be heard: it takes one second at the most; this is for a loaded machine.
SOON = 20.0

# Where the oldest ipykernel that we support lies as an overlay of site-packages; `make unit` puts it there.
OLDEST_IPYKERNEL = "6.29.0"
OLDEST_VARIABLE = "CLAUDE_NB_OLDEST_IPYKERNEL"

# For a test of the fixture `kernel` that is about what ipykernel does.
on_each_ipykernel = pytest.mark.parametrize("kernel", ["newest", "oldest"], indirect=True)

# What most code that Claude is to run needs.
SETUP = (
    "import asyncio, os, threading, time, claude_nb; "
    "manager = claude_nb.manager(); session = manager.session()"
)
# The one that a kernel has after a turn, from outside of the namespace.
MANAGER = "__import__('claude_nb').manager()"


@dataclass
class Cell:
    """What a cell left behind: its outputs as a notebook would save them, and every message they came in."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message["content"] for message in self.messages if message["msg_type"] == kind]

    @property
    def displays(self) -> list[dict[str, Any]]:
        """The data of each display, with the last of its updates."""
        data: dict[str, dict[str, Any]] = {}
        for number, message in enumerate(self.messages):
            if message["msg_type"] in ("display_data", "update_display_data", "execute_result"):
                content = message["content"]
                name = content.get("transient", {}).get("display_id") or f"{number}"
                if message["msg_type"] == "update_display_data" and name not in data:
                    continue  # of what nobody has displayed: front ends ignore it
                data[name] = content["data"]
        return list(data.values())

    @property
    def markdown(self) -> str:
        """The Markdown that the reader sees in the end."""
        return "\n\n".join(d["text/markdown"] for d in self.displays if "text/markdown" in d)

    @property
    def printed(self) -> str:
        return "".join(content["text"] for content in self.of("stream"))

    @property
    def error(self) -> dict[str, Any] | None:
        errors = self.of("error")
        return errors[0] if errors else None

    @property
    def shown_error(self) -> str:
        """What stands in red below the cell."""
        return "\n".join(self.error["traceback"]) if self.error else ""

    @property
    def value(self) -> str:
        """The text of the cell's value."""
        results = self.of("execute_result")
        return results[0]["data"]["text/plain"] if results else ""


class Kernel:
    """One kernel process and a client of it."""

    # A test failed with it: no other one is to use it.
    spoiled = False
    # As JupyterLab, Notebook and VS Code do, and consoles do not.
    names_its_cells = True

    def __init__(self, manager: KernelManager, client: BlockingKernelClient, someone_there: bool) -> None:
        self.manager = manager
        self.client = client
        self.someone_there = someone_there

    @property
    def pid(self) -> int:
        return self.manager.provisioner.pid  # type: ignore[union-attr]

    def start_cell(self, code: str) -> str:
        """Send a cell off; `finish` waits for it."""
        message = self.client.session.msg(
            "execute_request",
            {
                "code": code,
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": self.someone_there,
                "stop_on_error": True,
            },
            # So that it is taken for a notebook, which draws updates and widgets.
            metadata={"cellId": "a-cell"} if self.names_its_cells else {},
        )
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def finish(
        self, message_id: str, timeout: float = PATIENCE, watch: Callable[[Cell], None] | None = None
    ) -> Cell:
        """Wait for the end of a cell; `watch` is called after each message with what there is so far."""
        cell = Cell()
        deadline = time.monotonic() + timeout
        while True:
            message = self.client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0.01))
            if message["parent_header"].get("msg_id") != message_id:
                continue
            cell.messages.append(message)
            if watch is not None:
                watch(cell)
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        cell.reply = self._reply(message_id, deadline)
        return cell

    def _reply(self, message_id: str, deadline: float) -> dict[str, Any]:
        while True:
            reply = self.client.get_shell_msg(timeout=max(deadline - time.monotonic(), 0.01))
            if reply["parent_header"].get("msg_id") == message_id:
                return reply["content"]

    def run(self, code: str, timeout: float = PATIENCE) -> Cell:
        """Run a cell and wait for its end."""
        return self.finish(self.start_cell(code), timeout)

    def run_unseen(self, code: str, expression: str = "None", timeout: float = PATIENCE) -> str:
        """Run code that is no cell of the notebook's and must not fail; then the expression's repr.

        What arrives just after a cell has failed is aborted with the cells that were queued behind it.
        """
        deadline = time.monotonic() + timeout
        asked = {"it": expression}
        while True:
            message_id = self.client.execute(
                code, silent=True, store_history=False, allow_stdin=False, user_expressions=asked
            )
            reply = self.finish(message_id, max(deadline - time.monotonic(), 0.01)).reply
            if reply["status"] != "aborted":
                break
        assert reply["status"] == "ok", "\n".join(reply.get("traceback", [str(reply)]))
        answer = reply["user_expressions"]["it"]
        assert answer["status"] == "ok", answer
        return str(answer["data"]["text/plain"])

    def eval(self, expression: str, timeout: float = PATIENCE) -> str:
        """The repr of an expression in the kernel's namespace."""
        cell = self.run(expression, timeout)
        assert cell.error is None, cell.shown_error
        return cell.value


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """With these, for what is shared by tests; a single test has `monkeypatch`."""
    saved = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def oldest_ipykernel() -> Path:
    """The folder of the overlay; the test fails where there is none, and says how to make it.

    The variable may name a folder with another version, to run the same tests with that one.
    """
    named = os.environ.get(OLDEST_VARIABLE)
    beside = Path(__file__).parent.parent / ".venv" / "oldest"
    places = [Path(named)] if named else [beside, Path(sys.prefix) / "oldest"]
    wanted = "ipykernel-*.dist-info" if named else f"ipykernel-{OLDEST_IPYKERNEL}.dist-info"
    for place in places:
        if any(place.glob(wanted)):
            return place
    pytest.fail(
        f"ipykernel {OLDEST_IPYKERNEL} is in none of {[str(place) for place in places]}. Install it with\n"
        f"    {sys.executable} -m pip install --no-deps --target {places[-1]} ipykernel=={OLDEST_IPYKERNEL}"
    )


@contextmanager
def running_kernel(
    folder: Path,
    *,
    load: bool = True,
    someone_there: bool = True,
    name: str = "python3",
    overlay: Path | None = None,
    stderr: BinaryIO | None = None,
) -> Iterator[Kernel]:
    """A fresh kernel in `folder`, with the extension loaded; ended afterwards.

    What lies in `overlay` is imported instead of what is installed, for example `oldest_ipykernel()`.
    Its own stderr is ours, or `stderr`.
    """
    manager = KernelManager(kernel_name=name)
    environment = dict(os.environ)
    # With it ipykernel would not show what child processes print.
    environment.pop("PYTEST_CURRENT_TEST", None)
    if overlay is not None:
        paths = (str(overlay), environment.get("PYTHONPATH", ""))
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    manager.start_kernel(cwd=str(folder), env=environment, stderr=stderr)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        kernel = Kernel(manager, client, someone_there)
        if load:
            cell = kernel.run("%load_ext claude_nb")
            assert cell.error is None, cell.shown_error
        yield kernel
    finally:
        client.stop_channels()
        if manager.is_alive():
            manager.shutdown_kernel(now=False)
        manager.cleanup_resources()


def settle(kernel: Kernel) -> None:
    """What arrives just after a cell has failed is aborted with the cells that were queued behind it."""
    deadline = time.monotonic() + PATIENCE
    while kernel.run("None").reply["status"] == "aborted":
        assert time.monotonic() < deadline, "cells are still aborted"
        time.sleep(0.05)


def wait_for_file(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not come"
        time.sleep(0.02)


def interrupted(kernel: Kernel, message: str, begun: Path) -> Cell:
    """The cell after an Interrupt that came once its code had begun, which is when it makes this file."""
    wait_for_file(begun)
    time.sleep(0.1)
    kernel.manager.interrupt_kernel()
    return kernel.finish(message, SOON)


def answering(
    kernel: Kernel, message_id: str, *answers: str, timeout: float = PATIENCE
) -> tuple[Cell, list[str]]:
    """Finish a cell whose `input()` calls get these answers, one each; the cell and the prompts."""
    prompts: list[str] = []
    for answer in answers:
        request = kernel.client.get_stdin_msg(timeout=timeout)
        prompts.append(request["content"]["prompt"])
        kernel.client.input(answer)
    return kernel.finish(message_id, timeout), prompts
