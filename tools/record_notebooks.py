"""Run the example notebooks in a real JupyterLab, save them there, and bring them back with pictures.

    python -m tools.record_notebooks [--images docs/images] [NOTEBOOK ...]

What is committed is what a reader's own JupyterLab would save: the outputs come through the browser, streamed
and updated in place. Only what differs from run to run is taken out again. Needs a Chromium.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import nbformat
from playwright.sync_api import Locator, Page, expect

from tools.chromium import chromium

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# The one that `jupyter claude demo` opens, and that the first pictures show.
FIRST = NOTEBOOKS[0]
CHAT = ROOT / "notebooks" / "04-chat.ipynb"
# A cold JupyterLab in a cold browser, and then all the cells.
PATIENCE = 120_000  # milliseconds
# How soon a question is seen.
LOOK_EVERY = 200  # milliseconds
# For what is scrolled, and for colours that change slowly.
SETTLE = 1_500  # milliseconds
# A chat is as tall as the window lets it: so that what is seen of it begins with a prompt.
CHAT_WINDOW = {"width": 900, "height": 1000}
QUESTION_WINDOW = {"width": 900, "height": 944}
# JupyterLab draws only the cells that can be seen, and a question has to be.
ALL_CELLS = {"width": 1100, "height": 9000}


@contextmanager
def demo() -> Iterator[str]:
    """`jupyter claude demo` as a user starts it; its address."""
    command = [sys.executable, "-m", "claude_nb.cli", "demo", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
        finally:
            process.send_signal(signal.SIGINT)


def run_all_and_save(page: Page, question: Path | None) -> None:
    """Run > Run All Cells, then File > Save Notebook, as a person does it."""
    expect(page.locator(".jp-Notebook .jp-CodeCell").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".jp-NotebookPanel-toolbar")).to_contain_text("Python 3", timeout=PATIENCE)
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_attached(timeout=PATIENCE)
    choose(page, "Run", "Run All Cells")
    deny_until_all_have_run(page, question)
    choose(page, "File", "Save Notebook")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0, timeout=PATIENCE)


def deny_until_all_have_run(page: Page, picture: Path | None) -> None:
    """Say no to whatever Claude asks meanwhile: the notebooks tell what follows from that."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(ALL_RUN):
        if time.monotonic() > deadline:
            raise SystemExit("the cells have not ended")
        cell = page.locator(".jp-CodeCell", has=page.locator(".cnb-card[data-phase=asking][data-ready]"))
        if cell.count():
            if picture is not None:
                page.mouse.move(5, 5)
                cell.first.screenshot(path=picture)
                picture = None
            cell.first.get_by_role("button", name="Deny").click()
        page.wait_for_timeout(LOOK_EVERY)


# Each code cell has a number and none waits any more. Cells out of sight have no prompt in the page.
ALL_RUN = """() => {
  const status = document.querySelector('.jp-Notebook-ExecutionIndicator');
  const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
  return status.dataset.status === 'idle' && prompts.length > 0 && prompts.every(p => /\\d/.test(p));
}"""


def choose(page: Page, menu: str, item: str) -> None:
    """Click an entry of the menu bar."""
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{menu}$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{item}$")).first.click()


def saved(address: str, name: str) -> dict[str, Any]:
    """The notebook as the server has it now."""
    parts = urlsplit(address)
    token = parse_qs(parts.query)["token"][0]
    url = f"{parts.scheme}://{parts.netloc}/api/contents/{name}?content=1"
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(request) as answer:
        content: dict[str, Any] = json.load(answer)["content"]
    return content


def without_chance(notebook: dict[str, Any]) -> dict[str, Any]:
    """Without what depends on the day and the machine: timings, and the version of Python."""
    for cell in notebook["cells"]:
        cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k not in ("execution", "trusted")}
    notebook["metadata"]["language_info"].pop("version", None)
    return notebook


def check(notebook: dict[str, Any]) -> None:
    """Every code cell has run, in order, and none shows an error that the notebook does not speak of."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    counts = [cell["execution_count"] for cell in code]
    # Code that Claude runs takes a number too.
    if None in counts or counts != sorted(set(counts)):
        raise SystemExit(f"the cells were not run in order: {counts}")
    surprised = [cell for cell in code if "raises-exception" not in cell["metadata"].get("tags", [])]
    if any(output["output_type"] == "error" for cell in surprised for output in cell["outputs"]):
        raise SystemExit("a cell failed")
    check_chats(code)


def check_chats(cells: list[dict[str, Any]]) -> None:
    """Every chat is saved as its transcript: nothing else of it can be read without a kernel."""
    outputs = [output.get("data", {}) for cell in cells for output in cell["outputs"]]
    panels = [data for data in outputs if "application/vnd.jupyter.widget-view+json" in data]
    saved = ["".join(data.get("text/html", "")) for data in outputs]
    transcripts = [html for html in saved if "cnb-saved" in html]
    if len(panels) != len(transcripts) or not all("<b>You:</b>" in html for html in transcripts):
        raise SystemExit(f"{len(panels)} widgets, {len(transcripts)} transcripts, or an empty one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="a folder for the README's pictures")
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS, help="all, if none is given")
    arguments = parser.parse_args()
    images, chosen = arguments.images, [notebook.resolve() for notebook in arguments.notebooks]
    if images is not None:
        images.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for notebook in chosen:
            # A server each: a notebook tells of the sessions and the tabs that others have left.
            scale = 2 if notebook == CHAT else 1
            with demo() as address, browser.new_page(viewport=ALL_CELLS, device_scale_factor=scale) as page:
                of_first = images if notebook == FIRST else None
                record(page, address, notebook, of_first)
                if of_first is not None:
                    take_screenshot(page, of_first / "quickstart.png")
                if images is not None and notebook == CHAT:
                    take_chat(page, images)


def record(page: Page, address: str, notebook: Path, images: Path | None) -> None:
    """Run one notebook and bring it back; its first question goes into the images."""
    page.goto(address.replace(FIRST.name, notebook.name))
    run_all_and_save(page, images / "question.png" if images is not None else None)
    content = without_chance(saved(address, notebook.name))
    check(content)
    nbformat.write(nbformat.from_dict(content), notebook)


def take_screenshot(page: Page, file: Path) -> None:
    """The notebook without JupyterLab's side bars, from a reply with a formula, a table and code on."""
    page.set_viewport_size({"width": 1000, "height": 1000})
    if page.locator(".jp-SideBar.lm-TabBar.jp-mod-left .lm-mod-current").count():
        page.keyboard.press("Control+b")
    cell = page.locator(".jp-CodeCell", has_text="%claude explain")
    for _ in range(3):  # cells above get their real height only now that they come near
        cell.evaluate("cell => cell.scrollIntoView({block: 'start'})")
        page.wait_for_timeout(500)
    page.mouse.move(5, 5)
    page.screenshot(path=file)


def take_chat(page: Page, images: Path) -> None:
    """The first chat as a person goes on with it: in the light theme, and with a question in the dark one."""
    page.set_viewport_size(CHAT_WINDOW)
    if page.locator(".jp-SideBar.lm-TabBar.jp-mod-left .lm-mod-current").count():
        page.keyboard.press("Control+b")
    cell = page.locator(".jp-CodeCell", has=page.locator(".cnb-chat")).first
    say(cell, "how do the seasons compare?")
    say(cell, "write a function that smooths a series")
    picture(page, cell, images / "chat.png")
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Settings$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Theme$")).hover()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^JupyterLab Dark$")).click()
    expect(page.locator("body[data-jp-theme-light=false]")).to_be_attached(timeout=PATIENCE)
    expect(page.locator("#jupyterlab-splash")).to_have_count(0)
    page.set_viewport_size(QUESTION_WINDOW)
    question = cell.locator(".cnb-card[data-phase=asking][data-ready]")
    say(cell, "delete the winter months from data/temperatures.csv", until=question)
    picture(page, cell, images / "chat-dark.png")
    cell.get_by_role("button", name="Deny").click()


def say(cell: Locator, prompt: str, until: Locator | None = None) -> None:
    """Type a prompt into a chat and wait for the end of the turn, or for something before it."""
    ends = cell.locator(".cnb-entry-end")
    before = ends.count()
    box = cell.get_by_role("textbox", name="Message to Claude")
    box.fill(prompt)
    box.press("Enter")
    if until is None:
        expect(ends).to_have_count(before + 1, timeout=PATIENCE)
    else:
        expect(until).to_be_visible(timeout=PATIENCE)


def picture(page: Page, cell: Locator, file: Path) -> None:
    """The cell as it looks once nothing moves."""
    cell.evaluate("cell => cell.scrollIntoView({block: 'start'})")
    page.mouse.move(5, 5)
    page.wait_for_timeout(SETTLE)
    cell.screenshot(path=file)


if __name__ == "__main__":
    main()
