"""A reply of 20,000 chunks

From the prompt to the result of a warm turn, as fast as the API sends it: 98 KB of Markdown, 200 paragraphs.
In a kernel the reply is shown while it grows. Each turn has a conversation of its own, since Claude Code
sends all of it with each request.
"""

from __future__ import annotations

import time
from pathlib import Path

from kernel_kit import Kernel, running_kernel

from benchmarks.figures import Figure, interleaved, times
from benchmarks.notebook import checked, seconds_of
from benchmarks.python_api import PATIENCE, fresh_session, manager
from benchmarks.raw import RawCLI
from claude_nb.session_manager import SessionManager

PROMPT = "write twenty thousand chunks"
LENGTH = 98_000


def measure(runs: int, folder: Path) -> list[Figure]:
    with manager() as python, running_kernel(folder) as kernel:
        raw, api, cell = interleaved(
            runs,
            lambda: raw_reply(folder, PROMPT, LENGTH),
            lambda: session_reply(python, PROMPT, LENGTH),
            lambda: cell_reply(kernel, PROMPT, LENGTH),
        )
    return [times("Python API", raw, api, 1.2), times("cell of a kernel", raw, cell, 1.2)]


def raw_reply(folder: Path, prompt: str, length: int) -> float:
    """Seconds of a warm turn whose reply has `length` characters."""
    with RawCLI(folder) as raw:
        raw.ask("say a word")
        begin = time.perf_counter()
        result = raw.ask(prompt)
        seconds = time.perf_counter() - begin
    require(len(result["result"]), length)
    return seconds


def session_reply(manager: SessionManager, prompt: str, length: int) -> float:
    with fresh_session(manager) as session:
        session.ask("say a word").result(PATIENCE)
        begin = time.perf_counter()
        reply = session.ask(prompt).result(PATIENCE)
        seconds = time.perf_counter() - begin
    require(len(reply.text), length)
    return seconds


def cell_reply(kernel: Kernel, prompt: str, length: int) -> float:
    checked(kernel.run("%claude --new say a word"))
    seconds = seconds_of(kernel, f"reply = %claude {prompt}")
    require(int(kernel.eval("len(reply.text)")), length)
    return seconds


def require(length: int, expected: int) -> None:
    """A reply that is cut short would be a fine figure."""
    if abs(length - expected) > 2:  # Claude Code may trim the end
        raise RuntimeError(f"the reply has {length} characters instead of {expected}")
