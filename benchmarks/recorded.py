"""Two hundred recorded sessions

`%load_ext claude_nb` in a fresh kernel, with 200 sessions of earlier kernels in its folder; the baseline is
the same without any, and both are as the client sees them that sent the cell. Then what `/sessions` reads,
in the kernel.
"""

from __future__ import annotations

import os
import statistics
import time
from functools import partial
from pathlib import Path

from kernel_kit import running_kernel

from benchmarks.figures import Figure, at_most, interleaved
from benchmarks.notebook import seconds_of
from claude_nb.claims import claim, this_kernel
from claude_nb.registry import Registry

RECORDED = 200
FACTOR, OVERVIEW_LIMIT = 1.5, 50
OVERVIEW = """
import time, claude_nb
manager = claude_nb.manager()
def seconds():
    begin = time.perf_counter()
    assert len(manager.overview()) == {recorded}
    return time.perf_counter() - begin
"""
OVERVIEWS = 5


def measure(runs: int, folder: Path) -> list[Figure]:
    place = Path(os.environ["JUPYTER_DATA_DIR"])
    empty, full = place / "none", place / "many"
    record_sessions(full, folder)
    without, loaded = interleaved(runs, partial(load, empty, folder), partial(load, full, folder))
    base, value = statistics.median(without) * 1000, statistics.median(loaded) * 1000
    first, rest = overviews(full, folder)
    return [
        Figure("%load_ext", value, "ms", base, FACTOR * base, f"≤ {FACTOR:g} x without"),
        at_most("/sessions, the first time", first * 1000, OVERVIEW_LIMIT, "ms"),
        at_most("/sessions", rest * 1000, OVERVIEW_LIMIT, "ms"),
    ]


def record_sessions(data: Path, folder: Path) -> None:
    """As kernels leave them that used them and ended."""
    registry = Registry(data / "claude_nb", Path(os.environ["JUPYTER_RUNTIME_DIR"]) / "claude_nb")
    for number in range(RECORDED):
        age = 3600.0 * number
        fields = {"turns": number + 1, "last_activity": time.time() - age, "kernel": this_kernel()["kernel"]}
        record = registry.create(f"session {number}", folder, **fields)
        claim(record.id, registry.runtime, this_kernel()).release()


def load(data: Path, folder: Path) -> float:
    os.environ["JUPYTER_DATA_DIR"] = str(data)
    with running_kernel(folder, load=False) as kernel:
        kernel.eval("1 + 1")
        return seconds_of(kernel, "%load_ext claude_nb")


def overviews(data: Path, folder: Path) -> tuple[float, float]:
    """Seconds of the first and the median of the next."""
    os.environ["JUPYTER_DATA_DIR"] = str(data)
    with running_kernel(folder) as kernel:
        kernel.run(OVERVIEW.format(recorded=RECORDED))
        first, *rest = [float(kernel.eval("seconds()")) for _ in range(1 + OVERVIEWS)]
    return first, statistics.median(rest)
