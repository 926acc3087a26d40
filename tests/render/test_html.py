"""Pure: the chat's HTML holds only what is allowed, says what was said, and grows without being made anew."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile_replies import HOSTILE, WORKING

import claude_nb
from claude_nb.render.html import (
    Entry,
    HtmlStream,
    changed,
    code_css,
    markdown_html,
    notice_html,
    text_html,
    thinking_html,
    tool_html,
    transcript_html,
)
from claude_nb.render.html_blocks import _linked
from claude_nb.render.html_clean import clean
from claude_nb.reply import TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock

pytestmark = pytest.mark.pure

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20
_TAGS = """
    p h1 h2 h3 h4 h5 h6 em strong s code pre span a ul ol li blockquote table thead tbody tr th td hr br div
    details summary b i small sub sup kbd u del ins mark img style
    math mrow mi mo mn mtext mspace ms mfrac msqrt mroot mstyle mpadded mphantom msub msup msubsup
    munder mover munderover mmultiscripts mprescripts none mtable mtr mtd
"""
TAGS = set(_TAGS.split())
VALUES = {
    "class": r"(cnb-[a-z]+|[a-z][a-z0-9]{0,3})( cnb-[a-z]+)*",
    "href": r"(https?://|mailto:)[^\s\"'<>`]+",
    "src": r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+",
    "rel": r"noopener noreferrer nofollow",
    "target": r"_blank",
    "alt": r"image \d",
    "start": r"\d{1,9}",
    "open": r"",
    "dir": r"ltr|rtl",
    "data-language": r"[A-Za-z0-9][\w+#.-]*",
    "data-state": r"running|ok|failed|refused",
    "display": r"inline|block",
}
_MATH = """
    mathvariant stretchy fence separator movablelimits largeop form minsize maxsize width accent
    accentunder linethickness displaystyle scriptlevel columnalign
"""
MATH = set(_MATH.split())


class Inspector(HTMLParser):
    """What is in a page that should not be, its text, and its code."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.text = ""
        self.codes: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open += [] if tag in ("br", "hr", "img") else [tag]
        if tag == "code" and self._open[-2:-1] == ["pre"]:
            self.codes.append("")
        if tag not in TAGS:
            self.faults.append(f"<{tag}>")
        self.faults += [f"<{tag} {name}={value!r}>" for name, value in attrs if not good(tag, name, value)]

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.text += data
        if "pre" in self._open and self.codes:
            self.codes[-1] += data

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}-->")

    handle_decl = unknown_decl = handle_pi = handle_comment


def good(tag: str, name: str, value: str | None) -> bool:
    if name == "style":  # ours, in a transcript
        return tag in ("div", "blockquote") and "url" not in (value or "")
    if name in MATH and tag.startswith("m"):
        return re.fullmatch(r"-?[\w. -]{1,20}", value or "") is not None
    return name in VALUES and re.fullmatch(VALUES[name], value or "") is not None


def inspected(html: str) -> Inspector:
    inspector = Inspector()
    inspector.feed(html)
    inspector.close()
    return inspector


def everywhere(text: str) -> list[str]:
    """The text wherever a text can come from."""
    tool = ToolUseBlock("1", text, {"command": text, text: [text]}, state="failed", result=text)
    bash = ToolUseBlock("1", "Bash", {"command": text}, state="ok", result=text, inner=[tool])
    edit = ToolUseBlock("2", "Edit", {"file_path": text, "old_string": "a", "new_string": text})
    todo = ToolUseBlock("3", "TodoWrite", {"todos": [{"content": text, "status": text}]})
    told = ToolUseBlock("4", "Write", {"file_path": "x.html", "content": text}, state="refused", refusal=text)
    tools = [tool, bash, edit, todo, told]
    blocks = [
        TextBlock(text),
        ThinkingBlock(text),
        *tools,
        ToolResultBlock("1", text, images=[PNG, b"<svg>"]),
    ]
    pages = [markdown_html(text), text_html(text), thinking_html(text), notice_html(text, "error")]
    pages += [markdown_html(f"${text}$ $$\n{text}\n$$ $\\text{{{text}}}$"), markdown_html(text, static=True)]
    pages += [tool_html(block, [PNG]) for block in tools]
    return [*pages, transcript_html([Entry(text, blocks, text, "error"), Entry(text, blocks)])]


@pytest.mark.parametrize("text", HOSTILE + WORKING)
def test_a_hostile_text_is_only_text_wherever_it_stands(text):
    for page in everywhere(text):
        assert inspected(page).faults == [], page


def test_the_check_finds_what_is_shown_raw():
    assert sum(bool(inspected(text).faults) for text in HOSTILE) > len(HOSTILE) * 0.3
    assert all(inspected(f"<p>{text}</p>").faults for text in WORKING if text.startswith("<"))


def test_hostile_texts_one_after_the_other_do_not_help_each_other():
    assert inspected(markdown_html("\n\n".join(HOSTILE))).faults == []


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 40))
def test_a_stream_is_harmless_at_every_step(start):
    stream = HtmlStream()
    text = "\n\n".join(HOSTILE[start : start + 40])
    for position in range(0, len(text), 31):
        stream.feed(text[position : position + 31])
        shown = stream.value()
        assert inspected("".join(shown.finished) + shown.tail).faults == []


def test_the_last_gate_stops_what_the_writer_should_have():
    for text in HOSTILE + WORKING:
        found = inspected(clean(text.encode("utf-8", "replace").decode()))
        assert not {"script", "img", "svg", "iframe", "style", "form", "input", "a href"} & set(found.tags)
        assert [fault for fault in found.faults if "=" in fault] == []


def test_a_picture_is_a_note_with_its_description():
    page = markdown_html("![a cat](http://evil.example/x.png) ![dog](data:image/png;base64,AAAA)")
    assert inspected(page).text.split("\n")[0].startswith("image: a cat image: dog (data:image/png")
    assert "<img" not in page


def test_hidden_characters_are_seen_however_they_were_written():
    for text in ("a\u202eb", "a&#x202e;b", "`a\u202eb`", "```\na\u202eb\n```", "[a\u202eb](https://x.y)"):
        assert "\u202e" not in markdown_html(text)
        assert "U+202E" in markdown_html(text)


CODE = [
    "def f(x):\n\n\treturn x < 1 and 'a' & \"b\"",
    "\n\n  leading\n\n",
    "a" * 1500,
    "$x$ <b> &amp; \\(y\\)",
]


@pytest.mark.parametrize("language", ["", "python", "html", "bash", "diff", "mermaid", "no-such-language"])
@pytest.mark.parametrize("code", CODE)
def test_code_is_shown_to_the_letter(code, language):
    page = markdown_html(f"``````{language}\n{code}\n``````")
    assert inspected(page).codes == [code]
    assert page.startswith('<div class="cnb-code"')
    assert (f'data-language="{language}"' in page) == (language not in ("", "mermaid"))


def test_every_language_that_is_highlighted_has_a_lexer():
    from claude_nb.render.html_code import _LANGUAGES, _lexer

    for name in _LANGUAGES.split():
        assert _lexer(name)


def test_the_style_sheet_stays_in_its_scope():
    rules = re.findall(r"^([^@}\n]+) \{", code_css(".here"), re.MULTILINE)
    assert len(rules) > 20
    assert all(".here " in rule for rule in rules)
    assert '<span class="k">def</span>' in markdown_html("```python\ndef f(): 1\n```")
    assert ".k," in code_css()


def test_mathematics_is_mathml():
    for text in ("$x^2$", "\\(x^2\\)", "$$x^2$$", "\\[x^2\\]", "\\begin{align}x^2\\end{align}"):
        assert "<msup><mi>x</mi><mn>2</mn></msup>" in markdown_html(text), text
    assert "<math" not in markdown_html("costs $5 to $10, or $HOME")


@pytest.mark.parametrize("tex", ["\\nosuchcommand{x}", "\\href{javascript:x}{y}", "x" * 3000, "\\frac{"])
def test_tex_that_cannot_be_drawn_is_shown_as_its_source(tex):
    page = markdown_html(f"$${tex}$$")
    assert "<math" not in page
    assert tex in inspected(page).text


def test_a_task_list_has_boxes_that_nobody_can_tick():
    page = markdown_html("- [ ] open\n- [x] done\n- [y] no")
    assert inspected(page).text.split("\n")[1:4] == ["\u2610 open", "\u2611 done", "[y] no"]
    assert "<input" not in page


def test_an_edit_is_a_diff_by_lines():
    edit = ToolUseBlock("1", "Edit", {"file_path": "a.py", "old_string": "x = 1", "new_string": "x = 2"})
    page = tool_html(edit)
    assert '<span class="cnb-del">-x = 1</span>\n<span class="cnb-add">+x = 2</span>' in page
    assert page.startswith('<details class="cnb-tool" data-state="running">')


def test_a_tools_pictures_are_shown_if_they_are_pictures_and_not_too_large():
    tool = ToolUseBlock("1", "Read", {"file_path": "x.png"}, state="ok", result="")
    page = tool_html(tool, [PNG, b"<svg onload=pwned()>", PNG + b"\x00" * 3_000_000])
    assert page.count("<img ") == 1
    assert 'src="data:image/png;base64,' in page
    assert "Images that are not shown: 2." in page
    assert page.endswith("</details>")


def test_a_long_result_is_cut_and_says_so():
    tool = ToolUseBlock("1", "Bash", {"command": "x"}, state="ok", result="y" * 50_000)
    assert len(tool_html(tool)) < 12_000
    assert "more characters are not shown" in tool_html(tool)


REPLY = """# Title

Some **bold** text, `code` and $x^2$.

- one
- two

  more of two

```python
def f():
    return "```"
```

| a | b |
|---|---|
| 1 | 2 |

> said

$$
\\frac{1}{2}
$$

The end.
"""


@pytest.mark.parametrize("step", [1, 3, 7, 50, 1000])
def test_a_stream_ends_like_the_whole_and_finished_pieces_never_change(step):
    long = [REPLY * 3, "- item **x** `y`\n" * 300] if step >= 50 else []
    for reply in (REPLY, REPLY.replace("\n", "\r\n"), "```\na\n" * 9, *long):
        stream, seen = HtmlStream(), []
        for position in range(0, len(reply), step):
            stream.feed(reply[position : position + step])
            finished = list(stream.value().finished)
            assert finished[: len(seen)] == seen
            seen = finished
        shown = stream.value(partial=False)
        assert squeezed("".join(shown.finished) + shown.tail) == squeezed(markdown_html(reply))


def squeezed(html: str) -> str:
    return re.sub(r">\s+<", "><", html).strip()


def test_an_open_fence_is_code_as_far_as_it_has_come():
    stream = HtmlStream()
    for line in ("Look:\n", "\n", "```python\n", "x = 1\n", "y <"):
        stream.feed(line)
        shown = stream.value()
    assert shown.finished == ["<p>Look:</p>\n"]
    assert inspected(shown.tail).codes == ["x = 1\ny <"]
    assert 'data-language="python"' in shown.tail
    stream.feed(" 2\n```\nAfter.")
    assert '<span class="o">' in "".join(stream.value().finished) + stream.value().tail
    assert "<p>After.</p>" in stream.value().tail


def test_a_long_block_is_not_written_anew_for_each_word():
    stream = HtmlStream()
    stream.feed("- item **x**\n" * 500)
    tails = set()
    for number in range(100):
        stream.feed(f"- next **{number}**\n")
        tails.add(stream.value().tail.split("<p>")[0])
    assert len(tails) < 10
    assert "next **99**" in stream.value().tail or "next <strong>99</strong>" in stream.value().tail


def test_only_what_changed_is_sent():
    assert changed("<p>ab</p>", "<p>abc</p>") == (5, "c</p>")
    assert changed("", "x") == (0, "x")
    assert changed("same", "same") == (4, "")


def test_a_transcript_reads_well_without_styles():
    blocks = [TextBlock("It is **4**, for $5."), ToolUseBlock("1", "Bash", {"command": "ls"}, seconds=1.0)]
    entries = [
        Entry("What is 2+2?", blocks),
        Entry("And 3+3?", [TextBlock("6")], "Interrupted", "interrupted"),
    ]
    page = transcript_html(entries)
    plain = re.sub(r"<style>.*?</style>| (?:class|style|data-state)=\"[^\"]*\"", "", page, flags=re.DOTALL)
    assert "<summary><b>You:</b> What is 2&#43;2?</summary><blockquote>" in plain.replace("+", "&#43;")
    assert inspected(page).text.count("What is 2+2?") == 2
    assert plain.count("<details>") == 2  # the first turn, and its tool
    assert plain.count("<details open>") == 1  # the last turn
    assert "1.0 s" not in page  # equal in every run
    assert "<math" not in page
    assert "<span>$</span>5" in page  # MathJax finds no pair
    assert transcript_html([]) == ""


def test_a_transcript_leaves_mathematics_to_the_page():
    page = transcript_html([Entry("x", [TextBlock("$x^2$ and $$\\frac12$$")])])
    assert "$x^2$" in page
    assert "$$\\frac12$$" in page


def test_a_very_long_reply_is_cut_and_says_so():
    assert "5 more characters are not shown" in markdown_html("x" * 1_000_005)
    stream = HtmlStream()
    stream.feed("x" * 1_000_005)
    assert "5 more characters are not shown" in stream.value(partial=False).tail


def test_addresses_in_text_are_links_up_to_their_end():
    env = {"static": False, "links": []}
    assert _linked("see http://a.b/c.", env) == 'see <a href="http://a.b/c">http://a.b/c</a>.'


def test_only_the_renderers_own_modules_import_it():
    """So that neither loading the extension nor a cell's reply pays for it."""
    package = Path(claude_nb.__file__).parent
    for path in (package / "render").glob("*.py"):
        names = [
            node.module or ""
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom)
        ]
        uses = any(name.startswith(("claude_nb.render.html", "nh3", "latex2mathml")) for name in names)
        assert not uses or path.name.startswith("html"), path


def test_a_notice_quotes_commands_as_code_and_nothing_else() -> None:
    for static in (False, True):
        html = notice_html("Run `jupyter claude login <b>`, then `x`.", "error", static=static)
        assert html.count("<code>") == 2
        assert "jupyter claude login" in html
        assert "\u2400" not in html
        assert "\u2401" not in html
        assert "<b>" not in html
