"""Loading the extension

`%load_ext claude_nb` in a fresh kernel, as the client sees it that sent the cell, beside the median of empty
cells in the same kernel; the memory that it adds; and what must not have happened when the cell ends.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import psutil
from kernel_kit import Kernel, running_kernel

from benchmarks.figures import Figure, above, at_most
from benchmarks.notebook import seconds_of

EMPTY = "pass"
EMPTY_CELLS = 5
LATER = ("claude_agent_sdk", "mcp", "ipywidgets", "anywidget")
MEGABYTE = 1024 * 1024


def measure(runs: int, folder: Path) -> list[Figure]:
    loads = [one_load(folder) for _ in range(runs)]
    empty, load, empty_work, load_work, memory, processes, modules = zip(*loads, strict=True)
    return [
        above("time, beside an empty cell", empty, load, 25),
        above("processor time, beside an empty cell", empty_work, load_work, 25),
        at_most("memory added", statistics.median(memory), 3, "MB"),
        at_most("processes started", max(processes), 0),
        at_most(f"of {', '.join(LATER)} imported", max(modules), 0),
    ]


def one_load(folder: Path) -> tuple[float, float, float, float, float, int, int]:
    """Seconds of an empty cell and of one that loads, the same in processor time; what the load adds."""
    with running_kernel(folder, load=False) as kernel:
        process = psutil.Process(kernel.pid)
        worked(kernel, EMPTY)
        empties = [worked(kernel, EMPTY) for _ in range(EMPTY_CELLS)]
        empty, empty_work = (statistics.median(column) for column in zip(*empties, strict=True))
        before, children = process.memory_info().rss, len(process.children(recursive=True))
        load, load_work = worked(kernel, "%load_ext claude_nb")
        memory = process.memory_info().rss - before
        started = len(process.children(recursive=True)) - children
        modules = len(imported(kernel))
    return empty, load, empty_work, load_work, memory / MEGABYTE, started, modules


def worked(kernel: Kernel, code: str) -> tuple[float, float]:
    """Seconds of a cell for its client, and seconds of processor time in the kernel."""
    kernel.run("import time; begin = time.process_time()")
    seconds = seconds_of(kernel, code)
    return seconds, float(kernel.eval("time.process_time() - begin"))


def imported(kernel: Kernel) -> list[str]:
    """Which of the slow modules are there; the SDK is imported later, when no cell runs for a moment."""
    cell = kernel.run(f"import json, sys; print(json.dumps([m for m in {LATER!r} if m in sys.modules]))")
    return list(json.loads(cell.printed))
