"""What the built-in script shows a newcomer of the kernel's tools. A whole kernel and the real CLI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel_kit import Cell, Kernel, answering

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.kernel


@pytest.fixture
def api(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfflineAPI]:
    """Only the built-in script answers."""
    config = folder.parent / "claude"
    config.mkdir(mode=0o700)
    with OfflineAPI() as api:
        for name, value in api.environment(config).items():
            monkeypatch.setenv(name, value)
        yield api


def ask(kernel: Kernel, prompt: str, *answers: str) -> Cell:
    cell, _ = answering(kernel, kernel.start_cell(f"%claude {prompt}"), *answers)
    assert cell.error is None, cell.shown_error
    return cell


def test_claude_looks_at_the_notebook_and_asks_nobody(kernel: Kernel) -> None:
    kernel.run("speeds = {'hare': 70, 'tortoise': 0.3}")
    kernel.run("speeds['snail']")
    assert "speeds  dict" in ask(kernel, "list the variables").markdown
    assert "tortoise" in ask(kernel, "inspect speeds").markdown
    assert "KeyError: 'snail'" in ask(kernel, "why did it fail").markdown
    mentioned = ask(kernel, "what is in @speeds").markdown
    assert "This came along with your prompt" in mentioned
    assert "tortoise" in mentioned


def test_claude_acts_once_it_is_allowed(kernel: Kernel, folder: Path) -> None:
    assert ask(kernel, "run 6 * 7", "y").value == "42"
    assert "not now, please" in ask(kernel, "run touched = True", "n: not now, please").markdown
    assert kernel.eval("'touched' in globals()") == "False"
    ask(kernel, "create a file", "y")
    assert (folder / "hello.txt").exists()
    plotted = ask(kernel, "plot something", "y")
    assert sum("image/png" in data for data in plotted.displays) == 1
    assert "[image]" in plotted.markdown
    assert "source:" not in plotted.markdown, "where Claude Code has put the picture is nobody's affair"
    assert "This came along" in ask(kernel, "what is in @figure").markdown


def test_claude_adds_a_cell_and_asks_a_question_of_its_own(kernel: Kernel) -> None:
    cell = ask(kernel, "add a cell", "y")
    (payload,) = cell.reply["payload"]
    assert payload["source"] == "set_next_input"
    assert "Claude wrote this cell" in payload["text"]
    assert "Small multiples" in ask(kernel, "ask me something", "2").markdown
    assert "not tell" in ask(kernel, "ask me something", "n: I would rather not tell").markdown
