"""A real JupyterLab: sessions are listed, steered, suspended and continued as a person sees it."""

from __future__ import annotations

import pytest
from lab_kit import Frontend

pytestmark = pytest.mark.browser


def test_sessions_are_told_as_a_table_and_a_suspended_one_comes_back(lab: Frontend) -> None:
    notebook = lab.open(
        "%claude the code word is heron",
        '%claude /new "my review"',
        "%claude -s notebook what is the code word",
        "%claude /suspend notebook",
        "%claude /sessions",
        "%claude -s notebook what is the code word",
        "%claude /status notebook",
    )
    notebook.run_all()
    table = notebook.output(5).locator("table")
    assert table.locator("th").all_inner_texts()[1:4] == ["name", "state", "model"]
    names = table.locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert sorted(names) == ["my review", "notebook"]
    assert "suspended" in table.inner_text()
    assert "The code word is heron." in notebook.text(6)
    assert "guard" in notebook.text(7)
    notebook.cell(7).scroll_into_view_if_needed()
    notebook.screenshot("sessions")


def test_after_a_restart_of_the_kernel_the_conversation_is_continued_and_said_to_be(lab: Frontend) -> None:
    notebook = lab.open("%claude the code word is heron", "%claude what is the code word")
    notebook.run(1)
    notebook.restart()
    load = notebook.add("%load_ext claude_nb")
    notebook.run(load)
    notebook.run(2)
    assert "Continuing the conversation 'notebook'" in notebook.text(2)
    assert "%claude -n starts anew" in notebook.text(2)
    assert "The code word is heron." in notebook.text(2)
    notebook.screenshot("continued")
