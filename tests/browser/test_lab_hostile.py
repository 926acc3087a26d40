"""JupyterLab 4 in a browser: nothing that Claude says runs in the reader's page or fetches anything.

Many more such replies are held to the same in tests/render; here one goes all the way.
"""

from __future__ import annotations

import pytest
from lab_kit import Frontend, Notebook

pytestmark = pytest.mark.browser

# Whatever runs calls this, in the page or from a frame below it.
PWNED = "window.pwned = () => console.error('PWNED')"

REPLY = """\
<img src=x onerror=pwned()><script>pwned()</script>
<img src="http://evil.example/leak.png"> ![a picture](http://evil.example/leak.png)
[click](javascript:pwned()) <iframe srcdoc="<script>parent.pwned()</script>"></iframe>
$\\href{javascript:pwned()}{x}$"""

# What waits for a click or a pointer.
ARMED = """index => [...kit.cell(index).outputArea.node.querySelectorAll('*')].flatMap(node =>
  [...node.attributes].filter(({name, value}) => /^on/i.test(name) || /^\\s*javascript:/i.test(value))
    .map(({name, value}) => `${node.tagName} ${name}=${value}`))"""


@pytest.fixture
def watched(lab: Frontend) -> Frontend:
    """A page that tells of a script which ran."""
    lab.page.add_init_script(PWNED)
    return lab


def harm(notebook: Notebook) -> list[str]:
    """What has happened in the page that should not."""
    witness = notebook.frontend.witness
    ran = [text for text in witness.console if "PWNED" in text]
    return [*ran, *witness.errors, *witness.dialogs, *witness.elsewhere(notebook.frontend.server)]


def test_a_hostile_reply_runs_nothing_and_fetches_nothing(watched: Frontend) -> None:
    notebook = watched.open(f"%%claude ECHO\n{REPLY}")
    notebook.run(1)
    assert "<script>pwned()</script>" in notebook.text(1)
    assert notebook.page.evaluate(ARMED, 1) == []
    notebook.screenshot("hostile-reply")
    notebook.save()
    notebook.reload()
    notebook.see(1, "pwned")
    assert harm(notebook) == []


def test_this_page_would_tell_of_a_reply_that_was_shown_as_it_came(watched: Frontend) -> None:
    notebook = watched.open(f"display({{'text/markdown': {REPLY!r}}}, raw=True)")
    with (
        watched.page.expect_console_message(lambda message: "PWNED" in message.text),
        watched.page.expect_request("http://evil.example/**"),
    ):
        notebook.run(1)
    assert len(harm(notebook)) >= 2
    assert notebook.page.evaluate(ARMED, 1) != []
