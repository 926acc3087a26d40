"""Makes a used kernel as good as a fresh one; runs in the kernel, where `shared_kernels` asks for it.

A test gets the extension newly loaded, in its own folder and environment, with none of another test's names,
tasks and figures. What only a new process could take back is told.
"""

from __future__ import annotations

import asyncio
import copy
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

EXTENSION = "claude_nb"

# IPython's own names for inputs and results, which it goes on with.
OF_THE_HISTORY = re.compile(r"_+|_i+|_i?\d+")


class Fresh:
    """What the kernel was like before the first test."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.names = set(shell.user_ns)
        self.home = Path.cwd()
        # What `%config` sets is meant for whatever is made later, too.
        self.config = copy.deepcopy(shell.config)
        self.environ = dict(os.environ)
        self.on_interrupt = signal.getsignal(signal.SIGINT)

    def begin(self, folder: str, set_now: dict[str, str], unset: list[str]) -> None:
        """Another test begins, in that folder, with these variables of the environment."""
        os.environ.update(set_now)
        for name in unset:
            os.environ.pop(name, None)
        os.chdir(folder)

    def load(self) -> None:
        self.shell.extension_manager.load_extension(EXTENSION)

    def end(self) -> None:
        """The test is over: take away what it has made. Raises where that is not possible."""
        self.unload()
        self.cancel_tasks()
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")
        for name in set(self.shell.user_ns) - self.names:
            if not OF_THE_HISTORY.fullmatch(name):
                del self.shell.user_ns[name]
        self.shell.config = copy.deepcopy(self.config)
        os.environ.clear()
        os.environ.update(self.environ)
        os.chdir(self.home)
        assert signal.getsignal(signal.SIGINT) == self.on_interrupt, "Interrupt is handled in another way"

    def unload(self) -> None:
        """What runs is cut off: the test has seen what it wanted."""
        if EXTENSION not in self.shell.extension_manager.loaded:
            return
        import claude_nb

        claude_nb.manager().drain_timeout = 0
        self.shell.extension_manager.unload_extension(EXTENSION)
        callbacks = [each for event in self.shell.events.callbacks.values() for each in event]
        left = [each for each in callbacks if str(getattr(each, "__module__", "")).startswith(EXTENSION)]
        assert left == [], f"not unregistered: {left}"

    def cancel_tasks(self) -> None:
        """Those of the cells: their code is in files of ipykernel's."""
        for task in asyncio.all_tasks(self.shell.kernel.io_loop.asyncio_loop):
            code = getattr(task.get_coro(), "cr_code", None)
            if code is not None and f"ipykernel_{os.getpid()}" in code.co_filename:
                task.cancel()

    @property
    def asyncio_is_changed(self) -> bool:
        """By nest-asyncio2, for good."""
        return hasattr(asyncio, "_nest_patched")


# The one of this kernel; `kernel_kit` sets it.
of_this_kernel: Fresh
