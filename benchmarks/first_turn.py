"""First token of a first turn

From the question until the first piece of the reply's text is there, with a process that has to be started
for it. The SDK has been imported before: the extension does that while the kernel is idle.
"""

from __future__ import annotations

import time
from pathlib import Path

import claude_agent_sdk  # noqa: F401

from benchmarks.figures import Figure, interleaved, times
from benchmarks.python_api import fresh_session, manager, wait_for_text
from benchmarks.raw import RawCLI, is_result, is_token
from claude_nb.session_manager import SessionManager

PROMPT = "write for a moment"


def measure(runs: int, folder: Path) -> list[Figure]:
    with manager() as ours:
        session_turn(ours)  # the first of a process compiles the guard
        raw, python = interleaved(runs, lambda: raw_turn(folder), lambda: session_turn(ours))
    return [times("spawn to first token", raw, python, 1.15)]


def raw_turn(folder: Path) -> float:
    begin = time.perf_counter()
    with RawCLI(folder) as raw:
        raw.prompt(PROMPT)
        raw.until(is_token)
        seconds = time.perf_counter() - begin
        raw.until(is_result)
    return seconds


def session_turn(manager: SessionManager) -> float:
    with fresh_session(manager) as session:
        begin = time.perf_counter()
        turn = session.ask(PROMPT)
        wait_for_text(turn)
        seconds = time.perf_counter() - begin
        turn.result()
    return seconds
