"""Interrupt

While a reply streams: from Jupyter's Interrupt until the cell is idle, the session being ready for the next
prompt; beside it the raw CLI's interrupt request until the turn's result.
"""

from __future__ import annotations

import time
from pathlib import Path

from kernel_kit import Cell, Kernel, running_kernel

from benchmarks.figures import Figure, above, interleaved
from benchmarks.notebook import PATIENCE, checked, shown
from benchmarks.raw import RawCLI, is_result, is_token

PROMPT = "write for long"
# Streaming, and not just beginning to.
WRITING = 0.3


def measure(runs: int, folder: Path) -> list[Figure]:
    with RawCLI(folder) as raw, running_kernel(folder) as kernel:
        raw.ask("say a word")
        checked(kernel.run("%claude say a word"))
        pipe, cell = interleaved(runs, lambda: raw_interrupt(raw), lambda: cell_interrupt(kernel))
    return [above("Interrupt to idle cell", pipe, cell, 50)]


def raw_interrupt(raw: RawCLI) -> float:
    raw.prompt(PROMPT)
    raw.until(is_token)
    begin = time.perf_counter()
    raw.until(lambda message: time.perf_counter() - begin > WRITING)
    begin = time.perf_counter()
    raw.interrupt()
    raw.until(is_result)
    return time.perf_counter() - begin


def cell_interrupt(kernel: Kernel) -> float:
    moments: list[float] = []

    def watch(cell: Cell) -> None:
        if not moments and "sentence of the reply" in shown(cell):
            time.sleep(WRITING)
            moments.append(time.perf_counter())
            kernel.manager.interrupt_kernel()

    cell = kernel.finish(kernel.start_cell(f"%claude {PROMPT}"), PATIENCE, watch)
    seconds = time.perf_counter() - moments[0]
    if cell.error is None or cell.error["ename"] != "TurnInterrupted":
        raise RuntimeError(f"the cell was not interrupted: {cell.shown_error}")
    return seconds
