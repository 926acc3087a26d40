"""A line of 20 MB

From the prompt to the result of a warm turn whose reply comes in one chunk. Claude Code writes it as one line
of JSON, and twice more: in the message that repeats the block, and in the result. A cell shows its first
million characters. Then 64 MB (three runs), the longest line that is promised to be handled.
"""

from __future__ import annotations

from pathlib import Path

from kernel_kit import running_kernel

from benchmarks.figures import Figure, interleaved, times
from benchmarks.long_reply import cell_reply, raw_reply, session_reply
from benchmarks.python_api import manager

CHARACTERS_PER_MB = 64 * 16384
LARGEST_RUNS = 3


def measure(runs: int, folder: Path) -> list[Figure]:
    with manager() as python, running_kernel(folder) as kernel:
        raw, api, cell = interleaved(
            runs,
            lambda: raw_reply(folder, *reply_of(20)),
            lambda: session_reply(python, *reply_of(20)),
            lambda: cell_reply(kernel, *reply_of(20)),
        )
        largest_raw, largest = interleaved(
            min(runs, LARGEST_RUNS),
            lambda: raw_reply(folder, *reply_of(64)),
            lambda: session_reply(python, *reply_of(64)),
        )
    return [
        times("20 MB, Python API", raw, api, 1.5),
        times("20 MB, cell of a kernel", raw, cell, 1.5),
        times("64 MB, Python API", largest_raw, largest, 1.5),
    ]


def reply_of(megabytes: int) -> tuple[str, int]:
    """The prompt that gets a reply of this size, and its length."""
    return f"write {megabytes} MB", megabytes * CHARACTERS_PER_MB
