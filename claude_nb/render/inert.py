"""The HTML tags that models write in Markdown and that can do nothing: `<br>`, `<sub>`, `<details>` ...

They are known by their plain form only, without any attribute, and only in pairs that fit into one another;
whatever else looks like a tag is text. They become tokens of their own, so that each writer writes them anew.

A `<details>` and its `</details>` each stand at the beginning of a line. As one is read nobody knows yet
whether there is the other, so both are noted, and paired when all blocks are known.
"""

from __future__ import annotations

import re
from typing import Any

from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

NAMES = ("sub", "sup", "kbd", "b", "strong", "i", "em", "u", "s", "del", "ins", "mark")
_TAG = re.compile(rf"<(?:(br)[ ]?/?|(/?)({'|'.join(NAMES)}))>", re.IGNORECASE)
_OPENS = re.compile(
    r"<details( open)?>\s*(?:<summary>(?P<summary>.*?)</summary>)?[ \t]*(?P<rest>[^\n]*)",
    re.IGNORECASE | re.DOTALL,
)
_CLOSES = re.compile(r"</details>[ \t]*$", re.IGNORECASE)
_LINES = 10  # of a summary
_DEEPEST = 8


# -- in a line -----------------------------------------------------------------------------------------


def tag(state: StateInline, silent: bool) -> bool:
    """One tag; whether it has its partner is seen by `pair_tags`."""
    found = _TAG.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        if found[1]:
            token = state.push("br", "br", 0)
        else:
            token = state.push("tag", found[3].lower(), 0)
            token.markup = found[2]
        token.content = found[0]
    state.pos = found.end()
    return True


def pair_tags(state: StateCore) -> None:
    """Tags that fit into one another, and into emphasis and links, become real; the others are text."""
    last = next((token for token in reversed(state.tokens) if not token.type.endswith("_close")), None)
    for token in state.tokens:
        if token.type == "inline" and token.children and any(_is_tag(child) for child in token.children):
            token.children = _paired(token.children, state.env.get("partial") and token is last)


def _is_tag(token: Token) -> bool:
    return token.type == "tag"


def _paired(tokens: list[Token], unfinished: Any) -> list[Token]:
    open_: list[Token] = []
    for token in tokens:
        if token.nesting > 0 or (_is_tag(token) and not token.markup):
            open_.append(token)
        elif _is_tag(token) and open_ and _is_tag(open_[-1]) and open_[-1].tag == token.tag:
            _make(open_.pop(), "tag_open", 1)
            _make(token, "tag_close", -1)
        elif token.nesting < 0:
            while open_ and _is_tag(open_.pop()):
                pass
    if unfinished and open_ and all(_is_tag(token) for token in open_):
        for token in open_:
            _make(token, "tag_open", 1)
        tokens = [*tokens, *(_closing(token) for token in reversed(open_))]
    for token in tokens:
        if _is_tag(token):
            token.type, token.tag, token.markup = "text", "", ""
    return tokens


def _make(token: Token, kind: str, nesting: Any) -> None:
    token.type, token.nesting = kind, nesting


def _closing(token: Token) -> Token:
    return Token("tag_close", token.tag, -1)


# -- blocks --------------------------------------------------------------------------------------------


def details(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Note a `<details>`, with its summary, or a `</details>`."""
    position = state.bMarks[start] + state.tShift[start]
    if state.is_code_block(start) or state.src[position : position + 1] != "<":
        return False
    line = state.src[position : state.eMarks[start]]
    if _CLOSES.fullmatch(line):
        if not silent:
            _note(state, "</details>", start, start + 1)
        return True
    if not line.lower().startswith("<details"):
        return False
    lines = state.getLines(start, _end_of_paragraph(state, start, end), state.blkIndent, False)
    found = _OPENS.match(lines.lstrip())
    if found is None or (found["rest"] and found["summary"] is None):
        return False
    if not silent:
        after = start + 1 + found[0].rstrip().count("\n")
        token = _note(state, found[0], start, after)
        token.meta = {"summary": found["summary"], "rest": found["rest"].strip(), "open": bool(found[1])}
    return True


def _end_of_paragraph(state: StateBlock, start: int, end: int) -> int:
    for line in range(start + 1, min(end, start + _LINES)):
        if state.isEmpty(line) or state.sCount[line] < state.blkIndent:
            return line
    return min(end, start + _LINES)


def _note(state: StateBlock, source: str, start: int, after: int) -> Token:
    token = state.push("details", "details", 0)
    token.content, token.map, token.block = source.strip(), [start, after], True
    state.line = after
    return token


def pair_details(state: StateCore) -> None:
    """Each `<details>` with its `</details>` becomes a block that holds what is between; others are text."""
    if not any(token.type == "details" for token in state.tokens):
        return
    _match(state.tokens, bool(state.env.get("partial")))
    state.tokens = _written_out(state.tokens)


def _match(tokens: list[Token], partial: bool) -> None:
    """Mark in `meta` which of them have a partner; an open one at the end of what is unfinished is closed."""
    within: list[Token] = []
    tail = next((i for i in range(len(tokens), 0, -1) if not tokens[i - 1].type.endswith("_close")), 0)
    for index, token in enumerate(tokens):
        if token.type == "details" and token.meta:
            if sum(each.type == "details" for each in within) < _DEEPEST:
                within.append(token)
        elif token.type == "details":
            if within and within[-1].type == "details":
                within.pop().meta["pair"] = token.meta["pair"] = True
        elif token.nesting > 0:
            within.append(token)
        elif token.nesting < 0:
            while within and (popped := within.pop()).type == "details":
                if partial and index >= tail:
                    popped.meta["pair"] = True
                    token.meta["ends"] = int(token.meta.get("ends", 0)) + 1
    if partial and tokens:
        for token in within:
            if token.type == "details":
                token.meta["pair"] = True
                tokens.append(_ending())


def _ending() -> Token:
    return Token("details", "details", 0, block=True, meta={"pair": True, "end": True})


def _written_out(tokens: list[Token]) -> list[Token]:
    out: list[Token] = []
    deeper = 0
    for token in tokens:
        new = _expanded(token)
        for each in new:
            deeper -= each.type == "details_close"
            each.level += deeper
            deeper += each.type == "details_open"
        out += new
    return out


def _expanded(token: Token) -> list[Token]:
    if token.type != "details":
        ends = int(token.meta.pop("ends", 0)) if token.meta else 0
        return [*(_block("details_close", -1, token) for _ in range(ends)), token]
    if not token.meta.get("pair"):
        return _paragraph(token.content, token)
    if "rest" not in token.meta:
        return [_block("details_close", -1, token)]
    opening = _block("details_open", 1, token)
    if token.meta["open"]:
        opening.attrs = {"open": ""}
    summary = token.meta["summary"]
    parts = [opening]
    if summary is not None:
        parts += [
            _block("summary_open", 1, token),
            _inline(" ".join(summary.split()), token),
            _block("summary_close", -1, token),
        ]
    return parts + (_paragraph(token.meta["rest"], token) if token.meta["rest"] else [])


def _block(kind: str, nesting: Any, like: Token) -> Token:
    where = like.map if nesting > 0 else None
    return Token(kind, kind.partition("_")[0], nesting, map=where, level=like.level, block=True)


def _paragraph(text: str, like: Token) -> list[Token]:
    opening = Token("paragraph_open", "p", 1, map=like.map, level=like.level, block=True)
    closing = Token("paragraph_close", "p", -1, level=like.level, block=True)
    return [opening, _inline(text, like), closing]


def _inline(text: str, like: Token) -> Token:
    return Token("inline", "", 0, map=like.map, level=like.level + 1, content=text, children=[], block=True)
