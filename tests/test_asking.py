"""Whole kernels and the real CLI: tools that ask, in front ends that draw no cards and so get `input()`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from kernel_kit import MANAGER, Kernel, answering

pytestmark = pytest.mark.kernel


def test_yes_lets_the_tool_run_once(kernel: Kernel, folder: Path) -> None:
    cell, prompts = answering(kernel, kernel.start_cell("%claude touch here.txt"), "y")
    assert cell.error is None
    assert "touched" in cell.markdown
    assert (folder / "here.txt").exists()
    assert len(prompts) == 1
    assert "touch here.txt" in cell.printed
    answering(kernel, kernel.start_cell("%claude touch there.txt"), "n")
    assert not (folder / "there.txt").exists()


def test_no_with_a_reason_is_read_by_claude_and_leaves_the_namespace_alone(kernel: Kernel) -> None:
    cell, _ = answering(kernel, kernel.start_cell("%claude run: touched = True"), "n: not that one")
    assert "It was refused:" in cell.markdown
    assert "not that one" in cell.markdown
    assert kernel.eval("'touched' in globals()") == "False"


@pytest.mark.parametrize("prompt", ["touch here.txt", "run: touched = True"])
def test_the_time_of_a_tool_leaves_out_the_wait_for_the_answer(kernel: Kernel, prompt: str) -> None:
    kernel.run("%claude ECHO ready")
    message = kernel.start_cell(f"reply = %claude {prompt}")
    kernel.client.get_stdin_msg(timeout=60)
    asked = time.monotonic()
    time.sleep(1)  # the person thinks
    thought = time.monotonic() - asked
    kernel.client.input("y")
    assert kernel.finish(message).error is None
    assert kernel.eval("[tool.state for tool in reply.tools]") == "['ok']"
    # The turn is the tool, what the person thought, and Claude; it has no room for both twice.
    assert kernel.eval(f"0 < reply.tools[0].seconds <= reply.usage.seconds - {thought}") == "True"


def test_what_is_no_answer_is_asked_again(kernel: Kernel) -> None:
    message = kernel.start_cell("%claude run: touched = True")
    cell, prompts = answering(kernel, message, "", "maybe", "yes please", "1", "y")
    assert len(prompts) == 5
    assert "It gave:" in cell.markdown
    assert kernel.eval("touched") == "True"


def test_always_allows_it_for_good_in_this_session(kernel: Kernel, folder: Path) -> None:
    answering(kernel, kernel.start_cell("%claude run: one = 1"), "a")
    cell = kernel.run("%claude run: two = 2")
    assert cell.error is None
    assert "always allowed in this session" in str(kernel.run("%claude /permissions").displays)
    kernel.run("%claude /suspend")
    assert kernel.run("%claude run: three = 3").error is None
    assert kernel.eval("one + two + three") == "6"
    assert not (folder / ".claude").exists()


def test_an_interrupt_while_a_question_is_open_ends_the_turn(kernel: Kernel) -> None:
    message = kernel.start_cell("%claude run: touched = True")
    kernel.client.get_stdin_msg(timeout=60)
    kernel.manager.interrupt_kernel()
    cell = kernel.finish(message)
    assert cell.error is not None
    assert cell.error["ename"] == "TurnInterrupted"
    assert len(cell.error["traceback"]) == 1, "the one line about it"
    for word in ("failed", "Interrupted", "Denied", "withdrawn", "Not run"):
        assert word not in cell.markdown
    assert kernel.eval("'touched' in globals()") == "False"
    assert kernel.run("%claude ECHO still there").error is None


def test_claudes_own_questions_are_asked(kernel: Kernel) -> None:
    cell, _ = answering(kernel, kernel.start_cell("%claude ask me something"), "2")
    assert "You said:" in cell.markdown
    assert "Blue" in cell.markdown
    kernel.run("%claude /mode plan")
    cell, _ = answering(kernel, kernel.start_cell("%claude make a plan"), "y")
    assert "I go:" in cell.markdown
    assert "in mode default" in kernel.run("%claude /mode").printed
    kernel.run("%claude /suspend")
    cell, prompts = answering(kernel, kernel.start_cell("%claude run: acted = 1"), "y")
    assert prompts, "Claude acts again, also after a suspension"
    assert kernel.eval("acted") == "1"


def test_a_background_question_waits_until_it_is_asked_by_wait(kernel: Kernel) -> None:
    kernel.run("%claude -b -o turn run: touched = True")
    kernel.run("import time\nwhile turn.question is None: time.sleep(0.05)")
    assert "waiting for you" in kernel.eval(f"{MANAGER}.overview()[0].state")
    cell, prompts = answering(kernel, kernel.start_cell("%claude /wait"), "y")
    assert len(prompts) == 1
    assert cell.error is None
    assert kernel.eval("touched, str(turn.status)") == "(True, 'completed')"


def test_the_policy_decides_where_it_is_told_to(kernel: Kernel, folder: Path) -> None:
    kernel.run("%config SessionManager.permission_policy = 'deny'")
    cell = kernel.run("%claude touch here.txt")
    assert "permission_policy" in cell.markdown
    assert not (folder / "here.txt").exists()


def test_each_call_and_who_decided_is_in_the_audit_log(headless: Kernel, own_data: Path) -> None:
    headless.run("%claude touch here.txt")
    files = list((own_data / "claude_nb" / "audit").iterdir())
    assert [oct(file.stat().st_mode & 0o777) for file in files] == ["0o600"]
    line = [json.loads(line) for line in files[0].read_text().splitlines()][-1]
    assert (line["tool"], line["decision"], line["by"], line["outcome"]) == (
        "Bash",
        "deny",
        "nobody",
        "refused",
    )
    assert line["input"]["command"] == "touch here.txt"
