"""What is configured beats the person's own settings of Claude Code, whose `env` beats the environment."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from claude_nb.chat.past import past_turns
from claude_nb.commands import run
from claude_nb.errors import ClaudeNbError
from claude_nb.offline import OfflineAPI
from claude_nb.session_manager import SessionManager

pytestmark = pytest.mark.cli

PATIENCE = 100


def test_the_managers_environment_beats_the_persons_settings_and_an_empty_value_switches_theirs_off(
    manager: SessionManager, offline: OfflineAPI
) -> None:
    theirs = {
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
        "ANTHROPIC_CUSTOM_HEADERS": "Origin: http://elsewhere",  # the API refuses what a page sends
        "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "0",
    }
    settings = Path(os.environ["CLAUDE_CONFIG_DIR"]) / "settings.json"
    settings.write_text(json.dumps({"env": theirs}))
    manager.environment = {"ANTHROPIC_BASE_URL": offline.url}
    session = manager.session()
    with pytest.raises(ClaudeNbError, match="403"):
        session.ask("ECHO one").result(PATIENCE)
    session.stop().result(PATIENCE)
    manager.environment = {"ANTHROPIC_BASE_URL": offline.url, "ANTHROPIC_CUSTOM_HEADERS": ""}
    assert session.ask("ECHO two").result(PATIENCE).text == "<<<ECHO two>>>"


@pytest.mark.parametrize("variable", ["CLAUDE_CONFIG_DIR", "HOME"])
def test_a_conversation_is_looked_for_where_its_process_keeps_it(
    manager: SessionManager, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    if variable == "HOME":
        monkeypatch.delenv("CLAUDE_CONFIG_DIR")
    manager.environment = {variable: str(theirs)}
    session = manager.session("one")
    session.ask("the code word is heron").result(PATIENCE)
    assert session.transcript is not None
    assert session.transcript.is_relative_to(theirs)
    manager.switch("one")
    assert "the code word is heron" in str(run("history", manager, ""))
    assert [turn.prompt for turn in past_turns(session)] == ["the code word is heron"]
    copy = manager.fork("one", "two")
    assert copy.id != session.id
    assert "heron" in copy.ask("what is the code word").result(PATIENCE).text
    assert session.suspend().result(PATIENCE)
    assert "heron" in session.ask("what is the code word").result(PATIENCE).text
