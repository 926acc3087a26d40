"""Markdown tokens as HTML, by markdown-it's own renderer with our own idea of links, pictures, code and TeX.

Every text goes through `readable` once more, since an entity of Markdown can be any character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping, Sequence
from functools import cache
from typing import Any

from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from claude_nb.render import links
from claude_nb.render.directions import set_directions
from claude_nb.render.escape import dollar_proof, escape_html, escape_prose, readable
from claude_nb.render.html_code import code_html
from claude_nb.render.html_math import mathml
from claude_nb.render.marks import quote_speaker
from claude_nb.render.tex import display_inline, inline

Tokens = Sequence[Token]
Env = MutableMapping[str, Any]

_TASK = re.compile(r"\[([ xX])\](?=\s)")
_BOXES = {" ": "\u2610", "x": "\u2611"}
_SHOWN = 300  # characters of an address that is not a link
_MOST_TEX = 20_000  # characters of TeX in one text that are typeset


def top_level(tokens: Tokens) -> Iterator[list[Token]]:
    """`tokens` cut into blocks, each from its opening token to its closing one."""
    start = depth = 0
    for index, token in enumerate(tokens):
        depth += token.nesting
        if depth == 0:
            yield list(tokens[start : index + 1])
            start = index + 1


def blocks_html(tokens: Tokens, *, static: bool = False) -> str:
    """HTML, not yet cleaned. `static`: for a page with MathJax; TeX stays TeX, other dollars are guarded."""
    env: Env = {"static": static, "links": [], "tex": 0}
    set_directions(tokens)
    if static:
        quote_speaker(tokens)
    return str(_Writer().render(_with_tasks(tokens), _options(), env))


@cache
def _options() -> OptionsDict:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").options


def _with_tasks(tokens: Tokens) -> Tokens:
    """`[ ]` at the start of an item becomes a token of its own."""
    for item, _, token in zip(tokens, tokens[1:], tokens[2:], strict=False):
        first = token.children[0] if token.children else None
        if item.type != "list_item_open" or first is None or first.type != "text":
            continue
        if box := _TASK.match(first.content):
            mark = Token("task", "", 0, content=_BOXES[box[1].lower()])
            first.content = first.content[box.end() :]
            token.children = [mark, *(token.children or [])]
    return tokens


class _Writer(RendererHTML):
    """A method for each kind of token that markdown-it would write otherwise; it is found by its name."""

    def text(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return _linked(tokens[idx].content, env)

    def task(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return f'<span class="cnb-task">{tokens[idx].content}</span>'

    def code_inline(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return f"<code{_direction(tokens[idx])}>{escape_html(tokens[idx].content)}</code>"

    def code_block(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return _from_the_left(tokens[idx], code_html(tokens[idx].content)) + "\n"

    def fence(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return _from_the_left(tokens[idx], code_html(tokens[idx].content, tokens[idx].info)) + "\n"

    def math(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        token = tokens[idx]
        if env["static"]:
            write = display_inline if token.markup == "$$" else inline
            return escape_html(write(token.content))
        return _typeset(token.content, token.markup == "$$", env) or _source(token.content, token.markup)

    def math_block(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        source = tokens[idx].content
        if env["static"]:
            return f'<div class="cnb-math">{escape_html(display_inline(source))}</div>\n'
        found = _typeset(source, True, env)
        return f'<div class="cnb-math">{found}</div>\n' if found else code_html(source, "latex") + "\n"

    def table_open(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return f'<div class="cnb-table"><table{_direction(tokens[idx])}>\n'

    def table_close(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return f"<{tokens[idx].tag}{_alignment(tokens[idx])}{_direction(tokens[idx])}>"

    td_open = th_open

    def image(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        """A picture is fetched without a click: leave its description and, where it is allowed, a link."""
        token = tokens[idx]
        source = str(token.attrs.get("src", ""))
        label = _text(f"image: {token.content}" if token.content.strip() else "image", env)
        href = _address(source)
        if not any(env["links"]) and href is not None:
            label = f"<a href={_quoted(href)}>{label}</a>"
        elif not any(env["links"]) and source:
            label += f" ({_shown(source)})"
        return f'<span class="cnb-image">{label}</span>'

    def link_open(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        href = str(tokens[idx].attrs.get("href", ""))
        target = _address(href)
        env["links"].append(target)
        env["address"] = href
        return f"<a href={_quoted(target)}>" if target is not None else ""

    def link_close(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        if env["links"].pop() is not None:
            return "</a>"
        autolink = tokens[idx].markup == "autolink"  # its text is its address already
        return "" if autolink or not env["address"] else f" ({_shown(env['address'])})"


def _address(href: str) -> str | None:
    """Where a link may lead: to http, https or mailto."""
    target = links.address(href)
    return target if target is not None and links.is_remote(target) else None


def _linked(text: str, env: Env) -> str:
    """Text in which bare addresses are links."""
    if any(env["links"]) or "://" not in text:
        return _text(text, env)
    out, position = [], 0
    for found in links.BARE.finditer(text):
        end = found.start() + links.bare_end(found[0])
        href = _address(text[found.start() : end])
        if href is None:
            continue
        shown = _text(text[found.start() : end], env)
        out += [_text(text[position : found.start()], env), f"<a href={_quoted(href)}>{shown}</a>"]
        position = end
    return "".join([*out, _text(text[position:], env)])


def _text(text: str, env: Env) -> str:
    return dollar_proof(readable(text)) if env["static"] else escape_prose(text)


def _quoted(href: str) -> str:
    return f'"{escape_html(href)}"'


def _shown(href: str) -> str:
    short = href if len(href) <= _SHOWN else href[:_SHOWN] + "\u2026"
    return f'<code class="cnb-address">{escape_html(short)}</code>'


def _typeset(source: str, block: bool, env: Env) -> str | None:
    env["tex"] += len(source)
    return mathml(source, block=block) if env["tex"] <= _MOST_TEX else None


def _source(source: str, markup: str) -> str:
    return f'<code class="cnb-tex">{escape_html(f"{markup}{source}{markup}")}</code>'


def _direction(token: Token) -> str:
    return f' dir="{token.attrs["dir"]}"' if "dir" in token.attrs else ""


def _from_the_left(token: Token, html: str) -> str:
    return f"<div{_direction(token)}>{html}</div>" if "dir" in token.attrs else html


def _alignment(token: Token) -> str:
    found = re.fullmatch(r"text-align:(left|right|center)", str(token.attrs.get("style", "")))
    return f' class="cnb-{found[1]}"' if found else ""
