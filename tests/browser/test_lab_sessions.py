"""A real JupyterLab: sessions are listed, steered, suspended and continued as a person sees it."""

from __future__ import annotations

import pytest
from lab_kit import Frontend
from playwright.sync_api import expect

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
    expect(table.locator("tbody tr")).to_have_count(2)
    expect(table).to_contain_text("suspended")
    assert table.locator("th").all_inner_texts()[1:4] == ["name", "state", "model"]
    names = table.locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert sorted(names) == ["my review", "notebook"]
    notebook.see(6, "The code word is heron.")
    notebook.see(7, "guard")
    notebook.cell(7).scroll_into_view_if_needed()
    notebook.screenshot("sessions")


def test_after_a_restart_of_the_kernel_the_conversation_is_continued_and_said_to_be(lab: Frontend) -> None:
    notebook = lab.open("%claude the code word is heron", "%claude what is the code word")
    notebook.run(1)
    notebook.restart()
    load = notebook.add("%load_ext claude_nb")
    notebook.run(load)
    notebook.run(2)
    notebook.see(2, "Continuing the conversation 'notebook'")
    notebook.see(2, "%claude -n starts anew")
    notebook.see(2, "The code word is heron.")
    notebook.screenshot("continued")
