r"""TeX as MathML, which every browser draws without a script.

The converter is latex2mathml. Three things about it decide what is done here: it turns a command that it does
not know into a letter by that name, its texts hold entities and unescaped markup side by side, and its cost
grows with the nesting. So its tree is taken, not its text; a tree with a backslash in it is no formula; and
what is long is shown as source.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from claude_nb.render import tex
from claude_nb.render.escape import readable

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LONGEST = 2_000  # characters; the costliest formula of that length takes 0.15 s
_NUMBERED = re.compile(r"\\(begin|end)\{align\}")  # numbers would start with 1 in each formula
_UNKNOWN = re.compile(r"\\[A-Za-z]")


@lru_cache(maxsize=1024)
def mathml(source: str, *, block: bool) -> str | None:
    """The formula, not yet cleaned, or None where it is better shown as its source."""
    from xml.etree.ElementTree import tostring

    if len(source) > _LONGEST or not tex.allowed(source):
        return None
    element = _converted(tex.clean(source, one_line=True), block)
    return None if element is None else tostring(element, encoding="unicode")


def _converted(source: str, block: bool) -> Element | None:
    from latex2mathml.converter import convert_to_element

    source = _NUMBERED.sub(r"\\\1{align*}", source)
    try:
        element = convert_to_element(source, display="block" if block else "inline")
    except Exception:  # its own errors, and IndexError, KeyError or RecursionError on what it does not expect
        return None
    for node in element.iter():
        node.text = readable(html.unescape(node.text or ""))
        if _UNKNOWN.search(node.text) and node.tag != "mtext":
            return None
    return element
