"""The turns that a chat reads from Claude Code's record are as they were live."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_nb.chat.past import past_turns
from claude_nb.offline import OfflineAPI
from claude_nb.reply import Block, ToolUseBlock
from claude_nb.session_manager import SessionManager
from claude_nb.turn import Turn

pytestmark = pytest.mark.cli

PATIENCE = 60

SCRIPT = r"""
rules:
  - matches: ^fail, then run (\w+)
    reply: [{tool: Bash, input: {command: "ls nowhere", description: Look}}]
    then:
      - - tool: Bash
          input: {command: "python3 -c \"import time; open('{1}', 'w'); time.sleep(600)\"", description: Wait}
"""


@pytest.fixture(scope="module")
def offline(private_home: Path) -> Iterator[OfflineAPI]:
    with OfflineAPI(script=SCRIPT) as api:
        yield api


@pytest.fixture
def running(manager: SessionManager) -> Turn:
    """A turn whose second tool runs; its first one has failed."""
    settings = {"permissions": {"allow": ["Bash(python3 *)"]}}
    (Path(os.environ["CLAUDE_CONFIG_DIR"]) / "settings.json").write_text(json.dumps(settings))
    turn = manager.session("a").ask("fail, then run begun")
    deadline = time.monotonic() + PATIENCE
    while not (manager.folder / "begun").exists():
        assert time.monotonic() < deadline, turn.blocks
        time.sleep(0.02)
    return turn


def states(blocks: list[Block]) -> list[str]:
    return [block.state for block in blocks if isinstance(block, ToolUseBlock)]


def recorded(manager: SessionManager) -> list[str]:
    (turn,) = past_turns(manager.session("a"))
    return states(turn.blocks)


def test_a_tool_that_was_interrupted_is_called_so(manager: SessionManager, running: Turn) -> None:
    running.interrupt()
    assert states(running.result(PATIENCE).blocks) == ["failed", "interrupted"]
    assert recorded(manager) == ["failed", "interrupted"]


def test_so_is_one_that_ran_when_its_kernel_ended(manager: SessionManager, running: Turn) -> None:
    manager.drain_timeout = 0.0
    manager.shutdown("kernel restart")
    assert states(running.blocks) == ["failed", "interrupted"]
    later = SessionManager(drain_timeout=1)
    try:
        assert recorded(later) == ["failed", "interrupted"]
    finally:
        later.shutdown()


def test_one_whose_process_has_died_has_failed(manager: SessionManager, running: Turn) -> None:
    process = manager.session("a").life.now
    assert process is not None
    process.kill()
    assert running.wait(PATIENCE)
    assert states(running.blocks) == recorded(manager) == ["failed", "failed"]
