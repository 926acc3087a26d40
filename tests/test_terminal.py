"""IPython in a real terminal and the real CLI: plain text as it comes, Ctrl-C, and what continues."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from kernel_kit import PATIENCE

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.kernel

# Codes that colour and move; what is left is what a reader sees.
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>]|\r")


class Terminal:
    """One IPython in a pseudo-terminal."""

    def __init__(self, child: pexpect.spawn) -> None:
        self.child = child

    def prompt(self, number: int) -> str:
        """What was printed up to the prompt of that number."""
        self.child.expect(rf"In \[{number}\]: ", timeout=PATIENCE)
        return CODES.sub("", self.child.before)


@contextmanager
def ipython(folder: Path) -> Iterator[Terminal]:
    """Start IPython with the extension; it is told to exit in the end."""
    words = ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor", "--ext=claude_nb"]
    child = pexpect.spawn(
        sys.executable, words, cwd=str(folder), encoding="utf-8", dimensions=(50, 200), timeout=PATIENCE
    )
    try:
        terminal = Terminal(child)
        terminal.prompt(1)
        yield terminal
        child.sendline("exit")
        child.expect(pexpect.EOF, timeout=PATIENCE)
    finally:
        child.close(force=True)


@pytest.fixture(autouse=True)
def plain_terminal(api: OfflineAPI, own_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("PYTHONSTARTUP", raising=False)


def test_a_reply_streams_as_plain_text_and_tables_are_columns(tmp_path: Path) -> None:
    with ipython(tmp_path) as terminal:
        terminal.child.sendline("%claude stream 400 lines")
        terminal.child.expect("line 3", timeout=PATIENCE)  # it still runs
        terminal.child.sendintr()
        said = terminal.prompt(2)
        assert "\u25a0 Interrupted" in said
        assert "Traceback" not in said
        terminal.child.sendline("%claude ECHO <b>**plain**</b>")
        said = terminal.prompt(3)
        assert "<<<ECHO <b>**plain**</b>>>>" in said
        assert re.search(r"Out\[2\]: <Reply of 'default', completed: ", said), "and never without a value"
        assert "Markdown" not in said
        terminal.child.sendline("%claude /sessions")
        header, line, *_ = terminal.prompt(4).strip().splitlines()[1:]
        assert header.split() == ["name", "state", "model", "persona", "turns", "last", "active"]
        assert line.split()[:3] == ["→", "default", "live"]
        terminal.child.sendline("%claude /sesions")
        assert "UsageError: There is no command /sesions. Did you mean /sessions?" in terminal.prompt(5)


def test_a_conversation_goes_on_in_the_next_terminal_and_a_line_says_so(tmp_path: Path) -> None:
    with ipython(tmp_path) as terminal:
        terminal.child.sendline("%claude the code word is heron")
        terminal.prompt(2)
    with ipython(tmp_path) as terminal:
        terminal.child.sendline("%claude what is the code word")
        said = terminal.prompt(2)
        assert said.index("Continuing the conversation") < said.index("heron")


ANSWER = r'"n: reason" > '


def next_prompt(terminal: Terminal) -> str:
    """What was printed up to the next prompt; a cell that Claude runs takes a number too."""
    terminal.child.expect(r"In \[\d+\]: ", timeout=PATIENCE)
    return CODES.sub("", terminal.child.before)


def answer(terminal: Terminal, said: str) -> str:
    """Wait for the question, and answer it; what was printed before."""
    terminal.child.expect(re.escape(ANSWER), timeout=PATIENCE)
    before = CODES.sub("", terminal.child.before)
    assert re.search(r"(?:\n|\r {5,}\r)\u25cb Claude wants", terminal.child.before), (
        "at the beginning of a line"
    )
    terminal.child.sendline(said)
    return before


def test_a_question_is_asked_in_plain_text_and_each_answer_is_one(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with ipython(work) as terminal:
        terminal.child.sendline("%claude touch here.txt")
        asked = answer(terminal, "y")
        assert "Claude wants to run a command" in asked
        assert "touch here.txt" in asked
        assert "touched" in next_prompt(terminal)
        terminal.child.sendline("%claude run: touched = True")
        assert "Always would allow: mcp__kernel__run_cell" in answer(terminal, "n: not that one")
        assert "not that one" in next_prompt(terminal)
        terminal.child.sendline("'touched' in globals()")
        assert "False" in next_prompt(terminal)
        terminal.child.sendline("%claude run: touched = 'by Claude'")
        answer(terminal, "a")
        next_prompt(terminal)
        terminal.child.sendline("%claude run: print('again ' + touched); 6 * 7")
        said = next_prompt(terminal)
        assert said.count("again by Claude") == 2, "as it was printed, and as Claude was told"
        assert re.search(r"It gave: printed:\s+again by Claude\s+result:\s+42", said)
    assert [path.name for path in work.iterdir()] == ["here.txt"]


def test_an_interrupt_at_a_question_ends_the_turn_and_nothing_overwrites_what_is_asked(
    tmp_path: Path,
) -> None:
    with ipython(tmp_path) as terminal:
        terminal.child.sendline("%claude run: touched = True")
        terminal.child.expect(re.escape(ANSWER), timeout=PATIENCE)
        # A status line would begin with a carriage return, or clear the line.
        assert terminal.child.expect(["[\r\x1b]", pexpect.TIMEOUT], timeout=3) == 1
        terminal.child.sendintr()
        said = terminal.prompt(2)
        assert "\u25a0 Interrupted" in said
        assert "Traceback" not in said
        terminal.child.sendline("'touched' in globals()")
        assert "False" in terminal.prompt(3)
        terminal.child.sendline("%claude ECHO still there")
        assert "still there" in terminal.prompt(4)
