"""The real CLI and an API that refuses: each error as the user meets it, typed, one line, with the cure."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import claude_nb
from claude_nb.offline import OfflineAPI
from claude_nb.session_manager import SessionManager

pytestmark = pytest.mark.cli

PATIENCE = 60.0


@pytest.fixture
def manager(api: OfflineAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionManager]:
    """A manager whose Claude Code gives up after two tries instead of ten."""
    monkeypatch.chdir(tmp_path)
    manager = SessionManager(environment={"CLAUDE_CODE_MAX_RETRIES": "1"})
    yield manager
    manager.shutdown()


def failure(manager: SessionManager, prompt: str, **options: str) -> claude_nb.ClaudeNbError:
    """What the turn fails with; the session must then still be usable."""
    with pytest.raises(claude_nb.ClaudeNbError) as caught:
        manager.session("a").ask(prompt, **options).result(PATIENCE)
    assert "\n" not in str(caught.value)
    return caught.value


def still_usable(manager: SessionManager) -> bool:
    return manager.session("a").ask("ECHO fine").result(PATIENCE).text == "<<<ECHO fine>>>"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_how_to_sign_in(manager: SessionManager, offline: OfflineAPI, status: int) -> None:
    manager.environment = {}
    before = len(offline.requests)
    error = failure(manager, f"fail with {status}")
    assert isinstance(error, claude_nb.NotSignedIn)
    assert "jupyter claude login" in str(error)
    assert error.reply is not None
    tries = len(offline.requests) - before
    assert tries < 5, "Claude Code itself would try eleven times"
    assert still_usable(manager)


def test_no_key_at_all_says_how_to_sign_in(manager: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    error = failure(manager, "ECHO x")
    assert isinstance(error, claude_nb.NotSignedIn)


def test_an_account_without_credit_says_so(manager: SessionManager) -> None:
    error = failure(manager, "fail with credit")
    assert isinstance(error, claude_nb.OutOfCredit)
    assert "credit" in str(error)
    assert still_usable(manager)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, claude_nb.RateLimited), (529, claude_nb.Overloaded), (500, claude_nb.TurnFailed)],
)
def test_an_api_that_refuses_for_good_is_named(
    manager: SessionManager, status: int, kind: type[claude_nb.TurnFailed]
) -> None:
    error = failure(manager, f"fail with {status}")
    assert type(error) is kind
    assert error.status == status
    assert still_usable(manager)


def test_while_claude_code_tries_again_the_turn_says_what_it_does(manager: SessionManager) -> None:
    manager.environment = {}
    turn = manager.session("a").ask("overloaded twice")
    notices = set()
    while not turn.wait(0.02):
        notices.add(turn.log.notice)
    assert turn.result().text == "Here at last."
    assert any(notice and notice.startswith("overloaded, try ") for notice in notices)
    assert turn.log.notice is None


def test_an_unknown_model_is_named(manager: SessionManager) -> None:
    error = failure(manager, "hello", model="no-such-model")
    assert isinstance(error, claude_nb.UnknownModel)
    assert "no-such-model" in str(error)
    assert manager.session("a").ask("ECHO back", model="sonnet").result(PATIENCE).text == "<<<ECHO back>>>"


def test_a_network_that_is_down_says_so(manager: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{port}")
    error = failure(manager, "ECHO x")
    assert isinstance(error, claude_nb.NetworkDown)


def test_a_dropped_connection_ends_in_a_reply_or_an_error_and_never_in_silence(
    manager: SessionManager,
) -> None:
    turn = manager.session("a").ask("drop the line")
    assert turn.wait(PATIENCE)
    assert turn.reply is not None
    assert turn.reply.status in ("completed", "failed")
    assert still_usable(manager)


def test_a_cli_path_that_is_not_there_is_named(manager: SessionManager) -> None:
    manager.cli_path = "/nowhere/claude"
    error = failure(manager, "ECHO x")
    assert isinstance(error, claude_nb.ClaudeNotFound)
    assert "/nowhere/claude" in str(error)
    assert "cli_path" in str(error)
    manager.cli_path = None
    assert still_usable(manager)


def test_a_cli_path_that_is_not_claude_code_is_named(manager: SessionManager, tmp_path: Path) -> None:
    impostor = tmp_path / "impostor"
    impostor.write_text("#!/bin/sh\necho 'I am something else' >&2\nexit 3\n")
    impostor.chmod(impostor.stat().st_mode | stat.S_IXUSR)
    manager.cli_path = str(impostor)
    error = failure(manager, "ECHO x")
    assert isinstance(error, claude_nb.ProcessDied)
    for words in (
        f"cli_path {str(impostor)!r} ended while it was starting (exit status 3)",
        "I am something",
    ):
        assert words in str(error)


def test_a_folder_that_has_gone_is_named(manager: SessionManager, tmp_path: Path) -> None:
    manager.folder = tmp_path / "gone"
    error = failure(manager, "ECHO x")
    assert str(tmp_path / "gone") in str(error)
