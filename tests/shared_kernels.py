"""Kernels that tests use one after the other, each test as if its kernel were fresh; see `fresh`.

To start a kernel and import the SDK in it takes longer than most tests.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import left_over_kit
import psutil
import pytest
from kernel_kit import Kernel, oldest_ipykernel, running_kernel

# What a kernel has started ends with the extension, or a moment later.
CHILDLESS_PATIENCE = 15.0

# Said of a test by `conftest`.
FAILED = pytest.StashKey[bool]()

# What a kernel was like before its first test.
FRESH = "__import__('fresh').of_this_kernel"


@dataclass(frozen=True)
class Shared:
    """A kernel, what ends it, and the variables that it was started with."""

    kernel: Kernel
    stack: ExitStack
    environment: dict[str, str]
    process: psutil.Process

    @classmethod
    def started(cls, overlay: Path | None) -> Self:
        environment = dict(os.environ)
        with ExitStack() as stack:
            kernel = stack.enter_context(running_kernel(Path.home(), load=False, overlay=overlay))
            prepare(kernel)
            shared = cls(kernel, stack.pop_all(), environment, psutil.Process(kernel.pid))
        left_over_kit.shared.add(shared.process)
        return shared

    def end(self) -> None:
        left_over_kit.shared.discard(self.process)
        self.stack.close()

    def begin(self, folder: Path) -> None:
        unset = sorted(self.environment.keys() - os.environ.keys())
        self.kernel.run_unseen(f"{FRESH}.begin({str(folder)!r}, {dict(os.environ)!r}, {unset!r})")

    def clean(self, patience: float) -> bool:
        """Take away what the test has left; whether asyncio is as it was, too."""
        changed = self.kernel.run_unseen(f"{FRESH}.end()", f"{FRESH}.asyncio_is_changed")
        self.wait_until_childless(patience)
        return changed == "False"

    def wait_until_childless(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while left := self.process.children(recursive=True):
            assert time.monotonic() < deadline, f"still there below the kernel: {left}"
            time.sleep(0.02)


class SharedKernels:
    """One kernel of each ipykernel, and one in which asyncio was changed for good.

    One that a test has failed with is not used again.
    """

    def __init__(self, childless_patience: float = CHILDLESS_PATIENCE) -> None:
        self._patience = childless_patience
        self._shared: dict[tuple[Path | None, bool], Shared] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._shared:
            self._shared.popitem()[1].end()

    @contextmanager
    def lend(
        self,
        folder: Path,
        *,
        load: bool = True,
        someone_there: bool = True,
        overlay: Path | None = None,
        nests: bool = False,
    ) -> Iterator[Kernel]:
        """A kernel in `folder` and in the environment of now, with the extension newly loaded.

        A test that changes asyncio itself (`nests`) may have one in which that has happened.
        """
        shared = self._take(overlay, nests) or Shared.started(overlay)
        with ExitStack() as stack:
            stack.callback(shared.end)
            shared.begin(folder)
            shared.kernel.someone_there = someone_there
            if load:
                cell = shared.kernel.run("%load_ext claude_nb")
                assert cell.error is None, cell.shown_error
            yield shared.kernel
            if shared.kernel.spoiled:
                return
            place = overlay, shared.clean(self._patience)
            if place not in self._shared:
                self._shared[place] = shared
                stack.pop_all()

    def _take(self, overlay: Path | None, nests: bool) -> Shared | None:
        if nests and (overlay, False) in self._shared:
            return self._shared.pop((overlay, False))
        return self._shared.pop((overlay, True), None)


@contextmanager
def lent_to(
    request: pytest.FixtureRequest, folder: Path, ipykernel: str = "newest", **options: bool
) -> Iterator[Kernel]:
    """One of the shared kernels for a fixture of a test, which is asked whether it nests and has failed."""
    kernels: SharedKernels = request.getfixturevalue("kernels")
    overlay = oldest_ipykernel() if ipykernel == "oldest" else None
    nests = request.node.get_closest_marker("nests") is not None
    with kernels.lend(folder, overlay=overlay, nests=nests, **options) as kernel:
        yield kernel
        kernel.spoiled = FAILED in request.node.stash


def prepare(kernel: Kernel) -> None:
    """Have `fresh` in the kernel, and no name of it in the namespace."""
    here = str(Path(__file__).parent)
    kernel.run_unseen(
        f"__import__('sys').path.insert(0, {here!r})\n"
        "__import__('fresh').of_this_kernel = __import__('fresh').Fresh(get_ipython())\n"
        f"__import__('sys').path.remove({here!r})"
    )
