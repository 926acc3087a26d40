"""Servers for a worker, and pages for its tests.

lab, notebook7       a page of JupyterLab or Notebook 7 for one test, in which it opens notebooks
shared_lab           a page for all tests of a module that leave nothing behind in it
lab_server, notebook_server, context    what they are made of
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from lab_kit import END_PATIENCE, VIEWPORT, Frontend, Notebook, Server, serving
from playwright.sync_api import Browser, BrowserContext

from claude_nb.offline import OfflineAPI


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Called by pytest after each phase of a test: keep a picture of what a failed one saw."""
    report = yield
    if call.when == "call" and report.failed:
        name = re.sub(r"[^a-z0-9]+", "-", item.name.lower()).strip("-")
        for value in item.funcargs.values():  # type: ignore[attr-defined]
            if isinstance(value, (Frontend, Notebook)):
                value.screenshot(f"failed-{name}")
    return report


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Pages that share a cache, so that only the first one loads the application."""
    with browser.new_context(viewport=VIEWPORT) as context:
        yield context


@pytest.fixture(scope="session")
def lab_server(offline: OfflineAPI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`jupyter lab`, whose kernels talk to the offline API."""
    with serving("lab", offline, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="session")
def notebook_server(offline: OfflineAPI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`jupyter notebook`, whose kernels talk to the offline API."""
    with serving("notebook", offline, tmp_path_factory) as server:
        yield server


@contextmanager
def frontend(server: Server, context: BrowserContext) -> Iterator[Frontend]:
    """A page; at its end the kernels that it started are shut down and nothing of them runs any more."""
    before = {kernel["id"] for kernel in server.api("GET", "kernels")}
    processes = children(server)
    page = context.new_page()
    yield Frontend(server, page)
    page.close()
    server.end_kernels(but=before)
    assert wait_until_gone(server, processes) == set(), "processes of a kernel outlived it"


def children(server: Server) -> set[psutil.Process]:
    return set(psutil.Process(server.process.pid).children(recursive=True))


def wait_until_gone(server: Server, but: set[psutil.Process]) -> set[psutil.Process]:
    """What still runs below the server when the kernels of a page have been shut down."""
    deadline = time.monotonic() + END_PATIENCE
    while (left := children(server) - but) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.fixture
def lab(lab_server: Server, context: BrowserContext) -> Iterator[Frontend]:
    """A page of JupyterLab."""
    with frontend(lab_server, context) as page:
        yield page


@pytest.fixture(scope="module")
def shared_lab(lab_server: Server, context: BrowserContext) -> Iterator[Frontend]:
    """A page of JupyterLab for a whole module."""
    with frontend(lab_server, context) as page:
        yield page


@pytest.fixture
def notebook7(notebook_server: Server, context: BrowserContext) -> Iterator[Frontend]:
    """A page of Notebook 7."""
    with frontend(notebook_server, context) as page:
        yield page
