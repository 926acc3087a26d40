r"""The marks with which lines of ours begin, and the one place that says them.

Whoever reads a cell must be able to tell what claude_nb says (what was allowed, how a turn ended, which tool
ran) from what Claude says. Markdown can make everything that Markdown can show, so no form of ours is safe
by itself. But each line of ours begins with one of these marks, and no line of Claude's does: there they are
spelled out, also behind quotes, bullets, blanks and what nobody sees, and so is what looks like them.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from markdown_it.token import Token

INFO, WARNING, FAILED, ENDED = "\u2139", "\u26a0", "\u2717", "\u25a0"
OK, REFUSED, RUNNING = "\u2713", "\u2298", "\u25cb"

# Each with what looks like it at a glance. Emoji are in colour, which ours never are.
SPELLED = {
    "(i)": INFO + "\u24d8\U0001f6c8",
    "(!)": WARNING + "\U0001f6c6",
    "(check)": OK + "\u2714\U0001f5f8",
    "(cross)": FAILED + "\u2715\u2716\u2718\U0001f5d9\U0001f5f4\U0001f5f6",
    "(barred)": REFUSED + "\u2300\u29b8\u2349\U0001f6c7",
    "(square)": ENDED + "\u25ae\u25fc\u2588\u2bc0",
    "(circle)": RUNNING + "\u25ef\u2b58",
    # Signs with other uses, where they stand alone as a mark does.
    "(root)": "\u221a",
    "(times)": "\u00d7",
    "(empty)": "\u2205",
}
_BY_MARK = {mark: words for words, marks in SPELLED.items() for mark in marks}
_ALONE = "\u221a\u00d7\u2205"
_BULLETS = re.compile(r"(?:\s|[>#*+|~_`\u2022\u2023\u25aa\u25cf\u00b7\u2013\u2014-]|\d{1,9}[.)](?=\s))*")
# Commands of TeX that draw such a sign.
_DRAWS = re.compile(r"\\(?:checkmark|blacksquare|oslash|bigcirc|boxtimes|unicode|char|symbol)(?![A-Za-z])")
_DRAWN_ALONE = re.compile(
    r"[\s{}]*\\(?:circ|times|surd|square|Box|varnothing|emptyset|otimes|odot)(?![A-Za-z])[\s{}]*"
)

_BEGINS_ALONE = re.compile(rf"(?:[\s{{]|\\[a-z]+)*[{_ALONE}](?:[\s}}]|$)")


def spell_marks(tokens: Sequence[Token]) -> None:
    """Spell out, in parsed Markdown, each mark at the beginning of a line; code in blocks stays as it is."""
    cell = 0  # of a table's row: only the first begins a line
    for token in tokens:
        if token.type == "tr_open":
            cell = 0
        elif token.type in ("td_open", "th_open"):
            cell += 1
        elif token.type == "inline" and cell <= 1:
            _spell_in_lines(token.children or [])
        elif token.type == "math_block" and _draws_a_mark(token.content):
            token.type, token.info = "fence", "latex"
        if token.type == "table_close":
            cell = 0


def _spell_in_lines(children: Sequence[Token]) -> None:
    at_start = True
    for token in children:
        if token.type in ("softbreak", "hardbreak", "br"):
            at_start = True
        elif at_start and token.type in ("text", "code_inline"):
            token.content = _spelled_after_bullets(token.content)
            at_start = _beginning(token.content) == len(token.content)
        elif at_start and token.type == "math":
            if _draws_a_mark(token.content):
                token.type, token.content = "code_inline", f"{token.markup}{token.content}{token.markup}"
            at_start = False
        elif token.type == "image":  # is shown by words of ours
            at_start = False


def spelled(line: str) -> str:
    """A line without a mark of ours, or what looks like one, at its beginning."""
    start = _nothing_seen(line)
    mark = line[start : start + 1]
    if mark not in _BY_MARK:
        return line
    end = start + 1 + _nothing_seen(line[start + 1 :], blanks=False)
    if mark in _ALONE and line[end : end + 1].strip():
        return line
    return line[:start] + _BY_MARK[mark] + line[end:]


def spelled_lines(text: str) -> str:
    """The same for every line of a plain text, in which quotes and bullets are what was typed."""
    if not any(mark in text for mark in _BY_MARK):
        return text
    return "".join(_spelled_after_bullets(line) for line in re.split(r"(?<=\n)", text))


def _spelled_after_bullets(line: str) -> str:
    start = _beginning(line)
    return line[:start] + spelled(line[start:])


def _beginning(line: str) -> int:
    """Where a line begins, after quotes and bullets that were typed and whatever shows nothing."""
    start, before = 0, -1
    while start > before:
        before = start
        found = _BULLETS.match(line, start)
        start = found.end() if found else start
        start += _nothing_seen(line[start:])
    return start


def _nothing_seen(text: str, *, blanks: bool = True) -> int:
    """How many characters at the beginning show nothing by themselves."""
    for index, char in enumerate(text):
        if blanks and (char.isspace() or char == "\u2800"):
            continue
        if unicodedata.category(char) not in ("Cf", "Cc", "Mn", "Me") or char == "\n":
            return index
    return len(text)


def quote_speaker(tokens: Sequence[Token]) -> None:
    """In a saved chat the turns fold under "You: ..."; a fold of Claude's that says so has it quoted."""
    for opening, token in pairwise(tokens):
        if opening.type == "summary_open":
            said = next((child for child in token.children or [] if child.content.strip()), None)
            if said is not None:
                start = _nothing_seen(said.content)
                said.content = re.sub(r"You\b", "\u201cYou\u201d", said.content[start:], count=1)


def _draws_a_mark(tex: str) -> bool:
    tex = html.unescape(tex)  # as whoever draws it in a page may do
    return (
        any(mark in tex for mark in _BY_MARK if mark not in _ALONE)
        or _DRAWS.search(tex) is not None
        or _DRAWN_ALONE.fullmatch(tex) is not None
        or _BEGINS_ALONE.match(tex) is not None
    )
