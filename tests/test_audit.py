"""The audit log: pure for what a line looks like, whole kernels and the real CLI for what is in it."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kernel_kit import PATIENCE, Kernel, answering

from claude_nb.asking.audit import UNCERTAIN, AuditLog
from claude_nb.asking.question import Decision, Question
from claude_nb.reply import ToolUseBlock

in_kernel = pytest.mark.kernel
pure = pytest.mark.pure
SECRET = "sk-ant-" + "a1B2" * 10


@pytest.fixture
def data(own_data: Path) -> Path:
    return own_data / "claude_nb"


def lines(data: Path, event: str = "ended") -> list[dict[str, Any]]:
    files = sorted((data / "audit").glob("*.jsonl"))
    found = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line for line in found if line["event"] == event]


def session() -> Any:
    """What the log asks of a session."""
    return SimpleNamespace(name="a", id="1", record=SimpleNamespace(folder="/work"))


def written(tmp_path: Path, tool_input: dict[str, Any], reason: str = "") -> str:
    """The log after one call with that input."""
    log = AuditLog(tmp_path)
    log.asked("1")
    log.decided(session(), "1", Question("a", "Bash", tool_input), Decision("deny", reason, by="input"))
    log.ended(session(), ToolUseBlock("1", "Bash", tool_input))
    (file,) = log.folder.iterdir()
    assert stat.S_IMODE(log.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return file.read_bytes().decode()


# -- pure ---------------------------------------------------------------------------------------------


@pure
def test_a_decision_and_the_end_are_a_line_each(tmp_path: Path) -> None:
    first, second = (json.loads(line) for line in written(tmp_path, {"command": "ls"}, "no").splitlines())
    assert (first["event"], second["event"]) == ("decided", "ended")
    for line in (first, second):
        assert (line["tool"], line["decision"], line["by"], line["reason"]) == ("Bash", "deny", "input", "no")
        assert line["decided"] <= line["time"]
    assert second["decided"] == first["decided"]


@pure
def test_once_code_has_been_allowed_a_line_says_that_it_could_have_answered(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    for call, tool, verdict in (
        ("1", "Bash", "once"),
        ("2", "mcp__kernel__run_cell", "deny"),
        ("3", "mcp__kernel__run_cell", "once"),
        ("4", "Bash", "once"),
    ):
        log.asked(call)
        log.decided(session(), call, Question("a", tool, {}), Decision(verdict, by="card"))
        log.ended(session(), ToolUseBlock(call, tool, {}))
    (file,) = log.folder.iterdir()
    noted = [json.loads(line)["call"] for line in file.read_text().splitlines() if UNCERTAIN in line]
    assert noted == ["4", "4"], "decided and ended"


@pure
@pytest.mark.parametrize(
    "text", [SECRET, f"export TOKEN={SECRET}", f'curl -H "Authorization: Bearer {SECRET}"', f"a\n{SECRET}\nb"]
)
def test_secrets_are_masked_in_inputs_and_reasons(tmp_path: Path, text: str) -> None:
    text_of_log = written(tmp_path, {"command": text, "nested": [{"api_key": SECRET}]}, text)
    assert "Bash" in text_of_log
    assert SECRET not in text_of_log


@pure
def test_what_a_terminal_would_obey_or_hide_is_written_out_and_nothing_is_lost(tmp_path: Path) -> None:
    command = "ls \x1b[2K\x9b2J \u202etxt\u202c \u200b \u2028 \ud800 \x7f \U000e0041 größe 鷺"
    text = written(tmp_path, {"command": command})
    assert len(text.splitlines()) == 2
    assert all(char.isprintable() for char in text.replace("\n", ""))
    assert "größe 鷺" in text
    assert json.loads(text.splitlines()[1])["input"] == {"command": command}


@pure
def test_a_long_input_is_cut(tmp_path: Path) -> None:
    text = written(tmp_path, {"content": "long " * 100_000})
    assert len(text) < 100_000
    assert "more characters" in text


# -- kernels ------------------------------------------------------------------------------------------


@in_kernel
def test_every_call_is_logged_with_who_decided(kernel: Kernel, data: Path) -> None:
    kernel.run("%claude run a long command")  # Claude Code asks for none of this
    kernel.run("word = 'heron'")
    kernel.run("%claude inspect word")
    answering(kernel, kernel.start_cell("%claude touch a.txt"), "y")
    answering(kernel, kernel.start_cell("%claude touch b.txt"), "n: not that one")
    answering(kernel, kernel.start_cell("%claude run: one = 1"), "a")
    kernel.run("%claude run: two = 2")
    found = [(line["tool"], line["decision"], line["by"], line["outcome"]) for line in lines(data)]
    assert found == [
        ("Bash", "once", "claude code", "ok"),
        ("mcp__kernel__inspect", "once", "look", "ok"),
        ("Bash", "once", "input", "ok"),
        ("Bash", "deny", "input", "refused"),
        ("mcp__kernel__run_cell", "always", "input", "ok"),
        ("mcp__kernel__run_cell", "once", "claude code", "ok"),
    ]
    assert lines(data)[3]["reason"] == "not that one"
    assert "mcp__kernel__run_cell" in lines(data)[4]["rule"]
    assert len({line["call"] for line in lines(data)}) == 6


@in_kernel
def test_the_calls_of_a_subagent_are_logged(kernel: Kernel, data: Path, folder: Path) -> None:
    kernel.run("%claude /permissions allow Bash(touch *)")
    kernel.run("%claude have an agent touch a.txt")
    deadline = time.monotonic() + PATIENCE
    while (found := [line["tool"] for line in lines(data)]) != ["Agent", "Bash"]:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    # The agent works on in the background; what is known then is no failure.
    assert lines(data)[1]["outcome"] in ("ok", "no result")
    while not (folder / "a.txt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@in_kernel
def test_a_call_that_was_interrupted_is_logged(kernel: Kernel, data: Path) -> None:
    kernel.run("%claude /permissions allow mcp__kernel__run_cell")
    message = kernel.start_cell("%claude run: print('begun', flush=True); import time; time.sleep(600)")
    seen = False

    def interrupt(cell: Any) -> None:
        nonlocal seen
        if not seen and "begun" in cell.printed:
            seen = True
            kernel.manager.interrupt_kernel()

    kernel.finish(message, watch=interrupt)
    assert [(line["tool"], line["outcome"]) for line in lines(data)] == [
        ("mcp__kernel__run_cell", "interrupted")
    ]


@in_kernel
def test_a_kernel_that_is_killed_in_mid_turn_has_logged_what_was_decided_and_what_had_ended(
    own_kernel: Kernel, data: Path
) -> None:
    own_kernel.run("word = 'heron'")
    own_kernel.run("%claude inspect word")
    message = own_kernel.start_cell(
        "%claude run: print('begun', flush=True); import time; time.sleep(600)".replace(
            "'begun'", "'be' + 'gun'"
        )
    )
    own_kernel.client.get_stdin_msg(timeout=PATIENCE)
    own_kernel.client.input("y")

    class Begun(Exception):
        pass

    def kill(cell: Any) -> None:
        if "begun" in cell.printed:
            os.kill(own_kernel.pid, signal.SIGKILL)
            raise Begun

    with pytest.raises(Begun):
        own_kernel.finish(message, watch=kill)
    assert [line["tool"] for line in lines(data)] == ["mcp__kernel__inspect"]
    decided = lines(data, "decided")
    assert [(line["tool"], line["by"]) for line in decided] == [
        ("mcp__kernel__inspect", "look"),
        ("mcp__kernel__run_cell", "input"),
    ]
