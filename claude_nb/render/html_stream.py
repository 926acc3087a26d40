"""A reply that grows, as HTML of which only the end changes.

Blocks that nothing to come can change are written once and never again. What is still open is written anew
each time, but for two cases in which that would cost more the longer it is: a fence that is not closed yet is
added to as text, and of any other long block only the rest is text until enough has come to write it again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from markdown_it.token import Token

from claude_nb.render.directions import dir_attribute
from claude_nb.render.escape import escape_html, escape_prose, readable
from claude_nb.render.harmless import parse_prefix
from claude_nb.render.html_blocks import blocks_html, top_level
from claude_nb.render.html_clean import clean
from claude_nb.render.html_code import code_html
from claude_nb.render.html_markdown import MOST_SHOWN, not_shown
from claude_nb.render.parse import parse

_OPEN_BLOCKS = 2  # a line still being written can make the block before it longer, but none before that
_LONG = 2_000  # characters of what is open; beyond it is not written anew for each word
_ENOUGH = 8  # a long block is written anew when it has grown by this part of it
_HALF_CLOSED = re.compile(r"^ {0,3}(?:`+|~+)$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)\n")


class Shown(NamedTuple):
    """All pieces that are finished, and the HTML of what is not. A piece never changes."""

    finished: Sequence[str]
    tail: str


class HtmlStream:
    """`feed` what came, `value` is all so far as clean HTML.

    Equal to `markdown_html` of the whole, but a reference is not found when its definition comes later.
    """

    def __init__(self) -> None:
        self._finished: list[str] = []
        self._open = ""
        self._room = MOST_SHOWN
        self._left_out = 0
        self._definitions: dict[str, Any] = {}
        self._written = ""  # what was open when the tail was last written
        self._tail = ""
        self._fence: _OpenFence | None = None

    def __repr__(self) -> str:
        return f"<HtmlStream: {len(self._finished)} pieces finished, {len(self._open)} characters open>"

    def feed(self, text: str) -> None:
        """Add what came."""
        taken = text[: self._room]
        self._room -= len(taken)
        self._left_out += len(text) - len(taken)
        self._open += taken

    def value(self, *, partial: bool = True) -> Shown:
        """All so far. With `partial` what is still open is closed, or shown as text."""
        tail = self._partial() if partial else self._whole()
        return Shown(self._finished, tail + clean(not_shown(self._left_out)))

    def _whole(self) -> str:
        return _clean_blocks(_tokens(readable(self._open), dict(self._definitions), partial=False))

    def _partial(self) -> str:
        if (code := self._code()) is not None:
            return code
        if not self._waits():
            self._write()
            if (code := self._code()) is not None:
                return code
        rest = self._open[len(self._written) :]
        return self._tail + (
            clean(f"<p{dir_attribute(rest)}>{escape_prose(rest)}</p>") if rest.strip() else ""
        )

    def _code(self) -> str | None:
        """What is open, if that is a fence which nothing has closed."""
        code = self._fence.html(self._open) if self._fence is not None else None
        if self._fence is not None and code is None:
            self._fence, self._written = None, ""
        return code

    def _waits(self) -> bool:
        """Too little has come for a long block to be written again."""
        if not self._tail or len(self._open) < _LONG:
            return self._written == self._open != ""
        return (len(self._open) - len(self._written)) * _ENOUGH < len(self._open)

    def _write(self) -> None:
        text = (
            self._open if len(self._open) < _LONG else self._open[: self._open.rfind("\n") + 1] or self._open
        )
        tokens = _tokens(readable(text), dict(self._definitions), partial=True)
        if lines := _closed_lines(tokens):
            end = _offset_of_line(text, lines)
            self._finish(end)
            text = text[end:]
            tokens = _tokens(readable(text), dict(self._definitions), partial=True)
        start = _FENCE.match(text) if _ends_in_fence(tokens) else None
        self._fence = _OpenFence(start) if start else None
        if self._fence is not None and self._fence.html(text) is None:
            self._fence = None
        self._tail, self._written = _clean_blocks(tokens) if self._fence is None else "", text

    def _finish(self, end: int) -> None:
        """Write so many characters for good."""
        closed, self._open = self._open[:end], self._open[end:]
        tokens = _tokens(readable(closed), self._definitions, partial=False)
        self._finished += [html for block in top_level(tokens) if (html := _clean_blocks(block)).strip()]


class _OpenFence:
    """A fence that nothing has closed yet: its lines are escaped once."""

    def __init__(self, start: re.Match[str]) -> None:
        mark, many = re.escape(start[1][0]), len(start[1])
        self._closing = re.compile(rf"^ {{0,3}}{mark}{{{many},}}[ \t]*\r?$", re.MULTILINE)
        self._before, _, self._after = clean(code_html("", start[2].strip())).partition("</code>")
        self._lines: list[str] = []
        self._end = start.end()  # of the lines that are escaped

    def html(self, text: str) -> str | None:
        """The code so far; None if it has been closed. `text` begins with the fence, and only grows."""
        if self._closing.search(text, self._end):
            return None
        end = text.rfind("\n") + 1
        if end > self._end:
            self._lines.append(clean(escape_html(text[self._end : end])))
            self._end = end
        last = _HALF_CLOSED.sub("", text[self._end :])
        return f"{self._before}{''.join(self._lines)}{clean(escape_html(last))}</code>{self._after}"


def changed(before: str, after: str) -> tuple[int, str]:
    """How many characters of `before` stay, and what follows them in `after`: all that has to be sent."""
    low, high = 0, min(len(before), len(after))
    while low < high:
        middle = (low + high + 1) // 2
        if before.startswith(after[low:middle], low):
            low = middle
        else:
            high = middle - 1
    return low, after[low:]


def _tokens(text: str, definitions: dict[str, Any], *, partial: bool) -> list[Token]:
    try:
        return parse_prefix(text, definitions) if partial else parse(text, definitions)
    except (RecursionError, ValueError, LookupError):  # a bug, ours or the parser's: still show what was said
        return [Token("code_block", "code", 0, content=text)]


def _clean_blocks(tokens: Sequence[Token]) -> str:
    return clean(blocks_html(tokens))


def _closed_lines(tokens: Sequence[Token]) -> int:
    """How many lines belong to blocks that nothing to come can change."""
    starts = [token.map[0] for token in tokens if token.level == 0 and token.map]
    if _ends_in_fence(tokens):  # what comes before a fence has ended with it
        return starts[-1]
    return starts[-_OPEN_BLOCKS] if len(starts) > _OPEN_BLOCKS else 0


def _ends_in_fence(tokens: Sequence[Token]) -> bool:
    return bool(tokens) and tokens[-1].type == "fence" and tokens[-1].level == 0 and bool(tokens[-1].markup)


def _offset_of_line(text: str, line: int) -> int:
    position = 0
    for _ in range(line):
        position = text.index("\n", position) + 1
    return position
