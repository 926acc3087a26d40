"""What axe-core finds in a page that somebody who sees, hears or moves otherwise would stumble over."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from lab_kit import VIEWPORT
from playwright.sync_api import Page

GRAVE = ("serious", "critical")
# All of a chat is looked at, not only what is scrolled into sight. And JupyterLab's body is nothing high, so
# that axe-core takes all in it for hidden and looks at no colour.
WHOLE = """
  html, body { height: 100% !important }
  body, .jp-LabShell { overflow: visible !important }
  .cnb-chat, .cnb-menu { max-height: none !important }
  .cnb-chat * { content-visibility: visible !important }"""
TALL = {"width": VIEWPORT["width"], "height": 4000}
# Stands at the end of what is looked at, and must be found: the look is blind to nothing before it.
PALE = "<p class='pale' style='color: #bbb; background: #fff'>pale</p>"
PLANT = "(nodes, pale) => { for (const node of nodes) node.insertAdjacentHTML('beforeend', pale); }"

# JupyterLab sets its panels' heights some time after the window has another size, and what a panel cuts off
# has no colour to axe-core. Bounded, so that the look itself says what is still cut off.
IN_SIGHT = """nodes => new Promise((resolve) => {
  const hidden = new Set(nodes);
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries)
      isIntersecting ? hidden.delete(target) : hidden.add(target);
    if (!hidden.size) { observer.disconnect(); resolve(true); }
  });
  for (const node of nodes) observer.observe(node);
  setTimeout(() => { observer.disconnect(); resolve(false); }, 5000);
})"""


def grave(page: Page, selector: str) -> list[str]:
    """The serious and critical violations in the elements of that selector, and nowhere else in the page."""
    roots = page.locator(selector)
    assert roots.count() > 0
    style = page.add_style_tag(content=WHOLE)
    page.set_viewport_size(TALL)  # type: ignore[arg-type]
    roots.evaluate_all(PLANT, PALE)
    roots.first.evaluate("node => node.scrollIntoView({block: 'start'})")
    in_sight = page.locator(f":is({selector}) > .pale").evaluate_all(IN_SIGHT)
    found = Axe().run(page, context=selector).response["violations"]
    planted = page.locator(f":is({selector}) > .pale")
    count = planted.count()
    planted.evaluate_all("nodes => nodes.forEach(node => node.remove())")
    page.set_viewport_size(VIEWPORT)  # type: ignore[arg-type]
    style.evaluate("node => node.remove()")
    nodes = [
        (violation["id"], node)
        for violation in found
        for node in violation["nodes"]
        if node["impact"] in GRAVE
    ]
    assert sum("pale" in node["html"] for _, node in nodes) == count, (
        f"axe-core was blind to a colour; all was in sight: {in_sight}"
    )
    return [
        f"{name}: {node['html'][:200]}: {' '.join(node['failureSummary'].split())}"
        for name, node in nodes
        if "pale" not in node["html"]
    ]
