"""Suspended sessions

What a kernel with five suspended sessions costs beside a bare kernel in the same ten seconds. Our threads are
the portal and those that it hands blocking work to; timers are those of its loop. One is for the sweep, every
five minutes. Linux only.
"""

from __future__ import annotations

import json
import statistics
import time
from itertools import pairwise
from pathlib import Path

import psutil
from kernel_kit import Kernel, running_kernel

from benchmarks.figures import Figure, at_most
from benchmarks.idle import SETTLE, WINDOW, compared, one_window, wakeups
from benchmarks.notebook import checked

SESSIONS = 5
SUSPENDED = f"""
import asyncio, claude_nb, threading
manager = claude_nb.manager()
sessions = [manager.session(f"session-{{i}}") for i in range({SESSIONS})]
for turn in [session.ask("say a word") for session in sessions]:
    turn.result(60)
for session in sessions:
    assert session.suspend().result(60)

async def timers():
    return len([timer for timer in asyncio.get_running_loop()._scheduled if not timer._cancelled])
"""
TIMERS = "manager.portal.run(timers()).result(5)"
OURS = "[t.native_id for t in threading.enumerate() if t.name.startswith(('claude_nb', 'asyncio_'))]"


def measure(runs: int, folder: Path) -> list[Figure]:
    with running_kernel(folder, load=False) as bare, running_kernel(folder) as kernel:
        checked(bare.run("pass"))
        checked(kernel.run(SUSPENDED))
        timers, ours = int(kernel.eval(TIMERS)), our_threads(kernel)
        time.sleep(SETTLE)
        own = [wakeups_of(kernel.pid, ours)]
        windows = []
        for _ in range(runs):
            windows.append(one_window(bare.pid, kernel.pid))
            own.append(wakeups_of(kernel.pid, ours))
        processes = len(psutil.Process(kernel.pid).children(recursive=True))
    bare_spent, kernel_spent = zip(*windows, strict=True)
    woken = [after - before for before, after in pairwise(own)]
    return [
        at_most("processes", processes, 0),
        at_most("timers", timers, 1),
        at_most(f"wake-ups of our threads in {WINDOW:g} s", statistics.median(woken), 0),
        *compared("kernel", kernel_spent, bare_spent),
    ]


def our_threads(kernel: Kernel) -> list[int]:
    """Their ids for the operating system."""
    return list(json.loads(kernel.eval(OURS)))


def wakeups_of(pid: int, threads: list[int]) -> int:
    return sum(wakeups(Path(f"/proc/{pid}/task/{thread}")) for thread in threads)
