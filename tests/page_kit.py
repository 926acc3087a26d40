"""A bare client in the place of a notebook's page: what it shows of a chat, and what a person does there."""

from __future__ import annotations

import json
import queue
import time
import uuid
from typing import Any

from kernel_kit import PATIENCE, Kernel

from claude_nb.chat.log import applied


class Page:
    """What the front end does: it keeps the messages by the operations and says what a person does."""

    def __init__(self, kernel: Kernel, source: str = "%claude /widget") -> None:
        self.kernel = kernel
        self.acks: list[str] = []
        self.failed: list[dict[str, Any]] = []
        self.sizes: list[tuple[float, int]] = []
        self.state: dict[str, Any] = {}
        self.gaps = 0
        self.complaints = ""
        self.idle: set[str] = set()
        cell = kernel.run(source)
        assert cell.error is None, cell.shown_error
        self.outputs = [content["data"] for content in cell.of("display_data")]
        self.id = self.outputs[0]["application/vnd.jupyter.widget-view+json"]["model_id"]
        for message in cell.messages:
            self.take(message)

    @property
    def entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.state["log"]["entries"]
        return entries

    def say(self, kind: str, *, id: str | None = None, nonce: str | None = None, **content: Any) -> str:
        id = id or uuid.uuid4().hex
        said = {"id": id, "nonce": nonce or self.state["nonce"], "kind": kind, **content}
        data = {"method": "custom", "content": said}
        client = self.kernel.client
        client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": self.id, "data": data}))
        return id

    def until(self, condition: Any, seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            try:
                message = self.kernel.client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"{self.what_is_shown()}, and nothing more comes") from None
            self.take(message)

    def what_is_shown(self) -> str:
        """Return it in a line, for who has waited for something else."""
        entries = [(entry["kind"], entry["html"][:80]) for entry in self.entries]
        around = {name: self.state[name] for name in ("session", "state", "sessions")}
        return f"the chat shows {entries} of {around}; failed: {self.failed}"

    def run(self, code: str) -> None:
        """Run a cell, hearing what is said to the page meanwhile."""
        id = self.kernel.start_cell(code)
        self.until(lambda: id in self.idle)

    def until_over(self, count: int = 1) -> None:
        self.until(lambda: len(self.kinds("end")) >= count and self.state["state"] == "idle")

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["kind"] == kind]

    def html(self, kind: str) -> list[str]:
        return [entry["html"] + entry["tail"] for entry in self.kinds(kind)]

    def take(self, message: dict[str, Any]) -> None:
        content = message["content"]
        if content.get("execution_state") == "idle":
            self.idle.add(message["parent_header"].get("msg_id"))
        if message["msg_type"] == "stream" and content["name"] == "stderr":
            self.complaints += content["text"]
        if message["msg_type"] not in ("comm_open", "comm_msg") or content["comm_id"] != self.id:
            return
        self.sizes.append((time.monotonic(), len(json.dumps({**message, "buffers": []}, default=str))))
        data = content["data"]
        if "state" in data:
            self.state |= data["state"]
        elif data.get("method") == "custom":
            self.hear(data["content"])

    def hear(self, said: dict[str, Any]) -> None:
        match said["kind"]:
            case "ack":
                self.acks.append(said["id"])
            case "failed":
                self.failed.append(said)
            case "all":
                self.state["log"] = said
            case "patch" if said["feed"] == self.state["log"]["feed"]:
                log = self.state["log"]
                if said["rev"] > log["rev"]:
                    self.gaps += said["rev"] != log["rev"] + 1
                    log |= {"rev": said["rev"], "more": said["more"]}
                    log["entries"] = applied(log["entries"], said["ops"])
