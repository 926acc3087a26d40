"""A long reply in the chat

50 KB of Markdown at 200 chunks a second, in a chat that is open in JupyterLab in Chromium: the frames that
the page draws while it comes, beside the same page at rest, and what comes over its websocket:
what is said to widgets, and everything, of which the rest is the transcript that stays in the notebook.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.chat_page import Lab, Notebook, Smoothness, lab, pause
from benchmarks.figures import Figure, at_least, at_most

FRAMES, WIRE = 50, 300
PROMPT, END = "write fifty kilobytes", "Paragraph 200 "
# The reply takes ten seconds, and a page at rest is like itself.
REST = 5.0
MOST_RUNS = 5
KILOBYTE = 1_000


def measure(runs: int, folder: Path) -> list[Figure]:
    with lab(folder) as server:
        trials = [one_trial(server, number) for number in range(min(runs, MOST_RUNS))]
    rest, live, comm, everything = zip(*trials, strict=True)
    return [
        at_least("frames a second", per_second(live), FRAMES, baseline=per_second(rest)),
        Figure("longest frame", longest(live), "ms", longest(rest)),
        at_most("over the wire, to the chat", max(comm), WIRE, "KB"),
        Figure("over the wire, all", max(everything), "KB"),
    ]


def one_trial(server: Lab, number: int) -> tuple[Smoothness, Smoothness, float, float]:
    chat = f"__import__('claude_nb').ChatWidget('streaming {number}')"
    with server.notebook("%load_ext claude_nb", chat) as notebook:
        notebook.run()
        cell = notebook.run()
        say(notebook, cell, "say a word", 1)
        with notebook.measured() as rest:
            pause(notebook, REST)
        with notebook.measured() as live:
            say(notebook, cell, PROMPT, 2)
        if END not in notebook.chat(cell).inner_text():
            raise RuntimeError("the reply is not in the chat")
        traffic = notebook.traffic
        return rest[0], live[0], traffic.comm_bytes / KILOBYTE, traffic.bytes / KILOBYTE


def say(notebook: Notebook, cell: int, prompt: str, turns: int) -> None:
    """Type a prompt, and wait until so many turns are over."""
    chat = notebook.chat(cell)
    box = chat.locator(".cnb-input")
    box.fill(prompt)
    box.press("Enter")
    chat.locator(f".cnb-entry-end >> nth={turns - 1}").wait_for(state="attached")


def per_second(found: tuple[Smoothness, ...]) -> float:
    return statistics.median(one.per_second for one in found)


def longest(found: tuple[Smoothness, ...]) -> float:
    return statistics.median(one.longest_frame for one in found)
