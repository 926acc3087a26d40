"""JupyterLab 4 in a browser, a whole kernel and the real CLI: the chat as its user sees it."""

from __future__ import annotations

import json

import pytest
from asking_kit import NOTE_CLICKS, SOON, card
from chat_kit import Chat
from lab_kit import ARTIFACTS, Frontend
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.browser

# Seconds that it takes to notice in the page what has happened there.
SEEN_BY_PLAYWRIGHT = 0.3
BUSY = "import time\nfor _ in range(100):\n    time.sleep(0.1)\nprint('over')"


def test_a_prompt_is_answered_in_the_chat(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("hello")
    chat.wait_until_over()
    expect(chat.prompts).to_have_text(["hello"])
    assert chat.replies()[-1]
    assert lab.witness.errors == []


def test_a_reply_streams_and_stop_ends_it(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("stream 400 lines")
    chat.see("line 3")
    expect(chat.node).to_have_attribute("data-state", "busy")
    chat.button("Stop").click()
    chat.see("Interrupted")
    chat.wait_until_over()
    assert "line 399" not in chat.text()


def test_escape_stops_and_the_arrows_recall_what_was_asked(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("stream 400 lines")
    chat.see("line 3")
    chat.input.press("Escape")
    chat.wait_until_over()
    chat.say("hello")
    chat.wait_until_over(2)
    chat.input.fill("not yet sent")
    chat.input.press("ArrowUp")
    expect(chat.input).to_have_value("hello")
    chat.input.press("ArrowUp")
    expect(chat.input).to_have_value("stream 400 lines")
    chat.input.press("ArrowDown")
    chat.input.press("ArrowDown")
    expect(chat.input).to_have_value("not yet sent")


def test_typing_is_never_a_shortcut_of_the_notebook(lab: Frontend) -> None:
    chat = Chat(lab)
    cells = lab.page.evaluate("() => kit.panel().content.widgets.length")
    chat.input.press_sequentially("abdd x")
    chat.input.press("Shift+Enter")
    chat.input.press_sequentially("zz")
    expect(chat.input).to_have_value("abdd x\nzz")
    chat.button("Send").focus()
    lab.page.keyboard.type("bdda")
    assert lab.page.evaluate("() => kit.panel().content.widgets.length") == cells


def test_what_is_asked_meanwhile_waits_and_can_be_taken_back(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("stream 400 lines")
    chat.see("line 1")
    chat.say("hello")
    chat.say("help")
    expect(chat.node.locator(".cnb-waits")).to_have_count(2)
    chat.button("Do not send: hello").click()
    expect(chat.node.locator(".cnb-waits")).to_have_count(1)
    chat.button("Stop").click()
    chat.wait_until_over(2)
    expect(chat.prompts).to_have_text(["stream 400 lines", "help"])


def test_send_stop_and_allow_work_while_a_cell_of_the_users_runs(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("hello")
    chat.wait_until_over()
    busy = chat.notebook.add(BUSY)
    chat.notebook.start(busy)
    chat.say("touch made_by_claude")
    chat.card()
    lab.page.evaluate(NOTE_CLICKS)
    chat.button("Allow once").click()
    chat.see("Allowed once")
    assert lab.page.evaluate("() => Date.now() / 1000 - window.clicked") < SOON + SEEN_BY_PLAYWRIGHT
    chat.wait_until_over(2)
    chat.say("stream 400 lines")
    chat.see("line 3")
    chat.button("Stop").click()
    chat.see("Interrupted")
    assert chat.notebook.running(busy)
    assert (chat.notebook.file.parent / "made_by_claude").exists()
    chat.notebook.finish(busy)
    chat.notebook.see(busy, "over")
    expect(chat.prompts).to_have_text(["hello", "touch made_by_claude", "stream 400 lines"])


def test_a_question_of_a_cell_is_asked_in_the_chat_too_and_one_answer_counts(lab: Frontend) -> None:
    chat = Chat(lab)
    index = chat.notebook.add("%claude touch made_in_a_cell")
    chat.notebook.start(index)
    card(chat.notebook, index)
    chat.card()
    chat.button("Deny").click()
    chat.notebook.finish(index)
    chat.notebook.see(index, "Denied")
    chat.see("Denied")
    assert not (chat.notebook.file.parent / "made_in_a_cell").exists()


def test_claudes_own_question_is_a_form_in_the_chat(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("ask me something")
    chat.card().get_by_label("Blue").check()
    chat.button("Submit").click()
    chat.wait_until_over()
    assert "Blue" in chat.replies()[-1]


def test_code_that_claude_runs_for_the_chat_runs_in_the_namespace(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("run: answer = 6 * 7; answer")
    chat.card()
    chat.button("Allow once").click()
    chat.wait_until_over()
    assert "42" in chat.replies()[-1]
    assert chat.notebook.text(chat.notebook.run_new("print(answer)")).strip() == "42"


def test_two_chats_and_a_cell_show_the_same(lab: Frontend) -> None:
    chat = Chat(lab)
    other = Chat(lab, notebook=chat.notebook)
    chat.say("hello")
    other.wait_until_over()
    chat.notebook.run_new("%claude help")
    chat.wait_until_over(2)
    other.wait_until_over(2)
    assert chat.replies() == other.replies()
    expect(other.prompts).to_have_text(["hello", "help"])


def test_a_reload_in_the_middle_of_a_turn_brings_all_back_and_goes_on(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("hello")
    chat.wait_until_over()
    chat.say("count slowly to 20")
    chat.see("3")
    chat.notebook.save()
    chat.notebook.reload()
    expect(chat.prompts).to_have_text(["hello", "count slowly to 20"])
    chat.wait_until_over(2)
    assert "Done" in chat.replies()[-1]


def test_sessions_are_made_and_switched_in_the_menu(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("remember the word heron")
    chat.wait_until_over()
    chat.menu("New session")
    name = chat.node.get_by_role("textbox", name="Name of the new session")
    name.fill("second")
    name.press("Enter")
    expect(chat.node.locator(".cnb-name")).to_have_text("second")
    expect(chat.prompts).to_have_count(0)
    chat.say("hello")
    chat.wait_until_over()
    chat.menu("notebook")
    expect(chat.prompts).to_have_text(["remember the word heron"])
    chat.menu("Rename")
    name = chat.node.get_by_role("textbox", name="New name")
    name.fill("first")
    name.press("Enter")
    expect(chat.node.locator(".cnb-name")).to_have_text("first")
    chat.menu("Fork")
    expect(chat.node.locator(".cnb-name")).not_to_have_text("first")
    chat.say("what did I ask you to remember?")
    chat.wait_until_over()
    assert "heron" in chat.replies()[-1]


def test_code_of_a_reply_goes_into_a_new_cell(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("show me code")
    chat.wait_until_over()
    chat.button("To cell").last.click()
    lab.page.wait_for_function("() => kit.panel().content.widgets.length === 3")
    expect(chat.notebook.cell(2)).to_contain_text("y = '%d' % x")


def test_a_notebook_reopened_without_its_kernel_shows_the_transcript(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("explain the fast Fourier transform")
    chat.wait_until_over()
    chat.say("hello")
    chat.wait_until_over(2)
    saved = chat.notebook.output(1).locator(".cnb-saved")
    expect(saved.locator("details")).to_have_count(2)
    expect(saved).not_to_be_visible()
    chat.notebook.save()
    lab.server.end_kernels()
    path = chat.notebook.path.with_name("copy.ipynb")
    content = chat.notebook.saved()
    content["cells"][0]["source"] = "# Another notebook than the one that was run here"
    (lab.server.folder / path).write_text(json.dumps(content))
    for trusted, file in ((True, chat.notebook.path), (False, path)):
        reopened = lab.show(file)
        text = reopened.output(1)
        expect(text.locator(".cnb-transcript")).to_be_visible()
        lab.page.wait_for_timeout(1_000)
        shown = text.inner_text()
        assert "hello" in shown
        assert "Loading widget" not in shown
        assert "Error" not in shown
        assert "ChatWidget" not in shown
        reopened.screenshot(f"chat-reopened-{'trusted' if trusted else 'untrusted'}")


def test_a_chat_whose_kernel_was_restarted_in_mid_turn_says_so_and_goes_on(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("count slowly to 20")
    chat.see("1 2")
    chat.notebook.restart()
    chat.see("run this cell again")
    expect(chat.button("Stop")).to_be_hidden()
    chat.notebook.run(0)
    chat.notebook.run(1)
    expect(chat.prompts).to_have_text(["count slowly to 20"])
    chat.say("hello")
    chat.wait_until_over()


def test_the_transcript_is_in_the_exported_page(lab: Frontend, browser: Browser) -> None:
    chat = Chat(lab)
    chat.say("hello")
    chat.wait_until_over()
    expect(chat.notebook.output(1).locator(".cnb-saved details")).to_have_count(1)
    chat.notebook.save()
    html, _ = HTMLExporter().from_filename(str(chat.notebook.file))
    page = browser.new_page()
    page.set_content(html)
    shown = page.inner_text("body")
    page.screenshot(path=str(ARTIFACTS / "chat-nbconvert.png"))
    page.close()
    assert "You: hello" in shown
    assert "Loading widget" not in shown
    assert "ChatWidget" not in shown
