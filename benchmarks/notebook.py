"""A kernel at work: how long a cell takes for the client that sent it, and when each message came."""

from __future__ import annotations

import time
from collections.abc import Callable

from kernel_kit import Cell, Kernel

# A whole long reply on a loaded machine.
PATIENCE = 300.0


def seconds_of(kernel: Kernel, code: str) -> float:
    """From sending the cell until it is idle and its reply is there."""
    begin = time.perf_counter()
    checked(kernel.run(code, PATIENCE))
    return time.perf_counter() - begin


def seconds_until(kernel: Kernel, code: str, there: Callable[[str], bool]) -> float:
    """From sending the cell until the client gets a display whose Markdown is what we wait for."""
    moments: list[float] = []

    def watch(cell: Cell) -> None:
        if not moments and there(shown(cell)):
            moments.append(time.perf_counter())

    begin = time.perf_counter()
    checked(kernel.finish(kernel.start_cell(code), PATIENCE, watch))
    return moments[0] - begin


def shown(cell: Cell) -> str:
    """The Markdown of the last message; empty where it is no display."""
    data = cell.messages[-1]["content"].get("data", {})
    return str(data.get("text/markdown", ""))


def checked(cell: Cell) -> Cell:
    """A benchmark of a failed cell would be a fine figure."""
    if cell.error is not None:
        raise RuntimeError(f"a cell failed: {cell.shown_error}")
    return cell
