"""Tool calls, thinking and notices as Markdown that folds, in every front end and on GitHub.

A card is `<details>` with our own tags only. CommonMark takes such a line for HTML up to the next blank one:
what stands in the summary is read as HTML and must not contain a line break; the body comes after a blank
line and is Markdown again, its code in fences at the first column. Whatever came from Claude, a tool or the
file system is escaped for HTML, Markdown and MathJax alike.
"""

from __future__ import annotations

import re
from typing import Literal

from claude_nb.render import marks
from claude_nb.render.escape import dollar_proof, entities, fence, visible
from claude_nb.render.harmless import harmless
from claude_nb.render.tools import Input, Section, display_name, subject, told

State = Literal["running", "waiting", "ok", "failed", "refused", "interrupted"]
OutputMode = Literal["quiet", "normal", "verbose"]
Kind = Literal["info", "warning", "error", "interrupted"]

_SYMBOLS = {
    "running": marks.RUNNING,
    "waiting": marks.RUNNING,
    "ok": marks.OK,
    "failed": marks.FAILED,
    "refused": marks.REFUSED,
    "interrupted": marks.ENDED,
}
_WORDS = {
    "running": "running",
    "waiting": "waiting for you",
    "ok": "",
    "failed": "failed",
    "refused": "refused",
    "interrupted": "",
}
NOTICES: dict[Kind, str] = {
    "info": marks.INFO,
    "warning": marks.WARNING,
    "error": marks.FAILED,
    "interrupted": marks.ENDED,
}
_QUOTED = re.compile("&#96;(.+?)&#96;")
_LINE = 80  # characters of a summary's subject
_LIMITS = {"normal": (3_000, 60), "verbose": (10_000, 200)}  # characters and lines of each section


def tool_card(
    name: str,
    input: Input,
    *,
    state: State,
    result: str | None = None,
    output_mode: OutputMode = "normal",
    seconds: float | None = None,
    masked: bool = True,
) -> str:
    """One tool call. `seconds` only while it is live: what is saved is equal in every run."""
    if output_mode == "quiet":
        return ""
    body = [_section(section, output_mode) for section in told(name, input, result, masked=masked)]
    summary = _summary(name, shortened(_one_line(subject(name, input, masked=masked))), state, seconds)
    return _details(summary, _set_off(body), unfold=output_mode == "verbose")


def _set_off(body: list[str]) -> list[str]:
    """What unfolds stands in a quotation, so that it does not run into the reply, nor its parts together."""
    inner = "\n\n<br>\n\n".join(part for part in body if part)
    return ["<blockquote>", inner, "</blockquote>"] if inner else []


def tool_line(name: str, input: Input, state: State) -> str:
    """One tool call for a terminal: plain text, one line."""
    words = [_SYMBOLS[state], _one_line(display_name(name)), shortened(_one_line(subject(name, input)))]
    return " ".join(word for word in [*words, f"({_WORDS[state]})" if _WORDS[state] else ""] if word)


def thinking_card(text: str, output_mode: OutputMode = "normal") -> str:
    """What Claude thought, folded."""
    if output_mode == "quiet" or not visible(text).strip():
        return ""
    cut, note = _cut(visible(text), output_mode)
    return _details(
        "<i>Thinking</i>", [harmless(cut, partial=bool(note)), note], unfold=output_mode == "verbose"
    )


def status_line(text: str) -> str:
    """What is going on, in small letters."""
    return f"<small>{dollar_proof(_one_line(text))}</small>" if text.strip() else ""


def notice(text: str, kind: Kind = "info") -> str:
    """Something we say about a turn, set off from what Claude says."""
    # Our own sentences quote commands as Markdown does; what is between the backticks stays escaped.
    quoted = _QUOTED.sub(r"<code>\1</code>", dollar_proof(_one_line(text)))
    return f"> {NOTICES[kind]} {quoted}"


def notice_line(text: str, kind: Kind = "info") -> str:
    """A notice for a terminal: plain text, one line."""
    return f"{NOTICES[kind]} {_one_line(text)}"


def shortened(text: str, width: int = _LINE) -> str:
    """At most `width` characters; the middle goes first, since names differ at their ends."""
    if len(text) <= width:
        return text
    head = (width - 1) * 3 // 5
    return f"{text[:head]}\u2026{text[len(text) - (width - 1 - head) :]}"


def duration(seconds: float) -> str:
    """As people say it: 0.4 s, 12 s, 2 min 5 s."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _summary(name: str, about: str, state: State, seconds: float | None) -> str:
    parts = [_SYMBOLS[state], f"<b>{dollar_proof(shortened(_one_line(display_name(name))))}</b>"]
    parts += [f"<code>{entities(about)}</code>"] if about else []
    parts += [f"<i>{_WORDS[state]}</i>"] if _WORDS[state] else []
    parts += [duration(seconds)] if seconds is not None else []
    return " ".join(parts)


def _details(summary: str, body: list[str], *, unfold: bool) -> str:
    opening = "<details open>" if unfold else "<details>"
    parts = [f"{opening}<summary>{summary}</summary>", *(part for part in body if part), "</details>"]
    return "\n\n".join(parts)


def _section(section: Section, output_mode: OutputMode) -> str:
    cut, note = _cut(visible(section.text), output_mode)
    if section.language is None:
        lines = [f"- {dollar_proof(_one_line(line))}" for line in cut.splitlines() if line.strip()]
        return "\n".join([*lines, "", note] if note else lines)
    block = fence(cut, section.language)
    return f"{block}\n\n{note}" if note else block


def _cut(text: str, output_mode: OutputMode) -> tuple[str, str]:
    """The beginning of a long text, and a note on what is not shown."""
    text = text.strip("\n")
    characters, lines = _LIMITS[output_mode]
    kept = "\n".join(text.split("\n", lines)[:lines])[:characters]
    missing = len(text) - len(kept)
    return kept, f"*{missing:,} more characters are not shown.*" if missing else ""


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())
