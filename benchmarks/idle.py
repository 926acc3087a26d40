"""An idle session

What a kernel with one idle session costs beside a bare kernel in the same ten seconds: how often its threads
wake up, and processor time. Then the same for the session's guard, a process of its own. Claude Code's
process is not ours and not counted. Linux only.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from kernel_kit import running_kernel

from benchmarks.figures import Figure
from benchmarks.notebook import checked

WINDOW = 10.0  # seconds
# What a turn leaves to do, such as importing for the next, is not idling.
SETTLE = 3.0


@dataclass(frozen=True)
class Spent:
    """What a process has spent, up to now or in a window."""

    wakeups: int
    seconds: float

    def since(self, before: Spent) -> Spent:
        return Spent(self.wakeups - before.wakeups, self.seconds - before.seconds)


def measure(runs: int, folder: Path) -> list[Figure]:
    with running_kernel(folder, load=False) as bare, running_kernel(folder) as kernel:
        checked(bare.run("pass"))
        checked(kernel.run("%claude say a word"))
        (guard,) = psutil.Process(kernel.pid).children()
        time.sleep(SETTLE)
        windows = [one_window(bare.pid, kernel.pid, guard.pid) for _ in range(runs)]
    bare_spent, kernel_spent, guard_spent = zip(*windows, strict=True)
    return [
        *compared("kernel", kernel_spent, bare_spent),
        *compared("guard", guard_spent),
    ]


def one_window(*pids: int) -> list[Spent]:
    before = [spent(pid) for pid in pids]
    time.sleep(WINDOW)
    return [spent(pid).since(earlier) for pid, earlier in zip(pids, before, strict=True)]


def spent(pid: int) -> Spent:
    times = psutil.Process(pid).cpu_times()
    return Spent(sum(map(wakeups, Path(f"/proc/{pid}/task").iterdir())), times.user + times.system)


def wakeups(thread: Path) -> int:
    """How often a thread has gone to sleep, and so was woken."""
    lines = dict(line.split(":", 1) for line in (thread / "status").read_text().splitlines())
    return int(lines["voluntary_ctxt_switches"])


def compared(who: str, ours: Sequence[Spent], bare: Sequence[Spent] | None = None) -> list[Figure]:
    def median(side: Sequence[Spent] | None, name: str, factor: float = 1) -> float | None:
        return None if side is None else statistics.median(getattr(s, name) for s in side) * factor / WINDOW

    return [
        Figure(f"{who}: wake-ups a second", median(ours, "wakeups") or 0, "", median(bare, "wakeups")),
        Figure(
            f"{who}: processor time a second",
            median(ours, "seconds", 1000) or 0,
            "ms",
            median(bare, "seconds", 1000),
        ),
    ]
