"""Four readers of Markdown, as their pages have them, and a strict look at the HTML they make.

JupyterLab's is a stand-in: its removal of mathematics, written after the behaviour of its `latex.ts`, around
markdown-it instead of marked. The browser test holds the same corpus to the real one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import mistune
from markdown_it import MarkdownIt
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

_PLUGINS = ["strikethrough", "table", "url", "task_lists", "def_list", "footnotes"]
_MARKDOWN_IT = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_MARKDOWN_IT.validateLink = lambda url: True  # type: ignore[method-assign]
_MISTUNE = mistune.create_markdown(
    escape=False,
    renderer=mistune.HTMLRenderer(escape=False, allow_harmful_protocols=True),
    plugins=_PLUGINS,
)


def markdown_it(text: str) -> str:
    return str(_MARKDOWN_IT.render(text))


def plain_mistune(text: str) -> str:
    return str(_MISTUNE(text))


def nbconvert_html(text: str) -> str:
    renderer = IPythonRenderer(escape=False, exclude_anchor_links=True)
    return MarkdownWithMath(renderer=renderer).render(text)


def lab_like(text: str) -> str:
    text, math = remove_math(text)
    html = markdown_it(text)
    return re.sub(r"@@(\d+)@@", lambda match: math[int(match[1])], html)  # one out of range breaks the page


RENDERERS: dict[str, Callable[[str], str]] = {
    "markdown-it": markdown_it,
    "mistune": plain_mistune,
    "nbconvert": nbconvert_html,
    "lab": lab_like,
}

_SPLIT = re.compile(
    r"(\$\$?|\\(?:begin|end)\{[a-z]*\*?\}|\\[{}$]|[{}]|(?:\n\s*)+|@@\d+@@|\\\\(?:\(|\)|\[|\]))", re.IGNORECASE
)
_FENCES = re.compile(r"^(?P<fence>`{3,}|(?:~T){3,})[^`\n]*\n([\s\S]*?)^(?P=fence)`*$", re.MULTILINE)
_SPANS = re.compile(r"(^|[^\\])(`+)([^\n]*?[^`\n])\2(?!`)", re.MULTILINE)


def remove_math(text: str) -> tuple[str, list[str]]:
    """Mathematics replaced by numbered marks, as JupyterLab does before it parses."""
    coded = "`" in text or "~~~" in text
    if coded:
        text = text.replace("~", "~T")
        text = _FENCES.sub(lambda match: match[0].replace("$", "~D"), text)
        text = _SPANS.sub(lambda match: match[0].replace("$", "~D"), text)
    pieces = _SPLIT.split(text)
    math: list[str] = []
    start = end = last = None
    braces = 0
    index = 1

    def restore(piece: str) -> str:
        return re.sub(r"~([TD])", lambda m: "~" if m[1] == "T" else "$", piece) if coded else piece

    def take(first: int, final: int) -> None:
        found = "".join(pieces[first : final + 1])
        found = found.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        pieces[first : final + 1] = [f"@@{len(math)}@@"] + [""] * (final - first)
        math.append(restore(found))

    while index < len(pieces):
        piece = pieces[index]
        if piece.startswith("@"):
            pieces[index] = f"@@{len(math)}@@"
            math.append(piece)
        elif start is not None:
            if piece == end:
                if braces:
                    last = index
                else:
                    take(start, index)
                    start = end = last = None
            elif re.search(r"\n.*\n", piece):
                if last is not None:
                    index = last
                    take(start, index)
                start = end = last = None
                braces = 0
            elif piece == "{":
                braces += 1
            elif piece == "}" and braces:
                braces -= 1
        elif piece in ("$", "$$"):
            start, end, braces = index, piece, 0
        elif piece in ("\\\\(", "\\\\["):
            start, end, braces = index, "\\\\" + (")" if piece[-1] == "(" else "]"), 0
        elif piece[1:6] == "begin":
            start, end, braces = index, "\\end" + piece[6:], 0
        index += 2
    if start is not None and last is not None:
        take(start, last)
    return restore("".join(pieces)), math


_TAG_NAMES = """
    p h1 h2 h3 h4 h5 h6 em strong del s code pre span a ul ol li blockquote table thead tbody tr th td hr br
    div input details summary b i small sub sup kbd u ins mark
"""
_TAGS = set(_TAG_NAMES.split())
_ATTRIBUTES = {"class", "href", "start", "align", "style", "type", "disabled", "checked", "open", "id", "dir"}
_CLASS = re.compile(r"[\w+#. -]*")
_HREF = re.compile(
    r"(?:https?://|mailto:)[^\s\"'<>]*|(?![a-z][a-z0-9+.-]*:|//|\\|/)[^\s\"'<>:\\]*", re.IGNORECASE
)


class _Inspector(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.text: list[str] = []
        self.codes: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self._code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in _TAGS:
            self.faults.append(f"<{tag}>")
        if tag == "code" or (tag == "pre" and not self._code):
            self._code += 1
            if self._code == 1:
                self.codes.append("")
        for name, value in attrs:
            self._attribute(tag, name, value or "")

    def _attribute(self, tag: str, name: str, value: str) -> None:
        good = name in _ATTRIBUTES
        if name == "href":
            self.links.append(value)
            good = tag == "a" and _HREF.fullmatch(value) is not None
        elif name == "class":
            good = _CLASS.fullmatch(value) is not None and "mermaid" not in value.lower()
        elif name == "style":
            good = re.fullmatch(r"text-align: ?\w+;?", value) is not None
        elif name == "dir":
            good = tag == "div" and value == "rtl"
        elif name == "type":
            good = tag == "input" and value == "checkbox"
        if not good:
            self.faults.append(f"<{tag} {name}={value!r}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("code", "pre"):
            self._code = max(0, self._code - 1)

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._code:
            self.codes[-1] += data

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"<!{decl}>")

    unknown_decl = handle_decl

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"<?{data}>")


def inspected(html: str) -> _Inspector:
    inspector = _Inspector()
    inspector.feed(html)
    inspector.close()
    return inspector


def faults(markdown: str) -> dict[str, list[str]]:
    """By renderer, whatever in its page is not plainly harmless."""
    found = {name: _faults_of(render, markdown) for name, render in RENDERERS.items()}
    return {name: what for name, what in found.items() if what}


def _faults_of(render: Callable[[str], str], markdown: str) -> list[str]:
    try:
        html = render(markdown)
    except Exception as error:  # a page that cannot be made is a fault like any other
        return [repr(error)]
    return inspected(html).faults
