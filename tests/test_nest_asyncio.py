"""Why nest-asyncio2 stands where nest-asyncio might be expected: the original loses a queued cell. Kernel."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kernel_kit import PATIENCE, Kernel, running_kernel

pytestmark = pytest.mark.kernel

# A cell that runs the kernel's own loop inside itself, as a blocking wait for a coroutine does, and which
# ends only after the next cell has arrived.
NESTED = """
async def until_the_next_cell_is_here():
    open("nested", "w").close()
    await asyncio.sleep(1)

asyncio.get_event_loop().run_until_complete(until_the_next_cell_is_here())
ran.append("first")
"""
# A cell that is not lost runs at once.
LOST_AFTER = 5


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < deadline, "the first cell did not begin"
        time.sleep(0.01)


def queue_a_cell_behind_a_nested_one(kernel: Kernel, module: str, folder: Path) -> tuple[str, str]:
    """Send both; the ids of the messages."""
    setup = kernel.run(f"import asyncio, {module}; {module}.apply(); ran = []")
    assert setup.error is None, setup.shown_error
    first = kernel.start_cell(NESTED)
    wait_until((folder / "nested").exists)
    second = kernel.start_cell("ran.append('second')")
    return first, second


def test_the_original_loses_the_queued_cell(tmp_path: Path) -> None:
    with running_kernel(tmp_path, load=False) as kernel:
        if kernel.eval("__import__('ipykernel').version_info[0] < 7") == "True":
            pytest.skip("ipykernel 6 takes cells in another way")
        first, second = queue_a_cell_behind_a_nested_one(kernel, "nest_asyncio", tmp_path)
        assert kernel.finish(first).error is None
        with pytest.raises(queue.Empty):
            kernel.finish(second, timeout=LOST_AFTER)
        assert kernel.eval("ran") == "['first']"


def test_the_maintained_fork_runs_it(tmp_path: Path) -> None:
    with running_kernel(tmp_path, load=False) as kernel:
        first, second = queue_a_cell_behind_a_nested_one(kernel, "nest_asyncio2", tmp_path)
        assert kernel.finish(first).error is None
        assert kernel.finish(second).error is None
        assert kernel.eval("ran") == "['first', 'second']"
