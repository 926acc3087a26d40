"""Who is let in, and how a request is refused.

A browser page could reach a port of this machine: by a request of its own (it has an Origin) or by a
name pointed at 127.0.0.1 (its Host is not ours). Both are refused, and whoever lacks the token.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from claude_nb.offline.parse import ERRORS

if TYPE_CHECKING:
    from claude_nb.offline.server import OfflineAPI

# The official API takes 32 MB; a larger conversation should be told so politely, too.
MAX_BODY = 64 * 1024 * 1024  # bytes


class Refused(Exception):
    """A request is answered with an error of the API's own form."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class ClientGone(Exception):
    """Nobody reads the reply any more."""


@stream_request_body
class Handler(RequestHandler):
    """Checks the sender before the body is kept, and answers every error in the API's form."""

    needs_token = True

    def initialize(self, api: OfflineAPI) -> None:
        self.api = api
        self.chunks: list[bytes] = []
        self.size = 0
        self.refusal: Refused | None = None
        self.gone = asyncio.Event()

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")

    def check_xsrf_cookie(self) -> None:
        """Nothing here goes by cookies."""

    def prepare(self) -> None:
        """Called with the headers. A refusal waits for the body's end, or the client might never read it."""
        try:
            self.check_size(int(self.request.headers.get("Content-Length") or 0))
            self.check_sender()
        except ValueError:
            self.refusal = Refused(400, "invalid_request_error", "Content-Length is not a number")
        except Refused as refusal:
            self.refusal = refusal
            if refusal.status == 413:
                self.refuse(refusal)

    def check_size(self, size: int) -> None:
        if size > MAX_BODY:
            raise Refused(413, *ERRORS[413])

    def check_sender(self) -> None:
        headers = self.request.headers
        if headers.get("Host", "").lower() not in self.api.hosts:
            raise Refused(403, "permission_error", "Host is not this server's")
        if "Origin" in headers:
            raise Refused(403, "permission_error", "requests from web pages are refused")
        if self.needs_token and not any(map(self.api.accepts, self.tokens())):
            raise Refused(401, *ERRORS[401])

    def tokens(self) -> list[str]:
        kind, _, bearer = self.request.headers.get("Authorization", "").partition(" ")
        return [self.request.headers.get("x-api-key", ""), bearer.strip() if kind.lower() == "bearer" else ""]

    def data_received(self, chunk: bytes) -> None:
        """Called with each part of the body; a refused one is read and dropped."""
        self.size += len(chunk)
        if self.refusal is None:
            self.chunks.append(chunk)
            try:
                self.check_size(self.size)
            except Refused as refusal:
                self.chunks.clear()
                self.refusal = refusal

    def body(self) -> dict[str, Any]:
        """The request's JSON object."""
        if self.refusal is not None:
            raise self.refusal
        try:
            value = json.loads(b"".join(self.chunks))
        except (ValueError, RecursionError) as error:
            message = f"The request body is not valid JSON: {error}"
            raise Refused(400, "invalid_request_error", message) from None
        if not isinstance(value, dict):
            raise Refused(400, "invalid_request_error", "The request body must be a JSON object")
        self.chunks.clear()
        return value

    def on_connection_close(self) -> None:
        self.gone.set()

    def refuse(self, refusal: Refused) -> None:
        self.set_status(refusal.status)
        error = {"type": refusal.kind, "message": refusal.message}
        self.finish(json.dumps({"type": "error", "error": error}))

    def log_exception(self, *error: Any) -> None:
        """Called for each exception; only a mistake of ours is worth a line."""
        if not isinstance(error[1], Refused | HTTPError | StreamClosedError | ClientGone):
            super().log_exception(*error)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Called for whatever a method raised."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, ClientGone | StreamClosedError):
            return
        if self.refusal is not None:
            error = self.refusal
        if not isinstance(error, Refused):
            kinds = {404: "not_found_error", 405: "invalid_request_error"}
            error = Refused(status_code, kinds.get(status_code, "api_error"), self._reason)
        self.refuse(error)

    def checked(self) -> None:
        if self.refusal is not None:
            raise self.refusal
