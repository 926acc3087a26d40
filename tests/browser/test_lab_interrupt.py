"""JupyterLab 4 in a browser, a whole kernel and the real CLI: Interrupt and Restart from its own menu."""

from __future__ import annotations

import json

import psutil
import pytest
from lab_kit import PATIENCE, Frontend
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

PID = "print(__import__('claude_nb').manager().session().pid)"
PIDS = "import json, os; print(json.dumps([os.getpid(), __import__('claude_nb').manager().session().pid]))"


def test_interrupt_ends_the_cell_and_the_next_prompt_goes_to_the_same_process(lab: Frontend) -> None:
    notebook = lab.open("%claude hello", PID, "%claude stream 400 lines", "%claude ECHO after", PID)
    notebook.run(1)
    notebook.run(2)
    notebook.start(3)
    notebook.see(3, "line 5")
    notebook.interrupt()
    notebook.finish(3)
    notebook.see(3, "Interrupted")
    notebook.see(3, "line 5")
    expect(notebook.output(3)).not_to_contain_text("tokens")
    error = notebook.error(3).inner_text().strip()
    assert error.startswith("TurnInterrupted: ")
    assert "\n" not in error
    notebook.screenshot("interrupted")
    notebook.run(4)
    notebook.run(5)
    notebook.see(4, "ECHO after")
    assert int(notebook.printed(2)) == int(notebook.printed(5))


def test_interrupt_stops_run_all(lab: Frontend) -> None:
    notebook = lab.open("%claude stream 400 lines", "print('went on')")
    notebook.watch(1)
    lab.menu("Run", "Run All Cells")
    notebook.see(1, "line 3")
    notebook.interrupt()
    notebook.wait_until_kernel_is("idle")
    notebook.see(1, "Interrupted")
    assert "went on" not in notebook.printed(2)


def test_a_restart_in_mid_turn_leaves_no_process_and_the_next_run_works(lab: Frontend) -> None:
    notebook = lab.open("%claude hello", PIDS, "%claude stream 400 lines")
    notebook.run(1)
    notebook.run(2)
    kernel, claude = json.loads(notebook.printed(2))
    notebook.start(3)
    notebook.see(3, "line 3")
    processes = tree_of(kernel, claude)
    notebook.restart()
    _, left = psutil.wait_procs(processes, PATIENCE / 4)
    assert left == []
    notebook.wait_until_kernel_is("idle")
    notebook.run(0)
    notebook.run(1)
    notebook.run(2)
    notebook.see(1, "Hello!")
    assert json.loads(notebook.printed(2))[1] != claude


def tree_of(kernel: int, claude: int) -> list[psutil.Process]:
    """The kernel and all below it, Claude Code among them; psutil knows a process by pid and start time."""
    parent = psutil.Process(kernel)
    processes = [parent, *parent.children(recursive=True)]
    assert claude in {process.pid for process in processes}
    return processes
