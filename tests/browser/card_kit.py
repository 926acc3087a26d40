"""Cards in a notebook: cells of plain Python that show one, and what the kernel has heard from it."""

from __future__ import annotations

import re
from typing import Any, Literal

from lab_kit import Frontend, Notebook
from playwright.sync_api import Locator, expect

# `events` is what the kernel heard; a card that was answered is settled at once, as by its asker.
SHOW = """\
from claude_nb.asking.card import QuestionCard, show_card, swap
from claude_nb.asking.question import Question
from claude_nb.asking.shown import settled_markdown
events = []
def heard(event):
    events.append(event)
    if event.decision is not None and settles:
        card.settle(event.decision)
settles = {settles}
card = QuestionCard(Question("analysis", {tool!r}, {input!r}, rule={rule!r}), heard)
handle = show_card(card)"""

TELL = "print([(e.kind, e.decision) for e in events if e.kind in ('decision', 'stop')])"
SWAP = "swap(handle, settled_markdown(card.question, card.decision))"

Answer = Literal["once", "always", "deny"]


class Card:
    """A card below the first cell of a notebook."""

    def __init__(
        self,
        frontend: Frontend,
        tool: str,
        input: dict[str, Any],
        *,
        rule: str | None = None,
        settles: bool = True,
    ) -> None:
        source = SHOW.format(tool=tool, input=input, rule=rule, settles=settles)
        self.notebook: Notebook = frontend.open(source)
        self.notebook.run(1)
        self.node: Locator = self.notebook.output(1).locator(".cnb-card")
        self.wait_until_heard("drawn")
        # A click that comes before is taken for an accident.
        expect(self.notebook.output(1).locator(".cnb-card[data-ready]")).to_be_visible()

    def wait_until_heard(self, kind: str, count: int = 1) -> None:
        """Until the kernel has so many events of that kind."""
        known = f"len([e for e in events if e.kind == {kind!r}])"
        cell = self.notebook.add(
            f"import asyncio\nfor _ in range(100):\n    if {known} >= {count}: break\n"
            f"    await asyncio.sleep(0.05)\nassert {known} >= {count}, events"
        )
        self.notebook.run(cell)
        assert not self.notebook.outputs(cell), self.notebook.text(cell)

    def button(self, name: str) -> Locator:
        return self.node.get_by_role("button", name=re.compile(f"^{re.escape(name)}"))

    def decided(self) -> str:
        """What the kernel has heard that decides something."""
        return self.ask(TELL)

    def ask(self, source: str) -> str:
        """What a new cell prints."""
        return self.notebook.printed(self.notebook.run_new(source))

    def wait_until_phase(self, phase: str) -> None:
        expect(self.notebook.output(1).locator(f".cnb-card[data-phase={phase}]")).to_be_visible()

    def saved_output(self) -> dict[str, Any]:
        """The data of the card's output, as the notebook is saved."""
        (output,) = self.notebook.save()["cells"][1]["outputs"]
        data: dict[str, Any] = output["data"]
        return data
