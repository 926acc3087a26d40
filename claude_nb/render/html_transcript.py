"""A chat as one static piece of HTML: what a notebook shows of it where nothing runs.

What survives where, so that it reads well everywhere:

- nbconvert and a trusted JupyterLab keep all of it, and run MathJax over it: so TeX stays TeX, and a dollar
  sign that is none stands alone;
- JupyterLab takes `<style>` and MathML from the outputs of a notebook that is not trusted, but keeps
  `<details>`, classes and harmless `style` attributes: so what gives the shape is in these;
- GitHub takes styles of both kinds: so the tags alone say who speaks and what is folded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from claude_nb.quoted import Quoted
from claude_nb.render.cards import Kind, shortened
from claude_nb.render.escape import dollar_proof, visible
from claude_nb.render.html_cards import notice_html, printed_html, thinking_html, tool_html
from claude_nb.render.html_code import code_css
from claude_nb.render.html_markdown import markdown_html, text_html
from claude_nb.reply import (
    Block,
    NoticeBlock,
    PrintedBlock,
    Reply,
    Status,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)

_ENDINGS: dict[Status, tuple[str, Kind]] = {
    Status.INTERRUPTED: ("Interrupted", "interrupted"),
    Status.CANCELLED: ("Cancelled", "interrupted"),
    Status.FAILED: ("The turn failed here", "error"),
}
_TITLE = 100  # characters of a prompt that is folded
_CHAT = "border-left:3px solid #888;padding-left:12px"
_PROMPT = "background-color:rgba(127,127,127,0.12);padding:6px 10px;margin:8px 0"
_CSS = (
    ".cnb-transcript pre {white-space:pre-wrap;overflow-wrap:anywhere}"
    " .cnb-transcript img {max-width:100%}"
    " .cnb-transcript .cnb-add {color:#1a7f37} .cnb-transcript .cnb-del {color:#cf222e}"
    # On paper nothing can be unfolded.
    " @media print {.cnb-transcript > details::details-content {content-visibility:visible}}"
)


@dataclass(frozen=True)
class Entry:
    """One turn: what was asked, what came, and, unless it just ended, how it ended."""

    prompt: str
    blocks: Sequence[Block] = field(default_factory=list)
    ending: str = ""
    kind: Kind = "info"

    @classmethod
    def of(cls, reply: Reply) -> Entry:
        """The turn that a reply came of."""
        words, kind = _ENDINGS.get(reply.status, ("", "info"))
        ending = f"{words}: {reply.reason}" if words and reply.reason else words
        return cls(reply.prompt, reply.blocks, ending, kind)

    @cached_property
    def html(self) -> str:
        """What was asked and what came, rendered once: the turn must have ended."""
        prompt = f'<blockquote style="{_PROMPT}">{text_html(self.prompt, static=True)}</blockquote>'
        return prompt + _reply(self)


def transcript_html(entries: Iterable[Entry]) -> str:
    """The turns in their order; all but the last are folded. Holds nothing that differs from run to run."""
    turns = list(entries)
    body = "".join(_turn(turn, folded=turn is not turns[-1]) for turn in turns)
    style = f"<style>{_CSS}\n{code_css('.cnb-transcript .cnb-code')}</style>"
    return f'{style}<div class="cnb-transcript" style="{_CHAT}">{body}</div>' if turns else ""


def _turn(turn: Entry, *, folded: bool) -> str:
    title = dollar_proof(shortened(" ".join(visible(turn.prompt).split()), _TITLE))
    opening = "<details>" if folded else "<details open>"
    return f"{opening}<summary><b>You:</b> {title}</summary>{turn.html}</details>"


def _reply(turn: Entry) -> str:
    images = {block.tool_use_id: block.images for block in turn.blocks if isinstance(block, ToolResultBlock)}
    quoted = Quoted()
    parts = [_block(block, images, lambda text: quoted.masked(text, turn.blocks)) for block in turn.blocks]
    if turn.ending:
        parts.append(notice_html(turn.ending, turn.kind, static=True))
    return "".join(parts)


def _block(block: Block, images: dict[str, list[bytes]], mask: Callable[[str], str]) -> str:
    if isinstance(block, NoticeBlock):
        return notice_html(block.text, block.level, static=True)
    if isinstance(block, PrintedBlock) and not block.is_markdown:
        return printed_html(block.text)
    if isinstance(block, TextBlock):
        return markdown_html(mask(block.text), static=True)
    if isinstance(block, ThinkingBlock):
        return thinking_html(mask(block.text), static=True)
    if isinstance(block, ToolUseBlock):
        return tool_html(block, images.get(block.id, []), timed=False, static=True)
    return ""  # a tool result is in its tool's card
