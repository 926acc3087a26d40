"""JupyterLab 4 in a browser, a whole kernel and the real CLI: the chat as its user sees it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import psutil
import pytest
from asking_kit import card, press
from axe_kit import grave
from chat_kit import Chat, own_chat
from lab_kit import ARTIFACTS, Frontend, Notebook
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.browser

CELLS = "() => kit.panel().content.widgets.length"
# A cell of the user's that runs until a file is there.
BUSY = """\
import pathlib, time
for _ in range(3000):
    if pathlib.Path('enough').exists():
        print('over')
        break
    time.sleep(0.05)"""


@pytest.fixture(scope="module")
def told(shared_lab: Frontend) -> Notebook:
    """A notebook for all chats that do not need their kernel to themselves."""
    return shared_lab.open()


@pytest.fixture
def chat(told: Notebook) -> Iterator[Chat]:
    """A chat with a session of its own."""
    with own_chat(told) as chat:
        yield chat


def test_a_prompt_is_answered_in_the_chat(chat: Chat) -> None:
    chat.say("hello")
    chat.wait_until_over()
    expect(chat.prompts).to_have_text(["hello"])
    chat.reply_is("Hello!")
    chat.screenshot("first-turn")
    assert chat.notebook.frontend.witness.errors == []


def test_a_reply_streams_and_stop_ends_it(chat: Chat) -> None:
    chat.say("stream 400 lines")
    chat.see("line 3")
    expect(chat.node).to_have_attribute("data-state", "busy")
    chat.screenshot("streaming")
    chat.button("Stop").click()
    chat.see("Interrupted")
    chat.wait_until_over()
    chat.wait_until("idle")
    assert "line 399" not in chat.text()
    chat.screenshot("stopped")


def test_escape_stops_and_the_arrows_recall_what_was_asked(chat: Chat) -> None:
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


def test_typing_is_never_a_shortcut_of_the_notebook(chat: Chat) -> None:
    cells = chat.notebook.page.evaluate(CELLS)
    chat.input.press_sequentially("abdd x")
    chat.input.press("Shift+Enter")
    chat.input.press_sequentially("zz")
    expect(chat.input).to_have_value("abdd x\nzz")
    chat.button("Send").focus()
    chat.notebook.page.keyboard.type("bdda")
    assert chat.notebook.page.evaluate(CELLS) == cells


def test_what_is_asked_meanwhile_waits_and_can_be_taken_back(chat: Chat) -> None:
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


def test_send_stop_and_allow_work_while_a_cell_of_the_users_runs(chat: Chat) -> None:
    chat.say("hello")
    chat.wait_until_over()
    busy = chat.notebook.add(BUSY)
    chat.notebook.start(busy)
    chat.say("touch made_by_claude")
    chat.card()
    chat.screenshot("permission")
    chat.button("Allow once").click()
    chat.see("Allowed once")
    chat.wait_until_over(2)
    chat.say("stream 400 lines")
    chat.see("line 3")
    chat.screenshot("busy-kernel")
    chat.button("Stop").click()
    chat.see("Interrupted")
    chat.wait_until_over(3)
    # What was clicked has come through while the cell ran, and is done.
    assert chat.notebook.running(busy)
    folder = chat.notebook.file.parent
    assert (folder / "made_by_claude").exists()
    (folder / "enough").touch()
    chat.notebook.finish(busy)
    chat.notebook.see(busy, "over")
    expect(chat.prompts).to_have_text(["hello", "touch made_by_claude", "stream 400 lines"])


def test_a_question_of_a_cell_is_asked_in_the_chat_too_and_one_answer_counts(chat: Chat) -> None:
    index = chat.notebook.add(f"%claude -s {chat.session} touch made_in_a_cell")
    chat.notebook.start(index)
    card(chat.notebook, index)
    chat.card()
    chat.button("Deny").click()
    chat.notebook.finish(index)
    chat.notebook.see(index, "Denied")
    chat.see("Denied")
    assert not (chat.notebook.file.parent / "made_in_a_cell").exists()


def test_claudes_own_question_is_a_form_in_the_chat(chat: Chat) -> None:
    chat.say("ask me something")
    chat.card().get_by_label("Blue").check()
    chat.button("Submit").click()
    chat.wait_until_over()
    chat.reply_is("Blue")


def test_code_that_claude_runs_for_the_chat_runs_in_the_namespace(chat: Chat) -> None:
    chat.say("run: answer = 6 * 7; answer")
    chat.card()
    chat.button("Allow once").focus()
    chat.notebook.page.keyboard.press("Enter")
    expect(chat.input).to_be_focused()
    chat.wait_until_over()
    chat.reply_is("42")
    chat.notebook.see(chat.notebook.run_new("print(answer)"), "42")


def test_two_chats_and_a_cell_show_the_same(chat: Chat) -> None:
    other = Chat(chat.notebook.frontend, f"claude_nb.ChatWidget({chat.session!r})", chat.notebook)
    chat.say("hello")
    other.wait_until_over()
    chat.notebook.run_new(f"%claude -s {chat.session} help")
    chat.wait_until_over(2)
    other.wait_until_over(2)
    expect(other.prompts).to_have_text(["hello", "help"])
    expect(other.node.locator(".cnb-entry-text")).to_have_text(chat.replies())
    chat.screenshot("twice")


def test_a_reload_in_the_middle_of_a_turn_brings_all_back_and_goes_on(lab: Frontend) -> None:
    chat = Chat(lab)
    chat.say("hello")
    chat.wait_until_over()
    chat.say("touch made_after_all")
    chat.card()
    chat.notebook.save()
    chat.notebook.reload()
    chat.card()
    chat.wait_until("waiting")
    expect(chat.prompts).to_have_text(["hello", "touch made_after_all"])
    chat.screenshot("reloaded-in-mid-turn")
    chat.button("Allow once").click()
    chat.wait_until_over(2)
    assert (chat.notebook.file.parent / "made_after_all").exists()


def test_sessions_are_made_and_switched_in_the_menu(chat: Chat) -> None:
    own = chat.session
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
    chat.menu(own)
    expect(chat.prompts).to_have_text(["remember the word heron"])
    chat.node.locator(".cnb-session").click()
    expect(chat.node.locator(".cnb-item", has_text="second")).to_be_visible()
    chat.screenshot("sessions")
    chat.input.press("Escape")
    chat.menu("Rename")
    name = chat.node.get_by_role("textbox", name="New name")
    name.fill("first")
    name.press("Enter")
    expect(chat.node.locator(".cnb-name")).to_have_text("first")
    chat.menu("Fork")
    expect(chat.node.locator(".cnb-name")).not_to_have_text("first")
    chat.say("what did I ask you to remember?")
    chat.reply_is("You asked me to remember: heron")


def test_code_of_a_reply_goes_into_a_new_cell(chat: Chat) -> None:
    chat.say("show me code")
    chat.wait_until_over()
    cells = chat.notebook.page.evaluate(CELLS)
    chat.button("To cell").last.click()
    chat.notebook.page.wait_for_function(f"cells => ({CELLS})() > cells", arg=cells)
    expect(chat.notebook.cell(cells)).to_contain_text("y = '%d' % x")


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
    chat.notebook.end_kernel()
    path = chat.notebook.path.with_name("copy.ipynb")
    content = chat.notebook.saved()
    content["cells"][0]["source"] = "# Another notebook than the one that was run here"
    (lab.server.folder / path).write_text(json.dumps(content))
    for trusted, file in ((True, chat.notebook.path), (False, path)):
        reopened = lab.show(file)
        text = reopened.output(1)
        expect(text.locator(".cnb-transcript")).to_be_visible()
        # What shows widgets looks for theirs once there is a kernel.
        reopened.wait_until_kernel_is("idle")
        shown = text.inner_text()
        assert "hello" in shown
        assert "Loading widget" not in shown
        assert "Error" not in shown
        assert "ChatWidget" not in shown
        reopened.screenshot(f"chat-reopened-{'trusted' if trusted else 'untrusted'}")


# What a page takes down of a chat, each time that it changes: the time, the state, what it does, the alert.
TAKE_DOWN = """
([node, log]) => {
  window[log] = [];
  const look = () => window[log].push({
    at: Date.now() / 1000, state: node.dataset.state,
    words: node.querySelector('.cnb-now').textContent, alert: node.querySelector('.cnb-alert').textContent,
  });
  new MutationObserver(look).observe(node, {subtree: true, childList: true, attributes: true});
  look();
}
"""


def kernel_of(notebook: Notebook) -> psutil.Process:
    return psutil.Process(int(notebook.printed(notebook.run_new("import os; print(os.getpid())"))))


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_what_is_typed_or_sent_to_a_kernel_that_has_gone_is_kept_for_the_sessions_next_view(
    lab: Frontend, end: str
) -> None:
    chat = Chat(lab)
    notebook = chat.notebook
    process = kernel_of(notebook)
    chat.say("hello")
    chat.wait_until_over()
    chat.say("count slowly to 20")
    chat.see("1 2")
    chat.say("queued behind it")
    expect(chat.node.locator(".cnb-waits")).to_have_count(1)
    chat.node.evaluate("(node, script) => eval(script)([node, 'seen'])", TAKE_DOWN)
    if end == "kill":
        process.kill()
        ended = time.time()
        notebook.frontend.answer("Ok")
    else:
        notebook.restart()
        process.wait(60)
        ended = time.time()
    chat.input.press_sequentially("sent too late")
    chat.input.press("Enter")
    chat.see("run this cell again")
    chat.see("it is kept")
    expect(chat.input).to_have_value(re.compile("queued behind it"))
    expect(chat.input).to_have_value(re.compile("sent too late"))
    expect(chat.button("Stop")).to_be_hidden()
    chat.input.press_sequentially("and typed")
    chat.input.press("Enter")
    expect(chat.input).to_have_value(re.compile("and typed"))
    chat.screenshot(f"kernel-gone-{end}")
    for seen in notebook.page.evaluate("window.seen"):
        assert seen["at"] < ended + 3 or not re.search("Writing|Thinking", seen["words"]), seen
    notebook.wait_until_kernel_is("idle")
    notebook.run(0)
    notebook.run(1)
    expect(chat.prompts).to_have_text(["hello", "count slowly to 20"])
    expect(chat.input).to_have_value(re.compile("queued behind it"))
    expect(chat.input).to_have_value(re.compile("sent too late"))
    chat.input.press("Enter")
    chat.see("and typed")
    expect(chat.prompts.last).to_contain_text("and typed")
    expect(chat.input).to_have_value("")


def test_a_prompt_that_the_kernel_does_not_hear_comes_back_and_is_asked_once(chat: Chat) -> None:
    chat.say("hello")
    chat.wait_until_over()
    process = kernel_of(chat.notebook)
    process.suspend()
    try:
        chat.say("ECHO once")
        chat.see("The kernel does not answer")
        chat.see("it is kept")
        expect(chat.input).to_have_value("ECHO once")
        chat.input.press("Enter")
    finally:
        process.resume()
    chat.wait_until_over(2)
    expect(chat.input).to_have_value("")
    expect(chat.prompts).to_have_text(["hello", "ECHO once"])
    expect(chat.node.locator(".cnb-alert")).to_be_empty()


def test_the_transcript_is_in_the_exported_page(chat: Chat, browser: Browser) -> None:
    chat.say("hello")
    chat.wait_until_over()
    chat.say("help")
    chat.wait_until_over(2)
    saved = chat.notebook.output(chat.index).locator(".cnb-saved details")
    expect(saved).to_have_count(2)
    chat.notebook.save()
    html, _ = HTMLExporter().from_filename(str(chat.notebook.file))
    page = browser.new_page()
    page.route("https://**", lambda route: route.abort())
    page.set_content(html)
    expect(page.locator(".cnb-transcript").last).to_contain_text("You: hello")
    shown = page.inner_text("body")
    # Nothing can be unfolded on paper.
    folded = page.locator(".cnb-transcript").last.locator("details").first.get_by_text("Hello!")
    expect(folded).not_to_be_visible()
    page.emulate_media(media="print")
    expect(folded).to_be_visible()
    page.emulate_media(media="screen")
    page.locator(".cnb-transcript").last.scroll_into_view_if_needed()
    page.screenshot(path=str(ARTIFACTS / "chat-nbconvert.png"))
    page.close()
    assert "Loading widget" not in shown
    assert "ChatWidget(" not in shown.replace("claude_nb.ChatWidget(", "")


def test_all_of_it_can_be_read_and_reached_in_light_and_dark_and_when_narrow(chat: Chat) -> None:
    chat.say("explain the fast Fourier transform")
    chat.wait_until_over()
    chat.say("list the files")
    chat.wait_until_over(2)
    question = chat.notebook.add(f"%claude -s {chat.session} touch made_for_the_eye")
    chat.notebook.start(question)
    card(chat.notebook, question)
    chat.card()
    for theme in ("Dark", "Light"):
        chat.notebook.frontend.theme(theme)
        assert grave(chat.notebook.page, ".cnb-chat, .cnb-card:not(.cnb-chat *)") == [], theme
        for menu in ("session", "model"):
            chat.node.locator(f".cnb-{menu}").click()
            expect(chat.node.locator(".cnb-menu:visible")).to_be_visible()
            assert grave(chat.notebook.page, ".cnb-menu:not([hidden])") == [], (theme, menu)
            chat.screenshot(f"{theme.lower()}-{menu}")
            chat.notebook.page.keyboard.press("Escape")
            expect(chat.node.locator(".cnb-menu:visible")).to_have_count(0)
    press(chat.notebook, question, "Deny")
    chat.notebook.finish(question)
    chat.wait_until_over(3)
    chat.notebook.run_new(f"{chat.session}.layout.width = '340px'")
    expect(chat.node).to_have_css("width", "340px")
    assert grave(chat.notebook.page, ".cnb-chat") == []
    chat.screenshot("narrow")
