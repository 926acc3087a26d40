r"""Tables as their author meant them: a pipe in code or in a formula parts no cells.

GitHub's rule says that every pipe does that is not escaped, and that what comes after the last column is
dropped. Models write `a|b` and $|x|$ in tables all the same, and words that were said must be seen. So a row
is read in the way that fits its columns: with such pipes kept, else by the rule; and a cell too many is part
of the last one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import table as table_by_rule

from claude_nb.render.dollars import formulas

_DELIMITERS = re.compile(r"[ \t]*[|:-][ \t|:-]*")
_CODE = re.compile(r"(?<![`\\])(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_BRACKETED = re.compile(r"\\\((?:(?!\\\().)+?\\\)")
_BARE, _ANY = re.compile(r"(?<!\\)\|"), re.compile(r"\|")
_LONGEST = 10_000  # characters of a row that is looked into
# Stands for a pipe that parts nothing while a table is taken apart; no text holds this character.
_KEPT = "\ufdd0"


def table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """The rule of markdown-it, shown the lines with all pipes away that part no cells."""
    columns = _columns(state, start, end)
    if not columns:
        return False
    before, count = state.src, len(state.tokens)
    state.src = _with_kept_pipes(state, start, end, columns)
    try:
        return table_by_rule(state, start, end, silent)
    finally:
        state.src = before
        for token in state.tokens[count:]:
            token.content = token.content.replace(_KEPT, "|")


def _columns(state: StateBlock, start: int, end: int) -> int:
    """How many columns the second line announces; 0 where it is no such line."""
    if start + 2 > end or "|" not in _line(state, start):
        return 0
    line = _line(state, start + 1)
    return len(line.strip().strip("|").split("|")) if _DELIMITERS.fullmatch(line) else 0


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] : state.eMarks[line]]


def _with_kept_pipes(state: StateBlock, start: int, end: int, columns: int) -> str:
    """The whole source, of the same length."""
    pieces, position = [], 0
    for line in [start, *range(start + 2, end)]:
        if state.isEmpty(line):
            break
        pieces += [state.src[position : state.bMarks[line]], _row(_line(state, line), columns, line == start)]
        position = state.eMarks[line]
    return "".join([*pieces, state.src[position:]])


def _row(line: str, columns: int, is_header: bool) -> str:
    if "|" not in line:
        return line
    kept = _without(line, _inside_code_and_formulas(line))
    if _cells(kept) != columns and (_cells(line) == columns or is_header):
        return line
    return kept if is_header else _without(kept, _too_many(kept, columns))


def _without(line: str, pipes: Iterator[int]) -> str:
    characters = list(line)
    for position in pipes:
        characters[position] = _KEPT
    return "".join(characters)


def _separators(line: str) -> list[int]:
    """The pipes between cells, and not those at the ends of the row."""
    text = line.rstrip()
    found = [match.start() for match in _BARE.finditer(text)]
    first = len(line) - len(line.lstrip())
    return [position for position in found if position not in (first, len(text) - 1)]


def _cells(line: str) -> int:
    return len(_separators(line)) + 1


def _too_many(line: str, columns: int) -> Iterator[int]:
    yield from _separators(line)[columns - 1 :]


def _inside_code_and_formulas(line: str) -> Iterator[int]:
    if len(line) > _LONGEST:
        return
    codes = [found.span() for found in _CODE.finditer(line)]
    for start, end in codes:
        yield from (start + match.start() for match in _BARE.finditer(line[start:end]))
    for start, end in (*formulas(line), *(found.span() for found in _BRACKETED.finditer(line))):
        if any(first < end and start < last for first, last in codes):
            continue
        # An escaped pipe is a pipe, by the rule; but a pair of them in a formula is TeX's norm.
        pipe = _ANY if line.count("\\|", start, end) % 2 == 0 else _BARE
        yield from (start + match.start() for match in pipe.finditer(line[start:end]))
