"""Run the main thread's event loop inside of a cell that it runs already.

That is needed where a cell waits and the user's own asyncio tasks are to go on meanwhile (the trait
`keep_loop_running`), and where code that Claude runs has an `await` of its own. nest-asyncio2 makes it
possible. It is the maintained fork and what ipykernel itself requires; the original nest-asyncio loses cells
that are queued meanwhile on ipykernel 7.

KeyboardInterrupt should not be raised while the loop turns: it would hit whatever task has its turn, and then
the loop itself. So an interrupt ends the wait instead. Only a second one, when something keeps the loop from
turning, is raised wherever it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from claude_nb.kernel.interrupts import Interrupts

_T = TypeVar("_T")

# The loop sees an interrupt when it wakes; a person expects it at once.
HEARTBEAT = 0.1


def run_beside_loop(function: Callable[[], _T]) -> _T:
    """Run the blocking function in a thread while this thread's running loop goes on; return its result.

    Without a running loop the function is simply called. KeyboardInterrupt is raised here, in the caller's
    thread; the function goes on in its own until it is done.
    """
    loop = running_loop()
    if loop is None:
        return function()
    done = _in_thread(function)
    with Interrupts() as interrupts:
        interrupts.call(lambda: _run_nested(loop, _until(done, interrupts)))
    if interrupts.heard:
        raise KeyboardInterrupt
    return done.result()


def run_in_loop(coroutine: Coroutine[Any, Any, _T], interrupts: Interrupts) -> _T:
    """Run the coroutine to its end in this thread's running loop; an interrupt cancels it.

    To be called inside of `interrupts.call`. Where the coroutine itself keeps the loop busy, the interrupt
    raises KeyboardInterrupt in it.
    """
    return _run_nested(asyncio.get_running_loop(), _supervise(coroutine, interrupts))


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that this thread runs now."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _run_nested(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, _T]) -> _T:
    import nest_asyncio2

    nest_asyncio2.apply(loop)
    return loop.run_until_complete(coroutine)


def _in_thread(function: Callable[[], _T]) -> Future[_T]:
    """The thread is not waited for when the kernel ends; its output belongs to this cell."""
    done: Future[_T] = Future()

    def run() -> None:
        try:
            done.set_result(function())
        except BaseException as error:
            done.set_exception(error)

    place = contextvars.copy_context()
    threading.Thread(target=place.run, args=(run,), name="claude_nb_cell", daemon=True).start()
    return done


async def _until(done: Future[_T], interrupts: Interrupts) -> None:
    """Until it is done, or interrupted for the first time."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    spared = _spare_once(interrupts)
    done.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
    while not done.done() and not spared():
        await _wait_at_most(ended)


async def _supervise(coroutine: Coroutine[Any, Any, _T], interrupts: Interrupts) -> _T:
    """The coroutine's result; it is cancelled when an interrupt was spared."""
    task = asyncio.get_running_loop().create_task(coroutine)
    spared = _spare_once(interrupts, but=task)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=HEARTBEAT)
            if spared():
                task.cancel()
    finally:
        interrupts.spares = lambda: False
    return task.result()


def _spare_once(interrupts: Interrupts, but: asyncio.Task[Any] | None = None) -> Callable[[], bool]:
    """The first interrupt raises nothing, except in the task `but`; tells whether one was spared."""
    loop = asyncio.get_running_loop()
    spared = False

    def spares() -> bool:
        nonlocal spared
        if spared or (but is not None and asyncio.current_task(loop) is but):
            return False
        spared = True
        return True

    interrupts.spares = spares
    return lambda: spared


async def _wait_at_most(event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), HEARTBEAT)
