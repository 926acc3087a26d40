"""Pure: names, paths, tool input and terminal output as something that is only seen."""

from __future__ import annotations

import pytest
from renderers import RENDERERS, faults, inspected

from claude_nb.render.escape import escape_html, fence, inline_code, language_of, visible

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x\x1b]8;;http://e\x1b\\y", "xy"),
        ("a\r\nb", "a\nb"),
        ("rm -rf /\rls", "rm -rf /\u240dls"),
        ("a\x00\x08\x7f", "a\u2400\u2408\u2421"),
        ("safe\u202etxt.exe", "safe\u27e6U+202E\u27e7txt.exe"),
        ("a\u200bb", "a\u27e6U+200B\u27e7b"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("a\u200db", "a\u27e6U+200D\u27e7b"),
        ("\ud800", "\u27e6U+D800\u27e7"),
        (
            "na\u00efve \u65e5\u672c\u8a9e \u0645\u0631\u062d\u0628\u0627",
            "na\u00efve \u65e5\u672c\u8a9e \u0645\u0631\u062d\u0628\u0627",
        ),
    ],
)
def test_what_hides_becomes_visible(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["a\x1b[2Kb\nc", "\x1b]0;a\nb\x07", "\x1bP\nq", "\u2028\u2029\x85\x0b\x0c"])
def test_cleaning_keeps_the_number_of_lines(text):
    assert visible(text).count("\n") == text.count("\n")


def test_html_is_escaped_for_attributes_too():
    assert escape_html('<a href="x">\'&\x07') == "&lt;a href=&quot;x&quot;&gt;&#x27;&amp;\u2407"


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_fence_is_longer_than_any_within(renderer):
    code = "```\n````\n<img src=x onerror=pwned()>"
    assert [shown.rstrip("\n") for shown in inspected(RENDERERS[renderer](fence(code, "text"))).codes] == [
        code
    ]


@pytest.mark.parametrize(
    ("info", "language"),
    [
        ("python", "python"),
        ("c++ title=x", "c++"),
        ("{.python}", "python"),
        ("{r}", "r"),
        ("mermaid", ""),
        ("Mermaid-x", ""),
        ('x"onclick', ""),
        ("<img>", ""),
        ("math", "latex"),
        ("", ""),
    ],
)
def test_an_info_string_is_a_plausible_language_or_nothing(info, language):
    assert language_of(info) == language


@pytest.mark.parametrize(
    "text", ["a", "a`b", "``", "<img src=x onerror=pwned()>", "$x$", "a\nb", " a ", "\\(x\\)"]
)
def test_code_in_a_line_is_only_code(text):
    assert faults(f"x {inline_code(text)} y") == {}
