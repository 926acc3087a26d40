"""Where Claude Code cannot write its history its process is the only copy: said, and never ended unasked."""

from __future__ import annotations

import os
from html import unescape
from pathlib import Path

import pytest
from kernel_kit import Kernel, answering

from claude_nb.errors import ClaudeNbError
from claude_nb.losing import refuse_to_lose
from claude_nb.session_manager import SessionManager
from claude_nb.state import State

PATIENCE = 100


def spoil() -> Path:
    """Let there be a file where Claude Code keeps its conversations; what was there is put aside."""
    projects = Path(os.environ["CLAUDE_CONFIG_DIR"]) / "projects"
    if projects.exists():
        projects.rename(projects.with_name("aside"))
    projects.touch()
    return projects


@pytest.mark.kernel
def test_where_nobody_is_there_it_is_told_at_the_first_turn_and_not_ended_without_force(
    headless: Kernel,
) -> None:
    projects = spoil()
    first = unescape(headless.run("%claude the code word is heron").markdown)
    assert "Noted" in first
    assert f"cannot be written ({projects}: Not a directory)" in first
    assert "all that was said in it is lost when the process ends" in first
    for command in ("/stop", "/stop --all", "/suspend", "/archive", "-n hello", "/clear"):
        cell = headless.run(f"%claude {command}")
        assert "cannot be written" in cell.shown_error, command
        assert "`--force` does it" in cell.shown_error, command
    again = headless.run("%claude what is the code word").markdown
    assert "heron" in again
    assert "cannot be written" not in again  # once is enough
    assert "history" in headless.run("%claude /status").displays[0]["text/plain"]
    assert "no code word" in headless.run("%claude -n --force what is the code word").markdown
    cell = headless.run("%claude /stop --force")
    assert cell.error is None, cell.shown_error


@pytest.mark.kernel
def test_a_person_is_asked_before_it_is_lost(kernel: Kernel) -> None:
    spoil()
    kernel.run("%claude the code word is heron")
    cell, prompts = answering(kernel, kernel.start_cell("%claude /stop"), "n")
    assert "cannot be written" in prompts[0]
    assert "Shall this session be stopped all the same? [y/N]" in prompts[0]
    assert "Nothing was stopped" in cell.shown_error
    assert "heron" in kernel.run("%claude what is the code word").markdown
    cell, _ = answering(kernel, kernel.start_cell("%claude /suspend"), "y")
    assert cell.error is None, cell.shown_error
    assert "what was said in it is lost" in str(cell.displays) + cell.printed


@pytest.mark.cli
def test_the_idle_clock_looks_before_it_ends_a_process(manager: SessionManager) -> None:
    session = manager.session()
    session.ask("the code word is heron").result(PATIENCE)
    spoil()  # from now on
    manager.portal.run(session.conversation.suspend_if_idle()).result(PATIENCE)
    assert session.state is State.IDLE
    assert session.idle_since is None  # and the clock stands still
    assert session.suspend().result(PATIENCE) is False
    turn = session.ask("what is the code word")
    assert "heron" in turn.result(PATIENCE).text
    assert [block.text for block in turn.blocks if block.type == "notice"] != []
    with pytest.raises(ClaudeNbError, match="`--force` does it"):
        refuse_to_lose(manager, [session], "stopped")
    assert session.suspend(force=True).result(PATIENCE)
    assert session.state is State.SUSPENDED


@pytest.mark.cli
def test_a_history_that_is_written_is_ended_without_a_question(manager: SessionManager) -> None:
    session = manager.session()
    session.ask("the code word is heron").result(PATIENCE)
    assert refuse_to_lose(manager, [session], "stopped") is False
    manager.portal.run(session.conversation.suspend_if_idle()).result(PATIENCE)
    assert session.state is State.SUSPENDED
    assert "heron" in session.ask("what is the code word").result(PATIENCE).text
