"""An output that is HTML, as text for Claude."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_LONGEST = 20_000
# Elements without text for a reader, and those that stand on lines of their own.
_UNREAD = re.compile(r"<(script|style|template|svg)\b", re.IGNORECASE)
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "address article aside blockquote br caption dd details div dl dt figure footer form h1 h2 h3 h4 h5 "
        "h6 header hr li main nav ol p pre section summary table tbody tfoot thead tr ul",
    )
)
_CELLS = frozenset(("td", "th"))


def text_of_html(html: str) -> str:
    """What a reader of the page would read, line by line; the cells of a table stand side by side."""
    reader = _Reader()
    reader.feed(_without_unread(html)[:_LONGEST])
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return "\n".join(stripped for line in lines if (stripped := line.strip(" |")))


def _without_unread(html: str) -> str:
    """The page without its programs, which are most of many an output, and may be megabytes."""
    parts, place = [], 0
    while begin := _UNREAD.search(html, place):
        parts.append(html[place : begin.start()])
        end = re.compile(f"</{begin[1]}", re.IGNORECASE).search(html, begin.end())
        place = len(html) if end is None else end.start()
    return "".join([*parts, html[place:]])


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        if tag in _BLOCKS:
            self.parts.append("\n")
        elif tag in _CELLS:
            self.parts.append(" | ")
        elif tag == "img":
            self.parts.append(f"[{dict(attrs).get('alt') or 'an image'}]")

    def handle_endtag(self, tag: str) -> None:
        """Called by the parser."""
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        """Called by the parser."""
        self.parts.append(data)
