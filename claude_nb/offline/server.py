"""The Messages API over HTTP on 127.0.0.1, for one token and no browser.

    HEAD /                            200
    POST /v1/messages                 an answer of the script, as SSE events or as one message
    POST /v1/messages/count_tokens    {"input_tokens": n}
    GET  /v1/models, /v1/models/ID    what a client may list

A request is refused, with an error in the API's own form, when its Host is not ours (DNS rebinding),
when it has an Origin (a web page sent it), when it lacks the token, or when it is too large.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tornado.httpserver import HTTPServer
from tornado.web import Application

from claude_nb.offline import handlers
from claude_nb.offline.conversation import Conversation
from claude_nb.offline.environment import environment
from claude_nb.offline.gate import MAX_BODY
from claude_nb.offline.script import Answer, Drop, Error, Rule, answer, load

MAX_HEADERS = 64 * 1024  # bytes
KEPT_REQUESTS = 200
KEPT_FAILURES = 1000
START_TIMEOUT = 10  # seconds for the thread's loop to listen
STOP_TIMEOUT = 5  # seconds for open replies to be cut off


class OfflineAPI:
    """A server that plays scripts. `start` runs it in a daemon thread; also a context manager.

    `script` is a path, the text of a script, or a list of them of which later ones take precedence.
    Raises `ScriptError`.
    """

    def __init__(
        self,
        script: str | Path | Sequence[str | Path] | None = None,
        *,
        builtin: bool = True,
        token: str | None = None,
        port: int = 0,
    ) -> None:
        self.rules: list[Rule] = load(script, builtin)
        self.token = token or f"offline-{secrets.token_urlsafe(24)}"
        self.run_id = secrets.token_hex(6)
        self.port = port
        self._wanted_port = port
        self._served = 0
        self._requests: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)
        self._failures: OrderedDict[tuple[object, ...], int] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._listening = threading.Event()
        self._failed: BaseException | None = None

    def __repr__(self) -> str:
        return f"<OfflineAPI {self.url if self.running else 'stopped'}, {self._served} answered>"

    @property
    def running(self) -> bool:
        return self._listening.is_set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def hosts(self) -> set[str]:
        """What a request's Host may be: any other name was pointed at us by somebody."""
        return {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The last bodies sent to /v1/messages, oldest first."""
        return list(self._requests)

    def environment(self, config_dir: str | PathLike[str]) -> dict[str, str]:
        """What to add to the environment of a Claude Code that shall talk to this server."""
        return environment(self.url, self.token, config_dir)

    def start(self) -> Self:
        """Listen, in a daemon thread with its own event loop."""
        if self._thread is not None:
            return self
        self._failed = None
        self._thread = threading.Thread(target=self._serve_in_thread, name="offline-api", daemon=True)
        self._thread.start()
        if not self._listening.wait(START_TIMEOUT) or self._failed:
            self._thread = None
            self._listening.clear()
            raise RuntimeError("the offline API could not listen on 127.0.0.1") from self._failed
        return self

    def stop(self) -> None:
        """Cut off open replies and end the thread. Nothing to do twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None:
            loop.call_soon_threadsafe(stopping.set)
        thread.join(STOP_TIMEOUT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run(self, ready: Callable[[Self], object] | None = None) -> None:
        """Serve until Ctrl-C, in this thread; `ready` is called with the server once it listens."""
        with asyncio.Runner() as runner:
            try:
                runner.run(self.serve_forever(ready))
            except KeyboardInterrupt:
                return

    async def serve_forever(self, ready: Callable[[Self], object] | None = None) -> None:
        """Serve in the running loop until cancelled or stopped."""
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        listener = socket.create_server(("127.0.0.1", self._wanted_port))
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        server = HTTPServer(self._application(), max_header_size=MAX_HEADERS, max_body_size=2 * MAX_BODY)
        server.add_socket(listener)
        self._listening.set()
        try:
            if ready is not None:
                ready(self)
            await self._stopping.wait()
        finally:
            self._listening.clear()
            server.stop()
            await server.close_all_connections()

    def _serve_in_thread(self) -> None:
        try:
            asyncio.run(self.serve_forever())
        except BaseException as error:
            self._failed = error
            self._listening.set()

    def _application(self) -> Application:
        return Application(
            [
                (r"/", handlers.Root, {"api": self}),
                (r"/v1/messages", handlers.Messages, {"api": self}),
                (r"/v1/messages/count_tokens", handlers.CountTokens, {"api": self}),
                (r"/v1/models", handlers.Models, {"api": self}),
                (r"/v1/models/([^/]+)", handlers.Model, {"api": self}),
            ],
            default_handler_class=handlers.Unknown,
            default_handler_args={"api": self},
            # Its lines would name who asked what; the requests kept for tests are enough.
            log_function=lambda handler: None,
        )

    # What the handlers ask.

    def accepts(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())

    def remember(self, body: dict[str, Any]) -> int:
        """Keep a request; its number."""
        self._requests.append(body)
        self._served += 1
        return self._served

    def answer(self, said: Conversation) -> Answer:
        return answer(self.rules, said)

    def unusable_model(self, said: Conversation) -> Answer | None:
        """The refusal of a rule that names only the model: it holds for Claude Code's own requests too."""
        own = [rule for rule in self.rules if rule.about_model_only]
        found = answer(own, said) if own else None
        return found if found and found.blocks and isinstance(found.blocks[0], Error) else None

    def fails_again(self, error: Error | Drop, key: tuple[object, ...]) -> bool:
        """Whether a failure that recovers after `times` is still due for this prompt."""
        if error.times is None:
            return True
        failed = self._failures.get((error, *key), 0)
        self._failures[(error, *key)] = failed + 1
        self._failures.move_to_end((error, *key))
        while len(self._failures) > KEPT_FAILURES:
            self._failures.popitem(last=False)
        return failed < error.times
