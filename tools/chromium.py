"""A headless Chromium of this machine, with which Playwright looks at real pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# No requests of its own, no sandbox, which root has not got, and no GPU, which a server has not got.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class NoChromium(Exception):
    """There is none, and how to get one."""


def find_chromium() -> str:
    """The browser's program: the one that CHROMIUM names, or an installed one. Raises `NoChromium`."""
    for name in (os.environ.get("CHROMIUM"), *_PROGRAMS):
        if name and (path := shutil.which(name)):
            return path
    raise NoChromium(
        "This needs a Chromium. Install it with `apt-get install chromium` (Debian, Ubuntu) or "
        "`brew install --cask chromium` (macOS), or name one in CHROMIUM."
    )


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser. While it is there, this thread has an event loop: `asyncio.run` would fail."""
    program = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()
