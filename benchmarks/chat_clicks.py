"""A chat beside a busy kernel

What a person does in a chat while a cell of their own keeps the kernel busy, in JupyterLab in Chromium: from
the key or the click until the page shows that the kernel has acted on it. What is sent is there when the
prompt has got its place among the messages, Stop when the turn is over, Allow when the question is answered.
The baseline is the same with an idle kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.chat_page import PATIENCE, Lab, Notebook, lab
from benchmarks.figures import Figure, milliseconds

GOAL = 500
BUSY = "import pathlib, time\nwhile not pathlib.Path('enough').exists(): time.sleep(0.001)"
MOST_RUNS = 10
# The page notes when it hears the person, and then when it shows so many of something.
LISTEN = """() => {
  for (const kind of ['click', 'keydown'])
    document.addEventListener(kind, () => { window.acted = performance.now(); }, true);
}"""
WATCH = """([selector, count, patience]) => {
  const begin = performance.now();
  window.seen = new Promise((resolve, reject) => {
    const look = (now) => {
      if (document.querySelectorAll(selector).length >= count) resolve(now);
      else if (now - begin > patience) reject(new Error(`${count} x ${selector} was not seen`));
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
}"""
PROMPTS, ENDS = ".cnb-entry-prompt", ".cnb-entry-end"
ANSWERED = ".cnb-card[data-phase=answered]"

Times = dict[str, list[float]]


def measure(runs: int, folder: Path) -> list[Figure]:
    runs = min(runs, MOST_RUNS)
    with lab(folder) as server:
        idle, busy = in_a_chat(server, runs, busy=False), in_a_chat(server, runs, busy=True)
    return [
        Figure(what, milliseconds(busy[what]), "ms", milliseconds(idle[what]), GOAL, f"≤ {GOAL} ms")
        for what in busy
    ]


def in_a_chat(server: Lab, runs: int, *, busy: bool) -> Times:
    """Seconds of each thing that is done, in a notebook of its own."""
    chat = f"import claude_nb; claude_nb.ChatWidget('{'busy' if busy else 'idle'}')"
    with server.notebook("%load_ext claude_nb", chat, BUSY, "pass") as notebook:
        notebook.run()
        page = ChatPage(notebook, notebook.run())
        page.say("say a word")
        if busy:
            notebook.start()
        times: Times = {"Send": [], "Stop": [], "Allow": []}
        for run in range(runs):
            times["Send"].append(page.seconds(PROMPTS, lambda: page.send("write for long")))
            page.see_text("number 3")
            times["Stop"].append(page.seconds(ENDS, page.stop))
            page.send(f"touch {'busy' if busy else 'idle'}{run}")
            times["Allow"].append(page.seconds(ANSWERED, page.allow))
            page.wait(ENDS, 2 * run + 3)
        if busy:
            (server.folder / "enough").touch()
    return times


class ChatPage:
    """A chat below a cell, as a person uses it."""

    def __init__(self, notebook: Notebook, cell: int) -> None:
        self._page = notebook.page
        self._chat = notebook.chat(cell)
        self._page.evaluate(LISTEN)

    def seconds(self, selector: str, act: Callable[[], None]) -> float:
        """From what the person does until the chat shows one more of these."""
        count = self._page.locator(selector).count() + 1
        self._page.evaluate(WATCH, [selector, count, PATIENCE * 1000])
        act()
        return float(self._page.evaluate("window.seen.then((then) => then - window.acted)")) / 1000

    def say(self, prompt: str) -> None:
        """Send a prompt, and wait for the end of its turn."""
        count = self._page.locator(ENDS).count() + 1
        self.send(prompt)
        self.wait(ENDS, count)

    def send(self, prompt: str) -> None:
        box = self._chat.locator(".cnb-input")
        box.fill(prompt)
        box.press("Enter")

    def stop(self) -> None:
        self._chat.get_by_role("button", name="Stop", exact=True).click()

    def allow(self) -> None:
        card = self._chat.locator(".cnb-card[data-phase=asking][data-ready]")  # a click on it counts
        card.get_by_role("button", name="Allow once").click()

    def see_text(self, text: str) -> None:
        self._chat.get_by_text(text).last.wait_for()

    def wait(self, selector: str, count: int) -> None:
        """Until the chat shows so many."""
        self._chat.locator(f"{selector} >> nth={count - 1}").wait_for(state="attached")
