"""A whole text of Markdown, or of none, as clean HTML."""

from __future__ import annotations

from claude_nb.render.directions import dir_attribute
from claude_nb.render.escape import dollar_proof, escape_prose, readable
from claude_nb.render.html_blocks import blocks_html
from claude_nb.render.html_clean import clean
from claude_nb.render.html_code import code_html
from claude_nb.render.parse import parse

MOST_SHOWN = 1_000_000  # characters of one text; more than anything Claude writes


def markdown_html(text: str, *, static: bool = False) -> str:
    """What Claude wrote. `static`: for a notebook's page, in which MathJax may look for dollars."""
    text, rest = text[:MOST_SHOWN], len(text) - MOST_SHOWN
    try:
        html = blocks_html(parse(readable(text), {}), static=static)
    except (RecursionError, ValueError, LookupError):  # a bug, ours or the parser's: still show what was said
        html = code_html(text)
    return clean(html + not_shown(rest))


def text_html(text: str, *, static: bool = False) -> str:
    """Plain text, such as a prompt, line by line as it was typed."""
    text, rest = text[:MOST_SHOWN], len(text) - MOST_SHOWN
    written = dollar_proof(readable(text)) if static else escape_prose(text)
    body = written.replace("\n", "<br>")
    return clean(f'<div class="cnb-text"{dir_attribute(text)}>{body}</div>{not_shown(rest)}')


def not_shown(characters: int) -> str:
    """A note on what was left out, if anything was."""
    if characters <= 0:
        return ""
    return f'<div class="cnb-note">{characters:,} more characters are not shown.</div>'
