"""Whole kernels and the real CLI: a notebook's conversation through restarts, shutdowns and deaths."""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path

import pytest
from kernel_kit import MANAGER, PATIENCE, Cell, Kernel, running_kernel

from claude_nb.registry import Record, Registry

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("api", "own_data")]


@pytest.fixture
def kernel(own_kernel: Kernel) -> Kernel:
    """Here each test restarts or ends it."""
    return own_kernel


def restart(kernel: Kernel) -> None:
    """As Kernel > Restart does it, and then the first cell."""
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=PATIENCE)
    assert kernel.run("%load_ext claude_nb").error is None


def told(kernel: Kernel, options: str = "") -> None:
    assert "Noted" in kernel.run(f"%claude {options}the code word is heron").markdown


def asked(kernel: Kernel, options: str = "") -> str:
    """What is displayed for the question for the code word."""
    cell = kernel.run(f"%claude {options}what is the code word")
    assert cell.error is None, cell.shown_error
    return re.sub(r"</?code>|&#39;|'", "", cell.markdown)


def started(kernel: Kernel, source: str, seen: str) -> str:
    """Send a cell off and come back when `seen` is in its display; the message's id."""
    message = kernel.start_cell(source)
    cell = Cell()
    deadline = time.monotonic() + PATIENCE
    while seen not in cell.markdown:
        cell.messages.append(kernel.client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0.01)))
    return message


def only_record() -> Record:
    (record,) = Registry.default().records()
    return record


# -- restarts ----------------------------------------------------------------------------------------


def test_after_a_restart_the_conversation_goes_on_and_the_first_reply_says_so(kernel: Kernel) -> None:
    told(kernel)
    restart(kernel)
    first = asked(kernel)
    assert first.index("Continuing the conversation") < first.index("heron")
    assert "%claude -n" in first
    assert "Continuing" not in asked(kernel)
    assert only_record().turns == 3


def test_starting_anew_after_a_restart_forgets(kernel: Kernel) -> None:
    told(kernel)
    restart(kernel)
    assert "no code word" in asked(kernel, "-n ")


def test_a_restart_in_mid_turn_is_remembered_and_said(kernel: Kernel) -> None:
    told(kernel)
    started(kernel, "%claude stream 400 lines", "line 3")
    restart(kernel)
    record = only_record()
    assert record.ended is not None
    assert record.ended["reason"] == "kernel restart"
    first = asked(kernel)
    assert "The last turn was cancelled by a kernel restart." in first
    assert "heron" in first
    assert only_record().ended is None


def test_a_shutdown_in_mid_turn_is_remembered_and_said_to_the_next_kernel(folder: Path) -> None:
    with running_kernel(folder) as kernel:
        told(kernel)
        started(kernel, "%claude stream 400 lines", "line 3")
        kernel.manager.shutdown_kernel()
    assert (only_record().ended or {})["reason"] == "kernel shutdown"
    with running_kernel(folder) as kernel:
        assert "cancelled by a kernel shutdown" in asked(kernel)


def test_without_continuing_a_restart_begins_a_session_of_its_own(kernel: Kernel) -> None:
    told(kernel)
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=PATIENCE)
    kernel.run("%load_ext claude_nb\n%config SessionManager.continue_after_restart = False")
    assert "no code word" in asked(kernel)
    assert kernel.eval(f"{MANAGER}.session().name") == "'default-2'"
    assert "heron" in asked(kernel, "-s default ")


def test_the_session_bears_the_notebooks_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(folder / "analysis.ipynb"))
    with running_kernel(folder) as kernel:
        told(kernel)
        restart(kernel)
        assert "Continuing the conversation analysis" in asked(kernel)


# -- what is recorded of the end ---------------------------------------------------------------------


def log_of(kernel: Kernel) -> Path:
    """The log that `/status` names."""
    (line,) = [
        line
        for line in kernel.run("%claude /status").displays[0]["text/plain"].splitlines()
        if line.startswith("log")
    ]
    return Path(line.removeprefix("log").strip())


def test_a_background_turn_that_ends_soon_is_waited_for_and_the_log_tells_each_phase(
    folder: Path,
) -> None:
    with running_kernel(folder) as kernel:
        told(kernel)
        log = log_of(kernel)
        started(kernel, "%%claude -b\ncount slowly to 20", "18")
        kernel.manager.shutdown_kernel()
    lines = [line for line in log.read_text().splitlines() if "[shutdown]" in line]
    assert "[shutdown] draining 1 turn" in lines[0]
    assert "of 'default' settled after " in lines[1]
    assert "[shutdown] done, " in lines[-1]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert only_record().ended is None
    assert only_record().turns == 2


def test_a_background_turn_that_goes_on_is_interrupted_and_cancelled(folder: Path) -> None:
    with running_kernel(folder) as kernel:
        told(kernel)
        log = log_of(kernel)
        started(kernel, "%%claude -b\nstream 400 lines", "line 2")
        kernel.manager.shutdown_kernel()
    said = log.read_text()
    assert "[shutdown] interrupting after 1." in said
    assert "[shutdown] done, " in said
    assert (only_record().ended or {})["reason"] == "kernel shutdown"
    with running_kernel(folder) as kernel:
        assert "heron" in asked(kernel)


# -- two kernels -------------------------------------------------------------------------------------


def test_a_second_notebook_of_the_folder_gets_a_session_of_its_own_and_is_told(
    folder: Path, kernel: Kernel
) -> None:
    told(kernel)
    with running_kernel(folder) as second:
        first_reply = asked(second)
        assert "new session, default-2" in first_reply
        assert "in use by another kernel" in first_reply
        assert "no code word" in first_reply
        table = second.run("%claude /sessions").displays[0]["text/plain"]
        assert "in use by another kernel" in next(
            line for line in table.splitlines() if line.strip().startswith("default ")
        )
        second.run("import claude_nb; chat = claude_nb.ChatWidget()")
        listed = "{session['name']: session['state'] for session in chat.sessions}['default']"
        assert second.eval(listed) == "'idle'"


def test_a_session_that_is_named_is_refused_with_its_owner_while_another_kernel_has_it(
    folder: Path, kernel: Kernel
) -> None:
    told(kernel)
    with running_kernel(folder) as second:
        cell = second.run("%claude -s default what is the code word")
        assert cell.reply["ename"] == "UsageError"
        assert f"pid {kernel.pid}" in cell.printed
        assert "for " in cell.printed
        assert cell.printed.count("\n") == 1
        kernel.manager.shutdown_kernel()
        assert "heron" in asked(second, "-s default ")


def test_a_new_kernel_goes_on_where_a_killed_one_has_stopped(folder: Path) -> None:
    with running_kernel(folder) as kernel:
        told(kernel)
        started(kernel, "%claude stream 400 lines", "line 3")
        kernel.manager.shutdown_kernel(now=True)
    with running_kernel(folder) as kernel:
        assert "heron" in asked(kernel)


# -- nobody there ------------------------------------------------------------------------------------


def test_a_run_that_nobody_watches_never_continues_and_leaves_no_record(folder: Path) -> None:
    for _ in range(2):
        with running_kernel(folder, someone_there=False) as kernel:
            assert "no code word" in asked(kernel)
            told(kernel)
            assert kernel.eval(f"{MANAGER}.session().name") == "'default'"
    assert Registry.default().records() == []


def test_a_session_that_is_named_is_continued_also_where_nobody_watches(folder: Path) -> None:
    with running_kernel(folder, someone_there=False) as kernel:
        told(kernel, "-s review ")
    with running_kernel(folder, someone_there=False) as kernel:
        assert "heron" in asked(kernel, "-s review ")


# -- many --------------------------------------------------------------------------------------------


def test_two_hundred_records_are_listed_and_do_not_keep_a_kernel_from_loading(folder: Path) -> None:
    registry = Registry.default()
    for number in range(200):
        registry.create(f"session {number}", folder, turns=3, last_activity=time.time() - 60 * number)
    with running_kernel(folder) as kernel:
        lines = kernel.run("%claude /sessions").displays[0]["text/plain"].splitlines()
        assert len(lines) == 201
        assert "session 0 " in lines[1]
        assert "session 199 " in lines[200]
        assert "suspended 3 h" in lines[200]
    assert os.environ["JUPYTER_DATA_DIR"] in str(registry.data)
