"""The real CLI on the loopback API: an end, a stop and a failure are told as they are, and cost no prompt."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import psutil
import pytest
from claude_agent_sdk import SystemMessage
from processes_kit import eventually

import claude_nb
from claude_nb import commands
from claude_nb.announced import Announced, Changes
from claude_nb.launch import bundled_cli
from claude_nb.offline import OfflineAPI
from claude_nb.render.page import status_words
from claude_nb.session import Session
from claude_nb.session_manager import SessionManager
from claude_nb.state import State
from claude_nb.turn import Turn

pytestmark = pytest.mark.cli

PATIENCE = 40.0

# Claude Code as it is, but for what the files beside it say: `broken`: it does not start;
# `mute`: it is gone at once without a word; `mortal`: it dies at its first word.
WRAPPER = """#!{python}
import os, subprocess, sys, threading
from pathlib import Path
here = Path(__file__).parent
with (here / "starts").open("a") as starts:
    starts.write("x")
if (here / "broken").exists():
    print("\\x1b[31mlibrary.js:12\\x1b[0m no such thing", file=sys.stderr)
    sys.exit(7)
if (here / "mute").exists():
    sys.exit(0)
cli = subprocess.Popen([{cli!r}, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def feed():
    for line in sys.stdin.buffer:
        cli.stdin.write(line)
        cli.stdin.flush()
    cli.stdin.close()
threading.Thread(target=feed, daemon=True).start()
for line in cli.stdout:
    if b'"text_delta"' in line and (here / "mortal").exists():
        cli.kill()
        os._exit(1)
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
sys.exit(cli.wait())
"""


@pytest.fixture
def cli(manager: SessionManager, tmp_path: Path) -> Path:
    """The folder of the CLI that the manager uses; files in it make it fail."""
    folder = tmp_path / "cli"
    folder.mkdir()
    program = folder / "claude"
    program.write_text(WRAPPER.format(python=sys.executable, cli=str(bundled_cli())))
    program.chmod(0o755)
    manager.cli_path = str(program)
    return folder


def streaming(session: Session) -> Turn:
    turn = session.ask("stream 400 lines")
    assert eventually(lambda: "line 2" in turn.text)
    return turn


def echoed(session: Session, word: str) -> bool:
    return session.ask(f"ECHO {word}").result(PATIENCE).text == f"<<<ECHO {word}>>>"


def kill(session: Session) -> None:
    assert session.pid is not None
    psutil.Process(session.pid).kill()


def sent(api: OfflineAPI) -> str:
    return json.dumps(api.requests)


# -- stops -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("forget", [False, True], ids=["stop", "new conversation"])
def test_a_stop_cancels_what_waits_and_what_is_asked_meanwhile_goes_to_the_next_process(
    manager: SessionManager, offline: OfflineAPI, forget: bool
) -> None:
    session = manager.session("a")
    followed: list[Turn] = []
    running = streaming(session)
    waiting = [session.ask(f"ECHO never {number}") for number in range(2)]
    session.followers.append(followed.append)
    stopping = session.new_conversation() if forget else session.stop()
    later = session.ask("ECHO later")
    stopping.result(PATIENCE)
    assert running.result(PATIENCE).status == "interrupted"
    assert [(turn.result(PATIENCE).status, turn.result().reason) for turn in waiting] == [
        ("cancelled", "stopped")
    ] * 2
    assert later.result(PATIENCE).text == "<<<ECHO later>>>"
    assert "ECHO never" not in sent(offline)
    assert set(waiting) <= set(followed), "who shows the session can offer them again"


def test_a_stop_while_claude_code_starts_cancels_the_prompt_and_leaves_no_process(
    manager: SessionManager,
) -> None:
    session = manager.session("a")
    turn = session.ask("ECHO too early")
    session.stop().result(PATIENCE)
    assert (turn.result(PATIENCE).status, turn.result().reason) == ("cancelled", "stopped")
    assert session.pid is None
    assert echoed(session, "now")


def test_what_observes_a_session_and_fails_hurts_nobody_else(
    manager: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    session = manager.session("a")
    states: list[State] = []

    def fail(_: object) -> None:
        raise RuntimeError("an observer's own mistake")

    session.observe(fail, "state")
    session.observe(lambda change: states.append(change["new"]), "state")
    session.followers.append(fail)
    turn = session.ask("ECHO one")
    turn.followers.append(lambda: fail(None))
    assert turn.result(PATIENCE).text == "<<<ECHO one>>>"
    pid = session.pid
    assert echoed(session, "two")
    assert session.pid == pid
    assert session.suspend().result(PATIENCE)
    assert eventually(lambda: states[-1] is State.SUSPENDED)
    assert states.count(State.STARTING) == 1
    assert "an observer's own mistake" in caplog.text
    session.unobserve(fail, "state")


# -- a process that has just died, or says nothing -------------------------------------------------


def test_a_prompt_that_nobody_has_read_goes_to_the_next_process(manager: SessionManager) -> None:
    sessions = [manager.session(name) for name in ("prompt", "model", "mode")]
    for session in sessions:
        session.ask("the code word is heron").result(PATIENCE)
    guards = []
    for session in sessions:
        assert session.life.now is not None
        state = session.life.now.guard_state()
        assert state is not None
        guards.append(psutil.Process(state.guard.pid))
        guards[-1].suspend()  # so nobody notices that the process is gone
        kill(session)
    prompt = sessions[0].ask("what is the code word")
    model = sessions[1].ask("what is the code word", model="sonnet")
    mode = sessions[2].use_mode("plan")
    fill = manager.portal.run(sessions[2].context_fill())
    assert eventually(lambda: sessions[0].state is State.BUSY)
    for guard in guards:
        guard.resume()
    for turn in (prompt, model):
        assert turn.result(PATIENCE).text == "The code word is heron."
        assert turn.status == "completed"
    assert sessions[0].turns == 2
    mode.result(PATIENCE)
    assert fill.result(PATIENCE) is None
    assert sessions[2].record.permission_mode == "plan"


def test_a_process_that_does_not_answer_is_told_from_a_model_that_does_not_exist(
    manager: SessionManager,
) -> None:
    session = manager.session("a")
    assert echoed(session, "one")
    assert session.pid is not None
    process = psutil.Process(session.pid)
    process.suspend()
    turn = session.ask("ECHO two", model="opus")
    mode = session.use_mode("acceptEdits")
    fill = manager.portal.run(session.context_fill())
    for error in (turn.wait(PATIENCE) and turn.reply and turn.reply.error, mode.exception(PATIENCE)):
        assert isinstance(error, claude_nb.NotAnswering)
        assert "has not answered within 5 s" in str(error)
        assert "\n" not in str(error)
    assert fill.result(PATIENCE) is None
    process.resume()
    assert echoed(session, "three")


def test_a_cli_that_has_left_without_a_word_is_noticed(manager: SessionManager, cli: Path) -> None:
    (cli / "mute").touch()
    with pytest.raises(claude_nb.ProcessDied, match=r"ended while it was starting \(exit status 0\)"):
        manager.session("a").ask("ECHO x").result(PATIENCE)
    (cli / "mute").unlink()
    assert echoed(manager.session("a"), "now")


def test_a_conversation_whose_first_word_killed_the_process_is_begun_again(
    manager: SessionManager, cli: Path
) -> None:
    session = manager.session("a")
    (cli / "mortal").touch()
    with pytest.raises(claude_nb.ProcessDied, match="was not sent again") as failure:
        session.ask("ECHO one").result(PATIENCE)
    assert "conversation is kept" not in str(failure.value), "nothing of it is on disk"
    (cli / "mortal").unlink()
    assert echoed(session, "two")
    assert session.suspend().result(PATIENCE)
    assert echoed(session, "three")


# -- crashes and restarts --------------------------------------------------------------------------


def test_recovery_goes_on_while_starts_fail_and_a_prompt_gets_the_true_reason(
    manager: SessionManager, cli: Path
) -> None:
    session = manager.session("a")
    session.ask("the code word is stork").result(PATIENCE)
    streaming(session)
    starts = cli / "starts"
    (cli / "broken").touch()
    kill(session)
    assert eventually(lambda: len(starts.read_text()) == 2), "the first restart, which fails"
    (cli / "broken").unlink()
    assert eventually(lambda: session.state is State.IDLE), "the second"
    assert session.ask("what is the code word").result(PATIENCE).text == "The code word is stork."
    assert session.suspend().result(PATIENCE)
    assert session.news is None, "the reply that was cut off did not have to be recorded"
    (cli / "broken").touch()
    with pytest.raises(claude_nb.ProcessDied, match="exit status 7") as failure:
        session.ask("ECHO x").result(PATIENCE)
    assert "library.js:12 no such thing." in str(failure.value)
    assert "\x1b" not in str(failure.value)


def test_after_a_turn_of_claudes_own_its_words_are_the_last(manager: SessionManager) -> None:
    settings = Path(os.environ["CLAUDE_CONFIG_DIR"]) / "settings.json"
    settings.write_text(json.dumps({"permissions": {"allow": ["Bash(python3 *)"]}}))
    session = manager.session("a")
    first = session.ask("start a background task")
    first.result(PATIENCE)
    assert eventually(lambda: any(later.done() for later in first.aftermath))
    assert eventually(lambda: session.suspend().result(PATIENCE))
    assert session.news is None


def test_a_record_is_not_written_after_the_session_was_let_go(manager: SessionManager) -> None:
    session = manager.session("a")
    assert echoed(session, "one")
    assert session.pid is not None
    psutil.Process(session.pid).suspend()  # it takes the guard a second to end it
    manager.shutdown_kernel("kernel restart")
    assert session.life.now is not None
    other = SessionManager(drain_timeout=1)
    try:
        other.session("a").use_model("opus")
        assert eventually(lambda: session.life.now is None)
        record = other.registry.get(session.record.id)
        assert record is not None
        assert record.model == "opus"
    finally:
        other.shutdown()


def test_what_waits_too_long_for_an_end_says_so_in_one_line_and_loses_nothing(
    manager: SessionManager,
) -> None:
    manager.interrupt_timeout = manager.stop_timeout = 0.1
    session = manager.session("a")
    session.ask("the code word is heron").result(PATIENCE)
    assert session.life.now is not None
    state = session.life.now.guard_state()
    assert state is not None
    # Whose disk hangs: nothing that is told it is heard, and nobody can end it.
    stuck = [psutil.Process(state.guard.pid), psutil.Process(state.cli.pid)]
    for process in stuck:
        process.suspend()
    with pytest.raises(claude_nb.ClaudeNbError, match=r"^a is still being stopped, after \d+ s\. .*$"):
        commands.run("archive", manager, "a")
    assert not session.record.archived
    assert manager.sessions == {session.record.id: session}
    turn = session.ask("what is the code word")  # waits for the end, and then goes to the next process
    for process in stuck:
        process.resume()
    assert "heron" in turn.result(PATIENCE).text
    assert commands.run("archive", manager, "a") == "a is archived. `%claude /switch a` brings it back."


# -- what was wrong with the start -----------------------------------------------------------------


def test_a_key_that_is_set_after_a_refusal_is_used_by_the_next_prompt(
    manager: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = os.environ["ANTHROPIC_API_KEY"]
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    session = manager.session("a")
    with pytest.raises(claude_nb.NotSignedIn):
        session.ask("ECHO one").result(PATIENCE)
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    assert echoed(session, "two")


def test_a_conversation_that_no_longer_fits_names_the_cures(manager: SessionManager) -> None:
    with pytest.raises(claude_nb.TurnFailed, match="too long") as failure:
        manager.session("a").ask("the straw that breaks the back").result(PATIENCE)
    for cure in ("/compact", "/clear"):
        assert cure in str(failure.value)
    assert "is ready" not in str(failure.value)


# -- turns of Claude's own, and what works in the background ---------------------------------------


def own_turn(session: Session, prompt: str) -> Turn:
    """The turn that Claude Code begins by itself once the prompt's background task has ended."""
    settings = Path(os.environ["CLAUDE_CONFIG_DIR"]) / "settings.json"
    settings.write_text(json.dumps({"permissions": {"allow": ["Bash(python3 *)"]}}))
    first = session.ask(prompt)
    first.result(PATIENCE)
    assert eventually(lambda: first.aftermath)
    return first.aftermath[0]


@pytest.mark.parametrize("how", ["session", "turn", "stop"])
def test_a_turn_of_claudes_own_makes_the_session_busy_and_can_be_stopped(
    manager: SessionManager, how: str
) -> None:
    session = manager.session("a")
    own = own_turn(session, "start a task that streams")
    assert eventually(lambda: "own 2" in own.text)
    assert session.state is State.BUSY
    assert session.running is own
    following = session.ask("ECHO next") if how != "stop" else None
    if how == "session":
        session.interrupt()
    elif how == "turn":
        own.interrupt()
    else:
        session.stop().result(PATIENCE)
    assert own.result(PATIENCE).status == "interrupted"
    assert "own 399" not in own.text
    if following is None:
        following = session.ask("ECHO next")
    assert following.result(PATIENCE).text == "<<<ECHO next>>>"
    assert eventually(lambda: session.state is State.IDLE)
    assert session.turns == 2


def test_a_turn_of_claudes_own_that_fails_says_so(manager: SessionManager) -> None:
    session = manager.session("a")
    own = own_turn(session, "start a task that fails")
    assert own.wait(PATIENCE)
    assert own.status == "failed"
    with pytest.raises(claude_nb.TurnFailed, match="/compact"):
        own.result()
    assert echoed(session, "next")


def test_a_background_agent_that_an_interrupt_ends_is_named(manager: SessionManager) -> None:
    session = manager.session("a")
    session.ask("have a background agent count birds").result(PATIENCE)
    turn = streaming(session)
    turn.interrupt()
    reply = turn.result(PATIENCE)
    assert reply.status == "interrupted"
    assert reply.reason == "it also ended what Claude had in the background: 'count birds'"
    session.ask("have a background agent count birds").result(PATIENCE)
    kill(session)
    later = session.ask("ECHO later")
    assert later.result(PATIENCE).text == "<<<ECHO later>>>"
    assert "what Claude had in the background: 'count birds'" in told(later)


def told(turn: Turn) -> str:
    """All that its reader is told beside Claude's words."""
    return str(turn.news)


def test_a_silence_is_said_with_its_length(manager: SessionManager) -> None:
    session = manager.session("a")
    turn = session.ask("fall silent")
    assert eventually(lambda: "So far" in turn.text)
    now = time.monotonic()
    assert "nothing has come" not in status_words(turn, now)
    said = status_words(turn, now + 45)
    assert "nothing has come for 45 s" in said
    assert "writing" not in said
    turn.interrupt()
    assert turn.result(PATIENCE).status == "interrupted"


def test_what_claude_has_scheduled_keeps_the_session_awake_and_its_loss_is_told(
    manager: SessionManager,
) -> None:
    session = manager.session("a")
    session.set_idle_timeout(0.05)
    session.ask("wake yourself later").result(PATIENCE)
    assert not session.suspend().result(PATIENCE)
    assert session.state is State.IDLE
    facts = manager.status(session)
    for alarm in ("'look at the birds' at ", "'count the birds' from "):
        assert alarm in facts["scheduled"]
    assert "not while" in facts["suspension"]
    assert "stays awake" in str(commands.run("suspend", manager, "a"))
    kill(session)
    assert eventually(lambda: session.state is State.DEAD)
    later = session.ask("wake yourself later")
    later.result(PATIENCE)
    assert "what Claude had scheduled: 'look at the birds' at " in told(later)
    manager.shutdown()
    other = SessionManager(drain_timeout=1)
    try:
        again = other.session("a").ask("ECHO again")
        again.result(PATIENCE)
        assert "what Claude had scheduled: 'look at the birds' at " in told(again)
        assert other.session("a").suspend().result(PATIENCE), "nothing is scheduled any more"
    finally:
        other.shutdown()


# -- what Claude Code itself changes ---------------------------------------------------------------


def test_what_claude_code_changes_is_followed_also_after_a_suspension(manager: SessionManager) -> None:
    session = manager.session("a")
    session.use_model("opus")
    session.ask("the code word is heron").result(PATIENCE)
    session.ask("/model sonnet").result(PATIENCE)
    sonnet = session.ask("what is the code word").result(PATIENCE).model
    assert sonnet is not None
    assert "sonnet" in sonnet
    assert session.record.model == session.model == sonnet
    session.ask("/rename grey heron").result(PATIENCE)
    assert eventually(lambda: session.name == "grey heron")
    assert manager.session("grey heron") is session
    session.suspend().result(PATIENCE)
    again = session.ask("what is the code word").result(PATIENCE)
    assert (again.text, again.model) == ("The code word is heron.", sonnet)
    former = session.id
    session.ask("/clear").result(PATIENCE)
    assert session.id != former
    session.suspend().result(PATIENCE)
    assert session.ask("what is the code word").result(PATIENCE).text == "I was told no code word."


def test_a_mode_that_claude_code_leaves_is_left_for_good() -> None:
    announced = Announced()
    announced.started("plan")
    assert announced.heard(said("init", permissionMode="plan", model="m")) == Changes()
    assert announced.heard(said("status", permissionMode="default")) == Changes(mode="default")
    assert announced.heard(said("init", permissionMode="default", model="m")) == Changes()
    announced.mode_set("acceptEdits")
    assert announced.heard(said("status", permissionMode="acceptEdits")) == Changes()
    assert announced.heard(said("init", permissionMode="bypassPermissions")) == Changes()


def test_a_model_is_changed_by_claude_code_only_where_neither_we_nor_the_mode_did() -> None:
    announced = Announced()
    announced.started("default")
    assert announced.heard(said("init", permissionMode="default", model="a")) == Changes()
    announced.model_set()
    assert announced.heard(said("init", permissionMode="default", model="b")) == Changes()
    assert announced.heard(said("init", permissionMode="plan", model="c")) == Changes(mode="plan")
    assert announced.heard(said("init", permissionMode="plan", model="d")) == Changes(model="d")


def said(subtype: str, **data: str) -> SystemMessage:
    return SystemMessage(subtype=subtype, data=data)
