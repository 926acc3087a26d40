"""A file that takes its time: the loop of all sessions does not wait for it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from claude_nb.private import private_folder
from claude_nb.session_manager import SessionManager

pytestmark = pytest.mark.cli

# Long for what is at once where nothing waits for the file.
PATIENCE = 15
DAY = 86400


@contextmanager
def stuck(folder: Path) -> Iterator[None]:
    """The log of today, and of tomorrow, is a pipe that nobody reads: who opens it for writing waits."""
    private_folder(folder)
    pipes = [folder / time.strftime("%Y-%m-%d.jsonl", time.localtime(time.time() + day)) for day in (0, DAY)]
    for pipe in pipes:
        os.mkfifo(pipe, 0o600)
    try:
        yield
    finally:
        for pipe in pipes:
            reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # who waits goes on
            pipe.unlink()
            os.close(reader)


@pytest.mark.xfail(strict=True, raises=TimeoutError, reason="the audit log is written in the portal's loop")
def test_a_log_that_cannot_be_written_soon_keeps_no_turn_waiting(manager: SessionManager) -> None:
    private_folder(manager.registry.data)
    one, other = manager.session("one"), manager.session("other")
    other.ask("ECHO before").result(100)
    with stuck(manager.audit.folder):
        assert "refused" in one.ask("write a file").result(PATIENCE).text
        assert "ECHO meanwhile" in other.ask("ECHO meanwhile").result(PATIENCE).text
