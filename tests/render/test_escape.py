"""Pure: names, paths, tool input and terminal output as something that is only seen."""

from __future__ import annotations

import pytest
from renderers import RENDERERS, faults, inspected

from claude_nb.render.escape import escape_html, fence, inline_code, language_of, readable, visible
from claude_nb.render.harmless import harmless
from claude_nb.render.html import markdown_html

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


KEPT_EVERYWHERE = [
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, held apart by a non-joiner
    "\u0d28\u0d4d\u200d \u0915\u094d\u200d\u0937",  # Malayalam and Hindi, by a joiner, also at a word's end
    "\U0001f468\U0001f3fd\u200d\U0001f4bb \u2764\ufe0f\u200d\U0001f525",  # put together, with a skin's colour
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # Scotland's flag
    "\u845b\U000e0100\u57ce",  # which form of a Han character
    "\u182a\u180b\u1820",  # and of a Mongolian one
]
KEPT_IN_PROSE = [
    "\u05e9\u05dc\u05d5\u05dd!\u200f (C++\u200e \u05d8\u05d5\u05d1)",  # marks of direction beside Hebrew
    "\u0645\u0631\u062d\u0628\u0627.\u061c",  # and beside Arabic
    "Donau\u00addampf\u00adschiff",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u200b\u0e04\u0e23\u0e31\u0e1a",  # Thai, where a line may break
]
SHOWN = [
    "a\u200cb",
    "\u0430\u200d\u0430",  # Cyrillic has no joiners
    "\u4e2d\u200d\u6587",
    "x\u200fy \u200e1",
    "-\u00ad-",
    "rm\u00ad -rf",
    "a\u200b\u0e04",
    "\u05d0\u202e\u05d1\u2066",  # an override deceives in every script
    "\U000e0067\U000e0062\U000e007f",  # tags without their flag
    "\U0001f3f4\U000e0067\U000e0020\U000e0021",
    "a\U000e0100",
    "\u2764\u200d",
]


def shown_in(render, text):
    return inspected(render(text)).text


@pytest.mark.parametrize("text", KEPT_EVERYWHERE + KEPT_IN_PROSE)
def test_what_a_script_needs_is_shown_as_it_is(text):
    assert readable(text) == text
    assert (visible(text) == text) == (text in KEPT_EVERYWHERE)
    assert "".join(shown_in(markdown_html, text)).strip() == text
    for render in RENDERERS.values():
        assert "".join(shown_in(render, harmless(text))).strip() == text


@pytest.mark.parametrize("text", SHOWN)
def test_what_only_hides_is_shown_in_prose_too(text):
    assert "\u27e6U+" in readable(text)
    coded = "".join(f"&#{ord(char)};" for char in text)
    for written in (text, coded):  # an entity can be any character
        assert "\u27e6U+" in harmless(written)
        assert not set(harmless(written)) & set(
            "\u200b\u200c\u200d\u200e\u200f\u202e\u2066\u00ad\U000e0067\U000e0100"
        )
        assert "\u27e6U+" in markdown_html(written)


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
