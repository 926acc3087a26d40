"""First token of a warm turn

From sending a cell with `%claude` until a client of the kernel has a display with the first word of the
reply; the process has answered before. Beside it the raw CLI's first token at its pipe.
"""

from __future__ import annotations

import time
from pathlib import Path

from kernel_kit import Kernel, running_kernel

from benchmarks.figures import Figure, above, interleaved
from benchmarks.notebook import checked, seconds_until
from benchmarks.raw import RawCLI, is_result, is_token

PROMPT = "write for a moment"


def measure(runs: int, folder: Path) -> list[Figure]:
    with RawCLI(folder) as raw, running_kernel(folder) as kernel:
        raw.ask("say a word")
        checked(kernel.run("%claude say a word"))
        pipe, cell = interleaved(runs, lambda: raw_turn(raw), lambda: cell_turn(kernel))
    return [above("at a kernel's client", pipe, cell, 15)]


def raw_turn(raw: RawCLI) -> float:
    begin = time.perf_counter()
    raw.prompt(PROMPT)
    raw.until(is_token)
    seconds = time.perf_counter() - begin
    raw.until(is_result)
    return seconds


def cell_turn(kernel: Kernel) -> float:
    return seconds_until(kernel, f"%claude {PROMPT}", lambda markdown: markdown.startswith("token 1"))
