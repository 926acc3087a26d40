"""Pure: jobs for the main thread, and interrupts at any moment. The main thread here is that of pytest."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from claude_nb.kernel.interrupts import Interrupts, Overheard
from claude_nb.kernel.main_thread import Interrupted, MainThread
from claude_nb.kernel.nested import run_beside_loop, run_in_loop

PATIENCE = 20.0


class Wait:
    """What is waited for; a turn without everything else of a turn."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._callbacks: list[Callable[[], object]] = []

    def done(self) -> bool:
        return self.over.is_set()

    def on_end(self, callback: Callable[[], object]) -> None:
        self._callbacks.append(callback)
        if self.done():
            callback()

    def end(self, *_: Any) -> None:
        self.over.set()
        for callback in self._callbacks:
            callback()


@pytest.fixture(autouse=True)
def interrupts_raise() -> Iterator[None]:
    """As during a cell, and as it was afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def main() -> MainThread:
    """Of a kernel whose loop does not turn: a cell runs."""
    return MainThread(lambda: None)


def in_thread(function: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def interrupt(*_: Any) -> None:
    signal.raise_signal(signal.SIGINT)


def test_a_job_of_another_thread_is_run_by_the_thread_that_waits(main: MainThread) -> None:
    turn, seen = Wait(), []

    def ask() -> None:
        seen.append(main.submit(threading.current_thread).result(PATIENCE))
        turn.end()

    in_thread(ask)
    assert main.serve(turn, PATIENCE)
    assert seen == [threading.main_thread()]


def test_jobs_run_in_their_order_and_each_once(main: MainThread) -> None:
    turn, ran = Wait(), []
    for number in range(50):
        main.submit(lambda number=number: ran.append(number))
    main.submit(turn.end)
    assert main.serve(turn, PATIENCE)
    assert ran == list(range(50))
    assert main.serve(Wait(), 0.01) is False
    assert ran == list(range(50))


def test_the_wait_ends_with_its_time_and_with_its_turn(main: MainThread) -> None:
    turn = Wait()
    assert main.serve(turn, 0.01) is False
    assert not main.waits_for(turn)
    threading.Timer(0.05, turn.end).start()
    assert main.serve(turn, PATIENCE) is True
    assert main.serve(turn) is True


def test_what_a_job_raises_is_told_to_who_asked_and_to_nobody_else(main: MainThread) -> None:
    turn = Wait()
    future = main.submit(lambda: 1 / 0)
    leaving = main.submit(lambda: exec("raise SystemExit(3)"))
    main.submit(turn.end)
    assert main.serve(turn, PATIENCE)
    assert isinstance(future.exception(), ZeroDivisionError)
    assert isinstance(leaving.exception(), SystemExit)


def test_a_job_that_was_cancelled_never_runs(main: MainThread) -> None:
    turn, ran = Wait(), []
    future = main.submit(lambda: ran.append(1))
    assert future.cancel()
    main.submit(turn.end)
    main.serve(turn, PATIENCE)
    assert ran == []
    with pytest.raises(CancelledError):
        future.result()


def test_what_needs_a_cell_waits_for_one(main: MainThread) -> None:
    ran: list[str] = []
    loop = asyncio.new_event_loop()
    main = MainThread(lambda: loop)
    main.submit(lambda: ran.append("asked"), in_cell=True)
    main.submit(lambda: ran.append("run"))

    async def between_cells() -> None:
        await asyncio.sleep(0.02)

    async def in_a_cell_that_awaits() -> None:
        with main.waiting(Wait()):
            await asyncio.sleep(0.02)

    loop.run_until_complete(between_cells())
    assert ran == ["run"]
    loop.run_until_complete(in_a_cell_that_awaits())
    assert ran == ["run", "asked"]
    loop.close()
    assert main.submit(lambda: ran.append("never")).done() is False  # the kernel ends; it does not raise


def test_a_wait_inside_a_job_serves_too(main: MainThread) -> None:
    outer, inner, ran = Wait(), Wait(), []

    def job() -> None:
        outer.end()  # the outer turn ends while the inner one is waited for
        main.submit(lambda: (ran.append("inner"), inner.end()))
        assert main.serve(inner, PATIENCE)
        ran.append("outer")

    main.submit(job)
    assert main.serve(outer, PATIENCE)
    assert ran == ["inner", "outer"]


def test_an_interrupt_ends_the_job_and_the_wait(main: MainThread) -> None:
    turn = Wait()
    future = main.submit(interrupt)
    later = main.submit(turn.end)
    with pytest.raises(KeyboardInterrupt):
        main.serve(turn, PATIENCE)
    assert isinstance(future.exception(), Interrupted)
    assert not later.done()
    assert main.serve(turn, PATIENCE)
    assert later.done()


def test_an_interrupt_during_another_turns_job_ends_that_turn_as_well(main: MainThread) -> None:
    waited, other, ended = Wait(), Wait(), []
    main.submit(interrupt, lambda: ended.append("other"), owner=other)
    with pytest.raises(KeyboardInterrupt):
        main.serve(waited, PATIENCE)
    main.submit(interrupt, lambda: ended.append("waited"), owner=waited)
    with pytest.raises(KeyboardInterrupt):
        main.serve(waited, PATIENCE)
    assert ended == ["other"]  # whoever waits for `waited` ends it


def test_an_interrupt_while_a_result_is_handed_over_loses_neither(main: MainThread) -> None:
    turn = Wait()

    def job() -> int:
        future.add_done_callback(interrupt)  # called in the midst of the bookkeeping
        return 7

    future: Future[int] = main.submit(job)
    with pytest.raises(KeyboardInterrupt):
        main.serve(turn, PATIENCE)
    assert future.result() == 7


def test_an_interrupt_between_cells_does_not_end_the_loop() -> None:
    loop, ended = asyncio.new_event_loop(), []
    main = MainThread(lambda: loop)
    first = main.submit(interrupt, lambda: ended.append("first"))
    second = main.submit(lambda: "second")
    third = main.submit(lambda: third.add_done_callback(interrupt), lambda: ended.append("third"))
    loop.run_until_complete(asyncio.wait_for(asyncio.wrap_future(second, loop=loop), PATIENCE))
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    assert isinstance(first.exception(), Interrupted)
    assert ended == ["first", "third"]


def test_a_storm_of_interrupts_loses_no_job_and_runs_none_twice(main: MainThread) -> None:
    begun: list[int] = []
    storm = threading.Event()

    def job(number: int) -> int:
        begun.append(number)
        return sum(range(50))

    def rage() -> None:
        while not storm.wait(0.0005):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def serve_all() -> None:
        while not all(future.done() for future in futures):
            main.serve(Wait(), 0.05)

    futures = [main.submit(lambda number=number: job(number)) for number in range(3000)]
    interrupted = 0
    with Interrupts() as cell:  # it raises as in a cell, but not in pytest
        raging = in_thread(rage)
        while not all(future.done() for future in futures):
            try:
                cell.call(serve_all)
            except KeyboardInterrupt:
                interrupted += 1
        storm.set()
        raging.join()
    assert interrupted
    assert len(begun) == len(set(begun))
    assert {type(future.exception()) for future in futures} <= {type(None), Interrupted}


def test_only_what_is_called_is_interrupted() -> None:
    with Interrupts() as interrupts:
        interrupt()
        assert interrupts.heard
        with pytest.raises(KeyboardInterrupt):
            interrupts.call(lambda: interrupt())
        interrupt()
        assert interrupts.call(lambda: 7) == 7
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_a_kick_ends_what_is_called_and_leaves_no_note() -> None:
    with Interrupts() as interrupts:
        in_thread(lambda: (time.sleep(0.05), interrupts.kick()))
        with pytest.raises(KeyboardInterrupt):
            interrupts.call(lambda: time.sleep(PATIENCE))
    assert interrupts.came
    assert not interrupts.heard


def test_a_kick_that_comes_too_late_hits_nothing() -> None:
    for _ in range(300):
        interrupts = Interrupts()
        kicking = threading.Event()

        def kick(interrupts: Interrupts = interrupts, kicking: threading.Event = kicking) -> None:
            kicking.wait()
            interrupts.kick()

        thread = in_thread(kick)
        with interrupts:
            try:
                interrupts.call(kicking.set)
            except KeyboardInterrupt:
                assert interrupts.came
        thread.join()  # raises KeyboardInterrupt here if the kick is still under way
        assert not interrupts.heard


def test_a_kick_of_the_outer_work_reaches_it_through_the_inner_one() -> None:
    inner = Interrupts()

    def work() -> None:
        with inner:
            inner.call(lambda: time.sleep(PATIENCE))

    with Interrupts() as outer:
        in_thread(lambda: (time.sleep(0.05), outer.kick()))
        with pytest.raises(KeyboardInterrupt):
            outer.call(work)
    assert not outer.heard
    assert not inner.heard


def test_in_another_thread_nothing_is_touched() -> None:
    seen: list[Any] = []

    def work() -> None:
        with Interrupts() as interrupts:
            seen.append(interrupts.call(lambda: signal.getsignal(signal.SIGINT)))

    in_thread(work).join()
    assert seen == [signal.default_int_handler]


def test_an_interrupt_ends_the_wait_beside_a_loop_and_no_task_of_the_loop() -> None:
    ended = threading.Event()

    async def cell() -> list[str]:
        log = ["begun"]

        async def users_own() -> None:
            for _ in range(40):
                await asyncio.sleep(0.01)
            log.append("the user's task has ended")

        task = asyncio.ensure_future(users_own())
        threading.Timer(0.1, lambda: signal.pthread_kill(threading.main_thread().ident or 0, 2)).start()
        try:
            run_beside_loop(ended.wait)
        except KeyboardInterrupt:
            log.append("interrupted")
        await task
        return log

    assert asyncio.run(cell()) == ["begun", "interrupted", "the user's task has ended"]
    ended.set()


@pytest.mark.parametrize("busy", [False, True], ids=["it awaits", "it is busy"])
def test_an_interrupt_ends_a_coroutine_that_runs_inside_the_loop(busy: bool) -> None:
    async def forever() -> None:
        if busy:
            time.sleep(PATIENCE)  # noqa: ASYNC251 - as a user might write it
        await asyncio.sleep(PATIENCE)

    async def cell() -> str:
        with Interrupts() as interrupts:
            threading.Timer(0.1, lambda: signal.pthread_kill(threading.main_thread().ident or 0, 2)).start()
            try:
                interrupts.call(lambda: run_in_loop(forever(), interrupts))
            except (KeyboardInterrupt, asyncio.CancelledError) as error:
                return type(error).__name__
            return "not ended"

    assert asyncio.run(cell()) == ("KeyboardInterrupt" if busy else "CancelledError")


def test_an_interrupt_that_another_handler_acts_on_is_noted_and_passed_on() -> None:
    passed: list[int] = []
    overheard = Overheard()
    signal.signal(signal.SIGINT, lambda number, frame: passed.append(number))
    with overheard.listening() as first, overheard.listening() as second:
        interrupt()
        with overheard.listening() as third:
            assert (first(), second(), third()) == (True, True, False)
    interrupt()
    assert passed == [signal.SIGINT, signal.SIGINT]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with overheard.listening() as heard, pytest.raises(KeyboardInterrupt):
        interrupt()
    assert not heard()
