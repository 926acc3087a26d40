"""The guard around the real Claude Code CLI, whose real Bash tool starts what will not go away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import processes_kit
import pytest
from processes_kit import KIT, ZOO, Session, wait_until

from claude_nb.launch import GuardState, find_cli
from claude_nb.offline import OfflineAPI
from claude_nb.processes import end_left_over, read_ledger

pytestmark = [pytest.mark.cli, pytest.mark.skipif(sys.platform != "linux", reason="the zoo is Linux's")]

GRACE = 1.0
# For a Claude Code that leaves by itself, on a machine where others work, too.
LONG_GRACE = 8.0
BOUND = 0.3 + GRACE + 2

# A kernel with one Claude, in a process of its own so that it can be killed: one turn per line on stdin.
KERNEL = """if True:
    import asyncio, os, signal, sys
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient

    async def main(shim, folder):
        options = ClaudeAgentOptions(cli_path=shim, cwd=folder, allowed_tools=["Bash"], setting_sources=[])
        async with ClaudeSDKClient(options) as client:
            loop = asyncio.get_running_loop()
            while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
                await client.query(line)
                async for message in client.receive_response():
                    pass
                print("answered", getattr(message, "result", None), flush=True)

    signal.alarm(120)
    asyncio.run(main(*sys.argv[1:]))
"""


def bash(folder: Path, kinds: list[str], then: str) -> str:
    return f"{sys.executable} -I -S {KIT} zoo {folder} {' '.join(kinds)}; {then}"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    folder = tmp_path / "session"
    folder.mkdir()
    session = Session(folder, grace=GRACE)
    try:
        yield session
    finally:
        session.end()


@contextmanager
def kernel(session: Session, shim: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A kernel whose Claude uses a tool that leaves daemons: `wait` with one that goes on, `return` not."""
    tools = {"wait": f"{sys.executable} -c 'import time; time.sleep(100)'", "return": "true"}
    rules = [
        {
            "exactly": word,
            "reply": [{"tool": "Bash", "input": {"command": bash(session.folder, [*ZOO], then)}}],
            "then": [[{"text": "done"}]],
        }
        for word, then in tools.items()
    ]
    with OfflineAPI(json.dumps({"rules": rules}, indent=1)) as api:
        environment = {**os.environ, **api.environment(session.folder / "config")}
        command = [sys.executable, "-c", KERNEL, str(shim or guarded(session)), str(session.folder)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def guarded(session: Session) -> Path:
    """A shim for whoever runs it: its kernel is the guard's parent, whose pid is not known beforehand."""
    shim = session.shim(str(find_cli()))
    named = f"--kernel {os.getpid()} --kernel-start {processes_kit.start_time()} "
    shim.write_text(shim.read_text().replace(named, ""))
    return shim


def say(kernel: subprocess.Popen[bytes], word: bytes) -> None:
    assert kernel.stdin is not None
    kernel.stdin.write(word + b"\n")
    kernel.stdin.flush()


def answer(kernel: subprocess.Popen[bytes]) -> bytes:
    assert kernel.stdout is not None
    return kernel.stdout.readline()


def zoo_is_complete(session: Session) -> bool:
    return set(processes_kit.recorded(session.folder).values()) >= set(ZOO)


def test_nothing_is_left_of_a_kernel_that_is_killed_while_a_tool_runs(session: Session) -> None:
    with kernel(session) as process:
        say(process, b"wait")
        wait_until(lambda: zoo_is_complete(session), 30)
        process.kill()
        print("gone after", session.wait_until_all_gone(BOUND))
    state = GuardState.read(session.state)
    assert state is not None
    assert (state.phase, state.left) == ("ended", ())


def test_nothing_is_left_of_an_idle_cli_whose_tools_left_daemons(session: Session) -> None:
    session.grace = LONG_GRACE
    with kernel(session) as process:
        say(process, b"return")
        assert answer(process) == b"answered done\n"
        assert zoo_is_complete(session)
        process.kill()
        print("gone after", session.wait_until_all_gone(BOUND + LONG_GRACE))
    state = GuardState.read(session.state)
    assert state is not None
    assert state.status == 0  # it left by itself


def test_closing_the_client_ends_the_daemons_too(session: Session) -> None:
    with kernel(session) as process:
        say(process, b"return")
        assert answer(process) == b"answered done\n"
        say(process, b"")
        assert process.wait(BOUND + 10) == 0
        assert session.survivors() == {}


def test_a_killed_guard_leaves_nothing_that_cannot_be_found(session: Session) -> None:
    with kernel(session) as process:
        say(process, b"wait")
        wait_until(lambda: zoo_is_complete(session), 30)
        everybody = {p for p in processes_kit.recorded(session.folder) if processes_kit.runs(*p)}
        wait_until(lambda: everybody <= read_ledger(session.ledger, session.marker), 10)
        guard = session.guard()
        assert guard is not None
        os.kill(guard[0], signal.SIGKILL)
        wait_until(lambda: not processes_kit.runs(*guard), 10)
        end_left_over(session.marker, session.ledger)
        assert session.survivors() == {}


def test_without_the_guard_the_tools_survive(session: Session) -> None:
    bare = session.folder / "bare"
    variable = processes_kit.MARKER_VARIABLE
    bare.write_text(f'#!/bin/sh\nexport {variable}={session.marker}\nexec "{find_cli()}" "$@"\n')
    bare.chmod(0o700)
    with kernel(session, bare) as process:
        say(process, b"wait")
        wait_until(lambda: zoo_is_complete(session), 30)
        process.kill()
        with pytest.raises(TimeoutError):
            session.wait_until_all_gone(BOUND)
