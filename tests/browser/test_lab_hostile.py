"""JupyterLab 4 in a browser, a whole kernel and the real CLI: nothing that Claude says runs in the reader's
page or fetches anything, in a cell, in the chat, in what is saved of it and in what is exported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_kit import Chat
from hostile_kit import (
    PROMPT,
    PWNED,
    REPLIES,
    TEXTS,
    armed,
    harm,
    provoke,
    ran,
    script,
)
from hostile_replies import WORKING
from lab_kit import Frontend, Notebook, Server, Witness, serving
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, expect

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.browser

PROMPTS = [*(f"texts {number}" for number in range(1, len(TEXTS) + 1)), "tools", "thoughts"]
LIVE = ".cnb-chat .cnb-entry"
TURNS = ".cnb-transcript > details"
# A cell of the chat's notebook is the second one.
OUTPUT = '.jp-Cell[data-windowed-list-index="1"] .jp-OutputArea'


@pytest.fixture(scope="module")
def lab_server(private_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One whose offline API says every hostile reply when it is told to."""
    tests = Path(__file__).resolve().parents[1]
    with (
        OfflineAPI(script=[tests / "script.yaml", script()]) as api,
        serving("lab", api, tmp_path_factory) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def chat(shared_lab: Frontend) -> Chat:
    """A chat in which all of them were said."""
    shared_lab.page.add_init_script(PWNED)
    chat = Chat(shared_lab)
    for count, prompt in enumerate([*PROMPTS, PROMPT], 1):
        chat.say(prompt)
        chat.wait_until_over(count)
    return chat


def test_a_hostile_reply_runs_nothing_and_fetches_nothing_in_the_chat(chat: Chat) -> None:
    expect(chat.node.locator(".cnb-entry-text")).to_have_count(len(REPLIES) + 3)
    expect(chat.node.locator(".cnb-entry-tool")).to_have_count(len(REPLIES))
    chat.see("<script>pwned()</script>")
    assert armed(chat.notebook.page, LIVE) == []
    provoke(chat.notebook.page, LIVE)
    assert harm(chat.notebook.frontend) == []
    chat.notebook.screenshot("hostile-chat")


def test_a_hostile_reply_runs_nothing_and_fetches_nothing_in_a_cell(chat: Chat) -> None:
    notebook = chat.notebook
    for number in range(1, len(TEXTS) + 1):
        index = notebook.run_new(f"%claude -s cells texts {number}")
        notebook.see(index, "pwned()")
        selector = f'.jp-Cell[data-windowed-list-index="{index}"] .jp-OutputArea'
        assert armed(notebook.page, selector) == []
        provoke(notebook.page, selector)
    assert harm(notebook.frontend) == []
    notebook.screenshot("hostile-reply")


@pytest.fixture(scope="module")
def kept(chat: Chat) -> Notebook:
    """The notebook with all that was said in its static transcript, when its kernel has ended."""
    expect(chat.notebook.output(1).locator(TURNS)).to_have_count(len(PROMPTS) + 1)
    chat.notebook.save()
    chat.notebook.end_kernel()
    return chat.notebook


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
def test_a_hostile_transcript_does_nothing_in_a_notebook_that_is_opened_again(
    kept: Notebook, lab: Frontend, trusted: bool
) -> None:
    lab.page.add_init_script(PWNED)
    notebook = lab.show(kept.path if trusted else copied(kept))
    expect(notebook.output(1).locator(TURNS)).to_have_count(len(PROMPTS) + 1)
    expect(notebook.output(1).locator(".cnb-transcript")).to_be_visible()
    assert armed(lab.page, OUTPUT) == []
    provoke(lab.page, OUTPUT)
    assert harm(lab) == []
    notebook.screenshot(f"hostile-{'trusted' if trusted else 'untrusted'}")


def copied(notebook: Notebook) -> Path:
    """The same in a notebook that nobody has run here."""
    content = notebook.saved()
    content["cells"][0]["source"] = "# From elsewhere"
    path = notebook.path.with_name("copy.ipynb")
    notebook.file.with_name("copy.ipynb").write_text(json.dumps(content))
    return path


def test_a_hostile_transcript_does_nothing_in_an_exported_page(
    kept: Notebook, browser: Browser, tmp_path: Path
) -> None:
    # Without what its template fetches from elsewhere, whatever is in the notebook.
    exporter = HTMLExporter(mathjax_url="", require_js_url="", mermaid_js_url="", jquery_url="")
    file = tmp_path / "exported.html"
    file.write_text(exporter.from_filename(str(kept.file))[0])
    page = browser.new_page()
    witness = Witness()
    witness.listen(page)
    page.add_init_script(PWNED)
    page.goto(file.as_uri())
    expect(page.locator(TURNS)).to_have_count(len(PROMPTS) + 1)
    assert armed(page, ".cnb-saved") == []
    provoke(page, ".cnb-saved")
    assert ran(witness) == []
    own = (file.as_uri(), (tmp_path / "not-there.png").as_uri(), "data:")
    assert [url for url in witness.requests if not url.startswith(own)] == []
    page.close()


def test_this_page_would_tell_of_a_reply_that_was_shown_as_it_came(lab: Frontend) -> None:
    lab.page.add_init_script(PWNED)
    raw = "\n\n".join([*WORKING, "<img src=http://evil.example/x.png>"])
    notebook = lab.open(f"display({{'text/markdown': {raw!r}}}, raw=True)")
    with lab.page.expect_request("http://evil.example/**"):
        notebook.run(1)
    assert armed(lab.page, OUTPUT) != []
    with lab.page.expect_console_message(lambda message: "PWNED" in message.text):
        provoke(lab.page, OUTPUT)
    assert len(harm(lab)) >= 2
