"""A long chat in JupyterLab: its messages stand in groups, and stay in their order."""

from __future__ import annotations

import pytest
from chat_kit import MILLISECONDS, Chat
from lab_kit import Frontend
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

TURNS = 80
ASK = f"for number in range({TURNS}): _ = chat.ask(f'ECHO {{number}}').result(60)"
OPEN = "chat = __import__('claude_nb').ChatWidget('long'); chat"
SAID = [f"ECHO {number}" for number in range(TURNS)]


def test_a_long_chat_keeps_its_order_however_it_came_about(lab: Frontend) -> None:
    grown = Chat(lab, OPEN)
    grown.notebook.run_new(ASK)
    grown.wait_until_over(TURNS)
    assert grown.prompts.all_text_contents() == SAID
    assert grown.node.locator(".cnb-group").count() > 0
    opened = Chat(lab, OPEN, grown.notebook)
    opened.wait_until_over(TURNS)
    assert opened.prompts.all_text_contents() == SAID
    opened.say("ECHO last")
    everything = [*SAID, "ECHO last"]
    for chat in (grown, opened):
        chat.wait_until_over(TURNS + 1)
        assert chat.prompts.all_text_contents() == everything
    opened.notebook.run_new("_ = chat.shown.suspend().result()")
    opened.notebook.restart()
    opened.notebook.run_new("%load_ext claude_nb")
    read = Chat(lab, OPEN, opened.notebook)
    for shown in (30, 60, TURNS + 1):
        expect(read.prompts).to_have_count(shown, timeout=MILLISECONDS)
        assert read.prompts.all_text_contents() == everything[-shown:]
        if shown <= TURNS:
            read.button("Show earlier").click()
    expect(read.button("Show earlier")).to_be_hidden()
