"""Surroundings: what a manager's sessions can use of the kernel that they live in.

A manager without IPython has them too; there is nothing in them then but a main thread that may wait.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from claude_nb.kernel.interrupts import Overheard
from claude_nb.kernel.main_thread import MainThread, is_main_thread
from claude_nb.kernel.nested import run_beside_loop, running_loop
from claude_nb.kernel.own_stderr import OwnStderr
from claude_nb.kernel.presence import front_end, someone_is_there
from claude_nb.kernel.subshells import Subshells, in_subshell

if TYPE_CHECKING:
    from claude_nb.kernel.cells import CellRecorder
    from claude_nb.kernel.context import ContextKeeper
    from claude_nb.kernel.drawing import Drawings
    from claude_nb.kernel.early import EarlyComms
    from claude_nb.kernel.place import Place
    from claude_nb.turn import Awaited, Context, Told, Turn

log = logging.getLogger(__name__)

Kind = Literal["notebook", "terminal", "chat", "none"]


@dataclass(frozen=True)
class Stage:
    """Where a turn was asked: what can be shown there, and whether a person sees it."""

    kind: Kind
    someone: bool
    place: Place | None = None
    text_only: bool = False

    @property
    def takes_cards(self) -> bool:
        """Buttons can be shown there."""
        return self.kind == "notebook" and self.someone and not self.text_only


class Surroundings:
    """One kernel, or plain Python when `shell` is None."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.kernel: Any = getattr(shell, "kernel", None)
        self.main_thread = MainThread(self._main_loop)
        self.subshells = Subshells()
        self._overheard = Overheard()
        self.recorder: CellRecorder | None = None
        self.early: EarlyComms | None = None
        self._context: ContextKeeper | None = None
        self.own_stderr = OwnStderr(self.kernel)
        self._watched = someone_is_there(shell)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Surroundings: {type(self.shell).__name__ if self.shell else 'plain Python'}>"

    # -- loading ------------------------------------------------------------------------------

    def install(self) -> None:
        """Watch the cells from now on."""
        from claude_nb.kernel.cells import CellRecorder

        self.recorder = CellRecorder()
        self.recorder.install(self.shell)
        self.shell.events.register("pre_run_cell", self._look_who_is_there)

    def remove(self) -> None:
        """Leave the shell as it was found."""
        if self.recorder is not None:
            self.recorder.remove()
            self.recorder = None
        with contextlib.suppress(ValueError):
            self.shell.events.unregister("pre_run_cell", self._look_who_is_there)
        if self.early is not None:
            self.early.remove()
            self.early = None

    def prepare(self) -> None:
        """Before the first turn: clicks will be heard while a cell runs."""
        with self._lock:
            if self.kernel is None or self.early is not None or not self._reader_answers():
                return
            from claude_nb.kernel.early import EarlyComms

            self.early = EarlyComms(self.kernel)
            self.early.install()
            if self.early.needs_serving:
                self.main_thread.meanwhile = self.early.serve_shell

    def _reader_answers(self) -> bool:
        """On ipykernel 6 the main thread reads the socket, and may be waiting for the thread that asks."""
        return is_main_thread() or getattr(self.kernel, "shell_channel_thread", None) is not None

    def _look_who_is_there(self, *_: Any) -> None:
        """Called by IPython before each cell."""
        self._watched = someone_is_there(self.shell)

    # -- where ---------------------------------------------------------------------------------

    def stage(self) -> Stage:
        """Where the caller's output goes; another thread than the main one is taken for the last cell's."""
        if is_main_thread():
            self._watched = someone_is_there(self.shell)
        if self.kernel is not None:
            from claude_nb.kernel.place import Place

            text_only = front_end(self.shell) == "text"
            return Stage("notebook", self._watched, Place.here(self.shell), text_only)
        return Stage("terminal" if self._watched else "none", self._watched)

    def _main_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that turns in the main thread between cells."""
        return getattr(getattr(self.kernel, "io_loop", None), "asyncio_loop", None)

    # -- waiting ------------------------------------------------------------------------------

    def wait_for(self, turn: Turn, timeout: float | None = None) -> bool:
        """Wait until the turn has ended, doing in the main thread what its tools ask for meanwhile."""
        if not is_main_thread():
            return self.subshells.serve(turn, timeout) if in_subshell(self.kernel) else turn.wait(timeout)
        return self.main_thread.serve(turn, timeout)

    def wait_beside_loop(self, turn: Turn, timeout: float | None = None) -> bool:
        """The same, while the main thread's loop goes on with the user's own tasks."""
        if not is_main_thread() or running_loop() is None:
            return self.wait_for(turn, timeout)
        with self.main_thread.waiting(turn):
            return run_beside_loop(lambda: turn.wait(timeout))

    @contextlib.contextmanager
    def awaited(self, turn: Turn) -> Iterator[Awaited]:
        """The main thread's loop waits for the turn; between its steps it can be asked."""
        from claude_nb.turn import Awaited

        if not is_main_thread():
            yield Awaited()
            return
        with self.main_thread.waiting(turn), self._overheard.listening() as heard:
            yield Awaited(True, heard)

    # -- seeing -------------------------------------------------------------------------------

    def told(self, session_id: str, prompt: str, folder: Path, budget: int) -> Told:
        """What goes before a prompt: what happened since the session's last turn, and what it mentions."""
        from claude_nb.turn import Told

        if self.shell is None:
            return Told()
        from claude_nb.kernel import look
        from claude_nb.kernel.mentions import resolve_all

        found = resolve_all(prompt, self.namespace, folder, look, self.drawings.of)
        blocks: list[Context] = [*found.texts]
        for label, image in found.images:
            blocks += [label, image_block(image)]
        mentioned = Told(tuple(blocks), mentioned=tuple(blocks))
        return self.told_again(session_id, mentioned, budget) if budget else mentioned

    def told_again(self, session_id: str, told: Told, budget: int) -> Told:
        """The same with what has happened until now."""
        from claude_nb.turn import Told

        changes, mark = self.context.take(session_id, budget)
        return Told((*([changes] if changes else []), *told.mentioned), mark, told.mentioned)

    @property
    def namespace(self) -> dict[str, Any]:
        """The user's variables."""
        return {} if self.shell is None else self.shell.user_ns

    @property
    def hidden(self) -> set[str]:
        """Names in it that IPython has put there."""
        return set() if self.shell is None else set(self.shell.user_ns_hidden)

    def unrecorded(self) -> AbstractContextManager[None]:
        """What this thread shows meanwhile is no output of the user's."""
        return contextlib.nullcontext() if self.recorder is None else self.recorder.unrecorded()

    @cached_property
    def drawings(self) -> Drawings:
        """Pictures of the user's figures."""
        from claude_nb.kernel.drawing import Drawings

        return Drawings(self.main_thread, lambda: self.recorder)

    @property
    def context(self) -> ContextKeeper:
        """What each session has been told of the notebook."""
        if self._context is None:
            from claude_nb.kernel.context import ContextKeeper

            self._context = ContextKeeper(self)
        return self._context


def image_block(image: bytes) -> dict[str, Any]:
    """An image as the API has it."""
    kind = "image/png" if image.startswith(b"\x89PNG") else "image/jpeg"
    source = {"type": "base64", "media_type": kind, "data": base64.b64encode(image).decode()}
    return {"type": "image", "source": source}
