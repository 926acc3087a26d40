"""The numbers of a cell and of one that runs inside of it, `In [5]` and `In [6]`.

IPython counts one cell after the other. Until IPython 9.3 the count moves when a cell has ended, since then
when it begins; and whatever asks for the number of the cell under way (its `Out [n]`, the reply that a front
end takes the number from) computes it from the count. So the inner cell gets the next number that is free,
the outer one finds the count as it left it, and once its reply is made the count moves past both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def number_inside(shell: Any) -> Iterator[None]:
    """A cell of its own number runs inside of one that is under way."""
    outer = shell.execution_count
    shell.execution_count = _free(shell)
    try:
        yield
    finally:
        shell.execution_count = outer
        if _free(shell) > outer:
            _move_on_after_cell(shell)


def _free(shell: Any) -> int:
    """The number of no cell yet: those that have one stand in the list of inputs, after an empty first."""
    history = shell.history_manager
    inputs = 0 if history is None else len(history.input_hist_parsed)
    return max(int(shell.execution_count), inputs)


def _move_on_after_cell(shell: Any) -> None:
    """Once the cell under way has ended and its reply is made."""

    def cell_ended(*_: Any) -> None:
        """Called by IPython after a cell; the reply is made after that."""
        shell.events.unregister("post_run_cell", cell_ended)
        kernel = getattr(shell, "kernel", None)
        if kernel is None:
            move_on()
        else:
            _once_handled(kernel, move_on)

    def move_on(*_: Any) -> None:
        shell.execution_count = _free(shell)

    shell.events.register("post_run_cell", cell_ended)


def _once_handled(kernel: Any, function: Callable[[], None]) -> None:
    """Call it when the message that the kernel handles now has been answered."""
    original = kernel.post_handler_hook

    def hook() -> None:
        """Called by ipykernel after each message of the shell channel."""
        if vars(kernel).get("post_handler_hook") is hook:
            del kernel.post_handler_hook
        function()
        original()

    kernel.post_handler_hook = hook
