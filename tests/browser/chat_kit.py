"""A chat in a notebook's page, and what a person does with it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager

from lab_kit import PATIENCE, Frontend, Notebook
from playwright.sync_api import Locator, expect

MILLISECONDS = PATIENCE * 1000
CLOSE = """\
{name}.close()
for session in list(claude_nb.manager().sessions.values()):
    session.stop().result(60)"""

_numbers = itertools.count(1)


class Chat:
    """A chat below a cell: the first one of a new notebook, or a new one of `notebook`."""

    def __init__(
        self, frontend: Frontend, source: str = "%claude /widget", notebook: Notebook | None = None
    ) -> None:
        self.notebook = notebook or frontend.open(source)
        self.index = 1 if notebook is None else notebook.add(source)
        self.notebook.run(self.index)
        self.node: Locator = self.notebook.output(self.index).locator(".cnb-chat")
        expect(self.node).to_be_visible()

    def screenshot(self, name: str) -> None:
        """A picture of the page with the chat in its middle."""
        self.node.evaluate("node => node.scrollIntoView({block: 'center'})")
        self.notebook.screenshot(f"chat-{name}")

    @property
    def session(self) -> str:
        """The name that stands above it."""
        return self.node.locator(".cnb-name").inner_text()

    @property
    def input(self) -> Locator:
        return self.node.get_by_role("textbox", name="Message to Claude")

    @property
    def prompts(self) -> Locator:
        return self.node.locator(".cnb-entry-prompt")

    def say(self, prompt: str) -> None:
        """Type a prompt and press Enter."""
        self.input.fill(prompt)
        self.input.press("Enter")

    def button(self, name: str) -> Locator:
        return self.node.get_by_role("button", name=re.compile(f"^{re.escape(name)}"))

    def see(self, text: str | re.Pattern[str]) -> None:
        expect(self.node).to_contain_text(text, timeout=MILLISECONDS)

    def wait_until(self, state: str) -> None:
        expect(self.node).to_have_attribute("data-state", state, timeout=MILLISECONDS)

    def wait_until_over(self, count: int = 1) -> None:
        """Until so many turns have ended."""
        expect(self.node.locator(".cnb-entry-end")).to_have_count(count, timeout=MILLISECONDS)

    def reply_is(self, text: str) -> None:
        """Wait until the last piece of the last reply holds this."""
        expect(self.node.locator(".cnb-entry-text").last).to_contain_text(text, timeout=MILLISECONDS)

    def replies(self) -> list[str]:
        return self.node.locator(".cnb-entry-text").all_text_contents()

    def text(self) -> str:
        return self.node.inner_text()

    def card(self) -> Locator:
        """The question that is open, once a click on it counts."""
        card = self.node.locator(".cnb-card[data-phase=asking][data-ready]")
        expect(card).to_be_visible(timeout=MILLISECONDS)
        return card

    def menu(self, item: str) -> None:
        """Choose from the menu of sessions."""
        self.node.locator(".cnb-session").click()
        self.node.locator(".cnb-item", has_text=item).click()


@contextmanager
def own_chat(notebook: Notebook) -> Iterator[Chat]:
    """A chat with a session of its own in a notebook that others use, too; closed and stopped afterwards."""
    name = f"chat{next(_numbers)}"
    chat = Chat(
        notebook.frontend, f"import claude_nb\n{name} = claude_nb.ChatWidget({name!r})\n{name}", notebook
    )
    expect(chat.node.locator(".cnb-name")).to_have_text(name)
    yield chat
    if notebook.page.locator(".jp-InputPrompt", has_text="[*]").count():
        notebook.interrupt()  # a test that has failed left it running, and the cell below would wait for it
    closing = notebook.run_new(CLOSE.format(name=name))
    assert not notebook.outputs(closing), notebook.text(closing)
    expect(chat.node).to_have_count(0)
