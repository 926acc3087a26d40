r"""A reply as markdown-it tokens: CommonMark, tables, strike-through, mathematics, and a few inert tags.

Mathematics is what people and models mean by it, not all that has a dollar sign: `$x$` and `$$x$$` (see
`dollars`), `\(x\)`, `\[x\]`, their forms with two backslashes that Jupyter knows, and
`\begin{align}...\end{align}`. Of HTML there is what can do nothing (see `inert`); all else is text.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.reference import reference
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from claude_nb.render import cjk, dollars, inert, rows, tex
from claude_nb.render.marks import spell_marks

_DEEPEST = 30  # levels, of which a list takes two; what is deeper is shown as source
_BRACKETS = re.compile(r"\\{1,2}([(\[])")
_BLOCK_OPENER = re.compile(r"(\$\$|\\{1,2}\[|\\begin\{([A-Za-z]{1,20}\*?)\})")


# What display mathematics, and an inert tag of a block, may break off without a blank line.
_INTERRUPTED = ["paragraph", "reference", "blockquote", "list"]


@cache
def _parser() -> MarkdownIt:
    md = MarkdownIt("commonmark", {"maxNesting": _DEEPEST})
    md.enable(["table", "strikethrough"]).disable(["html_block", "html_inline"])
    md.validateLink = lambda url: True  # type: ignore[method-assign] # judged, and shown, by the writer
    md.inline.ruler.before("escape", "math", _math_inline)
    md.block.ruler.before("table", "too_deep", _too_deep)
    md.block.ruler.before("fence", "math_block", _math_block, {"alt": _INTERRUPTED})
    md.block.ruler.at("reference", _reference)
    md.block.ruler.at("table", rows.table, {"alt": ["paragraph", "reference"]})
    md.block.ruler.before("fence", "details", inert.details, {"alt": _INTERRUPTED})
    md.core.ruler.after("block", "pair_details", inert.pair_details)
    md.inline.ruler.at("emphasis", cjk.emphasis)
    md.inline.ruler.at("strikethrough", cjk.strikethrough)
    md.inline.ruler.before("autolink", "tag", inert.tag)
    md.core.ruler.after("inline", "pair_tags", inert.pair_tags)
    return md


def parse(text: str, definitions: dict[str, Any], *, partial: bool = False) -> list[Token]:
    """Tokens of `text`, without our marks. `definitions` are known already; those of this text are added."""
    env = {"references": definitions, "partial": partial}
    tokens = _parser().parse(text, env)
    spell_marks(tokens)
    return tokens


def _reference(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """As CommonMark has it, except that `[^1]: word` is a footnote, not a definition."""
    if state.src.startswith("[^", state.bMarks[start] + state.tShift[start]):
        return False
    return reference(state, start, end, silent)


def _too_deep(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    if state.level < _DEEPEST - 2 or silent:
        return False
    token = state.push("fence", "code", 0)
    token.content = state.getLines(start, end, state.blkIndent, True)
    token.map, token.block = [start, end], True
    state.line = end
    return True


def _math_inline(state: StateInline, silent: bool) -> bool:
    char = state.src[state.pos]
    if char not in "$\\":
        return False
    found = _dollars(state) if char == "$" else _brackets(state)
    if found is None or not tex.allowed(found[0]):
        return _refused(state, found, silent)
    if not silent:
        token = state.push("math", "", 0)
        token.content, token.markup = found[0], found[1]
    state.pos = found[2]
    return True


def _refused(state: StateInline, found: tuple[str, str, int] | None, silent: bool) -> bool:
    """TeX with a command that may not run is shown as its source; anything else was no mathematics."""
    if found is None or not tex.forbidden(found[0]):
        return False
    if not silent:
        state.push("code_inline", "code", 0).content = state.src[state.pos : found[2]]
    state.pos = found[2]
    return True


def _dollars(state: StateInline) -> tuple[str, str, int] | None:
    for pattern, markup in ((dollars.DISPLAY, "$$"), (dollars.INLINE, "$")):
        found = pattern.match(state.src, state.pos, state.posMax)
        if found:
            return (found[1], markup, found.end()) if _meant(state, found) else None
    return None


def _meant(state: StateInline, found: re.Match[str]) -> bool:
    return dollars.means_mathematics(state.src, found.start(), found.end())


def _brackets(state: StateInline) -> tuple[str, str, int] | None:
    opener = _BRACKETS.match(state.src, state.pos, state.posMax)
    if opener is None:
        return None
    closer = opener[0][:-1] + {"(": ")", "[": "]"}[opener[1]]
    if state.env.get(closer) is state:  # looked for before, and there is none
        return None
    end = state.src.find(closer, opener.end(), state.posMax)
    if end < 0:
        state.env[closer] = state
        return None
    if end - state.pos > tex.LONGEST:
        return None
    return state.src[opener.end() : end], "$" if opener[1] == "(" else "$$", end + len(closer)


def _math_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Display mathematics that starts a line, up to its end or the next blank line."""
    position = state.bMarks[start] + state.tShift[start]
    opener = _BLOCK_OPENER.match(state.src, position, state.eMarks[start])
    if opener is None or state.sCount[start] - state.blkIndent >= 4:
        return False
    closer = _closer_of(opener)
    last = _line_with(state, closer, start, end, opener.end())
    if last is None:
        return _unfinished(state, start, end, position, silent)
    content = state.getLines(start, last + 1, state.blkIndent, False).strip()
    if not content.endswith(closer):
        return False
    inner = content if opener[2] else content[len(opener[0]) : -len(closer)]
    if not tex.allowed(inner) and not tex.forbidden(inner):
        return False
    if not silent:
        _push(state, inner if tex.allowed(inner) else content, tex.allowed(inner), (start, last + 1))
    return True


def _closer_of(opener: re.Match[str]) -> str:
    if opener[2]:
        return f"\\end{{{opener[2]}}}"
    return "$$" if opener[0] == "$$" else opener[0][:-1] + "]"


def _line_with(state: StateBlock, closer: str, start: int, end: int, after: int) -> int | None:
    """The line of this block that holds the closer."""
    if start < state.env.get(f"none before {closer}", -1):
        return None
    for line in range(start, end):
        if line > start and (state.isEmpty(line) or state.sCount[line] < state.blkIndent):
            break
        begin = after if line == start else state.bMarks[line] + state.tShift[line]
        if state.src.find(closer, begin, state.eMarks[line]) >= 0:
            return line
    state.env[f"none before {closer}"] = line
    return None


def _unfinished(state: StateBlock, start: int, end: int, position: int, silent: bool) -> bool:
    """While a reply is being written, a formula without its end is shown as source."""
    unended = state.env.get("partial") and end == state.lineMax and not state.isEmpty(end - 1)
    if not unended or any(state.isEmpty(line) for line in range(start, end)):
        return False
    if state.parentType not in ("root", "paragraph") or state.level:
        return False
    if not silent:
        _push(state, state.src[position:], False, (start, end))
    return True


def _push(state: StateBlock, content: str, typeset: bool, lines: tuple[int, int]) -> None:
    token = state.push("math_block" if typeset else "fence", "math" if typeset else "code", 0)
    token.content, token.map, token.block = content, list(lines), True
    token.info = "" if typeset else "latex"
    state.line = lines[1]
