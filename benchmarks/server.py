"""A real Jupyter server, and a kernel's channels as a page has them: over a websocket."""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

from tools.jupyter_server import jupyter_server

Message = dict[str, Any]

# A first turn starts Claude Code and imports the SDK; ten of them on a loaded machine take a while.
PATIENCE = 120.0


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
    with jupyter_server("jupyter_server", folder, folder / "server.log", {}) as server:
        url, token = server.url, server.token
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
