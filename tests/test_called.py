"""What commands call a session: its name, but a notebook's own is "this session", watched or not."""

from __future__ import annotations

import pytest
from kernel_kit import MANAGER, Cell, Kernel

pytestmark = pytest.mark.kernel

# Each with what else it prints.
BEFORE_A_TURN = ("/history", "/show", "/code", "/interrupt", "/suspend")
COMMANDS = (
    "/model haiku", "/mode plan", "/timeout 5", "/timeout 0", "/permissions allow Bash(touch x)",
    "/permissions forget Bash(touch x)", "/permissions forget Bash(touch x)", "/resume", "/suspend",
    "/suspend", "/stop", "/archive",
)  # fmt: skip


def said(kernel: Kernel) -> dict[str, str]:
    """What the commands print about the current session; a number tells those of the same words apart."""
    kernel.run(f"name = {MANAGER}.session().name")
    answers = [(command, shown(kernel.run(f"%claude {command}"))) for command in BEFORE_A_TURN]
    kernel.run("%claude ECHO x")
    answers += [(command, shown(kernel.run(f"%claude {command}"))) for command in COMMANDS]
    return {f"{number} {command}": answer for number, (command, answer) in enumerate(answers)}


def shown(cell: Cell) -> str:
    return cell.printed + cell.markdown


def test_a_notebooks_own_session_is_this_session_whatever_its_name_is(kernel: Kernel) -> None:
    kernel.run("import os; os.environ['JPY_SESSION_NAME'] = 'heron.ipynb'")
    watched = said(kernel)
    assert kernel.eval("name") == "'heron'"
    kernel.someone_there = False
    kernel.run("%unload_ext claude_nb")
    kernel.run("del os.environ['JPY_SESSION_NAME']")
    kernel.run("%load_ext claude_nb")
    alone = said(kernel)
    assert kernel.eval("name") == "'default'"
    for command, answer in watched.items():
        assert "this session" in answer.lower(), command
        assert "heron" not in answer, command
        assert answer == alone[command], command


def test_a_session_with_a_name_is_called_by_it(kernel: Kernel) -> None:
    kernel.run("%claude /new paper")
    for command, answer in said(kernel).items():
        assert "paper" in answer, command
        assert "this session" not in answer.lower(), command
    own = kernel.eval(f"{MANAGER}.session().name").strip("'")
    assert shown(kernel.run(f"%claude /suspend {own}")).startswith(own), "as it was named"
