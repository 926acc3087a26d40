"""A real Jupyter server, and a kernel's channels as a page has them: over a websocket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

Message = dict[str, Any]

# A first turn starts Claude Code and imports the SDK; ten of them on a loaded machine take a while.
PATIENCE = 120.0
# A server that is told to end first ends its kernels.
END_PATIENCE = 15.0


class Channels:
    """The websocket of one kernel. `on_message` gets every message, as it comes."""

    def __init__(self, socket: websocket.WebSocket, on_message: Callable[[Message], None]) -> None:
        self._socket = socket
        self._on_message = on_message

    def execute(self, code: str) -> str:
        """Send a cell off, as a page does where a person can be asked; the id of the message."""
        identity = uuid.uuid4().hex
        header = {"msg_id": identity, "msg_type": "execute_request", "session": "page", "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True}
        message = {
            "channel": "shell",
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
        }
        self._socket.send(json.dumps(message))
        return identity

    def run(self, code: str) -> str:
        """Run a cell to its end on both channels; the id of the message that sent it."""
        identity = self.execute(code)
        ends: set[str] = set()

        def over(message: Message) -> bool:
            if message["parent_header"].get("msg_id") == identity:
                ends.update(end_of(message))
            return len(ends) == 2

        self.read_until(over)
        return identity

    def read_until(self, last: Callable[[Message], bool], seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        message: Message | None = None
        while message is None or not last(message):
            self._socket.settimeout(max(deadline - time.monotonic(), 0.01))
            message = json.loads(self._socket.recv())
            self._on_message(message)


def end_of(message: Message) -> Iterator[str]:
    """A cell ends on two channels, in any order; raises if it has failed."""
    content = message["content"]
    if message["msg_type"] == "status" and content["execution_state"] == "idle":
        yield "idle"
    elif message["msg_type"] == "execute_reply":
        if content["status"] != "ok":
            raise RuntimeError(f"a cell failed: {content}")
        yield "replied"


@contextmanager
def kernel_behind_server(folder: Path, on_message: Callable[[Message], None]) -> Iterator[Channels]:
    """A kernel that a Jupyter server has started, with a websocket to it; all of it ended afterwards."""
    token = uuid.uuid4().hex
    with jupyter_server(folder, token) as url:
        request = urllib.request.Request(
            f"{url}api/kernels", b"{}", {"Authorization": f"token {token}"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            kernel = json.load(answer)["id"]
        address = f"{url.replace('http', 'ws', 1)}api/kernels/{kernel}/channels?token={token}"
        socket = websocket.create_connection(address, timeout=PATIENCE)
        try:
            yield Channels(socket, on_message)
        finally:
            socket.close()


@contextmanager
def jupyter_server(folder: Path, token: str) -> Iterator[str]:
    """A server on a free port of 127.0.0.1: its address."""
    command = [sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
    command += [f"--ServerApp.root_dir={folder}"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    with (folder / "server.log").open("w+b") as log:
        process = subprocess.Popen(
            command, env=os.environ | {"JUPYTER_TOKEN": token}, cwd=folder, stdout=log, stderr=log
        )
        try:
            yield wait_for_address(process, folder / "server.log")
        finally:
            end(process)


def wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    """What the server writes into its runtime folder once it listens."""
    file = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / f"jpserver-{process.pid}.json"
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return str(json.loads(file.read_text())["url"])
        except (OSError, ValueError):  # not there yet, or being written
            time.sleep(0.05)
    raise RuntimeError(f"the Jupyter server did not start:\n{log.read_text()[-3000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
