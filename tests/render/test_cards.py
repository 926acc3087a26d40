"""Pure: cards say what a tool did, and whatever is in its input they stay cards."""

from __future__ import annotations

import pytest
from hostile_replies import HOSTILE
from renderers import RENDERERS, faults, inspected

from claude_nb.render.cards import notice, shortened, status_line, thinking_card, tool_card, tool_line
from claude_nb.render.html import tool_html
from claude_nb.reply import ToolUseBlock

pytestmark = pytest.mark.pure


def text_of(markdown: str, renderer: str = "nbconvert") -> str:
    return " ".join("".join(inspected(RENDERERS[renderer](markdown)).text).split())


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_command_and_its_output_are_folded_under_one_line(renderer):
    card = tool_card("Bash", {"command": "ls -la $HOME"}, state="ok", result="total 0\n<b>", seconds=2.34)
    assert card.startswith("<details><summary>")
    assert text_of(card, renderer) == "\u2713 Bash ls -la $HOME 2.3 s $ ls -la $HOME total 0 <b>"


def test_what_is_saved_has_no_duration():
    assert " s</summary>" not in tool_card("Bash", {"command": "ls"}, state="ok")


def test_quiet_shows_no_cards_and_verbose_shows_them_open():
    assert tool_card("Bash", {"command": "ls"}, state="ok", output_mode="quiet") == ""
    assert thinking_card("hm", "quiet") == ""
    assert tool_card("Bash", {"command": "ls"}, state="ok", output_mode="verbose").startswith(
        "<details open>"
    )
    assert thinking_card("hm", "verbose").startswith("<details open>")


@pytest.mark.parametrize(
    ("name", "tool_input", "line"),
    [
        ("Bash", {"command": "ls\n  -la", "description": "List"}, "\u2713 Bash ls -la"),
        ("Read", {"file_path": "/a/b.py", "offset": 3}, "\u2713 Read /a/b.py"),
        ("Edit", {"file_path": "/a/b.py", "old_string": "a", "new_string": "b"}, "\u2713 Edit /a/b.py"),
        ("Grep", {"pattern": "def ", "path": "src"}, "\u2713 Grep def in src"),
        ("WebSearch", {"query": "weather"}, "\u2713 WebSearch weather"),
        ("Task", {"description": "Look", "prompt": "Look at all"}, "\u2713 Task Look"),
        (
            "TodoWrite",
            {"todos": [{"content": "a", "status": "completed"}, {"content": "b"}]},
            "\u2713 TodoWrite 1 of 2 done",
        ),
        ("mcp__kernel__run", {"code": "1 + 1"}, "\u2713 kernel \u00b7 run 1 + 1"),
        ("Unknown", {"n": 1, "what": "thing"}, "\u2713 Unknown thing"),
        ("Bash", {}, "\u2713 Bash"),
        ("Bash", {"command": None}, "\u2713 Bash"),
        ("Bash", {"command": ["a", 1]}, '\u2713 Bash [ "a", 1 ]'),
    ],
)
def test_a_line_names_the_tool_and_what_it_is_about(name, tool_input, line):
    assert tool_line(name, tool_input, "ok") == line
    assert text_of(tool_card(name, tool_input, state="ok")).startswith(line)


def test_an_edit_is_shown_as_a_difference():
    card = tool_card("Edit", {"file_path": "a.py", "old_string": "a\nb", "new_string": "a\n-- c"}, state="ok")
    assert "```diff\n a\n-b\n+-- c\n```" in card


def test_todos_are_a_list():
    card = tool_card("TodoWrite", {"todos": [{"content": "<b>", "status": "in_progress"}]}, state="ok")
    assert "- \u25b6 &#60;b&#62;" in card


def test_states_are_said_in_words_too():
    assert "failed" in tool_line("Bash", {}, "failed")
    assert "refused" in text_of(tool_card("Bash", {}, state="refused"))


def test_a_long_result_is_cut_with_a_note():
    card = tool_card("Bash", {"command": "x"}, state="ok", result="y" * 30_000, output_mode="verbose")
    assert len(card) < 11_000
    assert "20,004 more characters are not shown" in card


def test_names_are_shortened_in_the_middle():
    assert shortened("/home/someone/" + "deep/" * 30 + "file.py", 30) == "/home/someone/dee\u2026deep/file.py"
    assert len(shortened("x" * 500)) == 80


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_tool_call_escapes_its_card(text):
    for name, key in [
        ("Bash", "command"),
        ("Write", "content"),
        ("Read", "file_path"),
        (text, text),
        ("Edit", "old_string"),
    ]:
        for mode in ("normal", "verbose"):
            card = tool_card(name, {key: text, "x": text}, state="failed", result=text, output_mode=mode)
            assert faults(card) == {}
            assert card.startswith("<details")
            assert card.endswith("\n\n</details>")
            assert inspected(RENDERERS["nbconvert"](card)).tags.count("details") == 1
    todo = tool_card("TodoWrite", {"todos": [{"content": text, "status": text}]}, state="ok")
    assert faults(todo) == {}
    assert "\n" not in tool_line("Bash", {"command": text}, "ok")


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_notice_a_status_or_a_thought_is_more_than_text(text):
    for shown in (notice(text, "error"), status_line(text), thinking_card(text, "normal")):
        assert faults(shown) == {}
    assert "\n" not in notice(text) + status_line(text)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_notice_reads_as_it_was_written(renderer):
    text = r"C:\new\begin costs $5 *and* <b>: see [x](y) `z` @@0@@"
    as_code = text.replace("`", "")  # what is between backticks is shown as code
    assert text_of(notice(text, "warning"), renderer) == f"\u26a0 {as_code}"
    assert text_of(status_line(text), renderer) == text


TOKEN = "ghp_abcdefghijklmnopqrst1234567890"


@pytest.mark.parametrize(
    ("name", "tool_input", "result"),
    [
        ("Bash", {"command": f"curl -H 'Authorization: Bearer {TOKEN}'"}, None),
        ("Bash", {"command": "env"}, f"A=1\nGITHUB_TOKEN={TOKEN}"),
        ("Read", {"file_path": ".env"}, f"     1\tGITHUB_TOKEN={TOKEN}"),
        ("Write", {"file_path": "a.py", "content": f"token = '{TOKEN}'"}, "written"),
        ("Edit", {"file_path": "a.py", "old_string": "x", "new_string": f"token = '{TOKEN}'"}, ""),
        ("mcp__weather__ask", {"key": {"deep": TOKEN}}, None),
        ("mcp__weather__ask", {"url": f"https://host/?token={TOKEN}"}, None),
    ],
)
def test_keys_and_tokens_of_tools_are_masked_and_can_be_shown(name, tool_input, result):
    card = tool_card(name, tool_input, state="ok", result=result)
    assert TOKEN not in text_of(card)
    assert "[masked]" in text_of(card)
    assert TOKEN not in tool_line(name, tool_input, "ok")
    assert TOKEN in text_of(tool_card(name, tool_input, state="ok", result=result, masked=False))
    html = tool_html(ToolUseBlock("id", name, tool_input, state="ok", result=result))
    assert TOKEN not in html
    assert "[masked]" in html
