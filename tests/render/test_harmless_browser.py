"""Browser: the hostile replies in a real JupyterLab, where no script may run and no request may leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from hostile_replies import HOSTILE, WORKING
from jupyterlab_kit import END, Lab, Watch, jupyter_lab, watched
from nbconvert import HTMLExporter
from playwright.sync_api import Browser
from test_harmless import CODE, LEGIT, MATH

from claude_nb.render.cards import notice, tool_card
from claude_nb.render.harmless import harmless

pytestmark = pytest.mark.browser

PER_CELL = 40  # JupyterLab folds away what a cell displays beyond fifty
HERE = Path(__file__).parents[1]

# Whatever waits for a person: pointer, focus, opening. And time for what starts by itself.
_PROVOKE = """async () => {
  for (const node of document.querySelectorAll('.jp-OutputArea-output *')) {
    for (const kind of ['mouseover', 'mouseenter', 'pointerover', 'focus', 'animationstart', 'toggle'])
      node.dispatchEvent(new Event(kind, { bubbles: kind !== 'focus' }));
    if (node.tagName === 'DETAILS') node.open = true;
  }
  await new Promise(done => setTimeout(done, 1500));
}"""
_FOREIGN_ELEMENTS = """() => [...document.querySelectorAll('.jp-OutputArea-output *')]
  .filter(node => node.matches(
    'script,iframe,object,embed,img,svg,video,audio,form,style,link,meta,base,button'))
  .filter(node => !node.closest('mjx-container'))
  .map(node => node.outerHTML)"""
_ADDRESSES = """() => [...document.querySelectorAll('.jp-OutputArea-output [*|href]')]
  .map(node => String(node.getAttribute('href') ?? node.getAttribute('xlink:href')))"""


def cells(expressions: list[str], setup: str, show: str = "show") -> list[str]:
    """Cells that display what each expression gives."""
    shown = [f"{show}({expression})" for expression in expressions]
    groups = [shown[start : start + PER_CELL] for start in range(0, len(shown), PER_CELL)]
    return [setup, *("\n".join(group) for group in groups)]


SETUP = f"""\
import sys
sys.path.insert(0, {str(HERE)!r})
from hostile_replies import HOSTILE, WORKING
from claude_nb.render.harmless import harmless
from claude_nb.render.cards import notice, tool_card

def show(markdown):
    display({{"text/markdown": markdown + "\\n\\n{END}"}}, raw=True)

def card(text):
    call = tool_card("Bash", {{"command": text}}, state="failed", result=text, output_mode="verbose")
    show(call + "\\n\\n" + notice(text))"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with jupyter_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


def assert_nothing_happened(watch: Watch) -> None:
    assert watch.page.evaluate(_FOREIGN_ELEMENTS) == []
    addresses = watch.page.evaluate(_ADDRESSES)
    allowed = ("http://", "https://", "mailto:", "#", "src/", watch.page.url.split("/lab")[0])
    assert [address for address in addresses if not address.startswith(allowed) and ":" in address] == []
    watch.page.evaluate(_PROVOKE)
    assert watch.scripts() == 0
    assert watch.dialogs == []
    assert watch.remote == []


def test_hostile_replies_run_no_script_and_fetch_nothing_in_jupyterlab(lab: Lab, browser: Browser):
    texts = [f"harmless(HOSTILE[{index}])" for index in range(len(HOSTILE))]
    texts += [f"harmless(WORKING[{index}])" for index in range(len(WORKING))]
    texts.append('harmless("\\n\\n".join(HOSTILE))')
    lab.write("hostile.ipynb", cells(texts, SETUP))
    with watched(browser, lab.url) as watch:
        lab.run(watch.page, "hostile.ipynb", len(texts))
        watch.page.wait_for_selector("mjx-container")
        assert_nothing_happened(watch)
        assert watch.page.locator(".jp-RenderedMarkdown .jp-mod-error").count() == 0
        assert len(watch.page.evaluate(_ADDRESSES)) > 20  # the check of addresses had some to check


def test_hostile_tool_calls_run_no_script_and_fetch_nothing_in_jupyterlab(lab: Lab, browser: Browser):
    texts = [f"HOSTILE[{index}]" for index in range(len(HOSTILE))]
    lab.write("cards.ipynb", cells(texts, SETUP, show="card"))
    with watched(browser, lab.url) as watch:
        lab.run(watch.page, "cards.ipynb", len(texts))
        assert_nothing_happened(watch)
        assert watch.page.locator("details summary").count() == len(HOSTILE)


def test_the_same_page_does_run_and_fetch_what_is_shown_as_it_came(lab: Lab, browser: Browser):
    lab.write("raw.ipynb", cells([f"WORKING[{index}]" for index in range(len(WORKING))], SETUP))
    with watched(browser, lab.url) as watch:
        lab.run(watch.page, "raw.ipynb", len(WORKING))
        watch.page.wait_for_function("window.__pwned > 0")
        watch.page.evaluate(_PROVOKE)
        assert watch.scripts() >= len(WORKING) - 1
        assert any("evil.example" in url for url in watch.remote)


def test_code_mathematics_and_tables_look_right_in_jupyterlab(lab: Lab, browser: Browser):
    blocks = [f"``````text\n{code}\n``````" for code in CODE]
    blocks += [
        f"1. a\n   - b\n\n     ``````text\n     {code.replace(chr(10), chr(10) + '     ')}\n     ``````"
        for code in CODE
    ]
    spans = [f"a *b ``{code}`` c* d" for code in CODE if "\n" not in code and "`" not in code]
    texts = [*blocks, *spans, *MATH, *LEGIT.values(), "costs $5 to $10, or $HOME"]
    lab.write("legit.ipynb", cells([f"harmless({text!r})" for text in texts], SETUP))
    with watched(browser, lab.url) as watch:
        lab.run(watch.page, "legit.ipynb", len(texts))
        watch.page.wait_for_selector("mjx-container")
        outputs = watch.page.locator(".jp-OutputArea-output.jp-RenderedMarkdown")
        shown = outputs.evaluate_all(
            "nodes => nodes.map(node => [...node.querySelectorAll('code')].map(code => code.textContent))"
        )
        codes = [*CODE, *CODE, *(code for code in CODE if "\n" not in code and "`" not in code)]
        assert [[text.rstrip("\n") for text in texts] for texts in shown[: len(codes)]] == [
            [code] for code in codes
        ]
        formulas = outputs.evaluate_all("nodes => nodes.map(n => n.querySelectorAll('mjx-container').length)")
        assert formulas[len(codes) : len(codes) + len(MATH)] == [2 if " and " in text else 1 for text in MATH]
        assert formulas[-1] == 0
        assert outputs.last.inner_text().split("\n")[0] == "costs $5 to $10, or $HOME"
        assert watch.page.locator("mjx-merror, [data-mjx-error]").count() == 0
        assert watch.remote == []


def test_hostile_replies_run_no_script_and_fetch_nothing_in_exported_html(browser: Browser, tmp_path: Path):
    def output(text: str) -> nbformat.NotebookNode:
        return nbformat.v4.new_output("display_data", data={"text/markdown": text})

    texts = [harmless(text) for text in HOSTILE + WORKING]
    texts += [
        tool_card(text, {"command": text}, state="ok", result=text) + "\n\n" + notice(text)
        for text in HOSTILE
    ]
    cell = nbformat.v4.new_code_cell("", outputs=[output(text) for text in texts])
    page = tmp_path / "exported.html"
    exporter = HTMLExporter(mathjax_url="", require_js_url="", mermaid_js_url="", jquery_url="")
    page.write_text(exporter.from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))[0])
    with watched(browser, "file://") as watch:
        watch.page.goto(page.as_uri())
        watch.page.evaluate(_PROVOKE)
        assert watch.page.evaluate(_FOREIGN_ELEMENTS) == []
        assert watch.scripts() == 0
        assert [url for url in watch.remote if "evil.example" in url] == []
        assert watch.remote == []
