r"""Mathematics in a reply: which TeX may be typeset, and how it is written so that every renderer agrees.

MathJax is an interpreter: `\href` makes links, `\def` and `\newcommand` change what later cells mean (a page
has one interpreter) and can loop, `\require` loads code, `\style`, `\class`, `\bbox` reach into the page. TeX
that uses such a command is not typeset; the reader sees its source.

Renderers without mathematics read TeX as Markdown, and JupyterLab puts TeX back into finished HTML with only
`&<>` escaped, so a double quote inside an attribute would end it. `clean` therefore takes from TeX what could
open a tag, a link, a code span or an attribute, by means that TeX does not print.
"""

from __future__ import annotations

import re

LONGEST = 8_000  # characters; beyond it is no formula
_DEEPEST = 60  # braces; MathJax recurses

_WORDS = """
    href url class cssId style data require unicode def edef gdef xdef let futurelet global long newcommand
    renewcommand providecommand newenvironment renewenvironment DeclareMathOperator DeclarePairedDelimiter
    DeclarePairedDelimiters DeclarePairedDelimiterX DeclarePairedDelimiterXPP DeclareRobustCommand
    newtagform renewtagform usetagform Newextarrow newcolumntype definecolor newcounter setcounter
    includegraphics mmlToken bbox texttip mathtip toggle mathtoggle enclose verb setOptions
    html htmlClass htmlId htmlStyle htmlData htmlMathML special catcode input include usepackage
    write openin openout read expandafter csname endcsname loop repeat font ref eqref
"""
_FORBIDDEN = frozenset(_WORDS.split())
_COMMAND = re.compile(r"\\(?:([A-Za-z@]+)|.)", re.DOTALL)
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*")
_BLANK_LINES = re.compile(r"\n\s*\n")
_OPENS_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
# JupyterLab's own reading of braces, which differs after a double backslash.
_LAB_BRACES = re.compile(r"\\(?:begin|end)\{[a-z]*\*?\}|\\[{}$]|[{}]", re.IGNORECASE)
_LABEL = re.compile(r"\\label\s*\{[^{}]*\}")  # prints nothing, and is an error the second time it is drawn
_BLOCK_START = re.compile(r"^[ \t]*(?:[-+*>#=~:|]|\d+[.)]|\t| {4})", re.MULTILINE)


def allowed(tex: str) -> bool:
    """Whether this may be typeset: short enough, braces balanced, no command with power over the page."""
    if not tex.strip() or len(tex) > LONGEST or "`" in tex:
        return False
    return not forbidden(tex) and _balanced(tex) and not _dollar(tex)


def forbidden(tex: str) -> bool:
    """Whether it uses a command with power over the page."""
    return any(match[1] in _FORBIDDEN for match in _COMMAND.finditer(tex))


def _balanced(tex: str) -> bool:
    return all(_depth_ends_at_zero(pattern.findall(tex)) for pattern in (_BRACES, _LAB_BRACES))


def _depth_ends_at_zero(braces: list[str]) -> bool:
    depth = 0
    for brace in braces:
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if not 0 <= depth <= _DEEPEST:
            return False
    return depth == 0


def _dollar(tex: str) -> bool:
    """An unescaped dollar sign, which would end the formula early (also inside `\\text`)."""
    return "$" in re.sub(r"\\.", "", tex, flags=re.DOTALL)


def clean(tex: str, *, one_line: bool, table: bool = False) -> str:
    """TeX that prints the same, and holds nothing that another reader of the page could take for its own."""
    tex = _COMMENT.sub(r"\1", tex) if "%" in tex else tex
    tex = _BLANK_LINES.sub("\n", _LABEL.sub("", tex).strip("\n"))
    tex = _OPENS_TAG.sub("< ", tex).replace("](", "] (").replace("]:", "] :").replace("![", "! [")
    tex = tex.replace('"', "\u201d").replace("@@", "@ @").replace("://", ": //")
    if table:
        tex = tex.replace("\\|", "\\Vert ").replace("|", "\\vert ")
    if one_line or _BLOCK_START.search(tex):
        tex = " ".join(tex.split())
    return tex + " " if tex.endswith("\\") else tex


def inline(tex: str, *, table: bool = False) -> str:
    """`$...$`, which is what every renderer with mathematics knows."""
    return f"${clean(tex.strip(), one_line=True, table=table)}$"


def display_inline(tex: str, *, table: bool = False) -> str:
    """`$$...$$` on one line."""
    return f"$${clean(tex.strip(), one_line=True, table=table)}$$"


def display(tex: str, *, one_line: bool) -> str:
    """`$$...$$` as a block."""
    tex = clean(tex, one_line=one_line)
    return f"$$\n{tex}\n$$" if "\n" in tex else f"$${tex}$$"
