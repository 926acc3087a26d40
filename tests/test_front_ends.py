"""Every front end shows every reply: those that know only text and no updates, real ones among them."""

from __future__ import annotations

import queue
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from kernel_kit import PATIENCE, Kernel, running_kernel

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.kernel

NO_UPDATES = "This front end draws no updates"
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>]|\r")


@pytest.fixture
def console(folder: Path, api: OfflineAPI) -> Iterator[Kernel]:
    """A kernel with a bare client, which names no cells."""
    with running_kernel(folder) as kernel:
        kernel.names_its_cells = False
        yield kernel


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    shown = ("display_data", "update_display_data", "execute_result", "error")
    return [message["msg_type"] for message in messages if message["msg_type"] in shown]


def test_a_client_that_draws_no_updates_gets_the_whole_text_once(console: Kernel) -> None:
    cell = console.run("%claude ECHO <b>**text**</b>")
    assert kinds(cell.messages) == ["display_data"]
    assert "<<<ECHO <b>**text**</b>>>>" in cell.displays[0]["text/plain"]
    assert cell.displays[0]["text/markdown"]
    assert cell.printed.count(NO_UPDATES) == 1
    cell = console.run("reply = %claude ECHO again\nreply")
    assert kinds(cell.messages) == ["display_data"], "neither a second time as the cell's value"
    assert NO_UPDATES not in cell.printed, "said once"
    cell = console.run("reply")
    assert "<<<ECHO again>>>" in cell.displays[0]["text/plain"]


def test_what_a_client_without_widgets_is_asked_reaches_input_in_a_subshell_too(console: Kernel) -> None:
    message = console.start_cell("%claude touch here.txt")
    assert "Allow?" in answered(console, "y")
    cell = console.finish(message)
    assert "touched" in cell.displays[-1]["text/plain"]
    assert not [shown for shown in cell.displays if "application/vnd.jupyter.widget-view+json" in shown]
    asked = console.client.session.msg("create_subshell_request", {})
    console.client.control_channel.send(asked)
    subshell = console.client.get_control_msg(timeout=PATIENCE)["content"]["subshell_id"]
    for names_its_cells in (False, True):  # a notebook may show no widgets either
        content = {"code": "%claude touch there.txt", "allow_stdin": True, "silent": False}
        request = console.client.session.msg(
            "execute_request", content, metadata={"cellId": "a-cell"} if names_its_cells else {}
        )
        request["header"]["subshell_id"] = subshell
        console.client.shell_channel.send(request)
        assert "Allow?" in answered(console, "y")
        cell = console.finish(request["header"]["msg_id"])
        assert "touched" in str(cell.displays)


def answered(kernel: Kernel, answer: str) -> str:
    """Wait for what is asked, and answer it."""
    try:
        prompt = kernel.client.get_stdin_msg(timeout=PATIENCE)["content"]["prompt"]
    except queue.Empty:
        pytest.fail("nothing was asked")
    kernel.client.input(answer)
    return str(prompt)


def test_jupyter_console_shows_the_reply_and_asks(
    folder: Path, api: OfflineAPI, own_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    words = [
        "-m",
        "jupyter_console",
        "--simple-prompt",
        "--ZMQTerminalInteractiveShell.banner=",
        "--kernel=python3",
    ]
    child = pexpect.spawn(
        sys.executable, words, cwd=str(folder), encoding="utf-8", dimensions=(50, 200), timeout=PATIENCE
    )
    try:
        child.expect(r"In \[1\]: ")
        child.sendline("%load_ext claude_nb")
        child.expect(r"In \[2\]: ")
        child.sendline("%claude ECHO hello console")
        child.expect(r"In \[3\]: ")
        said = CODES.sub("", child.before)
        assert said.count("<<<ECHO hello console>>>") == 1
        assert "Out[" not in said
        child.sendline("%claude touch here.txt")
        child.expect('"n: reason" > ')
        child.sendline("y")
        child.expect(r"In \[4\]: ")
        assert "touched" in CODES.sub("", child.before)
        assert "QuestionCard" not in child.before
        child.sendline("exit")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)


@pytest.mark.parametrize("notebook", ["", "/home/me/open.ipynb"])
def test_where_a_server_runs_the_cells_of_an_open_notebook_it_is_said_that_nobody_can_be_asked(
    notebook: str, folder: Path, api: OfflineAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by jupyter-server-documents, with a person there; other runs without input have none."""
    monkeypatch.setenv("JPY_SESSION_NAME", notebook)
    with running_kernel(folder, someone_there=False) as kernel:
        kernel.names_its_cells = False
        first, second = kernel.run("%claude ECHO one"), kernel.run("%claude ECHO two")
        assert first.printed.count("you cannot be asked") == bool(notebook)
        assert "cannot be asked" not in second.printed
        assert kinds(first.messages) == ["display_data"]
        assert "<<<ECHO one>>>" in first.displays[0]["text/markdown"].replace("&lt;", "<")


def test_where_a_server_runs_the_cells_with_input_the_reply_and_the_question_come_while_they_run(
    folder: Path, api: OfflineAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by jupyter-server-nbmodel: no metadata, input allowed, nothing kept that comes later."""
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/open.ipynb")
    with running_kernel(folder) as kernel:
        kernel.names_its_cells = False
        cell = kernel.run("%claude -b ECHO one")
        assert kinds(cell.messages) == ["display_data"]
        assert "<<<ECHO one>>>" in cell.displays[0]["text/plain"]
        assert cell.printed.count("so the cell waits for the reply") == 1
        assert cell.printed.count(NO_UPDATES) == 1
        cell = kernel.run("turn = %claude -b ECHO two\nturn.done()")
        assert "True" in str(cell.displays), "and the value is the turn all the same"
        assert "waits" not in cell.printed, "said once"
        message = kernel.start_cell("%claude touch here.txt")
        assert "Allow?" in answered(kernel, "y")
        assert "touched" in kernel.finish(message).displays[-1]["text/plain"]
