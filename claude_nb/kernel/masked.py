"""What code that Claude runs puts out, with keys and tokens masked: the notebook keeps it.

Lines are masked as a whole, since half a secret does not look like one; a line that does not end waits for
a moment. What threads of the user's own put out meanwhile stays as it is, and so do the values.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from claude_nb.kernel.pipes import drain
from claude_nb.masking import mask, mask_tokens

# Seconds until a reader sees a line that has not ended.
_PATIENCE = 0.2
# Characters of a line, or of a private key, that are waited for.
_LONGEST = 20_000
# Longer ones are masked by the shapes of tokens only, which is quick.
_MOST = 200_000

_TEXTS = frozenset(("text/plain", "text/markdown", "text/latex"))
_ABSENT = object()


@contextlib.contextmanager
def masked_output(shell: Any) -> Iterator[None]:
    """For as long as code of Claude's runs in this thread; threads that run already are the user's."""
    streams = [sys.stdout] if sys.stdout is sys.stderr else [sys.stdout, sys.stderr]
    readers = {getattr(getattr(stream, "watch_fd_thread", None), "ident", None) for stream in streams}
    users = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()} - readers
    lines = [_Lines(stream, users) for stream in streams]
    with contextlib.ExitStack() as replaced:
        for line in lines:
            replaced.enter_context(_replaced(line.stream, "write", line.write))
            replaced.enter_context(_replaced(line.stream, "flush", line.flush))
        for owner, name in ((shell.display_pub, "publish"), (shell.displayhook, "write_format_data")):
            replaced.enter_context(_replaced(owner, name, _masking(getattr(owner, name), users)))
        try:
            yield
        finally:
            drain(streams)
            for line in lines:
                line.end()


class _Lines:
    """A stream whose lines are masked before they are written."""

    def __init__(self, stream: Any, users: set[int | None]) -> None:
        self.stream = stream
        self._users = users
        self._write, self._flush = stream.write, stream.flush
        self._lock = threading.RLock()
        self._waiting = ""
        self._timer: threading.Timer | None = None

    def write(self, text: Any) -> Any:
        """Called in place of the stream's own."""
        if threading.get_ident() in self._users or not isinstance(text, str):
            return self._write(text)
        with self._lock:
            self._waiting += text
            self._put(_whole_lines(self._waiting))
            if self._waiting and self._timer is None:
                place = contextvars.copy_context()
                self._timer = threading.Timer(_PATIENCE, place.run, (self.end,))
                self._timer.daemon = True
                self._timer.start()
        return len(text)

    def flush(self) -> None:
        """Called in place of the stream's own: somebody wants to see the line as it is."""
        if threading.get_ident() not in self._users:
            self.end()
        self._flush()

    def end(self) -> None:
        """Nothing more is waited for."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._put(len(self._waiting))

    def _put(self, length: int) -> None:
        if length:
            text, self._waiting = self._waiting[:length], self._waiting[length:]
            self._write(_masked(text))


def _whole_lines(text: str) -> int:
    """How much of the text need not wait for what comes next."""
    if len(text) > _LONGEST:
        return len(text)
    end = max(text.rfind("\n"), text.rfind("\r")) + 1
    key = text.rfind("-----BEGIN ")
    if key >= 0 and "PRIVATE KEY" in text[key : key + 80] and "-----END " not in text[key:]:
        return min(end, key)
    return end


def _masking(original: Callable[..., Any], users: set[int | None]) -> Callable[..., Any]:
    def masking(*args: Any, **named: Any) -> Any:
        if threading.get_ident() in users:
            return original(*args, **named)
        if args:
            return original(_masked_bundle(args[0]), *args[1:], **named)
        return original(**{**named, "data": _masked_bundle(named.get("data"))})

    return masking


def _masked_bundle(data: Any) -> Any:
    """The bundle of mime types; a page's programs would not survive more than the masking of tokens."""
    if not isinstance(data, Mapping):
        return data
    return {kind: _masked_value(kind, value) for kind, value in data.items()}


def _masked_value(kind: str, value: Any) -> Any:
    if kind in _TEXTS and isinstance(value, str):
        return _masked(value)
    if kind == "text/html" and isinstance(value, str):
        return mask_tokens(value)
    return _masked_json(value) if kind == "application/json" else value


def _masked_json(value: Any) -> Any:
    if isinstance(value, str):
        return _masked(value)
    if isinstance(value, dict):
        return {key: _masked_json(item) for key, item in value.items()}
    return [_masked_json(item) for item in value] if isinstance(value, list) else value


def _masked(text: str) -> str:
    return mask(text) if len(text) <= _MOST else mask_tokens(text)


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """The object has this method for a while."""
    before = vars(owner).get(name, _ABSENT)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if vars(owner).get(name) is value:
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
