"""Notebook 7 in a browser, a whole kernel and the real CLI: the chat works there as in JupyterLab."""

from __future__ import annotations

import pytest
from chat_kit import Chat
from lab_kit import Frontend
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_first_turn_a_stop_and_a_permission(notebook7: Frontend) -> None:
    chat = Chat(notebook7)
    chat.say("hello")
    chat.reply_is("Hello!")
    chat.wait_until_over()
    chat.notebook.screenshot("chat-first-turn")
    chat.say("stream 400 lines")
    chat.see("line 3")
    chat.button("Stop").click()
    chat.see("Interrupted")
    chat.wait_until_over(2)
    chat.say("touch made_by_claude")
    chat.card()
    chat.notebook.screenshot("chat-permission")
    chat.button("Allow once").click()
    chat.see("Allowed once")
    chat.wait_until_over(3)
    assert (chat.notebook.file.parent / "made_by_claude").exists()
    expect(chat.prompts).to_have_text(["hello", "stream 400 lines", "touch made_by_claude"])
