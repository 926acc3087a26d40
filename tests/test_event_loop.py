"""Sessions beside what users do to a process: another asyncio policy, forked workers, no logging set up."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_kit import MANAGER, Kernel

import claude_nb
from claude_nb.errors import SessionInUse
from claude_nb.session import Session
from claude_nb.session_manager import SessionManager

PATIENCE = 60.0


class NoChildWatcher(asyncio.DefaultEventLoopPolicy):
    """As uvloop's policy: its loops need no child watcher, and it has none for others."""

    def get_child_watcher(self) -> Any:
        raise NotImplementedError


@pytest.fixture
def foreign_policy() -> Iterator[Callable[[], None]]:
    before = asyncio.get_event_loop_policy()
    yield lambda: asyncio.set_event_loop_policy(NoChildWatcher())
    asyncio.set_event_loop_policy(before)


@pytest.mark.cli
def test_a_policy_that_the_user_sets_is_the_users_alone(
    manager: SessionManager, foreign_policy: Callable[[], None]
) -> None:
    session = manager.session("a")
    assert session.ask("ECHO one").result(PATIENCE).text == "<<<ECHO one>>>"
    foreign_policy()
    assert session.suspend().result(PATIENCE)
    assert session.ask("ECHO two").result(PATIENCE).text == "<<<ECHO two>>>"
    assert manager.session("b").ask("ECHO three").result(PATIENCE).text == "<<<ECHO three>>>"


@pytest.mark.cli
def test_a_turn_that_is_awaited_without_asyncio_names_the_cure(manager: SessionManager) -> None:
    turn = manager.session("a").ask("ECHO x")
    with pytest.raises(RuntimeError, match=r"trio.to_thread.run_sync\(turn.result\)"):
        turn.__await__().send(None)
    assert turn.result(PATIENCE).text == "<<<ECHO x>>>"


def what_a_worker_meets(session: Session, running: Any, answers: Any) -> None:
    """In a forked child: what comes of each use of its parent's session, and of one of its own."""
    for use in (
        lambda: session.ask("ECHO x"),
        lambda: running.result(PATIENCE),
        lambda: running.wait(),
        lambda: session.stop().result(PATIENCE),
        lambda: session.use_model("haiku"),
    ):
        try:
            answers.put(repr(use()))
        except SessionInUse as error:
            answers.put(str(error))
    try:
        answers.put(claude_nb.manager().new("mine").ask("ECHO mine").result(PATIENCE).text)
    except Exception as error:
        answers.put(repr(error))
    claude_nb.manager().shutdown()


@pytest.mark.cli
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # that is what is tested
def test_a_forked_worker_is_refused_its_parents_session_and_can_have_its_own(manager: SessionManager) -> None:
    session = manager.session("a")
    running = session.ask("stream 400 lines")
    assert running.wait_until_begun(PATIENCE)
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    worker = fork.Process(target=what_a_worker_meets, args=(session, running, answers))
    worker.start()
    for _ in range(5):
        assert f"was forked from the one that has the session ({os.getpid()})" in answers.get()
    assert answers.get() == "<<<ECHO mine>>>"
    worker.join(PATIENCE)
    assert not running.done()
    running.interrupt()
    assert running.wait(PATIENCE)


@pytest.mark.cli
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_worker_that_lives_on_keeps_no_process_from_its_end(manager: SessionManager) -> None:
    manager.stop_timeout = 1_000  # only the end of its input ends it in time
    session = manager.session("a")
    session.ask("ECHO x").result(PATIENCE)
    fork = multiprocessing.get_context("fork")
    until, release = fork.Pipe(duplex=False)
    worker = fork.Process(target=until.recv)
    worker.start()
    assert session.suspend().result(PATIENCE)
    release.send(None)
    worker.join(PATIENCE)


@pytest.mark.kernel
def test_what_is_logged_in_our_threads_is_in_our_log_and_in_no_cell(kernel: Kernel, tmp_path: Path) -> None:
    cli = tmp_path / "cli"
    cli.write_text("#!/bin/sh\necho 'error: unknown option' >&2\nexit 1\n")
    cli.chmod(0o755)
    kernel.run(f"%config SessionManager.cli_path = {str(cli)!r}")
    failed = kernel.run("%claude hello")
    assert failed.error is not None
    assert "unknown option" in failed.shown_error
    assert failed.printed == ""  # the SDK may log it, too
    cell = kernel.run(
        "import asyncio, logging, threading\n"
        "def say(where): logging.getLogger('asyncio').warning('said in %s', where)\n"
        f"done = threading.Event(); portal = {MANAGER}.portal\n"
        "portal.call(say, 'the portal'); portal.call(done.set); done.wait()\n"
        "portal.run(asyncio.to_thread(say, 'a worker of the portal')).result()\n"
        "user = threading.Thread(target=say, args=['a thread of the user']); user.start(); user.join()\n"
        "say('the cell')"
    )
    assert cell.printed == "said in a thread of the user\nsaid in the cell\n"
    log = Path(kernel.eval(f"{MANAGER}.log_file").strip("'")).read_text()
    assert "said in the portal\n" in log
    assert "said in a worker of the portal\n" in log
    assert "a thread of the user" not in log
    kernel.run("%unload_ext claude_nb")
    assert kernel.eval("type(logging.lastResort).__module__") == "'logging'"


def test_what_nobody_caught_in_the_loop_is_ours_to_log(caplog: pytest.LogCaptureFixture) -> None:
    from claude_nb.portal import Portal

    portal = Portal()
    with caplog.at_level(logging.ERROR):
        portal.call(lambda: 1 / 0)
        portal.stop(PATIENCE)
    assert [record.name for record in caplog.records] == ["claude_nb.event_loop"]
