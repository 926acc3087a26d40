"""Pure: what Claude says cannot become more than text, whoever renders it, and good text stays good."""

from __future__ import annotations

import random
import re

import pytest
from hostile_replies import HOSTILE, WORKING
from renderers import RENDERERS, faults, inspected

from claude_nb.render.harmless import HarmlessStream, harmless

pytestmark = pytest.mark.pure


def test_the_corpus_is_large_and_each_of_its_replies_is_its_own():
    assert len(HOSTILE) >= 150
    assert len(set(HOSTILE)) == len(HOSTILE)


def test_the_check_finds_what_is_shown_raw():
    assert sum(bool(faults(text)) for text in HOSTILE) > len(HOSTILE) * 0.7
    assert all(faults(text) for text in WORKING)


@pytest.mark.parametrize("text", HOSTILE + WORKING)
def test_a_hostile_reply_is_only_text(text):
    assert faults(harmless(text)) == {}
    assert faults(harmless(text, partial=True)) == {}


@pytest.mark.parametrize("text", HOSTILE)
def test_what_was_made_harmless_once_stays_so(text):
    assert faults(harmless(harmless(text))) == {}


def test_hostile_replies_one_after_the_other_do_not_help_each_other():
    whole = harmless("\n\n".join(HOSTILE))
    assert faults(whole) == {}


_JOINTS = [
    "",
    " ",
    "\n",
    "\n\n",
    "\n- ",
    "\n> ",
    " `",
    "` ",
    "$",
    " $$ ",
    "\n```\n",
    " **",
    "](",
    "| ",
    "\n  ",
    "\\",
    "{",
    "}",
]


@pytest.mark.parametrize("seed", range(40))
def test_any_mixture_of_their_pieces_is_only_text(seed):
    rng = random.Random(seed)
    for _ in range(25):
        pieces = []
        for _ in range(rng.randint(2, 6)):
            text = rng.choice(HOSTILE)
            start = rng.randrange(max(1, len(text)))
            pieces.append(rng.choice([text, text[start:], text[:start]])[:400])
            pieces.append(rng.choice(_JOINTS))
        mixture = "".join(pieces)
        assert faults(harmless(mixture)) == {}, mixture


@pytest.mark.parametrize("seed", range(12))
def test_a_stream_is_harmless_at_every_step_and_ends_like_the_whole(seed):
    rng = random.Random(seed)
    text = "\n\n".join([*rng.sample(HOSTILE, 6), "```python\nx = 1\n```", "| a |\n|---|\n| b |"])
    stream = HarmlessStream()
    position = 0
    while position < len(text):
        step = rng.randint(1, 40)
        stream.feed(text[position : position + step])
        position += step
        assert faults(stream.value()) == {}, text[:position]
    assert faults(stream.value(partial=False)) == {}


def test_a_stream_without_late_definitions_ends_exactly_like_the_whole():
    text = "\n\n".join(block for _, block in LEGIT.items()) + "\n"
    stream = HarmlessStream()
    for char in text:
        stream.feed(char)
        stream.value()
    assert stream.value(partial=False) == harmless(text)


LEGIT = {
    "heading": "# Title with `code` and *words*",
    "setext": "Title\n=====",
    "paragraph": "Some *em*, **strong**, ***both***, ~~gone~~ and snake_case, 2 * 3 * 4, a < b > c & d; #1.",
    "break": "one  \ntwo\\\nthree",
    "fence": "```python\ndef f(x):\n    return x['a'] < 3 and \"$HOME\"\n```",
    "indented": "    x = 1\n\n    y = 2",
    "list": "- one\n- two\n  - three\n    1. four\n- five",
    "loose": "1. one\n\n   more\n\n2. two",
    "tasks": "- [ ] open\n- [x] done",
    "quote": "> said\n> again\n>\n> > deeper",
    "table": "| a | b |\n|:--|--:|\n| `c` | $x$ |\n| 1 | 2 |",
    "rule": "above\n\n---\n\nbelow",
    "nested fence": "1. Do this:\n\n   ```bash\n   pip install x\n   ```\n\n2. Then that",
}


@pytest.mark.parametrize("name", LEGIT)
def test_ordinary_markdown_looks_the_same(name):
    def skeleton(markdown: str) -> list[str]:
        html = re.sub(r"</?span[^>]*>", "", RENDERERS["markdown-it"](markdown))
        return re.sub(r">\s+<", "><", html).split()

    assert skeleton(harmless(LEGIT[name])) == skeleton(LEGIT[name])


CODE = [
    "x = a < b && c > d",
    "<img src=x onerror=pwned()>",
    "echo $HOME $PATH `date` \\$x $$",
    "&lt; &amp; &#36; &nbsp;",
    "def f():\n\n    '''doc'''\n\treturn 1",
    "\\begin{align} x &= 1 \\end{align}",
    "print('\\\\(a\\\\) \\\\[b\\\\]')",
    "@@0@@ and $x$",
    "~~~\n```\n````",
    "\n  leading line and blanks\n\n\nend",
    "* _ [x](y) ![x](z) | # > - 1. \\ {} :",
    "https://example.org www.example.org a@b.c",
    "<span>&#36;</span>",
]


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("place", ["{}", "- item\n\n{}", "> {}", "1. a\n   - b\n\n{}"])
def test_code_in_a_fence_is_shown_to_the_letter(code, renderer, place):
    indent = {"- item\n\n{}": "  ", "> {}": "> ", "1. a\n   - b\n\n{}": "     "}.get(place, "")
    block = "``````text\n" + code + "\n``````"
    lines = block.replace("\n", "\n" + indent)
    markdown = place.format(lines if place == "> {}" else indent + lines)
    shown = inspected(RENDERERS[renderer](harmless(markdown))).codes
    if renderer == "nbconvert":  # its highlighter drops leading blank lines
        code = code.lstrip("\n")
        shown = [text.lstrip("\n") for text in shown]
    assert [text.rstrip("\n") for text in shown] == [code]


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("code", [c for c in CODE if "\n" not in c and "`" not in c])
@pytest.mark.parametrize("place", ["{}", "**{}**", "[{}](http://a.example)", "- {}", "# {}", "a *b {} c* d"])
def test_code_in_a_line_is_shown_to_the_letter(code, renderer, place):
    shown = inspected(RENDERERS[renderer](harmless(place.format(f"``{code}``")))).codes
    assert shown == [code]


MATH = {
    "$x^2$": "$x^2$",
    "\\(x^2\\)": "$x^2$",
    "\\\\(x^2\\\\)": "$x^2$",
    "$$x^2$$": "$$x^2$$",
    "\\[x^2\\]": "$$x^2$$",
    "\\[\nx^2\n\\]": "$$x^2$$",
    "$$\na = b \\\\[4pt]\nc = d\n$$": "$$\na = b \\\\[4pt]\nc = d\n$$",
    "$\\frac{a_1}{b_2}$": "$\\frac{a_1}{b_2}$",
    "$\\{a \\mid a < 3\\}$": "$\\{a \\mid a < 3\\}$",
    "\\begin{align}\na &= b\n\\end{align}": "$$\n\\begin{align}\na &= b\n\\end{align}\n$$",
    "$\\text{cost: \\$5}$": "$\\text{cost: \\$5}$",
    "$|x|$ and $*y*$": "$|x|$ and $*y*$",
}


@pytest.mark.parametrize("source", MATH)
def test_mathematics_is_written_so_that_every_renderer_knows_it(source):
    assert harmless(source) == MATH[source]


@pytest.mark.parametrize("source", MATH)
@pytest.mark.parametrize("renderer", ["nbconvert", "lab"])
def test_mathematics_reaches_the_page_to_the_letter(source, renderer):
    text = "".join(inspected(RENDERERS[renderer](harmless(source))).text)
    assert text.strip() == MATH[source]


@pytest.mark.parametrize("renderer", RENDERERS)
def test_money_is_not_mathematics(renderer):
    text = "It costs $5 to $10, or $HOME, and $x$ is math"
    html = RENDERERS[renderer](harmless(text))
    assert "".join(inspected(html).text).strip() == text
    assert html.count("<span>$</span>") + html.count("<span>&#36;</span>") == 3


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/",
        "https://example.org/a_b/c?d=1&e=2#f",
        "http://localhost:8000/x",
        "https://example.org/a%20b",
        "mailto:me@example.org",
        "src/model.py#L12",
        "#section",
    ],
)
def test_links_keep_their_address(url, renderer):
    assert inspected(RENDERERS[renderer](harmless(f"see [it]({url}) there"))).links == [url]


@pytest.mark.parametrize("renderer", RENDERERS)
def test_bare_addresses_become_links(renderer):
    text = "See https://example.org/a_(b), or (https://example.org/c). <https://example.org/d>"
    links = inspected(RENDERERS[renderer](harmless(text))).links
    assert links == ["https://example.org/a_%28b%29", "https://example.org/c", "https://example.org/d"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n\n",
        "`",
        "$",
        "\\",
        "<",
        "&",
        "[",
        "|",
        "-",
        "1.",
        "#",
        ">",
        "```",
        "$$",
        "~",
        "*",
        "\x00",
        "\ud800",
    ],
)
def test_scraps_are_shown_and_never_an_error(text):
    assert faults(harmless(text)) == {}
    harmless(text).encode()


def test_text_that_looks_like_a_block_stays_text():
    for text in [
        "\\# x",
        "\\- x",
        "1\\. x",
        "\\> x",
        "\\* x",
        "\\=== ",
        "a\n\\---",
        "\\`\\`\\`",
        "a\n\\| b",
        "\\: x",
    ]:
        html = RENDERERS["nbconvert"](harmless(text))
        assert re.match(r"<p>", html), (text, html)
        assert not re.search(r"<(?:h\d|hr|li|table|dl|pre)", html), (text, html)


@pytest.mark.parametrize(
    ("prefix", "shown"),
    [
        ("```python\nx = 1", "```python\nx = 1\n```"),
        ("```python\nx = 1\n``", "```python\nx = 1\n```"),
        ("run `pip inst", "run `pip inst`"),
        ("this is **impor", "this is **impor**"),
        ("- a\n- `b", "- a\n- `b`"),
        ("so\n\n$$\n\\frac{a}{", "so\n\n```latex\n$$\n\\frac{a}{\n```"),
    ],
)
def test_the_beginning_of_a_reply_is_shown_as_it_will_look(prefix, shown):
    assert harmless(prefix, partial=True) == shown


def test_tex_that_has_power_over_the_page_is_shown_as_source():
    assert harmless("$\\href{javascript:pwned()}{x}$").startswith("<code>")
    assert harmless("$$\n\\def\\x{\\x}\n$$").startswith("```latex\n$$")
