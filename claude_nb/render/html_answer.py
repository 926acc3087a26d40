"""What a command answered, as HTML for the chat: a table, lines of text, or Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from claude_nb.answers import Answer, Exchanges, Table, Verbatim
from claude_nb.render.escape import escape_html
from claude_nb.render.html_cards import notice_html, printed_html
from claude_nb.render.html_clean import clean
from claude_nb.render.html_code import code_html
from claude_nb.render.html_markdown import markdown_html, text_html
from claude_nb.reply import Block, NoticeBlock, PrintedBlock, TextBlock

_QUOTED = re.compile("`([^`\n]+)`")


def answer_html(answer: Answer) -> str:
    """HTML that is safe in any page."""
    match answer:
        case Table():
            return clean(_table(answer))
        case Exchanges():
            return _exchanges(answer)
        case Verbatim():
            return clean(code_html(answer))
        case str() if "\n" in answer:
            return markdown_html(answer)
        case str():
            return clean(f"<p>{_sentence(answer)}</p>")
    return ""


def _exchanges(exchanges: Exchanges) -> str:
    parts: list[str] = []
    for prompt, blocks in exchanges.pairs:
        parts += [clean(f"<blockquote>{text_html(prompt)}</blockquote>"), *map(_block, blocks)]
    return "".join(parts)


def _block(block: Block) -> str:
    if isinstance(block, NoticeBlock):
        return notice_html(block.text, block.level)
    if isinstance(block, PrintedBlock) and not block.is_markdown:
        return printed_html(block.text)
    return markdown_html(block.text) if isinstance(block, TextBlock) else ""


def _table(table: Table) -> str:
    head = _row(table.header, "th") if any(table.header) else ""
    body = "".join(_row(row, "td") for row in table.rows)
    notes = "".join(f"<p>{_sentence(note)}</p>" for note in table.notes)
    thead = f"<thead>{head}</thead>" if head else ""
    return f'<div class="cnb-table"><table>{thead}<tbody>{body}</tbody></table></div>{notes}'


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape_html(cell)}</{tag}>' for cell in cells)}</tr>"


def _sentence(text: str) -> str:
    """Our own sentences quote commands between backticks."""
    return _QUOTED.sub(r"<code>\1</code>", escape_html(text))
