"""A kernel that another test has used is as good as a fresh one, or is not used again. Whole kernels."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kernel_kit import MANAGER
from shared_kernels import SharedKernels

from claude_nb.offline import OfflineAPI

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("own_data")]

LITTER = """
import asyncio, os, sys
mine = 1
os.environ["OF_A_TEST"] = "1"
os.chdir("/")
async def tick():
    while True:
        sys.ticks = getattr(sys, "ticks", 0) + 1
        await asyncio.sleep(0.01)
task = asyncio.ensure_future(tick())
"""
LOOK = """
import asyncio, sys
before = getattr(sys, "ticks", 0)
await asyncio.sleep(0.2)
ticked = sys.ticks - before
"""


def test_nothing_of_one_test_is_there_for_the_next(
    kernels: SharedKernels, api: OfflineAPI, tmp_path: Path
) -> None:
    with kernels.lend(tmp_path) as kernel:
        pid = kernel.pid
        assert kernel.run("%config SessionManager.max_live = 3").error is None
        assert "Noted" in kernel.run("%claude the code word is heron").markdown
        kernel.run("turn = " + MANAGER + ".session().ask('stream 400 lines')")
        assert kernel.run(LITTER).error is None
        kernel.run("1 / 0")
    (tmp_path / "other").mkdir()
    with kernels.lend(tmp_path / "other", someone_there=False) as kernel:
        assert kernel.pid == pid
        assert kernel.eval(f"{MANAGER}.max_live, {MANAGER}.sessions") == "(15, {})"
        assert kernel.eval("'mine' in globals()") == "False"
        assert kernel.eval("__import__('os').environ.get('OF_A_TEST')") == ""
        assert kernel.eval("__import__('os').getcwd()") == repr(os.fspath(tmp_path / "other"))
        assert kernel.run(LOOK).error is None
        assert kernel.eval("ticked") == "0"
        assert "no code word" in kernel.run("%claude what is the code word").markdown


def leave_a_child(kernels: SharedKernels, folder: Path) -> None:
    with kernels.lend(folder) as kernel:
        kernel.run("import subprocess; open('pid', 'w').write(str(__import__('os').getpid()))")
        kernel.run("import atexit; atexit.register(subprocess.Popen(['sleep', '100']).kill)")


def test_a_kernel_in_which_something_was_left_running_is_told_and_replaced(
    private_home: Path, tmp_path: Path
) -> None:
    with SharedKernels(childless_patience=0.5) as kernels:
        with pytest.raises(AssertionError, match="still there"):
            leave_a_child(kernels, tmp_path)
        with kernels.lend(tmp_path) as kernel:
            assert kernel.pid != int((tmp_path / "pid").read_text())


def test_a_kernel_that_a_test_has_failed_with_is_replaced(kernels: SharedKernels, tmp_path: Path) -> None:
    with kernels.lend(tmp_path) as kernel:
        pid = kernel.pid
        kernel.spoiled = True
    with kernels.lend(tmp_path) as kernel:
        assert kernel.pid != pid


def test_who_does_not_nest_gets_a_kernel_in_which_nobody_has(private_home: Path, tmp_path: Path) -> None:
    with SharedKernels() as kernels:
        with kernels.lend(tmp_path) as kernel:
            first = kernel.pid
            assert kernel.run("import nest_asyncio2; nest_asyncio2.apply()").error is None
        with kernels.lend(tmp_path) as kernel:
            assert kernel.pid != first
        with kernels.lend(tmp_path, nests=True) as kernel:
            assert kernel.pid == first
