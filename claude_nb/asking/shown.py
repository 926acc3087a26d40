"""A question as a card's HTML, as plain text, and, once answered, as one line of Markdown. Pure.

The HTML holds no link, no address and no attribute made of anything that came from Claude; every text in it
was escaped here, by pygments or by markdown-it.
"""

from __future__ import annotations

import functools
import html
import textwrap
from typing import TYPE_CHECKING

from claude_nb.asking.parts import (
    Choice,
    Code,
    Field,
    Note,
    Part,
    Prose,
    choices,
    form,
    mapping,
    one_line,
    parts,
    seen,
    title,
)
from claude_nb.asking.question import Decision, Question
from claude_nb.masking import mask
from claude_nb.render import marks
from claude_nb.render.cards import shortened
from claude_nb.render.directions import set_directions
from claude_nb.render.escape import dollar_proof
from claude_nb.render.tools import display_name, subject

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_HIGHLIGHTED = 30_000  # characters; the time that a lexer takes has no other bound
_COUNTED = 12  # lines; a box that must be scrolled says how much there is
_EMPTY = "(empty)"
_REASON = 300  # characters of a reason in the line that stays
_CLASSES = {"+": "gi", "-": "gd", " ": "gu"}


def card_html(question: Question, *, masked: bool = False) -> str:
    """What the tool would do, for the body of a card.

    Who decides about it has to see all of it; afterwards keys and tokens are `masked`.
    """
    return "".join(_part_html(part) for part in _parts(question, masked))


def plain_text(question: Question, *, masked: bool = False) -> str:
    """The same for a terminal or a prompt: the title, what the tool would do, the rule."""
    corner = tag(question)
    blocks = [f"{title(question)} ({corner})" if corner else title(question)]
    blocks += [_part_text(part) for part in _parts(question, masked)]
    if question.rule:
        blocks.append(f"Always would allow: {one_line(question.rule)}")
    return "\n".join(blocks)


def choice_text(choice: Choice) -> str:
    """One question with its options numbered."""
    head = f"{one_line(choice.header)}: " if choice.header.strip() else ""
    lines = [head + one_line(choice.question)]
    for number, option in enumerate(choice.options, 1):
        more = f" - {one_line(option.description)}" if option.description.strip() else ""
        lines.append(f"  {number}. {one_line(option.label)}{more}")
    return "\n".join(lines)


def tag(question: Question) -> str:
    """What the title leaves out, for the corner of a card: the tool and the session."""
    tool = one_line(display_name(question.tool)) if form(question) == "permission" else ""
    named = "" if tool in title(question) else tool
    return " \u00b7 ".join(name for name in (named, one_line(question.session)) if name)


def about(question: Question) -> str:
    """The one thing that the question is about, short, on one line."""
    if form(question) == "choices":
        return shortened(one_line(choices(question)[0].question))
    return shortened(one_line(subject(question.tool, mapping(question.input))))


def settled_markdown(question: Question, decision: Decision | None) -> str:
    """The line into which an answered card turns; without a decision, that nobody answered."""
    return f"> {_settled(question, decision)}"


def outcome(question: Question, decision: Decision) -> str:
    """A decision in a few words, plain text."""
    said = _said(question, decision)
    reason = one_line(decision.reason)
    return said if decision.allowed or not reason else f"{said}: {reason}"


def _said(question: Question, decision: Decision) -> str:
    if form(question) == "plan":
        return f"{marks.OK} Plan approved" if decision.allowed else f"{marks.REFUSED} Keep planning"
    if not decision.allowed:
        return f"{marks.REFUSED} Denied"
    if decision.answers:
        return f"{marks.OK} Answered"
    return f"{marks.OK} Always allowed" if decision.verdict == "always" else f"{marks.OK} Allowed once"


def _settled(question: Question, decision: Decision | None) -> str:
    if decision is None:
        return f"{marks.REFUSED} Not answered: {_named(question)}"
    said = _said(question, decision)
    if decision.allowed and decision.answers:
        answers = decision.answers.items()
        return f"{said}: " + "; ".join(f"{_markdown(asked)} <b>{_markdown(it)}</b>" for asked, it in answers)
    if decision.verdict == "always" and question.rule:
        said += f" (rule <code>{_markdown(question.rule)}</code>)"
    if form(question) != "plan":
        said += f": {_named(question)}"
    reason = "" if decision.allowed else _markdown(decision.reason, _REASON)
    return f"{said}: {reason}" if reason else said


def _named(question: Question) -> str:
    thing = dollar_proof(about(question))
    name = f"<b>{_markdown(display_name(question.tool))}</b>"
    return f"{name} <code>{thing}</code>" if thing else name


def _markdown(text: str, width: int = 120) -> str:
    return dollar_proof(shortened(one_line(text), width))


def _parts(question: Question, masked: bool) -> list[Part]:
    found = parts(question)
    return [part._replace(text=mask(part.text)) for part in found] if masked else found


# -- HTML --------------------------------------------------------------------------------------------


def _part_html(part: Part) -> str:
    match part:
        case Field(label, text):
            value = f'<span class="cnb-value">{_escaped(text)}</span>'
            return f'<div class="cnb-field"><span class="cnb-key">{_escaped(label)}</span>{value}</div>'
        case Note(text):
            return f'<div class="cnb-caption cnb-note">{_escaped(text)}</div>'
        case Prose(text):
            return f'<div class="cnb-box cnb-prose" tabindex="0">{_prose(text)}</div>'
        case Code(label, text, language):
            shown = f"<code>{_highlighted(text or _EMPTY, language)}</code>"
            box = f'<pre class="cnb-box cnb-code" tabindex="0" role="region" aria-label="{_escaped(label)}">'
            return f"{_caption(label, text)}{box}{shown}</pre>"


def _caption(label: str, text: str) -> str:
    """Said where it tells more than the title does."""
    lines = text.count("\n") + 1
    words = [] if label in ("command", "code", "change") else [label]
    words += [f"{lines:,} lines"] if lines > _COUNTED else []
    return f'<div class="cnb-caption">{_escaped(", ".join(words))}</div>' if words else ""


def _escaped(text: str) -> str:
    return html.escape(seen(text))


def _highlighted(text: str, language: str) -> str:
    text = seen(text)
    if language == "diff":
        return "".join(_diff_line(line) for line in text.split("\n"))
    if not language or len(text) > _HIGHLIGHTED:
        return html.escape(text)
    from pygments import highlight  # type: ignore[import-untyped]
    from pygments.formatters.html import HtmlFormatter  # type: ignore[import-untyped]
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]

    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return html.escape(text)
    return str(highlight(text, lexer, HtmlFormatter(nowrap=True, classprefix="cnb-")))


def _diff_line(line: str) -> str:
    return f'<span class="cnb-{_CLASSES.get(line[:1], "gu")}">{html.escape(line)}\n</span>'


def _prose(text: str) -> str:
    try:
        tokens = _renderer().parse(seen(text))
        set_directions(tokens)
        rendered: str = _renderer().renderer.render(tokens, _renderer().options, {})
    except RecursionError:
        return f"<pre>{_escaped(text)}</pre>"
    return rendered


@functools.cache
def _renderer() -> MarkdownIt:
    """Markdown without HTML, links and pictures; entities would bring hidden characters back."""
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    return renderer.disable(["link", "image", "autolink", "reference", "entity", "html_block", "html_inline"])


# -- plain text --------------------------------------------------------------------------------------


def _part_text(part: Part) -> str:
    match part:
        case Field(label, text):
            return f"  {one_line(label)}: {seen(text)}"
        case Note(text):
            return f"  {text}"
        case Prose(text):
            return _indented(text)
        case Code(label, text, _):
            return f"  {one_line(label)}:\n{_indented(text or _EMPTY)}"


def _indented(text: str) -> str:
    return textwrap.indent(seen(text), "    ", lambda _: True)
