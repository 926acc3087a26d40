"""A real Jupyter server with the extension enabled, in folders of its own, and its kernels."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from kernel_kit import PATIENCE, Kernel
from processes_kit import wait_until

from tools.jupyter_server import jupyter_server, private_folders

CONFIG = Path(__file__).resolve().parents[1] / "jupyter-config"
# A server that was told to end first ends its kernels, and then what these have left.
END_PATIENCE = 20.0

# The server writes every event of ours to a file.
SERVER_CONFIG = """
import logging
c.EventLogger.handlers = [logging.FileHandler({events!r})]
"""


@dataclass(frozen=True)
class Server:
    """A Jupyter server that answers."""

    place: Path
    url: str
    token: str
    process: subprocess.Popen[bytes]
    # The ids of sessions that were told of before this test.
    earlier: set[str] = field(default_factory=set)

    def get(self, path: str, *, token: str | None = None) -> Any:
        """What the server answers; raises `HTTPError`."""
        return self.call("GET", path, token=token)

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        said = self.token if token is None else token
        headers = {"Authorization": f"token {said}"} if said else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def status(self, method: str, path: str, *, token: str | None = None) -> int:
        """The number that a request is refused with."""
        with pytest.raises(urllib.error.HTTPError) as caught:
            self.call(method, path, token=token)
        with caught.value:
            return caught.value.code

    def sessions(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.get("claude-nb/api/sessions")["sessions"]
        return rows

    def kernel_ids(self) -> set[str]:
        return {kernel["id"] for kernel in self.get("api/kernels")}

    @contextmanager
    def kernel(self, *, load: bool = True) -> Iterator[ServerKernel]:
        """A kernel that the server starts. The client speaks to it past the server."""
        with self._connected(self.call("POST", "api/kernels", {"name": "python3"})["id"], load) as kernel:
            yield kernel

    @contextmanager
    def open(self, path: str) -> Iterator[ServerKernel]:
        """A notebook with a kernel, as a front end opens it; the kernel is shut down afterwards."""
        about = {"path": path, "name": Path(path).name, "type": "notebook", "kernel": {"name": "python3"}}
        session = self.call("POST", "api/sessions", about)
        with self._connected(session["kernel"]["id"], True) as kernel:
            yield kernel
        self.call("DELETE", f"api/sessions/{session['id']}")

    def rename(self, path: str, new: str) -> None:
        """A file, as a front end renames it: it tells the server of its open notebooks, too."""
        self.call("PATCH", f"api/contents/{path}", {"path": new})
        for session in self.get("api/sessions"):
            if session["path"] == path:
                self.call("PATCH", f"api/sessions/{session['id']}", {"path": new, "name": Path(new).name})

    @contextmanager
    def _connected(self, kernel_id: str, load: bool) -> Iterator[ServerKernel]:
        client = BlockingKernelClient(
            connection_file=str(self.place / "runtime" / f"kernel-{kernel_id}.json")
        )
        client.load_connection_file()
        client.hb_channel.time_to_dead = PATIENCE  # a loaded machine answers later than in the usual second
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
            kernel = ServerKernel(client, kernel_id)
            if load:
                kernel.load()
            yield kernel
        finally:
            client.stop_channels()

    def events(self) -> list[dict[str, Any]]:
        """What was told of this test's sessions so far."""
        file = self.place / "events.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        events = [json.loads(line) for line in lines]
        ours = [event for event in events if event["__schema__"].startswith("urn:claude-nb:")]
        return [event for event in ours if event["id"] not in self.earlier]

    def actions(self) -> list[str]:
        return [event["action"] for event in self.events()]

    def wait_for_actions(self, *expected: str) -> None:
        try:
            wait_until(lambda: self.actions() == list(expected), PATIENCE)
        except TimeoutError:
            raise AssertionError(f"{self.actions()} are not {expected}\n{self.log()}") from None

    def log(self) -> str:
        return (self.place / "server.log").read_text()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(END_PATIENCE)


class ServerKernel(Kernel):
    """One of a server's kernels."""

    def __init__(self, client: BlockingKernelClient, kernel_id: str) -> None:
        self.client, self.id, self.someone_there = client, kernel_id, True

    def load(self) -> None:
        cell = self.run("%load_ext claude_nb")
        assert cell.error is None, cell.shown_error

    def restart(self, server: Server) -> None:
        """As Kernel > Restart does it, and then the first cell."""
        server.call("POST", f"api/kernels/{self.id}/restart")
        self.client.wait_for_ready(timeout=PATIENCE)
        self.load()

    @property
    def pid(self) -> int:
        return int(self.eval("__import__('os').getpid()"))


@contextmanager
def running_server(place: Path, *options: str, config: Path = CONFIG) -> Iterator[Server]:
    """A server whose folders are in `place`; ended afterwards, with its kernels."""
    own = private_folders(place) | {"JUPYTER_CONFIG_PATH": str(config)}
    (place / "config" / "jupyter_server_config.py").write_text(
        SERVER_CONFIG.format(events=str(place / "events.jsonl"))
    )
    work = place / "work"
    work.mkdir(exist_ok=True)
    with jupyter_server("jupyter_server", work, place / "server.log", own, *options) as running:
        yield Server(place, running.url, running.token, running.process)
