"""The real CLI behind a program that adds strange lines to its output: they are logged and skipped."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_nb.launch import find_cli
from claude_nb.offline import OfflineAPI
from claude_nb.session_manager import SessionManager

pytestmark = pytest.mark.cli

PATIENCE = 60.0

# Copies the CLI's output line by line, and puts the strange ones before each assistant message.
MEDDLER = """\
import subprocess, sys
STRANGE = [
    b"a line that is no JSON at all\\n",
    b"\\n",
    b'{"type": "from_the_future", "what": 1}\\n',
    b'{"type": "assistant"}\\n',
    b'{"type": "result", "subtype": "success"}\\n',
    b'{"type": "system"}\\n',
    b'{"type": "stream_event", "event": {"type": "content_block_delta"}}\\n',
]
cli = subprocess.Popen([sys.argv[1], *sys.argv[2:]], stdin=sys.stdin, stdout=subprocess.PIPE)
for line in cli.stdout:
    if b'"type":"assistant"' in line:
        sys.stdout.buffer.writelines(STRANGE)
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
sys.exit(cli.wait())
"""


@pytest.fixture
def manager(api: OfflineAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionManager]:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "meddler.py"
    program.write_text(MEDDLER)
    shim = tmp_path / "meddled"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} {program} {find_cli(None)} "$@"\n')
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    manager = SessionManager(cli_path=str(shim))
    yield manager
    manager.shutdown()


def test_unknown_and_malformed_messages_are_logged_and_skipped(
    manager: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    session = manager.session("a")
    assert session.ask("ECHO one").result(PATIENCE).text == "<<<ECHO one>>>"
    pid = session.pid
    assert session.ask("ECHO two").result(PATIENCE).text == "<<<ECHO two>>>"
    assert session.pid == pid
    assert any("was skipped" in record.getMessage() for record in caplog.records)
