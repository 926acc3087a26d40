"""Text as it goes to a language model: without terminal codes, of a bounded length, always encodable."""

from __future__ import annotations

import re
import threading
from collections import deque
from typing import Any

_TERMINAL_CODE = re.compile(r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b]*+(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """What a reader saw of printed text: no colours, no control characters, only the last state of a line."""
    if "\x1b" in text:
        text = _TERMINAL_CODE.sub("", text)
    if "\r" in text:
        text = "\n".join(_last_state(line) for line in text.split("\n"))
    if not text.isascii():  # half of a surrogate pair cannot be sent
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text if text.isprintable() else _CONTROL.sub("", text)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters: the beginning and the end, and in between how much was left out."""
    if len(text) <= limit:
        return text
    room = limit - len(_gap(len(text)))
    if room < 40:
        return text[: max(limit - 1, 0)] + "…" if limit > 0 else ""
    return _join(text[: room * 2 // 5], text[len(text) - (room - room * 2 // 5) :], len(text))


def first_lines(text: str, lines: int, limit: int) -> str:
    """The first lines of a text, with an ellipsis where there is more."""
    kept = "\n".join(text.split("\n", lines)[:lines])[:limit]
    return kept if len(kept) == len(text) else kept + " …"


def _join(head: str, tail: str, whole: int) -> str:
    """Cut at line ends where there are any near, so that no line is half shown."""
    if "\n" in head[len(head) // 2 :]:
        head = head[: head.rindex("\n")]
    if "\n" in tail[: len(tail) // 2]:
        tail = tail[tail.index("\n") + 1 :]
    return head + _gap(whole - len(head) - len(tail)) + tail


def _gap(left_out: int) -> str:
    return f"\n… {left_out:,} characters left out …\n"


class BoundedText:
    """Text that grows from any thread and keeps its first and its last half of `limit` characters.

    Of a line that is written over again and again, as a progress bar is, only the last state is kept. Each
    `source` has a line of its own.
    """

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        # What is printed in a destructor may come in the middle of an `add` of the same thread.
        self._lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """As if nothing had been added."""
        with self._lock:
            self._head: list[str] = []
            self._head_size = 0
            self._tail: deque[str] = deque()
            self._tail_size = 0
            self._whole = 0
            # Lines that have not ended yet, by source.
            self._lines: dict[Any, str] = {}

    def add(self, text: str, source: Any = None) -> None:
        """More text; its cost does not depend on what there is."""
        with self._lock:
            text = self._lines.pop(source, "") + text
            end = text.rfind("\n") + 1
            ended, line = text[:end], text[end:]
            if "\r" in line:
                line = _last_state(line) + "\r" * line.endswith("\r")
            if len(line) > self._half:  # no line that anybody writes over
                ended, line = ended + line, ""
            if ended:
                self._keep(ended)
            if line:
                self._lines[source] = line

    def _keep(self, text: str) -> None:
        if "\r" in text:
            text = "\n".join(map(_last_state, text.split("\n")))
        self._whole += len(text)
        room = self._half - self._head_size
        if room > 0:
            self._head.append(text[:room])
            self._head_size += len(self._head[-1])
            text = text[room:]
        if text:
            self._tail.append(text[-self._half :])
            self._tail_size += len(self._tail[-1])
            while self._tail_size - len(self._tail[0]) >= self._half:
                self._tail_size -= len(self._tail.popleft())

    def text(self) -> str:
        """What is kept, as a reader saw it."""
        with self._lock:
            head, tail, whole = "".join(self._head), "".join(self._tail)[-self._half :], self._whole
            lines = "\n".join(self._lines.values())
        if whole > len(head) + len(tail):
            return clean(_join(head, tail, whole) + lines)
        return clean(head + tail + lines)


def _last_state(line: str) -> str:
    """What is left of a line that was written over."""
    return line.rstrip("\r").rpartition("\r")[2]
