"""Code as HTML: highlighted by classes, its text exactly the source, and the style sheet for it.

Only languages that people and models write a lot are highlighted, and no code of odd size: a lexer is a
set of regular expressions that nobody has tried on hostile text of any length.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

from claude_nb.render.escape import escape_html, language_of, visible

if TYPE_CHECKING:
    from pygments.lexer import Lexer  # type: ignore[import-untyped]

_LONGEST = 20_000  # characters that are highlighted
_LONGEST_LINE = 1_000
_LIGHT, _DARK = "default", "github-dark"
_DARK_PAGES = '[data-jp-theme-light="false"], .vscode-dark, [data-theme="dark"]'
_UNSTYLED = "color:inherit;font-weight:inherit;font-style:inherit"
_THEMED_PAGES = "[data-jp-theme-light], [data-vscode-theme-kind], [data-theme]"
_LANGUAGES = """
    python py python3 pycon bash sh shell zsh console shell-session powershell batch
    javascript js jsx typescript ts tsx json html xml css scss sql r julia rust rs go c cpp c++
    java kotlin scala swift ruby rb php perl lua haskell elixir matlab fortran cuda
    yaml yml toml ini diff docker dockerfile make makefile cmake latex tex markdown md
"""


def code_html(source: str, info: str = "") -> str:
    """A block of code; `info` is what follows the fence. One last line feed of `source` is not part of it."""
    source = visible(source).removesuffix("\n")
    language = language_of(info)
    body = _highlighted(source, language.lower())
    named = f' data-language="{escape_html(language)}"' if language else ""
    return f'<div class="cnb-code"{named}><pre><code>{body}</code></pre></div>'


def diff_html(text: str) -> str:
    """A change as `difflib` writes it, each line by its first character only."""
    lines = "\n".join(_changed(line) for line in visible(text).split("\n"))
    return f'<div class="cnb-code" data-language="diff"><pre><code>{lines}</code></pre></div>'


def _changed(line: str) -> str:
    kind = {"+": "cnb-add", "-": "cnb-del"}.get(line[:1])
    return f'<span class="{kind}">{escape_html(line)}</span>' if kind else escape_html(line)


def _highlighted(source: str, language: str) -> str:
    if language not in _LANGUAGES.split() or len(source) > _LONGEST:
        return escape_html(source)
    if max(map(len, source.split("\n"))) > _LONGEST_LINE:
        return escape_html(source)
    pieces = list(_pieces(source, language))
    if "".join(text for _, text in pieces) != source:  # some lexers tidy up
        return escape_html(source)
    return "".join(
        f'<span class="{name}">{escape_html(text)}</span>' if name else escape_html(text)
        for name, text in pieces
    )


def _pieces(source: str, language: str) -> Iterator[tuple[str, str]]:
    """Neighbouring pieces of the source, each with its class."""
    from pygments.token import STANDARD_TYPES  # type: ignore[import-untyped]

    lexer = _lexer(language)(stripnl=False, ensurenl=False)
    coloured = token_classes()
    named = ((STANDARD_TYPES.get(kind, ""), text) for kind, text in lexer.get_tokens(source) if text)
    for name, run in groupby(named, key=lambda piece: piece[0] if piece[0] in coloured else ""):
        yield name, "".join(text for _, text in run)


@cache
def _lexer(language: str) -> type[Lexer]:
    from pygments.lexers import find_lexer_class_by_name  # type: ignore[import-untyped]

    found: type[Lexer] = find_lexer_class_by_name(language)
    return found


@cache
def token_classes() -> set[str]:
    """The classes that look like something, by either style."""
    from pygments.token import STANDARD_TYPES

    plain = {"", "n", "p", "w", "x"}
    return {name for name in STANDARD_TYPES.values() if name not in plain and _looks(name)}


def _looks(name: str) -> bool:
    return any(name in _rules(style) for style in (_LIGHT, _DARK))


@cache
def _rules(style: str) -> dict[str, str]:
    """What each class looks like; a background would not fit the page's own."""
    from pygments.styles import get_style_by_name  # type: ignore[import-untyped]
    from pygments.token import STANDARD_TYPES

    found: dict[str, str] = {}
    for kind, look in get_style_by_name(style):
        declarations = [f"color:#{look['color']}"] if look["color"] else []
        declarations += ["font-weight:bold"] if look["bold"] else []
        declarations += ["font-style:italic"] if look["italic"] else []
        if declarations and STANDARD_TYPES.get(kind):
            found[STANDARD_TYPES[kind]] = ";".join(declarations)
    return found


def code_css(scope: str = ".cnb-code") -> str:
    """The style sheet of highlighted code inside `scope` (a selector), for light pages and for dark ones.

    Dark is what JupyterLab or VS Code says, and on any other page what the reader's system says.
    """
    light = _sheet(scope, _LIGHT)
    dark = _sheet(f":is({_DARK_PAGES}) {scope}", _DARK)
    unthemed = _sheet(f":root:not(:has({_THEMED_PAGES})) {scope}", _DARK)
    return f"{light}\n{dark}\n@media (prefers-color-scheme: dark) {{\n{unthemed}\n}}\n"


def _sheet(scope: str, style: str) -> str:
    by_look: dict[str, list[str]] = {}
    for name in sorted(token_classes()):
        by_look.setdefault(_rules(style).get(name, _UNSTYLED), []).append(f".{name}")
    return "\n".join(f"{scope} :is({', '.join(names)}) {{{look}}}" for look, names in by_look.items())
