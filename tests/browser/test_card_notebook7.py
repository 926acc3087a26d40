"""Notebook 7 in a browser, a whole kernel: the card that asks works there as in JupyterLab."""

from __future__ import annotations

import pytest
from card_kit import SWAP, Card
from lab_kit import Frontend
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

EDIT = {"file_path": "model.py", "old_string": "x = 1\n", "new_string": "x = 2\n"}


def test_an_edit_is_shown_as_a_difference_and_allowed_for_good(notebook7: Frontend) -> None:
    card = Card(notebook7, "Edit", EDIT, rule="Edit(/home/me/**)")
    expect(card.node.locator(".cnb-gd")).to_have_text("-x = 1")
    expect(card.node.locator(".cnb-gi")).to_have_text("+x = 2")
    card.notebook.screenshot("card")
    card.button("Always").click()
    card.wait_until_phase("answered")
    assert "verdict='always'" in card.decided()


def test_a_denied_card_becomes_a_line_of_text_that_is_saved(notebook7: Frontend) -> None:
    card = Card(notebook7, "Bash", {"command": "rm -rf build"})
    card.node.get_by_role("textbox").fill("keep it")
    card.node.get_by_role("textbox").press("Enter")
    card.wait_until_phase("answered")
    assert "verdict='deny', reason='keep it'" in card.decided()
    card.ask(SWAP)
    card.notebook.see(1, "Denied: Bash rm -rf build: keep it")
    assert list(card.saved_output()) == ["text/markdown"]
