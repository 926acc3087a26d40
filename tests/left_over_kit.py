"""Who is left of what a test has started.

Everything that the suite starts inherits a marker of this run in its environment.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import psutil
import pytest

RUN = f"{os.getpid()}-{uuid.uuid4().hex}"
MARKER = "CLAUDE_NB_TEST_RUN"

# A process that was told to end may need a moment to be gone.
PATIENCE = 5.0

# What several tests share now: none of them is to blame for it, nor for what it starts.
shared: set[psutil.Process] = set()

T = TypeVar("T")


def mark() -> None:
    """Have all children of this process carry the marker."""
    os.environ[MARKER] = RUN


@contextmanager
def sharing(resource: AbstractContextManager[T]) -> Iterator[T]:
    """Open something that several tests use."""
    before = set(marked())
    with resource as value:
        started = set(marked()) - before
        shared.update(started)
        try:
            yield value
        finally:
            shared.difference_update(started)


def end_and_report(left: list[psutil.Process]) -> None:
    """Kill what is left, and fail."""
    described = [describe(process) for process in left]
    for process in left:
        process.kill()
    if left:
        pytest.fail(f"{len(left)} processes were left running and have been killed: {described}")


def wait_until_gone(before: set[psutil.Process]) -> list[psutil.Process]:
    """The marked processes that are neither shared, nor in `before`, nor gone when the patience is over."""
    known = before | shared
    deadline = time.monotonic() + PATIENCE
    while True:
        left = [process for process in marked() if not {process, *ancestors(process)} & known]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def ancestors(process: psutil.Process) -> list[psutil.Process]:
    """Who started it, and who started that."""
    try:
        return process.parents()
    except psutil.Error:
        return []


def marked() -> list[psutil.Process]:
    """The living processes, other than this one, that carry the exact marker of this run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(MARKER) == RUN:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def describe(process: psutil.Process) -> str:
    """A line about a process, for a failure's message."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return str(process.pid)
