"""Pure: no line of Claude's begins as lines of ours do, whatever it is written with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from renderers import RENDERERS, faults

import claude_nb
from claude_nb.asking.question import Decision, Question
from claude_nb.asking.shown import settled_markdown
from claude_nb.render import marks
from claude_nb.render.cards import notice, tool_card, tool_line
from claude_nb.render.harmless import HarmlessStream, harmless
from claude_nb.render.html import Entry, markdown_html, transcript_html
from claude_nb.render.marks import SPELLED, spelled_lines
from claude_nb.reply import TextBlock

pytestmark = pytest.mark.pure

OURS = {
    name: value
    for name, value in vars(marks).items()
    if name.isupper() and name[0] != "_" and isinstance(value, str)
}
QUESTION = Question("default", "Bash", {"command": "ls"}, rule="Bash(ls:*)")

# How Markdown can put a mark at the beginning of what is seen of a line.
FORMS = [
    "{} Always allowed",
    "> {} Always allowed",
    ">> - {} Always allowed",
    "- {} Always allowed",
    "1. {} Always allowed",
    "- [x] a\n\n   {} Always allowed",
    "# {} Always allowed",
    "{} Always allowed\n===",
    "text\n{} Always allowed",
    "text  \n{} Always allowed",
    "text\\\n{} Always allowed",
    "text<br>{} Always allowed",
    "**{} Always** allowed",
    "*{}* Always allowed",
    "***~~{}~~*** Always allowed",
    "<b>{}</b> Always allowed",
    "`{}` Always allowed",
    "[{}](https://a.example) Always allowed",
    "[][{}](https://a.example)",
    "\\> {} Always allowed",
    "\u00a0\u3000{} Always allowed",
    "&nbsp;{} Always allowed",
    "\ufe0f{}\ufe0f Always allowed",
    "\u0301{} Always allowed",
    "\u2800{} Always allowed",
    "| {} Always allowed |\n|---|",
    "${}$ Always allowed",
    "$\\text{{{} Always allowed}}$",
    "$$\n\\text{{{} Always allowed}}\n$$",
    "<details><summary>{} <b>Bash</b> <code>ls</code></summary>\n\nx\n\n</details>",
    "<details>\n<summary>\n**{}** Bash</summary>\n\n> {} Allowed once\n\n</details>",
]


def lines(html: str) -> list[str]:
    """What is seen of a page, line by line, without what shows nothing; code in blocks is in a frame."""
    page = BeautifulSoup(html, "html.parser")
    for code in page.find_all("pre"):
        code.decompose()
    for end in page.find_all(["br", "p", "li", "h1", "h2", "td", "th", "summary", "tr", "blockquote"]):
        end.insert_before("\n")
        end.insert_after("\n")
    return [re.sub(r"^[\s\ufe0f\u2800\u0301>]+", "", line) for line in page.get_text().split("\n")]


@pytest.mark.parametrize("form", FORMS)
def test_no_line_of_a_reply_begins_with_a_mark_of_ours(form: str) -> None:
    every = "".join(SPELLED.values())
    written = [way for mark in every for way in (mark, f"&#{ord(mark)};", f"&#x{ord(mark):x};")]
    filled = [form.replace("{{", "{").replace("}}", "}").replace("{}", way) for way in written]
    text = "\n\n---\n\n".join(filled)
    pages = [RENDERERS[name](harmless(text)) for name in ("nbconvert", "lab")]
    for page in [*pages, markdown_html(text), transcript_html([Entry("p", [TextBlock(text)])])]:
        assert page.count("<hr") == len(filled) - 1
        assert not [line for line in lines(page) if line.startswith(tuple(every))]
    assert faults(harmless(text)) == {}


def test_it_is_said_what_the_mark_was_and_elsewhere_it_stays() -> None:
    assert harmless("\u2713 done, \u2713 tested") == "(check) done, \u2713 tested"
    assert harmless("> \u26a0\ufe0f **Note**: \u2139") == "> (!) **Note**: \u2139"
    assert harmless("| a | \u2713 |\n|---|---|\n| b | \u2717 |").count("\u2713") == 1
    assert harmless("```\n\u2713 3 passed\n```") == "```\n\u2713 3 passed\n```"
    assert harmless("\u221a2 and $x \\times y$, $\\circ f$") == "\u221a2 and $x \\times y$, $\\circ f$"
    assert harmless("\u2705 stays") == "\u2705 stays"


def test_a_mark_that_tex_draws_is_shown_as_its_source() -> None:
    for source in ("\\checkmark", "\\times", "{\\circ}", "\\unicode{x2713}"):
        assert "<math" not in markdown_html(f"${source}$ Always allowed")
        assert not re.match(r"\$", harmless(f"${source}$ Always allowed"))


def test_in_plain_text_too() -> None:
    for mark in OURS.values():
        text = f"{mark} a\n  > - {mark} b\n1. \u200e{mark} c\n**{mark}** d {mark}\n"
        shown = spelled_lines(text)
        assert shown.count(mark) == 1
        assert shown.endswith(f"d {mark}\n")


def test_a_stream_says_the_same_at_every_step() -> None:
    text = "> \u2713 Always allowed\n\n- \u2139 x\n\n**\u26a0 y** z\n"
    stream = HarmlessStream()
    for char in text:
        stream.feed(char)
        assert not re.search("[\u2713\u2139\u26a0]", stream.value())
    assert stream.value(partial=False) == harmless(text)


def test_a_saved_chat_s_turn_cannot_be_imitated() -> None:
    page = transcript_html(
        [Entry("x", [TextBlock("<details><summary>**You**: run it</summary>\n\ny\n</details>")])]
    )
    assert [each.get_text() for each in BeautifulSoup(page, "html.parser").find_all("summary")] == [
        "You: x",
        "\u201cYou\u201d: run it",
    ]


def test_each_line_of_ours_begins_with_a_mark_and_marks_are_in_one_place() -> None:
    said = [notice("x", kind) for kind in ("info", "warning", "error", "interrupted")]
    said += [
        settled_markdown(QUESTION, Decision(verdict, by="card")) for verdict in ("once", "always", "deny")
    ]
    said += [settled_markdown(QUESTION, None)]
    said += [tool_line("Bash", {}, state) for state in ("running", "waiting", "ok", "failed", "refused")]
    assert all(line.removeprefix("> ")[0] in OURS.values() for line in said)
    assert tool_card("Bash", {}, state="ok").startswith(f"<details><summary>{marks.OK}")
    assert all(any(mark in looks for looks in SPELLED.values()) for mark in OURS.values())
    sources = [path for path in Path(claude_nb.__file__).parent.rglob("*.py") if path.name != "marks.py"]
    for path in sources:
        written = path.read_text()
        escapes = [f"\\u{ord(mark):04x}" for mark in OURS.values()]
        assert not [mark for mark in (*OURS.values(), *escapes) if mark in written.lower()], path
