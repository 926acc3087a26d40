"""Every hostile reply said to a real notebook, and what a page does about it that it should not."""

from __future__ import annotations

from typing import Any

import yaml
from hostile_replies import HOSTILE, WORKING
from lab_kit import Frontend, Witness
from playwright.sync_api import Page

REPLIES = [*HOSTILE, *WORKING]
# Nothing of a turn is left out of the transcript, and JupyterLab shows all of a cell's output.
PER_TURN = 75
TEXTS = [REPLIES[start : start + PER_TURN] for start in range(0, len(REPLIES), PER_TURN)]
# What a person types has no halves of characters in it.
PROMPT = "ECHO " + "\n\n".join(REPLIES).encode("utf-8", "ignore").decode()

# Whatever runs calls this, in the page or from a frame below it.
PWNED = "window.pwned = () => console.error('PWNED')"

# What waits for a click, a pointer or a key, and what has no place in a reply.
ARMED = """selector => [...document.querySelectorAll(`${selector} *`)]
  .filter(node => !node.closest('mjx-container'))
  .filter(node => node.matches('script, iframe, object, embed, video, audio, form, link, meta, base, '
      + 'img:not([src^="data:image/"]), [id], [name]')
    || [...node.attributes].some(({name, value}) => /^on/i.test(name)
      || (/(href|src|action|ping|data)$/i.test(name) && /^\\s*(java|vb)script:/i.test(value))))
  .map(node => node.outerHTML.slice(0, 300))"""

# Whatever starts by a pointer, a focus or an opening. A picture that is asked for last and does not exist
# tells when those that were asked for before it have been, too.
PROVOKE = """async selector => {
  for (const node of document.querySelectorAll(`${selector} *`)) {
    if (node.tagName === 'DETAILS') node.open = true;
    for (const kind of ['mouseover', 'mouseenter', 'pointerover', 'focus', 'animationstart', 'toggle'])
      node.dispatchEvent(new Event(kind, { bubbles: kind !== 'focus' }));
    if (!node.closest('a, summary, button')) node.dispatchEvent(new Event('click'));
  }
  for (let round = 0; round < 3; round++)
    await new Promise(done => {
      const last = new Image();
      last.onerror = last.onload = done;
      last.src = `not-there.png?${Math.random()}`;
    });
}"""


def script() -> str:
    """Rules for the offline API: `texts 1` and so on are answered by hostile texts, each a block of its own,
    `tools` by calls of tools that there are not, with hostile names and inputs, and hostile thoughts.
    """
    rules: list[dict[str, Any]] = [
        {
            "name": f"texts {number}",
            "exactly": f"texts {number}",
            "reply": [said("text", text) for text in texts],
        }
        for number, texts in enumerate(TEXTS, 1)
    ]
    rules.append(
        {
            "name": "tools",
            "exactly": "tools",
            "reply": [*map(call, REPLIES)],
            "then": [[said("text", "Over.")]],
        }
    )
    rules.append(
        {
            "name": "thoughts",
            "exactly": "thoughts",
            "reply": [*(said("thinking", text) for text in REPLIES), said("text", "Over.")],
        }
    )
    return str(yaml.safe_dump({"rules": rules}, allow_unicode=False))


def said(kind: str, text: str) -> dict[str, Any]:
    return {kind: text, "raw": True}


def call(text: str) -> dict[str, Any]:
    return {"tool": "NotThere", "input": {text: text}, "raw": True}


def provoke(page: Page, selector: str) -> None:
    """Do to all that stands there what may set it off, and wait until it would have."""
    page.evaluate(PROVOKE, selector)


def armed(page: Page, selector: str) -> list[str]:
    """What stands there that must not."""
    found: list[str] = page.evaluate(ARMED, selector)
    return found


def ran(witness: Witness) -> list[str]:
    """What has run that should not."""
    return [*(text for text in witness.console if "PWNED" in text), *witness.errors, *witness.dialogs]


def harm(frontend: Frontend) -> list[str]:
    """What has happened in a page of Jupyter's that should not."""
    return [*ran(frontend.witness), *frontend.witness.elsewhere(frontend.server)]
