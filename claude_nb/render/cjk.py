"""Emphasis beside Chinese, Japanese and Korean characters, which are written without blanks.

By CommonMark's rule bold words that end in a full-width colon are not bold when a letter follows: the stars
that close them stand between a punctuation mark and a letter, where in a script with blanks emphasis would
begin. Models write it all the time. So next to a character of these scripts punctuation counts as any other
character, and stars may stand right after it.

The readers of what we write go by CommonMark, so such emphasis is marked: it is written as tags.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from markdown_it.common.utils import isWhiteSpace
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.emphasis import tokenize as emphasis_by_rule
from markdown_it.rules_inline.strikethrough import tokenize as strikethrough_by_rule

BESIDE_CJK = "beside CJK"  # in the `meta` of a token that only this rule has made emphasis


def emphasis(state: StateInline, silent: bool) -> bool:
    """`*` and `**`; a `_` goes by the rule, which wants blanks in any script."""
    return _amended(emphasis_by_rule, "*", state, silent)


def strikethrough(state: StateInline, silent: bool) -> bool:
    """`~~`."""
    return _amended(strikethrough_by_rule, "~", state, silent)


def _amended(
    rule: Callable[[StateInline, bool], bool], marker: str, state: StateInline, silent: bool
) -> bool:
    start, known = state.pos, len(state.delimiters)
    if not rule(state, silent):
        return False
    if state.src[start] != marker or len(state.delimiters) == known:
        return True
    before = state.src[start - 1] if start else " "
    after = state.src[state.pos] if state.pos < state.posMax else " "
    if not is_cjk(before) and not is_cjk(after):
        return True
    opens, closes = _flanks(before, after), _flanks(after, before)
    for delimiter in state.delimiters[known:]:
        if (delimiter.open, delimiter.close) != (opens, closes):
            delimiter.open, delimiter.close = opens, closes
            state.tokens[delimiter.token].meta = {BESIDE_CJK: True}
    return True


def _flanks(outside: str, inside: str) -> bool:
    """Emphasis can begin between the two, or end, the other way round."""
    if isWhiteSpace(ord(inside)):
        return False
    if not _parts(inside):
        return True
    return isWhiteSpace(ord(outside)) or _parts(outside) or is_cjk(outside)


def _parts(char: str) -> bool:
    """Punctuation as scripts with blanks know it."""
    return not is_cjk(char) and unicodedata.category(char)[0] in "PS"


def is_cjk(char: str) -> bool:
    """Han, Kana, Hangul, and the punctuation and full-width forms that go with them."""
    if char < "\u1100" or unicodedata.category(char) == "So":
        return False
    return unicodedata.east_asian_width(char) in ("W", "F") or "\uff61" <= char <= "\uffdc"
