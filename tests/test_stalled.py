"""Where nobody watches, one line on the process's stderr says that nothing comes; the notebook has none."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_kit import PATIENCE, SOON, Cell, Kernel, oldest_ipykernel, running_kernel

from claude_nb.offline import OfflineAPI
from claude_nb.session_manager import SessionManager

SCRIPT = """
rules:
  - exactly: say nothing at all
    reply: [{stall: forever}]
  - exactly: be overloaded
    reply: [{error: 529}]
"""
LINE = re.compile(
    r"^claude_nb: session '(?P<session>.+)' waits for Claude; "
    r"nothing has come since \d\d:\d\d:\d\d, for \d+ s"
    r"(?: \((?P<said>.+)\))?\. Ctrl-C ends the run, `kill -INT (?P<pid>\d+)` this turn\.$",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def offline(private_home: Path) -> Iterator[OfflineAPI]:
    """With this module's script."""
    with OfflineAPI(script=SCRIPT) as api:
        yield api


def line_in(read: Callable[[], str]) -> re.Match[str]:
    """The line, once it is there."""
    deadline = time.monotonic() + PATIENCE
    while (found := LINE.search(said := read())) is None:
        assert time.monotonic() < deadline, said
        time.sleep(0.02)
    return found


@pytest.mark.kernel
@pytest.mark.parametrize("ipykernel", ["newest", "oldest"])
def test_a_stall_that_nobody_sees_is_told_outside_of_the_notebook_and_ends_as_it_says(
    api: OfflineAPI, own_data: Path, folder: Path, tmp_path: Path, ipykernel: str
) -> None:
    terminal = tmp_path / "terminal"
    overlay = oldest_ipykernel() if ipykernel == "oldest" else None
    with (
        terminal.open("ab") as stderr,
        running_kernel(folder, someone_there=False, overlay=overlay, stderr=stderr) as kernel,
    ):
        assert kernel.run("%config SessionManager.stall_warning = 0.2").error is None
        for code in ("%claude say nothing at all", "%%capture captured\n%claude say nothing at all"):
            os.truncate(terminal, 0)
            message = kernel.start_cell(code)
            told = line_in(terminal.read_text)
            assert int(told["pid"]) == kernel.pid
            os.kill(int(told["pid"]), signal.SIGINT)
            cell = kernel.finish(message, SOON)
            assert cell.error is not None
            assert cell.error["ename"] == "TurnInterrupted"
            assert "nothing has come" not in str(cell.messages)
            assert len(LINE.findall(terminal.read_text())) == 1
        assert "nothing has come" not in kernel.eval("captured.stdout + captured.stderr")
        os.truncate(terminal, 0)
        seen = watched(kernel, "%claude say nothing at all")
        assert seen.error is not None
        assert not LINE.search(terminal.read_text()), "who is there sees it in the cell"


def watched(kernel: Kernel, code: str) -> Cell:
    """A cell that a person at the notebook interrupts when its status line has gone on for a while."""
    interrupts: list[Any] = []

    def interrupt(cell: Cell) -> None:
        if not interrupts and re.search(r" · [23] s", cell.markdown):
            interrupts.append(kernel.manager.interrupt_kernel())

    kernel.someone_there = True
    return kernel.finish(kernel.start_cell(code), watch=interrupt)


@pytest.mark.cli
def test_what_claude_code_says_of_a_stall_is_told_and_is_no_sign_of_life(
    manager: SessionManager, capfd: pytest.CaptureFixture[str]
) -> None:
    manager.stall_warning = 2.0
    session = manager.session("birds")
    turn = session.ask("be overloaded")
    read: list[str] = []

    def stderr() -> str:
        read.append(capfd.readouterr().err)
        return "".join(read)

    told = line_in(stderr)
    assert told["session"] == "birds"
    assert re.fullmatch(r"overloaded, try \d of 10 in \d s", told["said"])
    assert int(told["pid"]) == os.getpid()
    turn.interrupt()
    assert turn.result(PATIENCE).status == "interrupted"
