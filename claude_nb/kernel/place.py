"""Put output into the cell it belongs to, also from other threads and after that cell has ended.

Every message to the front end names its parent, the request whose cell shows it. ipykernel keeps the parent
of what is shown now in several spots:

ipykernel 7   All of them are context variables, so whatever runs in a copy of the cell's context is shown in
              that cell, in any thread.
ipykernel 6   Only what is printed goes by a context variable. Displays, results and errors go by attributes
              that the whole process shares. In the main thread nothing else runs meanwhile, so they are set
              and put back. In another thread they belong to the cell that runs, so they stay, and a hook of
              that thread's own gives each display the right parent just before it is sent.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Place:
    """Where output goes; `Place.here` remembers the cell that runs now."""

    def __init__(self, shell: Any, context: contextvars.Context, parent: Any, ident: Any) -> None:
        self._shell = shell
        self._context = context
        self._parent = parent
        self._ident = ident
        self._publisher: Any = getattr(shell, "display_pub", None)

    def __repr__(self) -> str:
        header = (self._parent or {}).get("header", {})
        return f"<Place: {header.get('msg_type', 'no request')} {header.get('msg_id', '')}>"

    @property
    def cell(self) -> str:
        """A name for the execution whose cell it is: no two of a kernel share it."""
        return str((self._parent or {}).get("header", {}).get("msg_id", ""))

    @property
    def cell_id(self) -> str | None:
        """The notebook's own id of the cell, where the front end tells it."""
        told = (self._parent or {}).get("metadata", {}).get("cellId")
        return told if isinstance(told, str) and told else None

    @classmethod
    def here(cls, shell: Any) -> Place:
        """What the running cell prints and displays, or what `run` of another place does."""
        inherited = _current.get()
        if inherited is not None:
            return inherited
        context = contextvars.copy_context()
        kernel = getattr(shell, "kernel", None)
        if kernel is None or _by_context(kernel):
            return cls(shell, context, None if kernel is None else kernel.get_parent("shell"), None)
        return cls(shell, context, kernel.get_parent("shell"), kernel._parent_ident["shell"])

    def run(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call it, in this thread; what it prints and displays is shown in this place.

        Cells run by `shell.run_cell` show their results and errors there too; run them in the main thread
        only. Threads that the function starts do not inherit the place: give them one by `run`.
        """
        # A context can be entered only once at a time.
        return self._context.copy().run(self._run_inside, function, *args, **kwargs)

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        display_id: str | None = None,
        update: bool = False,
    ) -> None:
        """Show a bundle of mime types here, also while a cell that runs captures what is displayed."""
        transient = {} if display_id is None else {"display_id": display_id}
        self.run(self._publisher.publish, data, metadata or {}, transient=transient, update=update)

    def _run_inside(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        _current.set(self)
        with self._parents():
            return function(*args, **kwargs)

    def _parents(self) -> contextlib.AbstractContextManager[None]:
        """Set what does not go by context."""
        if getattr(self._shell, "kernel", None) is None or _by_context(self._shell.kernel):
            return contextlib.nullcontext()
        if threading.current_thread() is threading.main_thread():
            return self._parents_of_process()
        return self._parents_of_displays()

    @contextlib.contextmanager
    def _parents_of_process(self) -> Iterator[None]:
        kernel = self._shell.kernel
        before = kernel._parent_ident["shell"], kernel.get_parent("shell")
        try:
            kernel.set_parent(self._ident, self._parent, "shell")
            yield
        finally:
            kernel.set_parent(*before, "shell")

    @contextlib.contextmanager
    def _parents_of_displays(self) -> Iterator[None]:
        def in_this_place(message: dict[str, Any]) -> dict[str, Any]:
            """Called by ipykernel for each display of this thread."""
            return {**message, "parent_header": self._parent.get("header", {})}

        with contextlib.ExitStack() as hooks:
            for publisher in {self._publisher, self._shell.display_pub}:
                if hasattr(publisher, "register_hook"):  # else displays are captured, and sent nowhere
                    publisher.register_hook(in_this_place)
                    hooks.callback(publisher.unregister_hook, in_this_place)
            yield


_current: contextvars.ContextVar[Place | None] = contextvars.ContextVar("claude_nb_place", default=None)


def _by_context(kernel: Any) -> bool:
    """All parents are context variables."""
    return isinstance(getattr(kernel, "_shell_parent", None), contextvars.ContextVar)
