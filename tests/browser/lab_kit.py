"""A real JupyterLab or Notebook 7 in a real Chromium, as a person uses it: menus, cells and outputs.

A server serves all tests of a worker, a browser those of a module; each test gets a page of its own
(`Frontend`) and opens fresh notebooks in it (`Notebook`). What a person does with the mouse goes through the
real menus; a page's model is asked only what the eye cannot see, through `kit.js`.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nbformat
import psutil
import pytest
from left_over_kit import sharing
from playwright.sync_api import ConsoleMessage, Dialog, Locator, Page, expect

from claude_nb.offline import OfflineAPI
from tools.jupyter_server import QUIET, Running, jupyter_server, private_folders, write_settings

Application = Literal["lab", "notebook"]

# A first turn starts Claude Code and imports the SDK; a cold JupyterLab on a loaded machine takes longer.
PATIENCE = 100.0
# A server that was told to end first ends its kernels.
END_PATIENCE = 15.0

VIEWPORT = {"width": 1100, "height": 900}

PROGRAMS = {"lab": ("jupyterlab", "LabApp"), "notebook": ("notebook", "JupyterNotebookApp")}

# The suite's conftest takes CLAUDE_* out of os.environ, so look at what this process was started with.
ARTIFACTS = Path(
    psutil.Process().environ().get("CLAUDE_NB_ARTIFACTS") or Path(__file__).resolve().parents[2] / "artifacts"
)


# -- the server ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server(Running):
    """A Jupyter server that answers, and the folder that it serves."""

    application: Application
    folder: Path

    def address(self, path: str) -> str:
        """Where the application shows a notebook."""
        # A workspace of its own, so that nothing else is opened again with it.
        place = f"lab/workspaces/{uuid.uuid4().hex[:8]}/tree" if self.application == "lab" else "notebooks"
        return f"{self.url}{place}/{path}?token={self.token}"


@contextmanager
def frontend_server(
    application: Application, place: Path, environment: Mapping[str, str]
) -> Iterator[Server]:
    """`jupyter lab` or `jupyter notebook` with every folder of its own in `place`; ended afterwards."""
    folder, own = place / "notebooks", private_folders(place)
    folder.mkdir(exist_ok=True)
    write_settings(Path(own["JUPYTERLAB_SETTINGS_DIR"]), QUIET)
    module, app = PROGRAMS[application]
    options = [f"--{app}.expose_app_in_browser=True"]
    log = place / "server.log"
    with jupyter_server(module, folder, log, {**own, **environment}, *options) as running:
        yield Server(running.url, running.token, running.process, application, folder)


@contextmanager
def serving(
    application: Application, offline: OfflineAPI, factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server in folders of its own, whose kernels talk to that offline API."""
    place = factory.mktemp(application)
    config = place / "claude"
    config.mkdir(mode=0o700)
    with sharing(frontend_server(application, place, offline.environment(config))) as server:
        yield server


# -- the browser -----------------------------------------------------------------------------------


@dataclass
class Witness:
    """What a page did beside being shown."""

    errors: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._on_console)
        page.on("dialog", self._on_dialog)
        page.on("request", lambda request: self.requests.append(request.url))

    def elsewhere(self, server: Server) -> list[str]:
        """The requests that did not go to the Jupyter server."""
        own = (server.url, server.url.replace("http", "ws", 1), "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own)]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console.append(message.text)

    def _on_dialog(self, dialog: Dialog) -> None:
        # The application's own, when a page is left; everything else is a find.
        if dialog.type != "beforeunload":
            self.dialogs.append(dialog.message)
        dialog.accept()


class Frontend:
    """A page of JupyterLab or Notebook 7; `open` shows a fresh notebook in it."""

    def __init__(self, server: Server, page: Page) -> None:
        self.server = server
        self.page = page
        self.witness = Witness()
        self.witness.listen(page)
        page.add_init_script(path=Path(__file__).with_name("kit.js"))
        page.set_default_timeout(PATIENCE * 1000)

    def open(self, *cells: str, load: bool = True, name: str = "notebook") -> Notebook:
        """A new notebook in a folder of its own: a first cell that loads the extension, and these.

        `load` says whether the first cell is run.
        """
        path = Path(uuid.uuid4().hex[:8]) / f"{name}.ipynb"
        write_notebook(self.server.folder / path, ["%load_ext claude_nb", *cells])
        notebook = self.show(path)
        notebook.wait_until_kernel_is("idle")
        if load:
            notebook.run(0)
            assert not notebook.outputs(0), notebook.text(0)
        return notebook

    def show(self, path: Path) -> Notebook:
        """Open a notebook that is there, whatever kernel it finds."""
        self.page.goto(self.server.address(path.as_posix()))
        notebook = Notebook(self, path)
        notebook.wait_until_shown()
        return notebook

    def menu(self, menu: str, item: str) -> None:
        """Click an entry of the menu bar, named as it begins."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{menu}$")).click()
        entry = self.page.locator(".lm-Menu-item:visible", has=self.page.locator(".lm-Menu-itemLabel"))
        entry.filter(has_text=re.compile(rf"^\s*{re.escape(item)}")).first.click()

    def answer(self, button: str) -> None:
        """Click a button of the dialog that is open."""
        self.page.locator(".jp-Dialog-button", has_text=re.compile(f"^{button}$")).click()

    def theme(self, name: Literal["Light", "Dark"]) -> None:
        """Settings > Theme."""
        self.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
            f"JupyterLab {name}",
        )
        light = "true" if name == "Light" else "false"
        expect(self.page.locator(f"body[data-jp-theme-light={light}]")).to_be_attached()
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def screenshot(self, name: str) -> Path:
        """A picture of the page, in the folder of artifacts."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        file = ARTIFACTS / f"{self.server.application}-{name}.png"
        self.page.screenshot(path=file)
        return file


class Notebook:
    """A notebook that is open in a page. Its cells are counted from 0, which loads the extension."""

    def __init__(self, frontend: Frontend, path: Path) -> None:
        self.frontend = frontend
        self.page = frontend.page
        self.path = path

    @property
    def file(self) -> Path:
        return self.frontend.server.folder / self.path

    # -- running --

    def add(self, source: str) -> int:
        """Append a cell; its number."""
        return int(self.page.evaluate("source => kit.add(source)", source))

    def run_new(self, source: str) -> int:
        """Append a cell and run it; its number."""
        index = self.add(source)
        self.run(index)
        return index

    def watch(self, index: int) -> None:
        """Remember for `texts` what will stand below a cell, as `start` does by itself."""
        self.page.evaluate("index => kit.watch(index)", index)

    def start(self, index: int) -> None:
        """Run a cell without waiting for its end."""
        self.page.evaluate("index => kit.start(index)", index)

    def finish(self, index: int, timeout: float = PATIENCE) -> None:
        """Wait for the end of a cell that was started."""
        self._wait("index => kit.runs[index] === 'over'", index, timeout)

    def run(self, index: int, timeout: float = PATIENCE) -> None:
        """Run a cell and wait for its end."""
        self.start(index)
        self.finish(index, timeout)

    def running(self, index: int) -> bool:
        return bool(self.page.evaluate("index => kit.runs[index] === 'running'", index))

    def run_all(self, timeout: float = PATIENCE) -> None:
        """Run > Run All Cells, to the end."""
        self.frontend.menu("Run", "Run All Cells")
        self._wait("() => kit.allRun()", None, timeout)

    def interrupt(self) -> None:
        """Kernel > Interrupt Kernel."""
        self.frontend.menu("Kernel", "Interrupt Kernel")

    def restart(self) -> None:
        """Kernel > Restart Kernel..., and yes."""
        self.frontend.menu("Kernel", "Restart Kernel…")
        self.frontend.answer("Restart")

    def end_kernel(self) -> None:
        """Shut this notebook's kernel down, as the list of running ones does."""
        for session in self.frontend.server.api("GET", "sessions"):
            if session["path"] == self.path.as_posix():
                self.frontend.server.api("DELETE", f"sessions/{session['id']}")

    def wait_until_kernel_is(self, status: str) -> None:
        self._wait("status => kit.kernelStatus() === status", status)

    # -- looking --

    def wait_until_shown(self) -> None:
        self._wait("() => window.kit && kit.shown()", None)

    def cell(self, index: int) -> Locator:
        return self.page.locator(f'.jp-Cell[data-windowed-list-index="{index}"]')

    def output(self, index: int) -> Locator:
        """What stands below a cell."""
        return self.cell(index).locator(".jp-OutputArea")

    def error(self, index: int) -> Locator:
        """What stands in red below a cell."""
        return self.output(index).locator('[data-mime-type="application/vnd.jupyter.stderr"]')

    def text(self, index: int) -> str:
        """The text below a cell, as it is seen now: Markdown is drawn some time after it came."""
        return self.output(index).inner_text()

    def printed(self, index: int) -> str:
        """What a cell that has been run has printed, drawn or not."""
        streams = [output for output in self.outputs(index) if output["output_type"] == "stream"]
        return "".join(source(output["text"]) for output in streams).strip()

    def see(self, index: int, text: str | re.Pattern[str], timeout: float = PATIENCE) -> None:
        """Wait until a text stands below a cell."""
        expect(self.output(index)).to_contain_text(text, timeout=timeout * 1000)

    def see_texts(self, index: int, pattern: str, count: int, timeout: float = PATIENCE) -> list[str]:
        """Wait until so many different texts of that pattern have stood below a cell, perhaps briefly."""
        matching = "([index, pattern]) => kit.texts[index].filter(text => RegExp(pattern).test(text))"
        self._wait(
            f"([index, pattern, count]) => ({matching})([index, pattern]).length >= count",
            [index, pattern, count],
            timeout,
        )
        found: list[str] = self.page.evaluate(matching, [index, pattern])
        return found

    def texts(self, index: int) -> list[str]:
        """Every different text that stood below a cell since it was started, in order."""
        seen: list[str] = self.page.evaluate("index => kit.texts[index]", index)
        return seen

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """A cell's outputs as the page holds them."""
        held: list[dict[str, Any]] = self.page.evaluate("index => kit.outputs(index)", index)
        return held

    def markdown(self, index: int) -> str:
        """The Markdown of a cell that shows one thing."""
        (output,) = self.outputs(index)
        return source(output["data"]["text/markdown"])

    # -- keeping --

    def save(self) -> dict[str, Any]:
        """File > Save Notebook; the notebook as it is on the disk then."""
        self.frontend.menu("File", "Save Notebook")
        self._wait("() => !kit.panel().context.model.dirty", None)
        return self.saved()

    def saved(self) -> dict[str, Any]:
        """The notebook as it is on the disk; Jupyter writes the file in place, so half of it may be read."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                content: dict[str, Any] = json.loads(self.file.read_text())
            except json.JSONDecodeError:
                assert time.monotonic() < deadline, f"{self.file.name} stays half written"
                time.sleep(0.05)
            else:
                return content

    def reload(self) -> None:
        """Load the page again, as F5 does, and wait for the kernel: JupyterLab may start one more before."""
        self.page.reload()
        self.wait_until_shown()
        self._wait("() => kit.kernelStatus() !== 'none'", None)

    def choose_no_kernel(self) -> None:
        """Answer JupyterLab, which asks what to use instead of a kernel that is not there."""
        self.page.locator(".jp-Dialog select").select_option(label="No Kernel")
        self.frontend.answer("Select")
        expect(self.page.locator(".jp-Dialog")).to_have_count(0)

    def screenshot(self, name: str) -> Path:
        return self.frontend.screenshot(name)

    def _wait(self, condition: str, argument: Any, timeout: float = PATIENCE) -> None:
        self.page.wait_for_function(condition, arg=argument, timeout=timeout * 1000)


def write_notebook(file: Path, sources: Sequence[str]) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, file)


def source(text: str | list[str]) -> str:
    """A text as nbformat keeps it, whole or in lines."""
    return text if isinstance(text, str) else "".join(text)
