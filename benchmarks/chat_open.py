"""A chat of 2,000 messages

From Ctrl+Enter in JupyterLab in Chromium until the last message of the conversation is in sight: in a kernel
where another chat has shown everything before (the baseline is a chat without a message, in the same kernel),
and in a fresh kernel that has only loaded the extension and reads the record of an earlier one. Then, with
all 2,000 messages on the page, some text is typed, and the wheel is turned from the end towards the
beginning; beside it the same page at rest. A task is what keeps the page from answering.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from playwright.sync_api import ElementHandle, Locator

from benchmarks.chat_page import Lab, Notebook, Smoothness, lab, pause
from benchmarks.chat_record import LAST, record
from benchmarks.figures import Figure, at_least, at_most

MESSAGES = 2_000
OPENING, FRAMES, TASK = 1_000, 50, 50
MOST_RUNS = 5
REST = 3.0
LETTERS = "The quick brown fox jumps over the lazy dog. " * 3
# A fast typist, and a wheel turned fast: milliseconds, and pixels a notch.
LETTER_EVERY = 60
NOTCH, NOTCHES, NOTCH_EVERY = 300, 100, 30
INVITATION = "Ask about this notebook"
CHAT = "__import__('claude_nb').ChatWidget({!r})"
OPEN = f"chat = {CHAT.format('long')}; chat"
EMPTY = CHAT.format("empty")
ALL = """
import time
while chat.feed.more:
    before = len(chat.feed.turns)
    chat.feed.show_earlier()
    while len(chat.feed.turns) == before:
        time.sleep(0.01)
assert len(chat.feed.turns) == {turns}
"""


@dataclass(frozen=True)
class Used:
    """What was found in a kernel that had all messages already; the first two in milliseconds."""

    empty: float
    full: float
    rest: Smoothness
    typing: Smoothness
    scrolling: Smoothness


def measure(runs: int, folder: Path) -> list[Figure]:
    record("long", MESSAGES)
    runs = min(runs, MOST_RUNS)
    with lab(folder) as server:
        # In this order: the first page of a browser has its scripts to load.
        used = [in_used_kernel(server) for _ in range(runs)]
        fresh = [in_fresh_kernel(server) for _ in range(runs)]
    empty, full = median(one.empty for one in used), median(one.full for one in used)
    return [
        at_most("opened in a fresh kernel", median(fresh), OPENING, "ms"),
        Figure("opened with all messages", full, "ms", empty, OPENING, f"≤ {OPENING:,} ms"),
        *moving("typing", [one.typing for one in used], used),
        *moving("scrolling", [one.scrolling for one in used], used),
    ]


def moving(doing: str, found: Sequence[Smoothness], used: Sequence[Used]) -> list[Figure]:
    rest = median(one.rest.per_second for one in used)
    task = median(one.rest.longest_task for one in used)
    longest = median(one.longest_task for one in found)
    return [
        at_least(f"frames a second, {doing}", median(one.per_second for one in found), FRAMES, baseline=rest),
        Figure(f"longest task, {doing}", longest, "ms", task, TASK, f"≤ {TASK} ms"),
    ]


def in_fresh_kernel(server: Lab) -> float:
    with server.notebook("%load_ext claude_nb", OPEN) as notebook:
        notebook.run()
        return notebook.open_chat(LAST) * 1000


def in_used_kernel(server: Lab) -> Used:
    cells = ["%load_ext claude_nb", OPEN, ALL.format(turns=MESSAGES // 2), EMPTY, OPEN]
    with server.notebook(*cells) as notebook:
        notebook.run()
        notebook.open_chat(LAST)
        notebook.run()
        empty, full = notebook.open_chat(INVITATION) * 1000, notebook.open_chat(LAST) * 1000
        # Found before, since a search for them would be the page's work too.
        box = found(notebook.chat(len(cells) - 1).locator(".cnb-input"))
        messages = found(notebook.chat(len(cells) - 1).locator(".cnb-list"))
        with notebook.measured() as rest:
            pause(notebook, REST)
        box.focus()
        with notebook.measured() as typing:
            notebook.page.keyboard.type(LETTERS, delay=LETTER_EVERY)
        if box.input_value() != LETTERS:
            raise RuntimeError("what was typed did not arrive")
        messages.hover()
        with notebook.measured() as scrolling:
            turn_wheel(notebook, messages)
    return Used(empty, full, rest[0], typing[0], scrolling[0])


def found(locator: Locator) -> ElementHandle:
    node = locator.element_handle()
    assert node is not None
    return node


def turn_wheel(notebook: Notebook, messages: ElementHandle) -> None:
    """From the end of the messages towards their beginning."""
    before = messages.evaluate("node => node.scrollTop")
    for _ in range(NOTCHES):
        notebook.page.mouse.wheel(0, -NOTCH)
        notebook.page.wait_for_timeout(NOTCH_EVERY)
    if before - messages.evaluate("node => node.scrollTop") < NOTCH * NOTCHES / 2:
        raise RuntimeError("the messages did not move")
