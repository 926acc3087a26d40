"""What a turn looks like while it grows and in the end. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import cast

import pytest

from claude_nb.chat.log import ChatLog, applied
from claude_nb.chat.turns import TurnView
from claude_nb.render.page import MOST_SHOWN, Page
from claude_nb.render.terminal import BEGINS_AGAIN, Terminal, plain_page
from claude_nb.reply import Block, NoticeBlock, PrintedBlock, TextBlock, ThinkingBlock, ToolUseBlock
from claude_nb.session import Session
from claude_nb.turn import Turn

pytestmark = pytest.mark.pure


def page_of(*blocks: Block) -> Page:
    """The page of a turn that has these blocks, which may go on growing."""
    turn = Turn(cast("Session", None), "a prompt")
    turn.log.blocks.extend(blocks)
    turn.created = 0.0
    return Page(turn, "normal")


def test_a_turn_that_has_nothing_yet_shows_what_goes_on() -> None:
    assert page_of().live(3.0) == "<small>waiting for Claude · 3 s</small>"


def test_a_text_is_shown_as_it_grows_and_then_stays() -> None:
    text = TextBlock("One")
    page = page_of(text)
    assert page.live(1.0).startswith("One\n\n<small>")
    text.grow(" two **three")
    assert page.live(1.0).startswith("One two **three**\n\n")
    text.settle("One two **three** four")
    assert page.live(1.0).startswith("One two **three** four\n\n")
    assert page.final() == "One two **three** four"


def test_a_text_that_is_settled_shorter_than_it_was_streamed_is_shown_as_settled() -> None:
    text = TextBlock("One two three")
    page = page_of(text)
    page.live(1.0)
    text.settle("One")
    assert page.final() == "One"


def test_a_tool_shows_its_time_while_the_turn_runs_and_its_result_when_it_has_come() -> None:
    tool = ToolUseBlock("t", "Bash", {"command": "ls"}, done=True)
    page = page_of(ThinkingBlock("hm", done=True), tool)
    assert "3.0 s" in page.live(3.0)
    tool.state = "ok"  # just before its result is there
    assert "a file" not in page.live(4.0)
    tool.result, tool.seconds = "a file", 5.0
    assert "a file" in page.live(6.0)
    assert "5.0 s" in page.live(7.0)
    assert "a file" in page.final()
    assert "5.0 s" not in page.final()


def test_a_reply_that_no_page_can_take_is_cut_and_says_so() -> None:
    text = TextBlock("word " * (MOST_SHOWN // 5))
    page = page_of(text)
    page.live(1.0)
    text.settle("word " * (MOST_SHOWN // 5 + 2000))
    assert "10,000 more characters are not shown" in page.final()
    assert len(page.final()) < MOST_SHOWN + 200


@contextmanager
def threads_that_alternate_often() -> Iterator[None]:
    """Nearly at every instruction, so that what two of them share is seen half changed."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_two_threads_that_ask_at_once_each_get_the_whole_text() -> None:
    """The main thread shows how a turn ended while another thread still shows how it grows."""
    whole = "\n\n".join(f"Paragraph {number} with **bold** and `code`." for number in range(20))
    with ThreadPoolExecutor(1) as other, threads_that_alternate_often():
        for _ in range(40):
            text = TextBlock(whole[:100])
            page, together = page_of(text), Barrier(2)
            page.live(1.0)
            text.grow(whole[100:])

            def ask_live(page: Page = page, together: Barrier = together) -> str:
                together.wait()
                return page.live(1.0)

            live = other.submit(ask_live)
            together.wait()
            final = page.final()
            assert final == whole
            assert live.result().startswith(whole + "\n\n<small>")


def test_what_an_attempt_that_broke_had_shown_is_gone_from_cell_and_chat() -> None:
    turn = Turn(cast("Session", None), "a prompt")
    page, chat, log = Page(turn, "normal"), TurnView(turn), ChatLog()
    half = TextBlock("Half a sentence")
    turn.log.blocks = [TextBlock("kept", done=True), half]
    assert "Half a sentence" in page.live(1.0)
    shown = applied([], log.update(turn.id, chat.entries()))
    turn.log.blocks = [turn.log.blocks[0], TextBlock("All of it", done=True), NoticeBlock("and so on", "x")]
    assert page.final() == "kept\n\nAll of it\n\n> \u2139 and so on"
    shown = applied(shown, log.update(turn.id, chat.entries()))
    assert [entry["kind"] for entry in shown] == ["prompt", "text", "text", "notice"]
    assert "Half" not in str(shown)


def test_a_terminal_says_that_the_reply_begins_again(capsys: pytest.CaptureFixture[str]) -> None:
    turn, terminal = Turn(cast("Session", None), "a prompt"), Terminal("normal")
    kept = TextBlock("kept", done=True)
    turn.log.blocks = [kept, TextBlock("Half a sentence")]
    terminal.finish(turn)
    turn.log.blocks = [kept, TextBlock("All of it", done=True), NoticeBlock("and so on", "x", "warning")]
    terminal.finish(turn)
    printed = capsys.readouterr().out
    before, after = printed.split(BEGINS_AGAIN)
    assert before.split() == ["kept", "Half", "a", "sentence", "⚠"]
    assert after.split() == ["All", "of", "it", "⚠", "and", "so", "on"]


def test_as_plain_text_too_a_tools_secret_is_masked_where_claude_repeats_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = "ghp_abcdefghijklmnopqrstuvwxyz012345"
    turn, terminal = Turn(cast("Session", None), "a prompt"), Terminal("normal")
    tool = ToolUseBlock("t", "Read", {"file_path": ".env"}, state="ok", result=f"TOKEN={secret}", done=True)
    text = TextBlock("")
    turn.log.blocks = [tool, text]
    for char in f"It is {secret}, and ":
        text.grow(char)
        terminal._print_new(turn)
    text.settle(f"It is {secret}, and more.")
    terminal.finish(turn)
    for shown in (plain_page(turn), capsys.readouterr().out):
        assert "It is ghp_" in shown
        assert ", and more." in shown
        assert secret not in shown


def test_what_a_command_printed_keeps_its_lines() -> None:
    assert page_of(PrintedBlock("a:  1\nb: *2*", done=True)).final() == "```\na:  1\nb: *2*\n```"
    assert page_of(PrintedBlock("## Usage", done=True)).final() == "## Usage"


def test_a_terminal_prints_each_word_once_and_no_line_as_ours(capsys: pytest.CaptureFixture[str]) -> None:
    whole = (
        "\u2713 Always allowed\n> \u26a0 x \u2713\n\x1b[2J**\u2139** \u0645\u06cc\u200c\u062e\n\u221a 2\nlast"
    )
    turn, text = Turn(cast("Session", None), "a prompt"), TextBlock("")
    turn.log.blocks.append(text)
    terminal = Terminal("normal")
    for char in whole:
        text.grow(char)
        terminal._print_new(turn)
    text.settle(whole)
    terminal.finish(turn)
    shown = "(check) Always allowed\n> (!) x \u2713\n**(i)** \u0645\u06cc\u200c\u062e\n(root) 2\nlast"
    assert capsys.readouterr().out.rstrip() == shown
