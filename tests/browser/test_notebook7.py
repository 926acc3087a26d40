"""Notebook 7 in a browser, a whole kernel and the real CLI: the same turn in the other front end."""

from __future__ import annotations

import pytest
from lab_kit import Frontend, source

pytestmark = pytest.mark.browser

PID = "print(__import__('claude_nb').manager().session().pid)"


def test_a_first_turn_streams_and_leaves_one_output(notebook7: Frontend) -> None:
    notebook = notebook7.open("%claude count slowly to 20", "%claude list the files")
    notebook.run(1)
    notebook.run(2)
    notebook.see(1, "Done. Had you interrupted me")
    assert len(notebook.texts(1)) >= 5
    notebook.screenshot("first-turn")
    for cell in notebook.save()["cells"][1:]:
        (output,) = cell["outputs"]
        assert list(output["data"]) == ["text/markdown"]
        assert "tokens" not in source(output["data"]["text/markdown"])
    notebook.reload()
    notebook.see(1, "Done. Had you interrupted me")


def test_interrupt_ends_the_cell_and_the_next_prompt_goes_to_the_same_process(notebook7: Frontend) -> None:
    notebook = notebook7.open("%claude hello", PID, "%claude stream 400 lines", "%claude ECHO after", PID)
    notebook.run(1)
    notebook.run(2)
    notebook.start(3)
    notebook.see(3, "line 5")
    notebook.interrupt()
    notebook.finish(3)
    notebook.see(3, "line 5")
    notebook.see(3, "Interrupted")
    assert notebook.error(3).inner_text().strip().startswith("TurnInterrupted: ")
    notebook.run(4)
    notebook.run(5)
    notebook.see(4, "ECHO after")
    assert int(notebook.printed(2)) == int(notebook.printed(5))
