"""Show a Turn or a Reply where the user put it: as the value of a cell, or in `display()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from claude_nb.render.page import Page
from claude_nb.reply import Reply

if TYPE_CHECKING:
    from claude_nb.render.cards import OutputMode
    from claude_nb.turn import Turn


def show_reply(reply: Reply, mode: OutputMode = "normal") -> None:
    """Display a reply, as `%claude` left it in its cell."""
    _display(Page(cast("Turn", _Ended(reply)), mode).final(), str(reply))


def show_turn(turn: Turn, mode: OutputMode = "normal", *, masked: bool = True) -> None:
    """Display a turn as it stands; one that goes on is shown with its status."""
    page = Page(turn, mode, masked=masked)
    _display(page.final() if turn.done() else page.live(), turn.text)


def show_value(value: Reply | Turn) -> None:
    """Display the value of a cell, unless that cell has shown it already.

    A terminal has printed `Out[N]: ` by then, after which the value's short form stands.
    """
    shown = value.shown_in is not None and value.shown_in == running_cell()
    value.shown_in = None
    if not shown:
        show_reply(value) if isinstance(value, Reply) else show_turn(value)
    elif not _in_kernel():
        raise NotImplementedError("IPython prints the short form")


def _in_kernel() -> bool:
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def running_cell() -> str:
    """A name for the execution under way: no two executions of a process share it."""
    from IPython import get_ipython

    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return f"In[{getattr(shell, 'execution_count', None)}]"
    return str((kernel.get_parent("shell") or {}).get("header", {}).get("msg_id"))


def _display(markdown: str, text: str) -> None:
    from IPython import get_ipython
    from IPython.display import display

    from claude_nb.kernel.presence import wants_text
    from claude_nb.render.terminal import as_plain

    if not _in_kernel():
        print(as_plain(text))
    else:
        shown = {"text/markdown": markdown}
        if wants_text(get_ipython()):
            shown["text/plain"] = as_plain(text)
        display(shown, raw=True)


class _Ended:
    """A reply seen as the turn it came from, for `Page`."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.blocks = reply.blocks
        self.aftermath: list[Turn] = []
        self.news: str | None = None
        self.person_interrupted = False
