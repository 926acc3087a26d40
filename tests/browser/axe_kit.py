"""What axe-core finds in a page that somebody who sees, hears or moves otherwise would stumble over."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = ("serious", "critical")
# All of a chat is looked at, not only what is scrolled into sight. And JupyterLab's body is nothing high, so
# that axe-core takes all in it for hidden and looks at no colour.
WHOLE = """
  html, body { height: 100% !important }
  .cnb-chat { max-height: none !important }
  .cnb-chat * { content-visibility: visible !important }"""


def grave(page: Page, selector: str) -> list[str]:
    """The serious and critical violations in the elements of that selector, and nowhere else in the page."""
    assert page.locator(selector).count() > 0
    style = page.add_style_tag(content=WHOLE)
    found = Axe().run(page, context=selector).response["violations"]
    style.evaluate("node => node.remove()")
    return [
        f"{violation['id']}: {node['html'][:200]}: {' '.join(node['failureSummary'].split())}"
        for violation in found
        for node in violation["nodes"]
        if node["impact"] in GRAVE
    ]
