"""The raw CLI: started with the flags that claude_nb uses, spoken to over its pipes, a line at a time."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from claude_nb.launch import find_cli

Message = dict[str, Any]

# What Claude Code is started with behind a session, but for a session's own settings; a test compares.
FLAGS = (
    "--output-format=stream-json",
    "--input-format=stream-json",
    "--verbose",
    "--include-hook-events",
    "--include-partial-messages",
    "--replay-user-messages",
    "--permission-prompt-tool=stdio",
    "--permission-mode=default",
    "--setting-sources=user",
)
ENVIRONMENT = {
    "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
    "CLAUDE_CODE_SDK_READS_SESSION_STATE": "1",
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
}
END_PATIENCE = 10.0


class RawCLI:
    """One process of Claude Code. Blocking, no threads; what is on stderr is not looked at."""

    def __init__(self, folder: Path, *, resume: str | None = None) -> None:
        identity = f"--resume={resume}" if resume else f"--session-id={uuid.uuid4()}"
        command = [str(find_cli(None)), *FLAGS, identity]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def write(self, message: Message) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def messages(self) -> Iterator[Message]:
        assert self.process.stdout is not None
        return map(json.loads, self.process.stdout)

    def until(self, what: Callable[[Message], bool]) -> Message:
        """Read up to the first message that is `what`."""
        return next(filter(what, self.messages()))

    def prompt(self, text: str) -> None:
        content = [{"type": "text", "text": text}]
        self.write(
            {"type": "user", "message": {"role": "user", "content": content}, "uuid": str(uuid.uuid4())}
        )

    def ask(self, text: str) -> Message:
        """A whole turn: its result."""
        self.prompt(text)
        return self.until(is_result)

    def interrupt(self) -> None:
        request = {"subtype": "interrupt"}
        self.write({"type": "control_request", "request_id": str(uuid.uuid4()), "request": request})


def is_token(message: Message) -> bool:
    """A piece of the reply's text."""
    delta = message.get("event", {}).get("delta", {})
    return message["type"] == "stream_event" and delta.get("type") == "text_delta"


def is_result(message: Message) -> bool:
    return message["type"] == "result"
