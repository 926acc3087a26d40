"""A notebook in a real JupyterLab in a real Chromium, and what can be measured in its page.

Cells are run as a person does it, by Ctrl+Enter. Moments are the page's own, taken in a frame; bytes are
counted where they come in, at the page's websocket.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, Locator, Page, WebSocket

from tools.chromium import chromium
from tools.jupyter_server import QUIET, Running, jupyter_server, private_folders, write_settings

# A cold JupyterLab and a first turn on a loaded machine; the longest wait is for ten seconds of a reply.
PATIENCE = 120.0
VIEWPORT = {"width": 1100, "height": 900}
GAUGE = Path(__file__).with_name("chat_page.js")
COMMS = b'"comm_msg"', b'"comm_open"'


@dataclass
class Traffic:
    """What came over the websockets since `clear`: all of it, and what was said to widgets."""

    bytes: int = 0
    comm_bytes: int = 0
    comm_messages: int = 0

    def listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self.add)

    def add(self, payload: str | bytes) -> None:
        data = payload.encode() if isinstance(payload, str) else payload
        self.bytes += len(data)
        if any(kind in data for kind in COMMS):
            self.comm_bytes += len(data)
            self.comm_messages += 1

    def clear(self) -> None:
        self.bytes = self.comm_bytes = self.comm_messages = 0


@dataclass(frozen=True)
class Smoothness:
    """How a page moved: frames drawn in so many seconds, and the worst of them, in milliseconds."""

    seconds: float
    frames: int
    longest_frame: float
    longest_task: float

    @property
    def per_second(self) -> float:
        return self.frames / self.seconds


class Notebook:
    """A notebook whose cells are run one after the other."""

    def __init__(self, page: Page, traffic: Traffic) -> None:
        self.page = page
        self.traffic = traffic
        self._next = 0

    def run(self) -> int:
        """Run the next cell to its end; its number."""
        number = self._take()
        self._press()
        self.wait("number => gauge.ran(number)", number)
        return number

    def start(self) -> None:
        """Run the next cell, and do not wait for its end."""
        self._take()
        self._press()

    def open_chat(self, text: str) -> float:
        """Run the next cell, which shows a chat: the seconds from the keys being pressed until the last
        message in it is in sight, which is this one."""
        number = self._take()
        self.page.evaluate("([...words]) => { gauge.watch(...words) }", [number, text, PATIENCE * 1000])
        self._press()
        milliseconds = float(self.page.evaluate("gauge.sight"))
        self.wait("number => gauge.ran(number)", number)
        return milliseconds / 1000

    def _take(self) -> int:
        """The next cell, selected and at the top of the page, so that there is room for what it shows."""
        number, self._next = self._next, self._next + 1
        self.cell(number).locator(".jp-InputPrompt").first.click()
        self.page.evaluate("number => gauge.cell(number).scrollIntoView({ block: 'start' })", number)
        return number

    def _press(self) -> None:
        """Run the selected cell, which stays selected and where it is."""
        self.page.keyboard.press("Control+Enter")

    def cell(self, number: int) -> Locator:
        return self.page.locator(f'.jp-Cell[data-windowed-list-index="{number}"]')

    def chat(self, number: int) -> Locator:
        """The panel below a cell."""
        return self.cell(number).locator(".cnb-chat")

    @contextmanager
    def measured(self) -> Iterator[list[Smoothness]]:
        """Gives one `Smoothness` at the end: of what was done meanwhile."""
        found: list[Smoothness] = []
        self.traffic.clear()
        self.page.evaluate("gauge.begin()")
        yield found
        found.append(Smoothness(**self.page.evaluate("gauge.end()")))

    def wait(self, condition: str, argument: Any = None) -> None:
        self.page.wait_for_function(condition, arg=argument, timeout=PATIENCE * 1000)


class Lab:
    """A JupyterLab that answers, and a browser."""

    def __init__(self, folder: Path, server: Running, browser: Browser) -> None:
        self.folder, self._server = folder, server
        self._context = browser.new_context(viewport=VIEWPORT)  # type: ignore[arg-type]
        self._context.add_init_script(path=GAUGE)

    @contextmanager
    def notebook(self, *sources: str) -> Iterator[Notebook]:
        """A new notebook with these cells and a kernel of its own, which is shut down at the end."""
        name = f"{uuid.uuid4().hex[:8]}.ipynb"
        write(self.folder / name, sources)
        page, traffic = self._context.new_page(), Traffic()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("websocket", traffic.listen)
        page.goto(f"{self._server.url}lab/workspaces/{name[:8]}/tree/{name}?token={self._server.token}")
        page.get_by_text("(ipykernel) | Idle").wait_for()  # in the status bar
        try:
            yield Notebook(page, traffic)
        finally:
            page.close()
            self._server.end_kernels()  # a session belongs to one kernel at a time


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """JupyterLab on `folder`, with settings of its own."""
    own = private_folders(folder.parent / "jupyterlab")
    write_settings(Path(own["JUPYTERLAB_SETTINGS_DIR"]), QUIET)
    own = {name: path for name, path in own.items() if name not in os.environ}  # else the sandbox's
    log = folder.parent / "jupyterlab" / "server.log"
    with jupyter_server("jupyterlab", folder, log, own) as server, chromium() as browser:
        yield Lab(folder, server, browser)


def write(file: Path, sources: Sequence[str]) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, file)


def pause(notebook: Notebook, seconds: float) -> None:
    """Let the page do what it does; Playwright tells of the websockets meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        notebook.page.wait_for_timeout(min(left, 0.5) * 1000)
