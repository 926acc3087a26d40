"""From which side a text is read: each paragraph, item and cell by its first letter, code from the left.

A page would do it by `dir="auto"`, but then a list or a table would not follow its items. So the direction is
found here, and written only where it differs from that of what is around: most texts stay as they were.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Literal

from markdown_it.token import Token

Direction = Literal["ltr", "rtl"]

_PARTS = ("thead_open", "tbody_open", "tr_open")  # of a table: they go with it
_CODE = ("fence", "code_block", "math_block")


def direction(text: str) -> Direction | None:
    """By the first letter; None where there is none."""
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind in ("L", "R", "AL"):
            return "ltr" if kind == "L" else "rtl"
    return None


def dir_attribute(text: str) -> str:
    """The attribute of an element in a page that is read from the left."""
    return ' dir="rtl"' if direction(text) == "rtl" else ""


def set_directions(tokens: Sequence[Token]) -> None:
    """Note it in the attributes of blocks and of code within."""
    found = _by_first_letter(tokens)
    if "rtl" not in found.values():
        return
    around: list[Direction] = ["ltr"]
    for token in tokens:
        if token.nesting > 0:
            own = around[-1] if token.hidden or token.type in _PARTS else found.get(id(token), around[-1])
            if own != around[-1]:
                token.attrs["dir"] = own
            around.append(own)
        elif token.nesting < 0:
            around.pop()
        elif around[-1] == "rtl":
            for code in (token, *(token.children or [])):
                if code.type in (*_CODE, "code_inline"):
                    code.attrs["dir"] = "ltr"


def is_read_from_the_right(block: Sequence[Token]) -> bool:
    """The whole block; one with code in it is better left as it is, since the code would be turned, too."""
    if any(token.type in _CODE for token in block):
        return False
    return _by_first_letter(block).get(id(block[0])) == "rtl"


def _by_first_letter(tokens: Sequence[Token]) -> dict[int, Direction]:
    """The direction of each block that has letters, by the identity of its opening token."""
    found: dict[int, Direction] = {}
    open_: list[Token] = []
    for token in tokens:
        if token.nesting > 0:
            open_.append(token)
        elif token.nesting < 0:
            open_.pop()
        elif token.type == "inline" and (own := _of_inline(token)):
            for block in open_:
                found.setdefault(id(block), own)
    return found


def _of_inline(token: Token) -> Direction | None:
    said = (child.content for child in token.children or [] if child.type == "text")
    return next((own for text in said if (own := direction(text))), None)
