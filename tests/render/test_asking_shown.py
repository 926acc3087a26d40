"""Pure: a question stays a question whatever is in it: its card's HTML, its plain text, its settled line."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hostile_replies import HOSTILE
from renderers import RENDERERS, faults, inspected

from claude_nb.asking.parts import CODE_IS_ALL
from claude_nb.asking.question import Decision, Question
from claude_nb.asking.shown import card_html, plain_text, settled_markdown
from claude_nb.render.escape import visible

pytestmark = pytest.mark.pure

TAGS = {
    *("blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p"),
    *("pre", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
ATTRIBUTES = {"class", "tabindex", "role", "aria-label", "start"}


class Auditor(HTMLParser):
    """Whatever in a piece of HTML is more than text in our own tags, or leaves its place."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        odd = {name for name, _ in attrs} - ATTRIBUTES
        if tag == "td" or tag == "th":  # the alignment of a Markdown table
            odd -= {name for name, value in attrs if (name, str(value)[:11]) == ("style", "text-align:")}
        if tag not in TAGS or odd:
            self.faults.append(f"<{tag} {odd}>")
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"<?{data}>")


def audited(html: str) -> Auditor:
    auditor = Auditor()
    auditor.feed(html)
    auditor.close()
    auditor.faults += [f"<{tag}> is left open" for tag in auditor.open]
    return auditor


def questions(text: str) -> list[Question]:
    """The same text in every place of a question."""
    option = {"label": text, "description": text}
    inputs = {
        "Bash": {"command": text, "description": text, text: [text]},
        "Write": {"file_path": f"{text}.py", "content": text},
        "Edit": {"file_path": text, "old_string": text, "new_string": f"x\n{text}"},
        "MultiEdit": {"edits": [{"old_string": text, text: text}, text]},
        "NotebookEdit": {"notebook_path": text, "new_source": text},
        "ExitPlanMode": {"plan": text},
        "AskUserQuestion": {"questions": [{"question": text, "header": text, "options": [option, text]}]},
        "mcp__kernel__run_cell": {"code": text},
        text: {"json": {text: text}},
    }
    return [Question(text, tool, given, rule=text) for tool, given in inputs.items()]


@pytest.mark.parametrize("text", HOSTILE)
def test_everything_in_a_question_is_text_that_can_be_seen(text: str) -> None:
    for question in questions(text):
        card = audited(card_html(question))
        assert card.faults == [], question.tool
        for shown in (card.text, plain_text(question)):
            assert visible(shown) == shown, question.tool


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_left_of_an_answered_question_is_one_harmless_line(text: str) -> None:
    answered = Decision("once", answers={text: text})
    for question in questions(text):
        for decision in (Decision("once"), Decision("always"), Decision("deny", text), answered, None):
            line = settled_markdown(question, decision)
            assert faults(line) == {}
            assert "\n" not in line
            assert line.startswith("> ")


def test_the_audit_finds_what_it_looks_for() -> None:
    for html in ("<img>", "<p onclick=x>", "</p>", "<p>", "<!-- x -->", '<p style="text-align:left">'):
        assert audited(html).faults, html


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize(
    ("tool", "given", "decision", "line"),
    [
        ("Bash", {"command": "ls -l $HOME"}, Decision("once"), "\u2713 Allowed once: Bash ls -l $HOME"),
        ("Bash", {"command": "ls"}, Decision("always"), "\u2713 Always allowed (rule Bash(ls:*)): Bash ls"),
        ("Bash", {"command": "ls"}, Decision("deny", "not *now*"), "\u2298 Denied: Bash ls: not *now*"),
        ("Bash", {"command": "ls"}, Decision("deny"), "\u2298 Denied: Bash ls"),
        ("Bash", {"command": "ls"}, None, "\u2298 Not answered: Bash ls"),
        ("ExitPlanMode", {"plan": "x"}, Decision("once"), "\u2713 Plan approved"),
        ("ExitPlanMode", {"plan": "x"}, Decision("deny", "why?"), "\u2298 Keep planning: why?"),
        (
            "AskUserQuestion",
            {"questions": [{"question": "Which?", "options": [{"label": "A"}]}]},
            Decision("once", answers={"Which?": "A"}),
            "\u2713 Answered: Which? A",
        ),
    ],
)
def test_the_line_says_what_was_decided(
    renderer: str, tool: str, given: dict[str, object], decision: Decision | None, line: str
) -> None:
    markdown = settled_markdown(Question("s", tool, given, rule="Bash(ls:*)"), decision)
    assert " ".join("".join(inspected(RENDERERS[renderer](markdown)).text).split()) == line


def test_a_question_about_code_says_what_allowing_it_means() -> None:
    code = Question("s", "mcp__kernel__run_cell", {"code": "x = 1"})
    assert CODE_IS_ALL in card_html(code)
    assert CODE_IS_ALL in plain_text(code)
    assert CODE_IS_ALL not in plain_text(Question("s", "Bash", {"command": "ls"}))
