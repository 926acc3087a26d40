"""Secrets of tools where Claude's words repeat them. Pure."""

from __future__ import annotations

import itertools

import pytest

from claude_nb.quoted import Quoted
from claude_nb.reply import Block, ToolUseBlock

pytestmark = pytest.mark.pure

TOKEN = "ghp_abcdefghijklmnopqrst1234567890"
MASKED = "ghp_…[masked]"


def tools() -> list[Block]:
    inner = ToolUseBlock("2", "Read", {"file_path": ".env"}, result=f"1\tGITHUB_TOKEN={TOKEN}")
    asked = ToolUseBlock("3", "mcp__vault__get", {"password": "pa55-word", "name": "main"}, result="ok")
    known = ToolUseBlock("4", "Read", {}, result="password: postgres\npassword = x1y2")
    return [ToolUseBlock("1", "Agent", {"prompt": "look"}, inner=[inner], result="looked"), asked, known]


def test_what_tools_have_given_is_masked_in_claudes_words_and_nothing_else_is() -> None:
    quoted = Quoted()
    words = f"`{TOKEN}` and pa55-word; postgres runs, x1y2 is short, api_key = 'sk-not-of-a-tool-1234'"
    masked = f"`{MASKED}` and [masked]; postgres runs, x1y2 is short, api_key = 'sk-not-of-a-tool-1234'"
    assert quoted.masked(words, tools()) == masked
    assert quoted.masked(words, []) == words


def test_a_text_that_grows_never_shows_a_part_of_it_and_only_grows() -> None:
    quoted, blocks = Quoted(), tools()
    words = f"It is {TOKEN}, I say: {TOKEN[:8]} and more"
    shown = [quoted.masked(words[:length], blocks, partial=True) for length in range(len(words) + 1)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))
    assert not any(TOKEN[:5] in text for text in shown[: len("It is ") + len(TOKEN) + 1])
    assert quoted.masked(words, blocks) == f"It is {MASKED}, I say: {TOKEN[:8]} and more"


def test_a_tool_that_has_its_result_is_looked_at_again() -> None:
    quoted, tool = Quoted(), ToolUseBlock("1", "Bash", {"command": "env"})
    assert quoted.masked(TOKEN, [tool]) == TOKEN
    tool.result = f"GITHUB_TOKEN={TOKEN}"
    assert quoted.masked(TOKEN, [tool]) == MASKED
