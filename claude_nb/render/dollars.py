r"""Which dollar signs mean mathematics, and which a shell's, a language's variables, or money.

A pair means mathematics where the first sign is followed and the second preceded by something, and no digit
comes after it ("$5 to $10" is money). What else is written with them is told apart by what is between and
beside them:

    $HOME/bin:$PATH   a letter comes right after, and the text between is no formula by itself, as `\beta`
                      or a single letter is; `$n$th` is one, and so is `$x$` before a Chinese word
    df$age, H$_2$O    the same for a letter right before
    $(this), $(that)  words follow one another between the signs, with nothing of mathematics beside them
"""

from __future__ import annotations

import re
from collections.abc import Iterator

INLINE = re.compile(r"\$(?![\s$])((?:[^$\\`]|\\.)+)(?<!\s)\$(?![\d$])", re.DOTALL)
DISPLAY = re.compile(r"\$\$(?!\$)((?:[^$\\`]|\\.)+)\$\$", re.DOTALL)
# A formula whatever stands beside it: one letter, a command, or what is raised or lowered.
_SURE = re.compile(r"[A-Za-z]'*|[\^_].*|.*(?:\\[A-Za-z]|[\^_]\{).*", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_{]")  # goes on with what a name has begun; other scripts go on after a formula
_ORDINAL = re.compile(r"(?:th|st|nd|rd|s|ary)\b")
_WORDS = re.compile(r"[A-Za-z]{2,}[,;.]? +[A-Za-z]{2,}")
_OF_MATHEMATICS = re.compile(r"\\[A-Za-z]|[=<>]")
_NO_BEGINNING = re.compile(r"\s*[;,)\]}!?&]")


def means_mathematics(text: str, start: int, end: int) -> bool:
    """Whether the pair of dollar signs, or of double ones, around `text[start:end]` means a formula."""
    inner = text[start:end].strip("$")
    if _NO_BEGINNING.match(inner) or (_WORDS.search(inner) and not _OF_MATHEMATICS.search(inner)):
        return False
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    if after and after in "({" and inner[0] in "({":  # $(date)$(hostname), ${A}${B}
        return False
    if _NAME.match(before) and not _SURE.fullmatch(inner):
        return False
    return not (_NAME.match(after) and not _SURE.fullmatch(inner) and not _ORDINAL.match(text, end))


def formulas(line: str) -> Iterator[tuple[int, int]]:
    """Where the formulas in dollars are in a line, from the left."""
    position = 0
    while (position := line.find("$", position)) >= 0:
        found = DISPLAY.match(line, position) or INLINE.match(line, position)
        if found and means_mathematics(line, found.start(), found.end()) and not _escaped(line, position):
            yield found.span()
            position = found.end()
        else:
            position += 1


def _escaped(line: str, position: int) -> bool:
    backslashes = 0
    while backslashes < position and line[position - backslashes - 1] == "\\":
        backslashes += 1
    return backslashes % 2 == 1
