"""Tools that ask, in a notebook's page: the cards below its cells, and what a person does with them."""

from __future__ import annotations

import re
from typing import Any

from lab_kit import PATIENCE, Notebook, source
from playwright.sync_api import Locator, expect

# The promise is half a second; a loaded machine gets more. The page's clock and the kernel's are the same.
SOON = 5.0
NOTE_CLICKS = "() => document.addEventListener('click', () => { window.clicked = Date.now() / 1000; }, true)"


def card(notebook: Notebook, index: int, phase: str = "asking") -> Locator:
    """The card below a cell, once a click on it counts."""
    node = notebook.output(index).locator(f".cnb-card[data-phase={phase}][data-ready]")
    expect(node).to_be_visible(timeout=PATIENCE * 1000)
    return node


def button(node: Locator, name: str) -> Locator:
    return node.get_by_role("button", name=re.compile(f"^{re.escape(name)}"))


def press(notebook: Notebook, index: int, name: str, phase: str = "asking") -> None:
    """Click a button of the card below a cell."""
    button(card(notebook, index, phase), name).click()


def ask(notebook: Notebook, source: str) -> int:
    """Run a new cell that asks, without waiting for its end; its number."""
    index = notebook.add(source)
    notebook.start(index)
    card(notebook, index)
    return index


def ask_and_press(notebook: Notebook, source: str, name: str) -> int:
    """Run a new cell that asks, click, and wait for its end; its number."""
    index = ask(notebook, source)
    press(notebook, index, name)
    notebook.finish(index)
    return index


def value(notebook: Notebook, expression: str) -> str:
    """The repr of an expression in the kernel's namespace."""
    return notebook.printed(notebook.run_new(f"print(repr(({expression})))"))


def seconds_from_click(notebook: Notebook, code: str = "") -> float:
    """Ask to run code, click Allow once, and see how long after the click the code begins."""
    notebook.page.evaluate(NOTE_CLICKS)
    ask_and_press(notebook, f"%claude run: import time; began = time.time(); {code}", "Allow once")
    clicked = notebook.page.evaluate("window.clicked")
    return float(value(notebook, "began")) - float(clicked)


def saved_texts(notebook: Notebook, index: int) -> list[str]:
    """What is saved below a cell; fails where it needs a kernel to be read or is an error."""
    outputs: list[dict[str, Any]] = notebook.save()["cells"][index]["outputs"]
    assert {output["output_type"] for output in outputs} <= {"display_data", "stream", "execute_result"}
    assert "widget" not in str(outputs)
    return [source(output["text"] if "text" in output else shown(output["data"])) for output in outputs]


def shown(data: dict[str, Any]) -> Any:
    return data.get("text/markdown", data.get("text/plain"))
