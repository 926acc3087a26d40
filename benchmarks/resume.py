"""First token after a suspension

From the question until the first piece of the reply's text is there, with the process of a suspended session
resumed for it; beside the raw CLI with `--resume` of the same transcript, which is put back after each run.
The SDK has been imported before.

From the question to the spawn it takes some 5 ms. With 10 turns most of the difference is the SDK's first
control request, whose reply is waited for before the prompt is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import claude_agent_sdk  # noqa: F401

from benchmarks.figures import Figure, interleaved, times
from benchmarks.python_api import PATIENCE, fresh_session, manager, wait_for_text
from benchmarks.raw import RawCLI, is_result, is_token
from claude_nb.session import Session
from claude_nb.transcript import find_transcript

PROMPT = "write for a moment"
LENGTHS = (10, 100)


def measure(runs: int, folder: Path) -> list[Figure]:
    return [one_length(runs, turns, folder) for turns in LENGTHS]


def one_length(runs: int, turns: int, folder: Path) -> Figure:
    with manager() as ours, fresh_session(ours) as session:
        for number in range(turns):
            session.ask(f"repeat turn {number}").result(PATIENCE)
        session.suspend().result(PATIENCE)
        transcript = Transcript(session)
        resumed(session)  # the first of a process compiles the guard
        transcript.put_back()
        raw, python = interleaved(
            runs,
            lambda: transcript.same_for(lambda: raw_resumed(folder, session.id)),
            lambda: transcript.same_for(lambda: resumed(session)),
        )
    return times(f"{turns} turns", raw, python, 1.15)


class Transcript:
    """A conversation's file as it is now."""

    def __init__(self, session: Session) -> None:
        path = find_transcript(session.id)
        assert path is not None
        self.path, self.content = path, path.read_bytes()

    def put_back(self) -> None:
        self.path.write_bytes(self.content)

    def same_for(self, side: Callable[[], float]) -> float:
        """A measurement that leaves it as it was."""
        try:
            return side()
        finally:
            self.put_back()


def raw_resumed(folder: Path, conversation: str) -> float:
    begin = time.perf_counter()
    with RawCLI(folder, resume=conversation) as raw:
        raw.prompt(PROMPT)
        raw.until(is_token)
        seconds = time.perf_counter() - begin
        raw.until(is_result)
    return seconds


def resumed(session: Session) -> float:
    begin = time.perf_counter()
    turn = session.ask(PROMPT)
    wait_for_text(turn)
    seconds = time.perf_counter() - begin
    turn.result(PATIENCE)
    if not session.suspend().result(PATIENCE):
        raise RuntimeError(f"{session!r} was not suspended")
    return seconds
