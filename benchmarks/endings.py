"""Shutdown with ten live sessions

From the shutdown request of a Jupyter client until the kernel's process is gone, beside a bare kernel. *SDK
imported* is a kernel that has only imported claude_agent_sdk, whose modules Python takes apart at its exit.
A foreground turn is ended by the SIGINT with which Jupyter begins. Turns in the background get up to 1.5 s to
end by themselves, so that is in their goal.
"""

from __future__ import annotations

import os
import select
import statistics
import time
from functools import partial
from pathlib import Path

from kernel_kit import Kernel, running_kernel

from benchmarks.figures import Figure, interleaved
from benchmarks.notebook import checked

LIVE = 10
MARGIN = 0.250  # seconds
DRAIN = 1.5  # what a kernel's shutdown gives turns in the background
# Jupyter kills a kernel that has not ended after 5 s.
PATIENCE = 10.0

SESSIONS = f"""
import claude_nb
manager = claude_nb.manager()
sessions = [manager.session(f"session-{{i}}") for i in range({LIVE})]
turns = [session.ask("say a word") for session in sessions]
for turn in turns:
    turn.result(60)
"""
IN_BACKGROUND = """
turns = [session.ask("write for long") for session in sessions]
for turn in turns:
    version = 0
    while not turn.text:
        version = turn.wait_for_change(version, 60)
"""
IN_FOREGROUND = "%claude -s session-0 write for long"


def measure(runs: int, folder: Path) -> list[Figure]:
    sides = {
        "bare": [],
        "SDK imported, no session": ["import claude_agent_sdk"],
        f"{LIVE} idle": [SESSIONS],
        f"{LIVE}, one in mid-turn in its cell": [SESSIONS, IN_FOREGROUND],
        f"{LIVE} in mid-turn in the background": [SESSIONS, IN_BACKGROUND],
    }
    measured = interleaved(runs, *(partial(seconds_to_end, folder, cells) for cells in sides.values()))
    bare, *ours = [statistics.median(side) for side in measured]
    return [figure(what, value, bare) for what, value in zip(list(sides)[1:], ours, strict=True)]


def figure(what: str, seconds: float, bare: float) -> Figure:
    if "SDK" in what:
        return Figure(what, seconds * 1000, "ms", bare * 1000)
    margin = MARGIN + (DRAIN if "background" in what else 0)
    limit = (bare + margin) * 1000
    return Figure(what, seconds * 1000, "ms", bare * 1000, limit, f"≤ bare + {margin * 1000:.0f} ms")


def seconds_to_end(folder: Path, cells: list[str]) -> float:
    """Start a kernel, run the cells, ask it to shut down; how long until its process is gone."""
    with running_kernel(folder, load=bool(cells)) as kernel:
        for cell in cells:
            if cell == IN_FOREGROUND:
                wait_for_text(kernel, cell)
            else:
                checked(kernel.run(cell))
        return shut_down(kernel)


def wait_for_text(kernel: Kernel, cell: str) -> None:
    """Start the cell and return as soon as its reply streams."""
    message_id = kernel.start_cell(cell)
    while True:
        message = kernel.client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != message_id:
            continue
        if message["content"].get("execution_state") == "idle":
            raise RuntimeError("the cell has ended, and was to go on for long")
        if "number 1." in str(message["content"].get("data")):
            return


def shut_down(kernel: Kernel) -> float:
    """The end is seen by a pidfd: Jupyter itself looks only every 0.1 s."""
    fd = os.pidfd_open(kernel.pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        begin = time.perf_counter()
        kernel.manager.interrupt_kernel()  # as `shutdown_kernel` begins, without its waiting
        kernel.manager.request_shutdown()
        if not poll.poll(PATIENCE * 1000):
            raise RuntimeError(f"the kernel did not end within {PATIENCE} s")
        return time.perf_counter() - begin
    finally:
        os.close(fd)
