r"""Markdown in, Markdown out: a reply as something that may be shown in a page that trusts it.

JupyterLab does not sanitise the Markdown of a cell that was just run, nbconvert never does. So a reply must
not only *be* harmless, it must be read as harmless by marked (JupyterLab, Notebook), mistune (nbconvert),
cmark (GitHub) and markdown-it (VS Code), which disagree about anything unusual, and by the searches for
mathematics that each of them runs before, during or after. To filter the text would be a race against these
disagreements.

Therefore nothing is filtered. The reply is *parsed* once, with HTML switched off, so that a tag is text like
any other, and *written anew* from what was understood, in a plain dialect on which all of them agree:

- text has every character escaped that could begin something: `<` is always `&lt;`, a bracket always `\[`;
- the only tags are ours: `<span>` around a lone dollar sign or backslash, so that MathJax finds no pair;
  `<code>` and `<pre>` for code that could be misread (see `escape`); `<https://...>` around bare addresses;
- links are inline, to http, https, mailto, or a relative path; their address holds no character that
  Markdown, HTML or TeX knows. Other addresses are shown as code. There are no definitions, no titles;
- images are links that say so, since a picture is fetched without a click and its address can carry data;
- fences stand alone at the first column, are always closed, and name only a plausible language;
- mathematics is `$...$` or `$$...$$`, whatever it was written as, and only if it is tame (see `tex`).

A reply that grows is not parsed from its start each time: `HarmlessStream` keeps all but the last two blocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markdown_it.token import Token

from claude_nb.render.blocks import write_document
from claude_nb.render.escape import escape_html, fence, inline_code, readable, visible
from claude_nb.render.parse import parse

__all__ = ["HarmlessStream", "escape_html", "fence", "harmless", "inline_code", "visible"]

_OPEN_BLOCKS = 2  # a line still being written can make the block before it longer, but none before that
_DANGLING = re.compile(r"(`+|\*\*)(?=[^\s`*])(?:(?!\1)[^\n])*$")
_HALF_A_FENCE = re.compile(r"\n[ ]{0,3}[`~]{1,2}$")


def harmless(markdown: str, *, partial: bool = False) -> str:
    """The same Markdown without its dangers. `partial`: a prefix; what is still open is closed."""
    return _written(readable(markdown), {}, partial=partial)[0]


def _written(text: str, definitions: dict[str, Any], *, partial: bool) -> tuple[str, list[Token]]:
    try:
        tokens = parse_prefix(text, definitions) if partial else parse(text, definitions)
        return "\n\n".join(write_document(tokens)), tokens
    except (RecursionError, ValueError, LookupError):  # a bug, ours or the parser's: still show what was said
        return fence(text), []


def parse_prefix(text: str, definitions: dict[str, Any]) -> list[Token]:
    """The tokens of a text that goes on: what it leaves open is closed."""
    text = _HALF_A_FENCE.sub("", text)
    tokens = parse(text, definitions, partial=True)
    closing = _left_open(tokens)
    return parse(text.rstrip() + closing, definitions, partial=True) if closing else tokens


def _left_open(tokens: Sequence[Token]) -> str:
    """What ends the code span or the bold words that the text stops in the middle of."""
    last = next((token for token in reversed(tokens) if not token.type.endswith("_close")), None)
    if last is None or last.type != "inline" or not last.children or last.children[-1].type != "text":
        return ""
    found = _DANGLING.search(last.children[-1].content)
    return found[1] if found else ""


class HarmlessStream:
    """A reply that grows: `feed` what came, `value` is the harmless text so far.

    Equal to `harmless` of the whole except that a reference is not found when its definition comes later. So
    the last display of a reply is made from the whole text.
    """

    def __init__(self) -> None:
        self._done: list[str] = []
        self._open = ""
        self._definitions: dict[str, Any] = {}
        self._last: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"<HarmlessStream: {len(self._done)} parts done, {len(self._open)} characters open>"

    def feed(self, text: str) -> None:
        self._open += text

    def value(self, *, partial: bool = True) -> str:
        """All so far. With `partial` what is still open is closed."""
        if not partial:
            return self._joined(_written(readable(self._open), dict(self._definitions), partial=False)[0])
        if self._last is None or self._last[0] != self._open:
            self._last = (self._open, self._write_open())
        return self._joined(self._last[1])

    def _joined(self, tail: str) -> str:
        return "\n\n".join([*self._done, tail] if tail else self._done)

    def _write_open(self) -> str:
        definitions = dict(self._definitions)
        written, tokens = _written(readable(self._open), definitions, partial=True)
        lines = _closed_lines(tokens)
        if not lines:
            return written
        self._settle(lines)
        return _written(readable(self._open), dict(self._definitions), partial=True)[0]

    def _settle(self, lines: int) -> None:
        """Write the first so many lines for good."""
        end = _offset_of_line(self._open, lines)
        closed, self._open = self._open[:end], self._open[end:]
        if text := _written(readable(closed), self._definitions, partial=False)[0]:
            self._done.append(text)


def _closed_lines(tokens: Sequence[Token]) -> int:
    """How many lines belong to blocks that nothing to come can change."""
    starts = [token.map[0] for token in tokens if token.level == 0 and token.map]
    return starts[-_OPEN_BLOCKS] if len(starts) > _OPEN_BLOCKS else 0


def _offset_of_line(text: str, line: int) -> int:
    position = 0
    for _ in range(line):
        position = text.index("\n", position) + 1
    return position
