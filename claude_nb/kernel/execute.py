"""Run code for Claude as if the user had typed it: in their namespace, in the main thread, in a cell's place.

The cell within a cell keeps the outer one as it was. An error of the code is shown as text: as a real error
output it would mark the user's own cell as failed. Interrupts are told apart: Stop on the card ends the code
only, Kernel > Interrupt ends the turn as well.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from claude_nb.kernel.interrupts import Interrupts
from claude_nb.kernel.masked import masked_output
from claude_nb.kernel.nested import run_in_loop, running_loop
from claude_nb.kernel.numbers import number_inside


@dataclass(eq=False)
class _Run:
    """Code that runs for a session's tool; `over` once its turn does not wait for it any more."""

    session: str
    over: bool = False


# What the calling code is part of, the innermost last: it must not wait for one of these sessions. Tasks that
# the code has made keep it when the code itself has ended.
_RUNS: contextvars.ContextVar[tuple[_Run, ...]] = contextvars.ContextVar("claude_nb_runs", default=())
# The same for the main thread as a whole: a job has the context of its prompt, not of the code around it.
_stack: list[str] = []

# What IPython and ipykernel keep of the cell under way.
_OF_THE_SHELL = ("_last_traceback", "_last_traceback_during_displayhook")


def sessions_that_wait() -> set[str]:
    """The sessions whose own tool runs the calling code; to wait for one of them would never end."""
    here = {run.session for run in _RUNS.get() if not run.over}
    return here | set(_stack) if threading.current_thread() is threading.main_thread() else here


class Execution:
    """One run of code for a session, in the main thread; `stop` may be called from any thread."""

    def __init__(self, shell: Any, code: str, session: str) -> None:
        self.shell = shell
        self.code = code
        self.session = session
        self.stopped = False
        self._begun: float | None = None
        self._interrupts = Interrupts()
        self._runner: Any = shell.loop_runner

    @property
    def seconds(self) -> float:
        """For how long it has been running."""
        return 0.0 if self._begun is None else time.monotonic() - self._begun

    def run(self, inside_cell: bool = False) -> Any:
        """Run it, perhaps inside of a cell that is under way; IPython's result, None if it was stopped.

        A person's KeyboardInterrupt passes.
        """
        self._begun = time.monotonic()
        result = None
        with self._interrupts as interrupts, self._set_apart(inside_cell):
            try:
                result = interrupts.call(self._run)
            except KeyboardInterrupt:
                if not self.stopped:
                    raise
        if interrupts.heard or (not self.stopped and _was_interrupted(result)):
            raise KeyboardInterrupt
        return None if self.stopped else result

    def stop(self) -> None:
        """End the code, and nothing else."""
        self.stopped = True
        self._interrupts.kick()

    def _run(self) -> Any:
        if self.stopped:
            return None
        return self.shell.run_cell(self.code, store_history=_history_is_kept(self.shell))

    @contextlib.contextmanager
    def _set_apart(self, inside_cell: bool) -> Iterator[None]:
        """From the cell that it runs in, and from the kernel that it must not end."""
        with (
            _running_for(self.session),
            _outer_cell_kept(self.shell),
            number_inside(self.shell) if inside_cell else contextlib.nullcontext(),
            _errors_as_text(self.shell, self._interrupts),
            _own_attribute(self.shell, "ask_exit", _refuse_exit),
            _own_attribute(self.shell, "loop_runner", self._run_awaiting),
            masked_output(self.shell),
        ):
            yield

    def _run_awaiting(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Called by IPython for code with an `await`, in place of a runner that needs a free loop."""
        if running_loop() is None:
            return self._runner(coroutine)
        return run_in_loop(coroutine, self._interrupts)


def _was_interrupted(result: Any) -> bool:
    return result is not None and isinstance(result.error_in_exec, KeyboardInterrupt)


def _refuse_exit() -> None:
    raise RuntimeError(
        "Code that Claude runs cannot end the kernel; only the user can, with Kernel > Shut Down."
    )


@contextlib.contextmanager
def _running_for(session: str) -> Iterator[None]:
    run = _Run(session)
    token = _RUNS.set((*_RUNS.get(), run))
    _stack.append(session)
    try:
        yield
    finally:
        run.over = True
        _stack.pop()
        _RUNS.reset(token)


@contextlib.contextmanager
def _outer_cell_kept(shell: Any) -> Iterator[None]:
    """What IPython remembers of the cell under way."""
    hook = shell.displayhook
    outer = getattr(hook, "exec_result", None)
    kept = {name: vars(shell)[name] for name in _OF_THE_SHELL if name in vars(shell)}
    try:
        yield
    finally:
        hook.exec_result = outer
        vars(shell).update(kept)


@contextlib.contextmanager
def _errors_as_text(shell: Any, interrupts: Interrupts) -> Iterator[None]:
    """A traceback is shown as text in colours, not as the cell's error; that of an interrupt not at all."""

    def show(etype: Any, evalue: Any, stb: list[str]) -> None:
        """Called by IPython with a formatted traceback."""
        if isinstance(evalue, KeyboardInterrupt) or interrupts.came:
            return
        from IPython.display import display

        display({"text/plain": "\n".join(stb)}, raw=True)

    if getattr(shell, "kernel", None) is None:  # a terminal prints it
        yield
        return
    with _own_attribute(shell, "_showtraceback", show):
        yield


_ABSENT = object()


@contextlib.contextmanager
def _own_attribute(shell: Any, name: str, value: Any) -> Iterator[None]:
    """The shell has this attribute for a while."""
    before = getattr(shell, name) if shell.has_trait(name) else vars(shell).get(name, _ABSENT)
    setattr(shell, name, value)
    try:
        yield
    finally:
        if before is _ABSENT:
            delattr(shell, name)
        else:
            setattr(shell, name, before)


def _history_is_kept(shell: Any) -> bool:
    """As for the cell under way: nbval wants no history at all."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return True
    parent = kernel.get_parent("shell") or {}
    return bool(parent.get("content", {}).get("store_history", True))
