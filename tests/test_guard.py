"""The guard, with real processes: whatever the CLI starts and however the kernel ends, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import processes_kit
import pytest
from processes_kit import DEATHS, ZOO, Session, kernel, runs, wait_until

from claude_nb import guard
from claude_nb.launch import GuardState

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the zoo is Linux's")

PATIENCE, GRACE = 0.3, 0.3
BOUND = PATIENCE + GRACE + 2  # the promise: nothing is left two seconds after the end of the grace
GENTLE = sorted(
    set(ZOO) - {"graceful", "respawning", "successor", "term_ignoring", "daemon_term_ignoring", "stopped"}
)


@pytest.fixture
def session(folder: Path) -> Iterator[Session]:
    session = Session(folder, grace=GRACE)
    try:
        yield session
    finally:
        session.end()


def state_of(session: Session) -> GuardState:
    state = GuardState.read(session.state)
    assert state is not None
    return state


# -- the kernel ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", DEATHS)
def test_nothing_is_left_however_the_kernel_ends(how: str, session: Session) -> None:
    with kernel(session.folder, how, "--busy", *ZOO) as process:
        assert len(session.survivors()) > len(ZOO)
        tell(process)
        session.wait_until_all_gone(BOUND)
    assert state_of(session).phase == "ended"


@pytest.mark.parametrize("kind", ZOO)
def test_each_kind_of_descendant_ends_with_the_kernel(kind: str, session: Session) -> None:
    with kernel(session.folder, "sigkill", kind) as process:
        assert kind in session.survivors().values()
        tell(process)
        session.wait_until_all_gone(BOUND)


def test_without_the_guard_the_same_check_finds_survivors(session: Session) -> None:
    with kernel(session.folder, "sigkill", "--unguarded", "--busy", *ZOO) as process:
        tell(process)
        process.wait(10)
        with pytest.raises(TimeoutError):
            session.wait_until_all_gone(BOUND)
        assert len(set(session.survivors().values())) >= len(ZOO)


def test_an_idle_cli_sees_the_end_of_its_input_and_leaves_by_itself(session: Session) -> None:
    with kernel(session.folder, "sigkill") as process:
        tell(process)
        session.wait_until_all_gone(BOUND)
    assert (session.folder / "eof").exists()
    assert state_of(session).status == 0


@pytest.mark.parametrize("left", [False, True])
def test_the_guard_removes_the_files_only_of_a_kernel_that_left_them_to_it(
    left: bool, session: Session
) -> None:
    session.start()
    live = session.folder / "live"
    if left:
        (live / guard.ABANDONED).touch()
    session.stdin.close()
    session.wait()
    assert live.exists() is not left


def test_a_kernel_that_died_before_the_guard_looked_counts_as_gone(session: Session) -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    shim = session.shim("/bin/cat", kernel_pid=gone.pid)
    with subprocess.Popen([shim], stdin=subprocess.PIPE) as process:
        assert process.wait(BOUND + 5) == 128 + signal.SIGTERM


def test_another_process_with_the_kernels_pid_is_not_the_kernel(session: Session, folder: Path) -> None:
    shim = session.shim("/bin/cat")
    shim.write_text(shim.read_text().replace("--kernel-start ", "--kernel-start 1"))
    with subprocess.Popen([shim], stdin=subprocess.PIPE) as process:
        assert process.wait(BOUND + 5) == 128 + signal.SIGTERM


def tell(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"end\n")
    process.stdin.flush()


# -- the CLI ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--exit", "0"], 0), (["--exit", "3"], 3), (["--die", "9"], 137), (["--die", "11"], 139)],
)
def test_the_guard_ends_what_the_cli_left_and_exits_with_its_status(
    arguments: list[str], status: int, session: Session
) -> None:
    session.start(*arguments, *ZOO)
    assert session.wait() == status
    assert session.survivors() == {}
    assert (state_of(session).phase, state_of(session).status) == ("ended", status)


def test_the_end_of_the_clis_output_is_seen_before_its_descendants_are_gone(folder: Path) -> None:
    session = Session(folder, grace=30)
    try:
        session.start("--die", "9", "silent")
        assert session.stdout.read() == b""
    finally:
        session.end()


def test_closing_its_input_lets_the_cli_finish(session: Session) -> None:
    session.start("--busy", "child")
    session.stdin.close()
    wait_until((session.folder / "eof").exists, 10)
    time.sleep(PATIENCE + GRACE)  # nothing may happen: there is no event to wait for
    assert "cli" in session.survivors().values()


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (None, 127, "No such file"),
        ("not a program", 126, "Exec format"),
        ("#!/no/such/shell\n", 127, "No such"),
    ],
)
def test_a_cli_that_cannot_be_started_is_said_in_one_line(
    content: str | None, status: int, words: str, session: Session
) -> None:
    cli = session.folder / "claude"
    if content is not None:
        cli.write_text(content)
        cli.chmod(0o700)
    done = subprocess.run([session.shim(str(cli))], capture_output=True, text=True, timeout=20)
    assert done.returncode == status
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


# -- told to stop ----------------------------------------------------------------------------------


def test_sigterm_ends_everything(session: Session) -> None:
    session.start("--busy", *ZOO)
    send_guard(session, signal.SIGTERM)
    session.wait_until_all_gone(BOUND)
    assert session.wait() == 128 + signal.SIGTERM


def test_a_deaf_cli_is_killed_after_the_grace(session: Session) -> None:
    session.start("--busy", "--deaf", "term_ignoring", "respawning")
    send_guard(session, signal.SIGTERM)
    session.wait_until_all_gone(BOUND)
    assert session.wait() == 128 + signal.SIGKILL


def test_a_second_sigterm_does_not_wait_for_the_grace(folder: Path) -> None:
    session = Session(folder, grace=600)
    try:
        session.start("--busy", "--deaf", *ZOO)
        send_guard(session, signal.SIGTERM)
        wait_until(lambda: state_of(session).phase == "ending", 10)
        send_guard(session, signal.SIGTERM)
        session.wait_until_all_gone(BOUND)
    finally:
        session.end()


def test_sigusr1_ends_everything_at_once(folder: Path) -> None:
    session = Session(folder, grace=600)
    try:
        session.start("--busy", "--deaf", *ZOO)
        send_guard(session, signal.SIGUSR1)
        session.wait_until_all_gone(BOUND)
    finally:
        session.end()


def test_tools_get_the_grace_to_end_in_order(folder: Path) -> None:
    session = Session(folder, grace=20)
    try:
        session.start("--busy", "graceful")
        send_guard(session, signal.SIGTERM)
        session.wait_until_all_gone(20)
        assert (folder / "graceful.done").exists()
    finally:
        session.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_what_a_terminal_sends_means_nothing_to_the_guard(number: int, session: Session) -> None:
    session.start()
    send_guard(session, number)
    assert echo(session, b"still there") == b"echo still there\n"


def test_interrupting_the_kernels_group_reaches_neither_guard_nor_cli(session: Session) -> None:
    """Jupyter's Interrupt is a SIGINT to the group, and a shim that is still starting is in it too.

    Until its `trap` has run it is safe only if it was started with SIGINT blocked.
    """
    code = """if True:
        import os, signal, subprocess, sys
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stdin=subprocess.PIPE, bufsize=0)
        for _ in range(200):
            os.killpg(0, signal.SIGINT)
            if process.poll() is not None: sys.exit("interrupted")
        process.stdin.write(b"still there\\n")
        assert process.stdout.readline() == b"still there\\n"
        process.stdin.close()
        sys.exit(process.wait())
    """
    command = [sys.executable, "-c", code, session.shim("/bin/cat")]
    for _ in range(5):
        assert subprocess.run(command, start_new_session=True, timeout=30).returncode == 0


def send_guard(session: Session, number: int) -> None:
    os.kill(state_of(session).guard.pid, number)


def echo(session: Session, words: bytes) -> bytes:
    session.stdin.write(words + b"\n")
    session.stdin.flush()
    return session.stdout.readline()


# -- what the CLI gets -----------------------------------------------------------------------------


def test_the_cli_gets_the_marker_and_none_of_the_scrubbed_variables(session: Session) -> None:
    session.start(
        env={"SECRET_A": "1", "KEPT": "é\n2", processes_kit.MARKER_VARIABLE: "outer"}, unset=["SECRET_A"]
    )
    environment = json.loads((session.folder / "environment").read_text())
    assert environment[processes_kit.MARKER_VARIABLE] == session.marker
    assert environment["KEPT"] == "é\n2"
    assert "SECRET_A" not in environment


def test_the_cli_starts_with_default_signals_in_the_kernels_folder(session: Session, folder: Path) -> None:
    cli = folder / "claude"
    cli.write_text("#!/bin/sh\npwd\nls /proc/self/fd\nexec cat /proc/self/status\n")
    cli.chmod(0o700)
    code = "import os, signal, sys; signal.signal(2, signal.SIG_IGN); signal.pthread_sigmask(0, {15, 17});"
    code += "os.open('/dev/null', 0); [os.set_inheritable(fd, True) for fd in (3,)];"
    code += "os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-I", "-S", "-c", code, session.shim(str(cli))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=20)
    cwd, *files = done.stdout.partition("Name:")[0].split()
    lines = [line.split() for line in done.stdout.splitlines()]
    masks = [words[1] for words in lines if words[0] in ("SigBlk:", "SigIgn:", "SigCgt:")]
    # What lies between the POSIX and the real-time signals is the C library's own: nobody can reset it.
    ours = sum(1 << (number - 1) for number in signal.valid_signals())
    assert [int(mask, 16) & ours for mask in masks] == [0, 0, 0]
    assert cwd == str(folder)
    assert files == ["0", "1", "2", "3"]  # 3 is the listing's own


def test_arguments_and_bytes_pass_unchanged(session: Session) -> None:
    odd = ["--", "", "a b", "it's", '"$HOME"', "`id`", "é\n", "*"]
    code = "import sys; sys.stdout.buffer.write(repr(sys.argv[1:]).encode() + sys.stdin.buffer.read())"
    command = [session.shim(sys.executable), "-c", code, *odd]
    content = bytes(range(256)) * 1000
    done = subprocess.run(command, input=content, capture_output=True, timeout=20)
    assert done.stdout == repr(odd).encode() + content
    assert done.returncode == 0


# -- state, ledger, lock ---------------------------------------------------------------------------


def test_the_state_file_says_who_is_who(session: Session) -> None:
    session.start()
    state = state_of(session)
    assert (state.phase, state.status, state.left) == ("running", None, ())
    assert state.marker == session.marker
    assert (state.kernel.pid, state.kernel.start) == (os.getpid(), processes_kit.start_time())
    assert session.process is not None
    assert state.guard.pid == session.process.pid
    assert state.guarded
    assert processes_kit.recorded(session.folder)[state.cli] == "cli"
    assert session.state.stat().st_mode & 0o777 == 0o600


def test_the_ledger_lists_every_descendant_soon(session: Session) -> None:
    session.start(*GENTLE)
    everybody = set(processes_kit.recorded(session.folder))
    wait_until(lambda: everybody <= ledger_of(session), 10)
    assert session.ledger.stat().st_mode & 0o777 == 0o600


def test_a_descendant_started_long_after_the_last_news_is_in_the_ledger_soon(session: Session) -> None:
    session.start()
    before = ledger_of(session)
    session.stdin.write(b"zoo daemon_environment_cleared\n")
    session.stdin.flush()
    wait_until(lambda: bool(ledger_of(session) - before), 10)


def ledger_of(session: Session) -> set[tuple[int, int]]:
    wait_until(session.ledger.exists, 10)
    return {(pid, start) for pid, start in json.loads(session.ledger.read_text())["processes"]}


def test_an_idle_session_costs_next_to_no_wake_ups(session: Session) -> None:
    session.start()
    status = Path(f"/proc/{state_of(session).guard.pid}/status")
    wait_until(lambda: "(sleeping)" in status.read_text(), 10)
    before = wake_ups(status)
    time.sleep(4)
    assert wake_ups(status) - before <= 12


def wake_ups(status: Path) -> int:
    return next(
        int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("voluntary")
    )


def test_a_second_guard_on_the_same_lock_is_refused(session: Session, tmp_path: Path) -> None:
    session.start()
    second = Session(tmp_path / "second")
    done = subprocess.run(
        [second.shim("/bin/cat", lock=session.lock)], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 75
    assert "another guard" in done.stderr
    assert not second.state.exists()
    assert echo(session, b"undisturbed") == b"echo undisturbed\n"


def test_the_lock_is_held_until_the_last_descendant_is_gone(folder: Path) -> None:
    session = Session(folder, grace=600)
    try:
        session.start("--exit", "0", "daemon_term_ignoring")
        wait_until(lambda: state_of(session).phase == "ending", 10)
        assert set(session.survivors().values()) == {"daemon_term_ignoring", "guard"}
        assert not lock_is_free(session)
        send_guard(session, signal.SIGTERM)
        time.sleep(0.1)  # two signals at once are one
        send_guard(session, signal.SIGTERM)
        wait_until(lambda: lock_is_free(session), BOUND)
        assert session.survivors() == {}
    finally:
        session.end()


def lock_is_free(session: Session) -> bool:
    return subprocess.run(["flock", "--nonblock", session.lock, "true"]).returncode == 0


def test_the_cli_dies_with_a_killed_guard_and_the_lock_is_free(session: Session) -> None:
    session.start("--busy", "--deaf")
    send_guard(session, signal.SIGKILL)
    assert session.wait() == -signal.SIGKILL
    session.wait_until_all_gone(BOUND)
    assert lock_is_free(session)


# -- others ----------------------------------------------------------------------------------------


def test_no_bystander_is_touched(session: Session, folder: Path) -> None:
    environment = {**os.environ, processes_kit.MARKER_VARIABLE: session.marker}
    bystanders = [
        subprocess.Popen(["sleep", "100"], env={**environment, **change})
        for change in (
            {},
            {processes_kit.MARKER_VARIABLE: session.marker + "x"},
            {"A": "CLAUDE_NB_SESSION=x"},
        )
    ]
    try:
        session.start("--busy", *ZOO)
        send_guard(session, signal.SIGTERM)
        session.wait()
        assert [bystander.poll() for bystander in bystanders] == [None] * len(bystanders)
    finally:
        for bystander in bystanders:
            bystander.kill()
            bystander.wait()


@pytest.mark.parametrize("arguments", [[], ["--"], ["--what", "--", "true"], ["--kernel", "x", "--", "true"]])
def test_a_wrong_command_line_is_refused(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", guard.__file__, *arguments], capture_output=True, timeout=20
    )
    assert done.returncode == 64
    assert done.stderr.count(b"\n") == 1


def test_no_file_is_kept_open_that_the_kernel_passed_by_mistake(session: Session) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as end:
        process = subprocess.Popen([session.shim("/bin/cat")], stdin=subprocess.PIPE, pass_fds=[writer])
        os.close(writer)
        assert end.read() == b""
        assert runs(process.pid, processes_kit.start_time(process.pid))
        process.communicate()
