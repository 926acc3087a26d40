"""Text of unknown origin as something that is only ever seen: control characters, HTML, code.

These are the small pieces that `harmless` and `cards` are made of. Each takes any string and never raises.

Two facts decide how code is written. JupyterLab cuts out mathematics with regular expressions *before* it
parses Markdown, and nbconvert does the same while parsing; neither asks whether the dollar sign stands in
code, except that JupyterLab spares fences at the first column and code spans within a line. And mistune lets
`*`, `[` or `|` inside a code span end what began outside it. So code that could be misread is written as an
HTML element of our own with its special characters as numeric entities, which no parser can misread, and
everything else as the backticks that people expect.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import partial

from claude_nb.render.hidden import HIDDEN, is_needed

# CSI, OSC / DCS / APC / PM / SOS strings, and the other two- or three-byte escapes. None crosses a line, so
# that cleaning never changes the number of lines.
_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_ENTITY_WORTHY = re.compile(r"[&<>\"'`*_\[\]\\$@|~!:#{}]|(?<=www)\.", re.IGNORECASE)
# What JupyterLab takes for mathematics, or for its own place-holder, also where it stands in a fence.
_TAKEN_FOR_MATH = re.compile(r"\\begin\{|\\\\[(\[]|@@\d+@@")
_TAKEN_FOR_MARKUP = re.compile(r"<[A-Za-z/!?]|\]\(|\$|\t")
_AMBIGUOUS_SPAN = re.compile(r"[`$\n]|@@\d|\\begin\{|\\\\[(\[]|^\s|\s$|<(?=.*[*_\[\]~|\\])|[*_\[\]~|\\].*<")
_UNSAFE_INSIDE = re.compile(r"[<>*_\[\]|~!&\\:@]|www\.", re.IGNORECASE)
_LANGUAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+#.-]{0,39}")
# Front ends draw these instead of showing them: a diagram is HTML of the author's choosing.
_DRAWN = re.compile(r"mermaid|math$|geojson|topojson|stl$|vega|plantuml|dot-?render", re.IGNORECASE)
_RUNS = re.compile(r"`+")


def visible(text: str) -> str:
    """Terminal escapes removed; control, bidirectional and invisible characters as something one can see.

    For code, names and whatever a person decides about. Line feeds and tabs stay, CR LF becomes LF. A lone
    carriage return is shown, never obeyed: it would let one text overwrite another.
    """
    return _with_pictures(text, _PICTURES)


def readable(text: str) -> str:
    """The same for prose, where more of what one does not see belongs to the script (see `hidden`)."""
    return _with_pictures(text, _PICTURES_IN_PROSE)


def _with_pictures(text: str, picture: Callable[[re.Match[str]], str]) -> str:
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    if "\x1b" in text or not text.isascii():
        text = _ANSI.sub("", text)
    return HIDDEN.sub(picture, text)


def _picture(match: re.Match[str], prose: bool) -> str:
    if is_needed(match, prose=prose):
        return match[0]
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\u27e6U+{code:04X}\u27e7"


_PICTURES = partial(_picture, prose=False)
_PICTURES_IN_PROSE = partial(_picture, prose=True)


def _entity(match: re.Match[str]) -> str:
    # JupyterLab looks for its `@@0@@` in the finished HTML, where some have turned entities into characters.
    split = "<span></span>" if match.string.startswith("@@", match.start()) else ""
    return f"&#{ord(match[0])};{split}"


def escape_html(text: str) -> str:
    """`text` for HTML, in an element or a quoted attribute."""
    return html.escape(visible(text), quote=True)


def escape_prose(text: str) -> str:
    """The same for a text to be read."""
    return html.escape(readable(text), quote=True)


def entities(text: str) -> str:
    """`text` such that neither HTML, Markdown nor a search for mathematics finds anything in it."""
    return _ENTITY_WORTHY.sub(_entity, text)


def dollar_proof(text: str) -> str:
    """`entities`, and safe from MathJax too, which reads the finished page: `$` and `\\` stand alone."""
    return re.sub(r"&#(36|92);", r"<span>&#\1;</span>", entities(text))


def inline_code(text: str, *, inside: bool = False) -> str:
    """A code span. `inside`: within emphasis, a link or a table, where more characters could be misread."""
    text = visible(text)
    if not text.strip():
        return f"<code>{text}</code>" if text else ""
    if _AMBIGUOUS_SPAN.search(text) or (inside and _UNSAFE_INSIDE.search(text)):
        return f"<code>{entities(' '.join(text.splitlines()))}</code>"
    return f"`{text}`"


def language_of(info: str) -> str:
    """The language of a fence's info string, or nothing where it is odd or would be drawn as a diagram."""
    words = visible(info).split()
    if not words:
        return ""
    word = words[0].removeprefix("{.").removeprefix("{").rstrip("}").removeprefix("language-")
    if not _LANGUAGE.fullmatch(word) or _DRAWN.match(word):
        return "latex" if word.lower() == "math" else ""
    return word


def fence(text: str, language: str = "", *, nested: bool = False) -> str:
    """A block of code, exactly as written, in every renderer. `nested`: it will stand in a list or quote."""
    text = visible(text).removesuffix("\n")
    language = language_of(language)
    if _TAKEN_FOR_MATH.search(text) or (nested and _TAKEN_FOR_MARKUP.search(text)):
        return _preformatted(text, language, one_line=nested)
    longest = max((len(run) for run in _RUNS.findall(text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"


def _preformatted(text: str, language: str, *, one_line: bool) -> str:
    """Nothing in it can end it; it costs the highlighting. On one line no container can cut through it."""
    body = entities(text)
    if one_line or body.startswith("\n"):  # HTML drops a line feed right after <pre>
        body = body.replace("\n", "&#10;").replace("\t", "&#9;")
    kind = f' class="language-{language}"' if language else ""
    return f"<pre><code{kind}>{body}</code></pre>"
