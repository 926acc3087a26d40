"""Browser: the chat's HTML in a real Chromium, where no script may run and no request may leave."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from hostile_replies import HOSTILE, WORKING
from jupyterlab_kit import Watch, watched
from nbconvert import HTMLExporter
from playwright.sync_api import Browser
from test_html import PNG, everywhere
from test_html import REPLY as TAME

from claude_nb.render.html import Entry, code_css, markdown_html, transcript_html
from claude_nb.reply import TextBlock, ToolResultBlock, ToolUseBlock

pytestmark = pytest.mark.browser

# Whatever waits for a person: pointer, focus, opening, a click on what is no link. And time for the rest.
_PROVOKE = """async () => {
  for (const node of document.querySelectorAll('body *')) {
    for (const kind of ['mouseover', 'mouseenter', 'pointerover', 'focus', 'animationstart', 'toggle'])
      node.dispatchEvent(new Event(kind, { bubbles: kind !== 'focus' }));
    if (node.tagName === 'DETAILS') node.open = true;
    if (!node.closest('a, summary')) node.dispatchEvent(new Event('click'));
  }
  await new Promise(done => setTimeout(done, 1500));
}"""
_FOREIGN = """() => [...document.querySelectorAll('body *')].filter(node => node.matches(
    'script,iframe,object,embed,svg,video,audio,form,input,link,meta,base,button,[id],[name]')
    || [...node.attributes].some(a => a.name.startsWith('on'))).map(node => node.outerHTML)"""
_ADDRESSES = "() => [...document.querySelectorAll('[href], [*|href]')].map(node => node.getAttribute('href'))"
# As the widget does it: by innerHTML into a live page.
_INSERT = """html => {
  const box = document.createElement('div');
  document.body.append(box);
  box.innerHTML = html;
}"""
_STYLE = re.compile("<style>.*?</style>", re.DOTALL)


@pytest.fixture
def watch(browser: Browser, tmp_path: Path) -> Iterator[Watch]:
    page = tmp_path / "chat.html"
    page.write_text(f"<!doctype html><style>{code_css()}</style><body></body>")
    with watched(browser, "file://") as watching:
        watching.page.goto(page.as_uri())
        yield watching


def assert_nothing_happened(watch: Watch) -> None:
    assert watch.page.evaluate(_FOREIGN) == []
    addresses = watch.page.evaluate(_ADDRESSES)
    assert [a for a in addresses if a and not a.startswith(("http://", "https://", "mailto:"))] == []
    assert len(addresses) > 10  # the check had some to check
    watch.page.evaluate(_PROVOKE)
    assert watch.scripts() == 0
    assert watch.dialogs == []
    assert watch.remote == []


def test_hostile_texts_run_no_script_and_fetch_nothing_in_the_page(watch: Watch):
    for text in HOSTILE + WORKING:
        pages = _STYLE.sub("", "<hr>".join(everywhere(text)))  # hundreds of style sheets would take minutes
        watch.page.evaluate(_INSERT, pages)
    assert_nothing_happened(watch)


def test_the_same_page_does_run_and_fetch_what_is_inserted_raw(watch: Watch):
    for text in [*WORKING, '<img src="http://evil.example/x.png">']:
        watch.page.evaluate(_INSERT, text)
    watch.page.wait_for_function("window.__pwned > 0")
    watch.page.evaluate(_PROVOKE)
    assert any("evil.example" in url for url in watch.remote)


def test_hostile_transcripts_run_no_script_and_fetch_nothing_in_exported_html(
    browser: Browser, tmp_path: Path
):
    def entry(text: str) -> Entry:
        tool = ToolUseBlock("1", text, {"command": text}, state="ok", result=text)
        return Entry(text, [TextBlock(text), tool, ToolResultBlock("1", text, images=[PNG])], text)

    html = transcript_html([entry(text) for text in HOSTILE + WORKING])
    output = nbformat.v4.new_output("display_data", data={"text/html": html})
    cell = nbformat.v4.new_code_cell("", outputs=[output])
    page = tmp_path / "exported.html"
    exporter = HTMLExporter(mathjax_url="", require_js_url="", mermaid_js_url="", jquery_url="")
    page.write_text(exporter.from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))[0])
    with watched(browser, "file://") as watch:
        watch.page.goto(page.as_uri())
        watch.page.evaluate(_PROVOKE)
        assert watch.page.locator(".cnb-transcript > details").count() == len(HOSTILE + WORKING)
        assert watch.scripts() == 0
        assert watch.remote == []


def test_a_formula_is_drawn_and_code_is_coloured(watch: Watch):
    watch.page.evaluate(_INSERT, markdown_html(TAME))
    sizes = watch.page.locator("math").evaluate_all(
        "all => all.map(node => node.getBoundingClientRect().height)"
    )
    assert len(sizes) == 2
    assert sizes[1] > sizes[0] > 5  # a fraction is higher than a power
    colour = "node => getComputedStyle(node).color"
    keyword = watch.page.locator(".cnb-code .k").first.evaluate(colour)
    assert keyword != watch.page.locator(".cnb-code").first.evaluate(colour)
    assert (
        watch.page.locator(".cnb-code").first.evaluate("node => node.textContent")
        == 'def f():\n    return "```"'
    )
