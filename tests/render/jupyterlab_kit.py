"""A real JupyterLab in a real browser, both private, both on 127.0.0.1, both ended here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from playwright.sync_api import Browser, Page, Route

from tools.jupyter_server import QUIET, jupyter_server, private_folders, write_settings

RUN_PATIENCE = 90_000  # milliseconds for a notebook to run and be drawn
END = "(the end)"  # closes each output
# Everything is drawn at once, not only what is in sight.
_SETTINGS = {**QUIET, "notebook-extension/tracker": {"windowingMode": "none"}}


class Lab:
    """A running server, and where its notebooks are."""

    def __init__(self, url: str, token: str, work: Path) -> None:
        self.url = url
        self.token = token
        self.work = work

    def write(self, name: str, sources: list[str]) -> None:
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), self.work / name)

    def run(self, page: Page, name: str, outputs: int) -> None:
        """Open a notebook, run all of it, and wait until so many outputs are drawn, to their `END`."""
        workspace = name.removesuffix(".ipynb")  # its own, so that no other notebook is reopened
        page.goto(f"{self.url}lab/workspaces/{workspace}/tree/{name}?token={self.token}")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=RUN_PATIENCE)
        page.wait_for_function(_KERNEL_IS_IDLE, timeout=RUN_PATIENCE)
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        drawn = page.wait_for_function(_DRAWN, arg=[outputs, END], timeout=RUN_PATIENCE).json_value()
        assert drawn is True, drawn


_KERNEL_IS_IDLE = """() => window.jupyterapp
  && window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"""
# Markdown is parsed some time after its output has a place; only its last word says that all is there.
_DRAWN = """([count, end]) => [...document.querySelectorAll('.jp-OutputArea-output.jp-RenderedMarkdown')]
  .filter(output => output.textContent.includes(end)).length >= count
  || document.querySelector('[data-mime-type="application/vnd.jupyter.stderr"]')?.textContent"""


@contextmanager
def jupyter_lab(folder: Path) -> Iterator[Lab]:
    own, work = private_folders(folder), folder / "work"
    work.mkdir()
    write_settings(Path(own["JUPYTERLAB_SETTINGS_DIR"]), _SETTINGS)
    options = ["--LabApp.expose_app_in_browser=True", "--LabApp.news_url="]
    with jupyter_server("jupyterlab", work, folder / "server.log", own, *options) as server:
        yield Lab(server.url, server.token, work)


class Watch:
    """What a page did that it should not: scripts of a reply run, requests to other hosts."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.remote: list[str] = []
        self.dialogs: list[str] = []
        self._origin = origin
        page.add_init_script("window.__pwned = 0; window.pwned = () => { window.__pwned += 1; };")
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        page.context.route("**/*", self._judge)

    def _judge(self, route: Route) -> None:
        url = route.request.url
        if url.startswith(("data:", "blob:")) or _origin(url) == self._origin:
            route.continue_()
        else:
            self.remote.append(url)
            route.abort()

    def scripts(self) -> int:
        return int(self.page.evaluate("window.__pwned"))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@contextmanager
def watched(browser: Browser, origin: str) -> Iterator[Watch]:
    """A page in a headless browser, watched; it reaches `origin` and nothing else."""
    with browser.new_context() as context:
        yield Watch(context.new_page(), _origin(origin))
