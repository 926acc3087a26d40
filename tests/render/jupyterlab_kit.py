"""A real JupyterLab in a real browser, both private, both on 127.0.0.1, both ended here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Page, Route, sync_playwright

START_PATIENCE = 60.0  # seconds for JupyterLab to come up on a busy machine
STOP_PATIENCE = 10.0
RUN_PATIENCE = 90_000  # milliseconds for a notebook to run and be drawn
END = "(the end)"  # closes each output
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_FOLDERS = ("config", "data", "runtime", "settings", "workspaces", "work", "ipython")
_SETTINGS = {
    # Everything is drawn at once, not only what is in sight.
    "notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
    "apputils-extension/notification.jupyterlab-settings": {"fetchNews": "false", "checkForUpdates": False},
}


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
    folders = {name: folder / name for name in _FOLDERS}
    for path in folders.values():
        path.mkdir(parents=True, mode=0o700)
    _write_settings(folders["settings"])
    server = _start(folders)
    try:
        info = _wait_for_server(server, folders["runtime"])
        yield Lab(info["url"], info["token"], folders["work"])
    finally:
        _stop(server)


def _write_settings(folder: Path) -> None:
    for name, content in _SETTINGS.items():
        path = folder / "@jupyterlab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def _start(folders: dict[str, Path]) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(folders["config"]),
        "JUPYTER_DATA_DIR": str(folders["data"]),
        "JUPYTER_RUNTIME_DIR": str(folders["runtime"]),
        "JUPYTERLAB_SETTINGS_DIR": str(folders["settings"]),
        "JUPYTERLAB_WORKSPACES_DIR": str(folders["workspaces"]),
        "IPYTHONDIR": str(folders["ipython"]),
    }
    options = ["--no-browser", "--ip=127.0.0.1", "--port=0", "--LabApp.expose_app_in_browser=True"]
    options += ["--LabApp.news_url=", "--allow-root"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    log = (folders["runtime"] / "server.log").open("wb")
    with log:
        return subprocess.Popen(command, cwd=folders["work"], env=environment, stdout=log, stderr=log)


def _wait_for_server(server: subprocess.Popen[bytes], runtime: Path) -> dict[str, Any]:
    """What the server writes about itself when it listens."""
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        path = runtime / f"jpserver-{server.pid}.json"
        if path.exists() and (text := path.read_text()).endswith("}"):
            return dict(json.loads(text))
        time.sleep(0.05)
    raise RuntimeError(f"JupyterLab did not start: {(runtime / 'server.log').read_text()[-3000:]}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """SIGTERM ends its kernels, too."""
    server.terminate()
    try:
        server.wait(STOP_PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


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
def chromium(origin: str) -> Iterator[Watch]:
    """A page in a headless browser, watched; it reaches `origin` and nothing else."""
    path = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("this test needs a Chromium: apt-get install chromium", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        try:
            yield Watch(browser.new_page(), _origin(origin))
        finally:
            browser.close()
