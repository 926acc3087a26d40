"""What was said in a conversation, for a cell or a terminal: prompts, and what came of each."""

from __future__ import annotations

from claude_nb.answers import Exchanges
from claude_nb.render.cards import notice, notice_line
from claude_nb.render.escape import fence, visible
from claude_nb.render.harmless import harmless
from claude_nb.reply import Block, NoticeBlock, PrintedBlock, TextBlock


def exchanges_markdown(exchanges: Exchanges) -> str:
    """Markdown; what people and Claude said is made harmless, the notices are ours."""
    parts: list[str] = []
    for prompt, blocks in exchanges.pairs:
        quoted = prompt.replace("\n", "\n> ")
        parts += [harmless(f"> {quoted}"), *(_markdown(block) for block in blocks)]
    return "\n\n".join(part for part in parts if part)


def exchanges_text(exchanges: Exchanges) -> str:
    """Plain text."""
    parts: list[str] = []
    for prompt, blocks in exchanges.pairs:
        parts += [visible("> " + prompt.replace("\n", "\n> ")), *(_text(block) for block in blocks)]
    return "\n\n".join(part for part in parts if part)


def _markdown(block: Block) -> str:
    if isinstance(block, NoticeBlock):
        return notice(block.text, block.level)
    if isinstance(block, PrintedBlock) and not block.is_markdown:
        return fence(block.text)
    return harmless(block.text) if isinstance(block, TextBlock) else ""


def _text(block: Block) -> str:
    if isinstance(block, NoticeBlock):
        return notice_line(block.text, block.level)
    return visible(block.text) if isinstance(block, TextBlock) else ""
