"""Whole kernels and the real CLI: Claude looks at figures while the user's own code draws them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kernel_kit import Kernel, wait_for_file

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.kernel

FIGURE = """
%matplotlib inline
import io, pathlib, threading, claude_nb
from concurrent.futures import ThreadPoolExecutor
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from PIL import Image

class Tells(Artist):
    threads = set()
    def draw(self, renderer):
        self.threads.add(threading.current_thread())

def figure():
    figure = Figure()
    axes = figure.subplots()
    axes.plot(range(50))
    axes.add_artist(Tells())
    return figure

class Slow(Artist):
    begun, done = threading.Event(), threading.Event()
    def draw(self, renderer):
        self.begun.set()
        self.done.wait()

fig, other = figure(), figure()
session = claude_nb.manager().session("looks")
"""
# It draws, in the main thread and in another one, as long as Claude looks.
DRAW_MEANWHILE = """
Tells.threads.clear()
turn = session.ask("look at the picture fig")
def draw(figure):
    times = 0
    while not turn.done():
        figure.savefig(io.BytesIO())
        times += 1
    return times
with ThreadPoolExecutor(1) as pool:
    drawn = pool.submit(draw, other)
    mine = draw(fig)
print(mine > 0 and drawn.result() > 0, len(Tells.threads) - 2, turn.text)
"""


def seen(api: OfflineAPI) -> tuple[str, list[str]]:
    """The words and the images that the last tool of the last request gave."""
    results = [
        block
        for message in api.requests[-1]["messages"]
        if not isinstance(message["content"], str)
        for block in message["content"]
        if block["type"] == "tool_result"
    ]
    content: Any = results[-1]["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    # Claude Code says besides where it keeps the image.
    words = [p["text"] for p in parts if p["type"] == "text" and not p["text"].startswith("[Image: ")]
    return "\n".join(words), [part["source"]["data"] for part in parts if part["type"] == "image"]


def test_a_figure_is_drawn_only_where_nobody_else_draws(
    kernel: Kernel, api: OfflineAPI, folder: Path
) -> None:
    assert kernel.run(FIGURE).error is None

    # The user's code draws: it is left alone, and there is nothing else to show.
    answer = kernel.run(DRAW_MEANWHILE).printed
    assert answer.startswith("True 0 ")
    assert "It was not drawn, because code of the user's is running" in answer

    # What was shown to the reader stands for it then.
    shown = kernel.run("fig").displays[0]["image/png"]
    answer = kernel.run(DRAW_MEANWHILE).printed
    assert answer.startswith("True 0 ")
    words, images = seen(api)
    assert "shown last" in words
    assert [image.replace("\n", "") for image in images] == [shown.replace("\n", "")]

    # A cell that waits for the turn, and the time between cells, are ours; the main thread draws.
    kernel.run("Tells.threads.clear(); turn = session.ask('look at the picture fig').result()")
    assert kernel.eval("Tells.threads == {threading.main_thread()}") == "True"
    words, images = seen(api)
    assert (words, len(images)) == ("", 1)
    kernel.run(
        "Tells.threads.clear(); turn = session.ask('look at the picture fig'); "
        "turn.on_end(pathlib.Path('ended').touch)"
    )
    wait_for_file(folder / "ended")
    assert seen(api)[0] == ""
    assert kernel.eval("Tells.threads == {threading.main_thread()}") == "True"

    # A thread that draws on after its cell has ended is left alone, too, also by a mention.
    kernel.run(
        "Tells.threads.clear(); other.axes[0].add_artist(Slow()); "
        "threading.Thread(target=other.savefig, args=(io.BytesIO(),)).start(); Slow.begun.wait()"
    )
    assert kernel.run("turn = session.ask('ECHO @other').result()").error is None
    sent = str(api.requests[-1]["messages"])
    assert "@other: It was not drawn" in sent
    kernel.run("turn = session.ask('look at the figures').result()")
    kernel.run("Slow.done.set()")
    assert kernel.eval("len(Tells.threads)") == "1"


def test_an_image_is_read_only_where_nobody_else_reads(kernel: Kernel, api: OfflineAPI, folder: Path) -> None:
    from PIL import Image

    Image.new("RGB", (30, 20), "red").save(folder / "red.png")
    assert kernel.run(FIGURE).error is None
    answer = kernel.eval(
        "red = Image.open('red.png'); turn = session.ask('look at the picture red')\n"
        "while not turn.done(): pass\n"
        "turn.text, red.fp is not None"
    )
    assert "It was not drawn" in answer
    assert answer.endswith("True)")
    kernel.run("red")
    assert kernel.eval("session.ask('look at the picture red').result().text").count("shown last") == 0
    assert len(seen(api)[1]) == 1
