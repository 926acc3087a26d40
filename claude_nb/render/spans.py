"""What stands in a line: text, emphasis, code, links, mathematics, written so that it can only be that."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markdown_it.token import Token

from claude_nb.render import links, tex
from claude_nb.render.cjk import BESIDE_CJK
from claude_nb.render.escape import dollar_proof, entities, inline_code, readable, visible

_LITERAL = {
    "&": "&amp;",
    "@": "@<span></span>",
    "$": "<span>&#36;</span>",
    "<": "&lt;",
    "`": "&#96;",
    "[": "\\[",
    "~": "\\~",
}
_SPECIAL = re.compile(
    r"[$<`\[~]"
    r"|\\(?:(?=[(\[\])$]|begin|end|ref|eqref)|(?=[!-/:-@\[-`{-~])|$)"
    r"|&(?=#?\w*(?:;|$))"
    r"|\*(?!(?<=\s\*)\s)"
    r"|_(?!(?<=[^\W_]_)[^\W_])(?!(?<=\s_)\s)"
    r"|\](?=[(\[:]|$)"
    r"|!$"
    r"|@(?=@)"
    r"|(?<=[A-Za-z0-9])://"
)
_MATH_MACRO = re.compile(r"\\(?:[(\[\])$]|begin|end|ref|eqref)")
_LINE_START = re.compile(
    r"(?P<hash>#{1,6}(?=\s|$))|(?P<quote>>)|(?P<bullet>[-+*](?=\s|$))|(?P<number>\d{1,9})(?P<dot>[.)])(?=\s|$)"
    r"|(?P<rule>(?:[-=_*]\s*)+$)|(?P<row>[|:-][\s|:-]*$)|(?P<other>[:|=])"
)
_TASK = re.compile(r"\[[ xX]\](?=\s)")
_WRAPS = {"em_open", "em_close", "strong_open", "strong_close", "s_open", "s_close"}


class SpanWriter:
    """Writes the children of one inline token."""

    def __init__(self, *, table: bool = False, task: bool = False) -> None:
        self.table = table
        self._task = task
        self._out: list[str] = []
        self._depth = 0  # of emphasis
        self._link: str | None = None  # where the link leads that is being written
        self._link_start = 0
        self._tags = 0  # of HTML that are open
        self._as_tags: set[int] = set()  # emphasis that has to be written so, by the tokens' identities

    def write(self, tokens: Sequence[Token]) -> str:
        self._as_tags = _beside_cjk(tokens)
        for token in tokens:
            self._write(token)
        text = "".join(self._out)
        if self.table:
            return " ".join(text.split()).strip()
        return "\n".join(_defuse_start(line.strip(" \t")) for line in text.split("\n")).replace("\x00", "  ")

    @property
    def _inside(self) -> bool:
        return self._depth > 0 or self.table or self._link is not None

    def _write(self, token: Token) -> None:
        kind = token.type
        if kind == "text":
            self._text(token.content)
        elif kind == "code_inline":
            self._add(inline_code(token.content, inside=self._inside))
        elif kind == "math":
            self._math(token)
        elif kind == "softbreak":
            self._break()
        elif kind == "hardbreak":
            # Two blanks, put in when lines have been trimmed.
            self._add(" " if self.table or self._tags else "\x00\n")
        elif kind == "br":
            self._line_break()
        elif kind in _WRAPS:
            self._depth += token.nesting
            self._add(_tag(token) if id(token) in self._as_tags else token.markup)
        elif kind in ("tag_open", "tag_close"):
            self._tags += token.nesting
            self._add(_tag(token))
        elif kind == "image":
            self._image(token)
        elif kind == "link_open":
            self._open_link(str(token.attrs.get("href", "")))
        elif kind == "link_close":
            self._close_link(autolink=token.markup == "autolink")
        else:
            self._text(token.content)

    def _break(self) -> None:
        """A line of ours never consists of a tag alone: it would begin a block of HTML."""
        if self._tags or (self._out and self._out[-1].endswith("<br>")):
            self._add(" ")
        elif self._out:
            self._add("\n")

    def _line_break(self) -> None:
        while self._out and self._out[-1] == "\n":
            self._out.pop()
        if self._out:
            self._add("<br>")

    def _add(self, text: str) -> None:
        if text.startswith("$") and self._out and self._out[-1].endswith("$"):
            self._out.append(" ")  # two formulas, not `$$`
        if text:
            self._out.append(text)

    def _text(self, text: str) -> None:
        if self._task and not self._out and (box := _TASK.match(text)):
            self._out.append(box[0])
            text = text[box.end() :]
        position = 0
        for found in links.BARE.finditer(text) if self._link is None else ():
            end = found.start() + links.bare_end(found[0])
            href = links.address(text[found.start() : end], inside=self._depth > 0)
            if href is None or found.start() < position:
                continue
            self._add(self._escaped(text[position : found.start()]))
            self._add(f"<{href}>")
            position = end
        self._add(self._escaped(text[position:]))

    def _escaped(self, text: str) -> str:
        # An entity of Markdown can be any character.
        text = _SPECIAL.sub(_escape, readable(text))
        if self._link is not None:
            text = re.sub(r"(?<!\\)\]", r"\\]", text)
        return text.replace("|", "&#124;") if self.table else text

    def _math(self, token: Token) -> None:
        write = tex.display_inline if token.markup == "$$" else tex.inline
        self._add(write(token.content, table=self.table))

    def _image(self, token: Token) -> None:
        """A picture is fetched without a click: leave its description and, where it is allowed, a link."""
        source = str(token.attrs.get("src", ""))
        label = self._escaped(f"image: {token.content}" if token.content.strip() else "image")
        href = links.address(source, inside=self._depth > 0) if links.is_remote(source) else None
        if self._link is not None:
            self._add(re.sub(r"(?<!\\)\]", r"\\]", label))
        elif href is not None:
            self._add(f"[{label}]({href})")
        else:
            self._add(f"{label} ({links.shown(source)})" if source else label)

    def _open_link(self, href: str) -> None:
        self._link = href
        self._link_start = len(self._out)

    def _close_link(self, *, autolink: bool) -> None:
        text = "".join(self._out[self._link_start :])
        del self._out[self._link_start :]
        href, self._link = self._link or "", None
        target = links.address(href, inside=self._depth > 0)
        if target is None:
            self._add(links.shown(href) if autolink else self._unlinked(text, href))
        elif autolink and links.is_remote(target):
            self._add(f"<{target}>" if not target.lower().startswith("mailto:") else f"<{target[7:]}>")
        else:
            self._add(f"[{text}]({target})" if text.strip() else f"[link]({target})")

    def _unlinked(self, text: str, href: str) -> str:
        return f"{text} ({links.shown(href)})" if href else text


def html_line(tokens: Sequence[Token]) -> str:
    """The same as one line of HTML, where no Markdown is read; links, pictures and formulas as text."""
    out = []
    for token in tokens:
        if token.type == "code_inline":
            out.append(f"<code>{entities(visible(token.content))}</code>")
        elif token.type in _WRAPS or token.type in ("tag_open", "tag_close"):
            out.append(_tag(token))
        elif token.type in ("softbreak", "hardbreak", "br"):
            out.append(" ")
        elif token.type == "math":
            out.append(dollar_proof(f"{token.markup}{token.content}{token.markup}"))
        else:
            out.append(dollar_proof(readable(token.content)))
    return " ".join("".join(out).split())


def _beside_cjk(tokens: Sequence[Token]) -> set[int]:
    """The tokens of emphasis that other readers of Markdown would not see, which ask for blanks around it."""
    found: set[int] = set()
    open_: list[Token] = []
    for token in tokens:
        if token.nesting > 0:
            open_.append(token)
        elif token.nesting < 0 and open_:
            pair = (open_.pop(), token)
            if any(each.meta.get(BESIDE_CJK) for each in pair):
                found.update(map(id, pair))
    return found


def _tag(token: Token) -> str:
    """Ours, of HTML; `<del>` is what all readers make of two tildes."""
    name = "del" if token.type in ("s_open", "s_close") else token.tag
    return f"<{'/' if token.nesting < 0 else ''}{name}>"


def _escape(match: re.Match[str]) -> str:
    found = match[0]
    if found[0] == "\\":
        return "<span>&#92;</span>" if _MATH_MACRO.match(match.string, match.start()) else "&#92;"
    if found == "://":
        return ":&#47;/"
    if found == "!":
        return "&#33;"
    return _LITERAL.get(found, "\\" + found)


def _defuse_start(line: str) -> str:
    """`line`, unless its start would make it something other than text: then that start escaped."""
    match = _LINE_START.match(line)
    if match is None:
        return line
    at = match.start("dot") if match["dot"] else 0
    return f"{line[:at]}&#{ord(line[at])};{line[at + 1 :]}"
