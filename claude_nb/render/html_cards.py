"""Tool calls, thinking and notices as HTML: `<details>` that need no script, their state in an attribute.

Pictures are the one thing that is put in after cleaning: PNG or JPEG, by their first bytes, as addresses that
hold the picture itself.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

from claude_nb.render import marks
from claude_nb.render.cards import NOTICES, Kind, duration, shortened
from claude_nb.render.escape import dollar_proof, escape_html, visible
from claude_nb.render.html_clean import clean
from claude_nb.render.html_code import code_html, diff_html
from claude_nb.render.html_markdown import markdown_html, not_shown
from claude_nb.render.tools import Section, display_name, subject, told
from claude_nb.reply import ToolUseBlock

_SYMBOLS = {
    "running": marks.RUNNING,
    "ok": marks.OK,
    "failed": marks.FAILED,
    "refused": marks.REFUSED,
    "interrupted": marks.ENDED,
}
_WORDS = {"running": "running", "ok": "", "failed": "failed", "refused": "refused", "interrupted": ""}
_QUOTED = re.compile("`([^`\n]+)`")
_MOST_CHARACTERS, _MOST_LINES = 10_000, 200  # of each part of a card
_MOST_INNER, _DEEPEST = 50, 3  # calls of a subagent, and subagents of subagents
_MOST_IMAGES, _LARGEST_IMAGE = 5, 2_000_000  # bytes
_KINDS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


def tool_html(
    block: ToolUseBlock,
    images: Sequence[bytes] = (),
    *,
    timed: bool = True,
    static: bool = False,
    asks: bool = False,
) -> str:
    """One tool call: its subject in a line; folded, what it was given and gave.

    `timed`: with how long it took. `asks`: it waits for a person, who has not said yet that it may run.
    """
    html = clean(_card(block, timed, static, 0, asks))
    return html.removesuffix("</details>") + images_html(images) + "</details>"


def thinking_html(text: str, *, static: bool = False) -> str:
    """What Claude thought, folded."""
    if not visible(text).strip():
        return ""
    summary = "<summary><i>Thinking</i></summary>"
    return f'<details class="cnb-thinking">{summary}{markdown_html(text, static=static)}</details>'


def notice_html(text: str, kind: Kind = "info", *, static: bool = False) -> str:
    """Something we say about a turn. Our own sentences quote commands between backticks."""
    # Every second part stood between backticks.
    parts = [_escaped(part, static) for part in _QUOTED.split(_one_line(text))]
    body = "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
    symbol = f'<span class="cnb-symbol">{NOTICES[kind]}</span>'
    return clean(f'<div class="cnb-notice cnb-{kind}">{symbol} {body}</div>')


def printed_html(text: str) -> str:
    """What a command printed, line by line, ready for a page."""
    return clean(code_html(text))


def images_html(images: Sequence[bytes]) -> str:
    """Pictures that a tool returned, and how many were left out."""
    good = [image for image in images if _kind(image) and len(image) <= _LARGEST_IMAGE][:_MOST_IMAGES]
    html = "".join(f'<img alt="image {number}" src="{_held(image)}">' for number, image in enumerate(good, 1))
    left_out = len(images) - len(good)
    return html + (f'<div class="cnb-note">Images that are not shown: {left_out}.</div>' if left_out else "")


def _held(image: bytes) -> str:
    return f"data:image/{_kind(image)};base64,{base64.b64encode(image).decode()}"


def _kind(image: bytes) -> str:
    return next((kind for start, kind in _KINDS.items() if image.startswith(start)), "")


def _card(block: ToolUseBlock, timed: bool, static: bool, depth: int, asks: bool = False) -> str:
    parts = [_section(section) for section in _told(block)]
    inner = block.inner[:_MOST_INNER] if depth < _DEEPEST else []
    parts += [_card(call, timed, static, depth + 1) for call in inner]
    if len(block.inner) > len(inner):
        parts.append(f'<div class="cnb-note">{len(block.inner) - len(inner)} more calls are not shown.</div>')
    summary = f"<summary>{_summary(block, timed, static, asks)}</summary>"
    return f'<details class="cnb-tool" data-state="{block.state}">{summary}{"".join(parts)}</details>'


def _summary(block: ToolUseBlock, timed: bool, static: bool, asks: bool) -> str:
    about = shortened(_one_line(subject(block.name, block.input)))
    name = shortened(_one_line(display_name(block.name)))
    parts = [f'<span class="cnb-symbol">{_SYMBOLS[block.state]}</span>', f"<b>{_escaped(name, static)}</b>"]
    parts += [f'<code class="cnb-subject">{escape_html(about)}</code>'] if about else []
    words = "waiting for you" if asks else _WORDS[block.state]
    parts += [f"<i>{words}</i>"] if words else []
    parts += [f"<small>{duration(block.seconds)}</small>"] if timed and block.seconds is not None else []
    return " ".join(parts)


def _told(block: ToolUseBlock) -> list[Section]:
    # What Claude is told of a refusal is written for Claude.
    return told(block.name, block.input, block.shown_result)


def _section(section: Section) -> str:
    text = visible(section.text).strip("\n")
    kept = "\n".join(text.split("\n", _MOST_LINES)[:_MOST_LINES])[:_MOST_CHARACTERS]
    note = not_shown(len(text) - len(kept))
    if section.language is None:
        return f"<ul>{''.join(f'<li>{escape_html(line)}</li>' for line in kept.splitlines())}</ul>{note}"
    return (diff_html(kept) if section.language == "diff" else code_html(kept, section.language)) + note


def _escaped(text: str, static: bool) -> str:
    return dollar_proof(text) if static else escape_html(text)


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())
