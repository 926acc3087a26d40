"""The real CLI on the loopback API: sessions that sleep, wake, survive and are never lost."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from kernel_kit import running_kernel
from processes_kit import eventually
from traitlets import TraitError

import claude_nb
from claude_nb import transcript
from claude_nb.errors import ShuttingDown
from claude_nb.offline import OfflineAPI
from claude_nb.processes import Identity
from claude_nb.session import Session
from claude_nb.session_manager import SessionManager
from claude_nb.state import State
from claude_nb.turn import Turn

pytestmark = pytest.mark.cli

PATIENCE = 60.0


def told(session: Session, word: str = "heron") -> None:
    session.ask(f"the code word is {word}").result(PATIENCE)


def knows(session: Session, word: str = "heron") -> bool:
    return session.ask("what is the code word").result(PATIENCE).text == f"The code word is {word}."


def tree_of(session: Session) -> set[Identity]:
    from claude_nb.processes import tree

    assert session.life.now is not None
    state = session.life.now.guard_state()
    assert state is not None
    return tree(state.guard)


def all_gone(processes: set[Identity]) -> bool:
    from claude_nb.processes import alive

    return not any(alive(process) for process in processes)


# -- suspend and resume ----------------------------------------------------------------------------


def test_an_idle_session_is_suspended_and_knows_everything_when_it_is_asked_again(
    manager: SessionManager,
) -> None:
    session = manager.session("a")
    told(session)
    processes = tree_of(session)
    session.set_idle_timeout(0.3)
    assert eventually(lambda: session.state is State.SUSPENDED)
    assert all_gone(processes), "its memory is given back"
    assert session.pid is None
    assert knows(session)


def test_a_session_above_max_memory_is_warned_about_at_work_and_suspended_when_idle(
    manager: SessionManager,
) -> None:
    manager.max_memory = 20_000_000
    session = manager.session("a")
    turn = session.ask("stream 150 lines")
    assert eventually(lambda: turn.news, PATIENCE)
    assert "more than max_memory allows (20 MB)" in (turn.news or "")
    turn.result(PATIENCE)
    assert (turn.news or "").count("max_memory") == 1
    assert eventually(lambda: session.state is State.SUSPENDED, PATIENCE)
    manager.max_memory = None
    again = session.ask("ECHO once more")
    assert again.result(PATIENCE).text == "<<<ECHO once more>>>"
    assert (again.news or "").startswith("Session 'a' was suspended: its processes took ")


def test_a_limit_in_megabytes_is_refused(manager: SessionManager) -> None:
    with pytest.raises(TraitError, match="max_memory is in bytes"):
        manager.max_memory = 500
    assert manager.max_memory is None


def test_every_change_of_state_can_be_observed(manager: SessionManager) -> None:
    session = manager.session("a")
    seen: list[tuple[State, State]] = []
    session.observe(lambda change: seen.append((change["old"], change["new"])), "state")
    told(session)
    assert session.suspend().result(PATIENCE)
    assert seen == [
        (State.CREATED, State.STARTING),
        (State.STARTING, State.IDLE),
        (State.IDLE, State.BUSY),
        (State.BUSY, State.IDLE),
        (State.IDLE, State.SUSPENDING),
        (State.SUSPENDING, State.SUSPENDED),
    ]


def test_a_session_at_work_is_not_suspended(manager: SessionManager) -> None:
    session = manager.session("a")
    turn = session.ask("stream 400 lines")
    assert eventually(lambda: "line 2" in turn.text, PATIENCE)
    assert not session.suspend().result(PATIENCE)
    turn.interrupt()
    turn.result(PATIENCE)
    assert session.suspend().result(PATIENCE)


def test_a_running_background_task_keeps_a_session_awake_until_it_ends(manager: SessionManager) -> None:
    settings = Path(os.environ["CLAUDE_CONFIG_DIR"]) / "settings.json"
    settings.write_text(json.dumps({"permissions": {"allow": ["Bash(python3 *)"]}}))
    session = manager.session("a")
    first = session.ask("start a background task")
    first.result(PATIENCE)
    assert not session.suspend().result(PATIENCE)
    assert eventually(lambda: any(later.done() for later in first.aftermath))
    assert eventually(lambda: session.suspend().result(PATIENCE))


def test_the_idle_clock_starts_anew_with_each_turn(manager: SessionManager) -> None:
    session = manager.session("a")
    told(session)
    assert eventually(lambda: session.idle_since is not None)
    first = session.idle_since
    assert first is not None
    told(session)
    assert eventually(lambda: session.idle_since is not None and session.idle_since > first)
    session.set_idle_timeout(60)
    assert manager.keeper.idle_timeout_of(session) == 60


def test_waking_ahead_hides_the_wait(manager: SessionManager) -> None:
    session = manager.session("a")
    told(session)
    session.suspend().result(PATIENCE)
    session.wake().result(PATIENCE)
    assert session.state is State.IDLE
    assert knows(session)


def test_a_session_that_was_never_asked_can_be_woken_and_suspended_and_then_starts(
    manager: SessionManager,
) -> None:
    session = manager.session("a")
    session.wake().result(PATIENCE)
    assert session.suspend().result(PATIENCE)
    told(session)
    assert knows(session)


def test_a_resume_of_a_long_idle_session_is_said(manager: SessionManager) -> None:
    session = manager.session("review")
    told(session)
    session.suspend().result(PATIENCE)
    session.record.last_activity -= 15 * 60
    turn = session.ask("what is the code word")
    said = set()
    while not turn.wait(0.005):
        said.add(turn.activity)
    assert "Resuming session 'review' (idle for 15 min)..." in said


def test_the_prompt_cache_is_kept_since_system_prompt_and_tools_are_the_same_after_a_resume(
    manager: SessionManager, offline: OfflineAPI
) -> None:
    session = manager.session("a")
    told(session)
    session.suspend().result(PATIENCE)
    told(session)
    before, after = [request for request in offline.requests if request.get("tools")][-2:]
    assert before["tools"] == after["tools"]
    assert before["system"][1:] == after["system"][1:]  # the first block is a billing header of each start


@pytest.mark.parametrize("cycles", [int(os.environ.get("CLAUDE_NB_CYCLES", "10"))])
def test_many_suspensions_lose_no_message(manager: SessionManager, cycles: int) -> None:
    session = manager.session("a")
    for number in range(cycles):
        assert session.ask(f"ECHO {number}").result(PATIENCE).text == f"<<<ECHO {number}>>>"
        assert session.suspend().result(PATIENCE)
    path = transcript.find_transcript(session.id)
    assert path is not None
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    said = json.dumps(entries)
    assert all(f"<<<ECHO {number}>>>" in said for number in range(cycles))
    assert session.turns == cycles


def test_a_deleted_history_is_put_back_from_our_copy(manager: SessionManager) -> None:
    session = manager.session("a")
    told(session)
    session.suspend().result(PATIENCE)
    path = transcript.find_transcript(session.id)
    assert path is not None
    path.unlink()
    assert knows(session)


def test_a_history_that_is_gone_is_said_and_never_silently_begun_anew(manager: SessionManager) -> None:
    session = manager.session("a")
    told(session)
    session.suspend().result(PATIENCE)
    path = transcript.find_transcript(session.id)
    assert path is not None
    path.unlink()
    transcript.forget(session.id, manager.registry.data)
    with pytest.raises(claude_nb.SessionLost, match="start anew"):
        session.ask("what is the code word").result(PATIENCE)
    session.new_conversation().result(PATIENCE)
    assert session.ask("what is the code word").result(PATIENCE).text == "I was told no code word."


@pytest.mark.parametrize("seed", range(10))
def test_a_transcript_that_was_cut_off_is_resumed_with_every_complete_turn(
    manager: SessionManager, seed: int
) -> None:
    session = manager.session("a")
    told(session)
    path = transcript.find_transcript(session.id)
    assert path is not None
    whole = path.stat().st_size
    for number in range(3):
        session.ask(f"ECHO {number}").result(PATIENCE)
    session.suspend().result(PATIENCE)
    with path.open("r+b") as file:
        file.truncate(random.Random(seed).randrange(whole, path.stat().st_size))
    assert knows(session)


# -- crashes ---------------------------------------------------------------------------------------


def test_a_session_that_died_in_mid_turn_is_back_before_it_is_asked(manager: SessionManager) -> None:
    session = manager.session("a")
    told(session)
    turn = session.ask("stream 400 lines")
    assert eventually(lambda: "line 2" in turn.text, PATIENCE)
    assert session.pid is not None
    psutil.Process(session.pid).kill()
    with pytest.raises(claude_nb.ProcessDied):
        turn.result(PATIENCE)
    assert eventually(lambda: session.state is State.IDLE)
    assert knows(session)
    assert session.life.crashes == 0


def test_a_session_that_dies_again_and_again_is_left_dead_with_the_reason(manager: SessionManager) -> None:
    manager.max_restarts = 0
    session = manager.session("a")
    told(session)
    turn = session.ask("stream 400 lines")
    assert eventually(lambda: "line 2" in turn.text, PATIENCE)
    assert session.pid is not None
    psutil.Process(session.pid).kill()
    turn.wait(PATIENCE)
    time.sleep(1.5)
    assert session.state is State.DEAD
    assert "signal 9" in (session.life.why_dead or "")
    assert knows(session), "a prompt is always a reason to try"


# -- names, folders, kernels -----------------------------------------------------------------------


def second_manager() -> SessionManager:
    """Another manager in the same process has claims of its own: as another kernel would."""
    return SessionManager(drain_timeout=1)


def test_a_session_asked_for_by_name_is_continued_after_its_kernel_has_ended(manager: SessionManager) -> None:
    told(manager.session("review"))
    manager.shutdown()
    other = second_manager()
    try:
        assert other.session("review").state is State.SUSPENDED
        assert knows(other.session("review"))
    finally:
        other.shutdown()


def test_a_session_in_use_is_refused_with_its_owner_and_free_once_it_is_let_go(
    manager: SessionManager,
) -> None:
    told(manager.session("review"))
    other = second_manager()
    try:
        with pytest.raises(claude_nb.SessionInUse, match="Use another name"):
            other.session("review")
        manager.shutdown()
        assert knows(other.session("review"))
    finally:
        other.shutdown()


def test_what_nobody_watches_is_always_new_and_never_listed(manager: SessionManager) -> None:
    told(manager.session())
    assert manager.session().record.listed is False
    manager.shutdown()
    other = second_manager()
    try:
        assert (
            other.session().ask("what is the code word").result(PATIENCE).text == "I was told no code word."
        )
        assert [info.name for info in other.overview()] == ["default"]
    finally:
        other.shutdown()
    assert other.registry.records() == []


def test_switching_leaves_the_other_session_running(manager: SessionManager) -> None:
    manager.new("one")
    told(manager.session(), "one")
    manager.new("two")
    turn = manager.session().ask("stream 400 lines")
    assert eventually(lambda: "line 2" in turn.text, PATIENCE)
    manager.switch("one")
    assert knows(manager.session(), "one")
    assert not turn.done()
    turn.interrupt()
    turn.wait(PATIENCE)
    with pytest.raises(claude_nb.SessionNotFound, match="one"):
        manager.switch("onee")
    with pytest.raises(claude_nb.SessionExists):
        manager.new("one")


def test_a_fork_knows_what_was_said_and_goes_its_own_way(manager: SessionManager) -> None:
    told(manager.session("a"))
    copy = manager.fork("a", "b")
    assert knows(copy)
    told(copy, "stork")
    assert knows(copy, "stork")
    assert manager.session("a").id != copy.id
    assert knows(manager.session("a"))


def test_a_renamed_session_keeps_its_conversation(manager: SessionManager) -> None:
    told(manager.session("a"))
    manager.rename("a", "b")
    assert knows(manager.session("b"))
    assert [info.name for info in manager.overview()] == ["b"]


def test_an_archived_session_is_hidden_and_comes_back_by_its_name(manager: SessionManager) -> None:
    told(manager.session("a"))
    manager.archive("a")
    assert manager.overview() == []
    assert knows(manager.switch("a"))


def test_a_session_whose_archiving_was_interrupted_takes_prompts_and_can_be_archived(
    manager: SessionManager,
) -> None:
    session = manager.session("a")
    turn = session.ask("stream 400 lines")
    assert turn.wait_until_begun(PATIENCE)
    assert session.pid is not None
    manager.interrupt_timeout = PATIENCE
    os.kill(session.pid, signal.SIGSTOP)  # it hears of no stop until the Interrupt has come

    def interrupt() -> None:
        assert eventually(lambda: session.conversation.closing is not None)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        manager.archive("a")
    os.kill(session.pid, signal.SIGCONT)
    assert [info.name for info in manager.overview()] == ["a"]
    told(session)
    manager.archive("a")
    assert manager.overview() == []


def test_no_more_processes_than_allowed_are_started_and_the_refusal_names_who_could_sleep(
    manager: SessionManager,
) -> None:
    manager.max_live = 2
    told(manager.session("a"))
    told(manager.session("b"))
    with pytest.raises(claude_nb.ClaudeNbError, match=r"'a', 'b'"):
        manager.session("c").ask("ECHO x").result(PATIENCE)
    manager.session("a").suspend().result(PATIENCE)
    told(manager.session("c"))


@pytest.mark.kernel
def test_a_notebook_goes_on_with_its_conversation_after_its_idle_kernel_was_killed(
    api: OfflineAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("data", "runtime"):
        monkeypatch.setenv(f"JUPYTER_{kind.upper()}_DIR", str(tmp_path / kind))
    with running_kernel(tmp_path) as kernel:
        assert "Noted" in kernel.run("%claude the code word is heron").markdown
        kernel.manager.restart_kernel(now=True)
        kernel.client.wait_for_ready(timeout=PATIENCE)
        assert kernel.run("%load_ext claude_nb").error is None
        cell = kernel.run("%claude what is the code word")
        shown = cell.markdown + cell.printed + cell.shown_error
        assert "The code word is heron." in shown
        assert "Continuing the conversation" in shown


# -- the end ---------------------------------------------------------------------------------------


def test_a_shutdown_drains_then_interrupts_and_says_what_it_did(
    manager: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "claude_nb")
    quick, slow = manager.session("quick"), manager.session("slow")
    told(quick)
    told(slow)
    short = quick.ask("count slowly to 20")
    long = slow.ask("stream 400 lines")
    waiting = slow.ask("ECHO never")
    assert eventually(lambda: "line 2" in long.text and "2" in short.text, PATIENCE)
    manager.drain_timeout = 8
    manager.shutdown()
    assert short.result().status == "completed"
    assert (long.result().status, long.result().reason) == ("cancelled", "shutdown")
    assert "line 2" in long.result().text
    assert waiting.result().status == "cancelled"
    said = [line.getMessage() for line in caplog.records if "[shutdown]" in line.getMessage()]
    assert said[0] == "[shutdown] draining 2 turns"
    assert said[1].startswith("[shutdown] turn 2 of 'quick' settled after ")
    assert said[2].startswith("[shutdown] interrupting after 8.")
    assert said[3] == "[shutdown] done, 0 processes left"


def test_stopping_all_keeps_the_conversations_and_takes_prompts_again(manager: SessionManager) -> None:
    for name in ("a", "b"):
        told(manager.session(name))
    manager.stop_all()
    assert manager.live == []
    assert knows(manager.session("a"))


def interrupt_once(turn: Turn, activity: str) -> None:
    """Interrupt the main thread as soon as the turn's reader is told this."""

    def watch() -> None:
        version = -1
        while not turn.activity.startswith(activity) and not turn.done():
            version = turn.wait_for_change(version, PATIENCE)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch).start()


def test_whoever_interrupts_a_stop_or_an_end_leaves_nothing_half_done(manager: SessionManager) -> None:
    manager.drain_timeout = 1_000
    session = manager.session("a")
    turn = session.ask("stream 400 lines")
    assert turn.wait_until_begun(PATIENCE)
    interrupt_once(turn, "finishing")
    with pytest.raises(KeyboardInterrupt):
        manager.stop_all()
    assert not turn.done()  # the stop goes on in the background
    turn.interrupt()
    assert eventually(lambda: session.conversation.closing is None)
    turn = session.ask("stream 400 lines")
    assert turn.wait_until_begun(PATIENCE)
    interrupt_once(turn, "finishing")
    with pytest.raises(KeyboardInterrupt):
        manager.shutdown()
    assert turn.result().status == "cancelled"
    assert session.pid is None
    assert not manager.portal.running
    other = SessionManager()  # the claim was released
    assert other.existing("a").turns == 2
    other.shutdown()


def test_an_end_never_raises_and_nothing_lives_again(
    manager: SessionManager, own_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = manager.session()
    told(session)
    assert not session.record.listed
    manager.portal.run(asyncio.sleep(0)).result(
        PATIENCE
    )  # the record is written just after the reply is there
    shutil.rmtree(own_data / "claude_nb" / "sessions")
    (own_data / "claude_nb" / "sessions").touch()
    manager.shutdown()
    assert "could not be let go of" in caplog.text
    last = session.last_turn
    assert last is not None
    session.interrupt(last)
    for use in (session.stop, session.wake, session.suspend):
        with pytest.raises(ShuttingDown):
            use()
    assert not manager.portal.running


# -- asleep ----------------------------------------------------------------------------------------


def test_nothing_wakes_up_while_all_is_suspended(manager: SessionManager) -> None:
    session = manager.session("a")
    told(session)
    session.suspend().result(PATIENCE)

    async def timers() -> int:
        loop = asyncio.get_running_loop()
        return len([timer for timer in loop._scheduled if not timer._cancelled])  # type: ignore[attr-defined]

    assert manager.portal.run(timers()).result(5) <= 1, "only the sweep, every five minutes"
