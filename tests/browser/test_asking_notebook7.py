"""Notebook 7 in a browser, a whole kernel and the real CLI: tools that ask while their cell runs."""

from __future__ import annotations

import pytest
from asking_kit import SOON, ask, button, card, press, saved_texts, seconds_from_click, value
from lab_kit import Frontend
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_allow_deny_and_stop_work_while_the_cell_runs(notebook7: Frontend) -> None:
    notebook = notebook7.open("%claude hello")
    notebook.run(1)
    seconds = seconds_from_click(notebook)
    print(f"from the click to the code: {seconds * 1000:.0f} ms")
    assert 0 < seconds < SOON
    denied = ask(notebook, "%claude run: denied = True")
    card(notebook, denied).get_by_role("textbox").fill("not that one")
    press(notebook, denied, "Deny")
    notebook.finish(denied)
    notebook.see(denied, "not that one")
    stopped = ask(notebook, "%claude run: import time; time.sleep(60); denied = True")
    press(notebook, stopped, "Allow once")
    button(card(notebook, stopped, "running"), "Stop").click()
    notebook.finish(stopped)
    assert "The user stopped the code." in saved_texts(notebook, stopped)[0]
    assert value(notebook, "'denied' in globals()") == "False"
    expect(notebook.page.locator(".cnb-card")).to_have_count(0)


def test_a_page_that_is_loaded_again_asks_again_while_the_cell_runs(notebook7: Frontend) -> None:
    notebook = notebook7.open("%claude run: answered = 1")
    notebook.start(1)
    card(notebook, 1)
    notebook.save()
    notebook.reload()
    press(notebook, 1, "Allow once")
    notebook.wait_until_kernel_is("idle")
    assert value(notebook, "answered") == "1"
