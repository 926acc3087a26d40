"""What happened in the notebook: the last cells that ran, with what they printed, showed and raised.

IPython tells when a cell starts and ends (`pre_run_cell`, `post_run_cell`). While it runs, and only then, the
few methods through which its output leaves the process are replaced on their instances by ones that take
notes and pass everything on at once: `write` of the standard streams, `publish` and `clear_output` of the
display publisher, `write_format_data` of the display hook. That is the same in ipykernel 6 and 7 and in a
terminal, it sees every thread, and what goes elsewhere (`redirect_stdout`, `%%capture`) is not seen, just as
the reader does not see it. IPython 9 itself replaces `write` around each cell; ours comes and goes inside of
that.

A cell that runs another one (`shell.run_cell`) keeps its own output: the running cell is a context variable,
which also tells cells of subshells apart, and each replacement notes only what belongs to its own cell.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from claude_nb.kernel.plain import shorten
from claude_nb.kernel.running import RunningCell, the_running_cell
from claude_nb.kernel.shown import ShownPictures

if TYPE_CHECKING:
    from claude_nb.kernel.tracebacks import CellError

log = logging.getLogger(__name__)

_KEPT_CELLS = 200
_KEPT_IMAGES = 20

# A part's title, its line ends and what sets its lines off.
_TITLE = 24
_TITLES = {"printed": "printed", "displays": "displayed", "result": "result", "error": "error"}
_LEAST_SOURCE = 120
_READING = ("source", "printed", "displays", "result", "error")

_OURS = re.compile(r"\s*+%%?claude(?=\s|$)")
_WHOLE_CELL = re.compile(r"%%claude(?=\s|$)")
_ONLY_OURS = re.compile(
    r"(?:[\w.\[\], ]{1,200}=[ \t]*)?%claude(?=\s|$)|%(?:re|un)?load_ext[ \t]+claude_nb[ \t]*$"
    r"|import claude_nb$"
)
_ONE_LINE = re.compile(r"(?:[\w.\[\], ]{1,200}=[ \t]*|%%?[a-z]\w{0,40}[^%\n]{0,200}[ \t])%claude(?=\s|$)")


@dataclass(frozen=True)
class Cell:
    """One execution of a cell.

    `number` counts the cells in the order in which they ended, from 1 (0 while it runs); `execution_count` is
    the reader's `In [n]`, or None. Texts are plain and bounded, `images` are PNG or JPEG. `ours` marks
    prompts to Claude, and what Claude ran: it knows these. `nested` cells were run by another cell.
    """

    number: int
    execution_count: int | None
    source: str
    printed: str = ""
    result: str = ""
    displays: tuple[str, ...] = ()
    images: tuple[bytes, ...] = ()
    error: CellError | None = None
    seconds: float = 0.0
    running: bool = False
    ours: bool = False
    nested: bool = False


class CellRecorder:
    """Remembers the last cells of a shell. An exception in here never reaches the user's cell."""

    def __init__(self, keep: int = _KEPT_CELLS) -> None:
        self._shell: Any = None
        self._cells: deque[Cell] = deque(maxlen=keep)
        self._stack: list[RunningCell] = []
        self._lock = threading.RLock()
        self._thread = threading.local()
        self._last_number = 0
        self.pictures = ShownPictures()

    def install(self, shell: Any) -> None:
        """Record from the next cell on."""
        if self._shell is not None:
            return
        self._shell = shell
        shell.events.register("pre_run_cell", self._started)
        shell.events.register("post_run_cell", self._ended)

    def remove(self) -> None:
        """Leave the shell as it was found; what was recorded stays."""
        shell, self._shell = self._shell, None
        if shell is None:
            return
        for event, callback in (("pre_run_cell", self._started), ("post_run_cell", self._ended)):
            if callback in shell.events.callbacks[event]:
                shell.events.unregister(event, callback)
        while self._stack:
            self._stack.pop().let_go()

    @property
    def last_number(self) -> int:
        """The number of the cell that ended last, 0 before the first."""
        return self._last_number

    def cells(self) -> list[Cell]:
        """The finished cells that are remembered, in the order in which they ended."""
        with self._lock:
            return list(self._cells)

    def since(self, number: int) -> list[Cell]:
        """Those that ended after the cell of that number."""
        return [cell for cell in self.cells() if cell.number > number]

    def running(self) -> list[Cell]:
        """The cells that run now, the outermost first, with what they have put out so far."""
        with self._lock:
            return [self._note(running) for running in self._stack]

    def threads(self) -> set[int]:
        """The threads in which cells run now; not those of prompts, which only wait."""
        with self._lock:
            return {running.thread for running in self._stack if not running.is_prompt}

    def last_error(self) -> Cell | None:
        """The last of the user's own cells that failed."""
        return next((cell for cell in reversed(self.cells()) if cell.error and not cell.ours), None)

    @contextmanager
    def as_ours(self) -> Iterator[None]:
        """Cells that this thread runs meanwhile are Claude's: it is told of them elsewhere."""
        before = getattr(self._thread, "ours", False)
        self._thread.ours = True
        try:
            yield
        finally:
            self._thread.ours = before

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """What this thread prints and shows meanwhile is not noted: a reply of Claude's, for example.

        A cell that runs meanwhile is recorded as ever.
        """
        running = the_running_cell(self._stack)
        if running is None:
            yield
            return
        with running.muted():
            yield

    def _started(self, info: Any) -> None:
        """Called by IPython before each cell."""
        try:
            outer = the_running_cell(self._stack)
            prompt = is_prompt(info.raw_cell)
            ours = getattr(self._thread, "ours", False) or prompt or (outer is not None and outer.ours)
            running = RunningCell(self._shell, info, ours, self._stack, prompt, self.pictures)
            with self._lock:
                self._stack.append(running)
            running.listen()
        except Exception:
            log.debug("a cell is not recorded", exc_info=True)

    def _ended(self, result: Any) -> None:
        """Called by IPython after each cell; also for those that never started, such as empty ones."""
        try:
            for running in self._stack[-1:]:
                running.complete()
            with self._lock:
                for running in self._take(result):
                    running.let_go()
                    self._keep(self._note(running, result if running.info is _info(result) else None))
        except Exception:
            log.debug("a cell is not recorded", exc_info=True)

    def _take(self, result: Any) -> list[RunningCell]:
        """Off the stack: the cell that has ended, and before it any inside of it whose end was never told."""
        thread = threading.get_ident()
        info = _info(result)
        exact = [cell for cell in self._stack if cell.info is info]
        # After an exception that escaped the cell, IPython makes a new info, or has none.
        alike = [cell for cell in self._stack if cell.thread == thread and cell.is_alike(info)]
        found = exact or alike[-1:]
        if not found:
            return []
        if found is not exact and info is not None:
            found[0].info = info
        place = self._stack.index(found[0])
        taken = [cell for cell in self._stack[place:] if cell is found[0] or cell.thread == thread]
        self._stack[:] = [cell for cell in self._stack if cell not in taken]
        return taken[::-1]

    def _error(self, error: BaseException | None) -> CellError | None:
        if error is None:
            return None
        from claude_nb.kernel.tracebacks import describe  # only where something fails

        return describe(error, self._name_of_file())

    def _note(self, running: RunningCell, result: Any = None) -> Cell:
        info = running.info
        error = getattr(result, "error_before_exec", None) or getattr(result, "error_in_exec", None)
        return Cell(
            number=0,
            execution_count=result.execution_count if result is not None and info.store_history else None,
            source=running.source,
            printed=running.printed.text(),
            result=running.result.text(),
            displays=_with_gap(tuple(running.displays.values()), running.unkept),
            images=tuple(running.images.values()),
            error=self._error(error),
            seconds=running.seconds,
            running=running.listening,
            ours=running.ours,
            nested=running.nested,
        )

    def _name_of_file(self) -> Callable[[str], str]:
        """What IPython shows for a file: `Cell In[3]` for a cell's."""
        told = getattr(getattr(self._shell, "compile", None), "format_code_name", None)

        def name(path: str) -> str:
            found = told(path) if told is not None else None
            return " ".join(found) if found else f"File {path}"

        return name

    def _keep(self, cell: Cell) -> None:
        self._last_number += 1
        self._cells.append(replace(cell, number=self._last_number))
        kept = 0
        for place in range(len(self._cells) - 1, -1, -1):
            images = self._cells[place].images
            if images and kept + len(images) > _KEPT_IMAGES:
                images = images[len(images) - max(_KEPT_IMAGES - kept, 0) :]
                self._cells[place] = replace(self._cells[place], images=images)
            kept += len(images)


def _with_gap(displays: tuple[str, ...], unkept: int) -> tuple[str, ...]:
    """The displays with how many between them were not kept."""
    if not unkept:
        return displays
    half = len(displays) // 2
    return (*displays[:half], f"… {unkept:,} displays left out …", *displays[half:])


def as_text(cell: Cell, limit: int, *, source: bool = True) -> str:
    """The cell for Claude: what it ran, printed, gave and raised, in at most about `limit` characters.

    Secrets are masked. Each part has a title, and its text stands indented below.
    """
    parts = _parts(cell, limit, source)
    rooms = _rooms(parts, limit)
    told = [
        f"{_TITLES.get(part) or title_of(cell)}:\n{_fitted(parts[part], room)}"
        for part, room in rooms.items()
    ]
    missing = [part for part in parts if part not in rooms]
    return "\n".join([*told, f"({' and '.join(missing)} not shown)"] if missing else told)


def _parts(cell: Cell, limit: int, source: bool) -> dict[str, str]:
    """The texts that there are, in the order in which they are given room."""
    from claude_nb.masking import mask  # many expressions to compile, needed by a prompt only

    texts = {
        "error": cell.error.traceback if cell.error else "",
        "source": cell.source if source else "",
        "result": cell.result,
        "printed": cell.printed,
        "displays": "\n".join(text for text in cell.displays if text),
    }
    # Masked before it is cut, since half a secret does not look like one; and not much more than is needed.
    return {
        part: mask(shorten(text.strip("\n"), 2 * limit + 2_000))
        for part, text in texts.items()
        if text.strip()
    }


def _rooms(parts: dict[str, str], limit: int) -> dict[str, int]:
    """How long each part may be, in the order of reading.

    The source has its first lines in any case. Then each takes at most half of what is left, and after that
    what the later ones did not need.
    """
    whole = {part: len(indented(text)) + _TITLE for part, text in parts.items()}
    given = dict.fromkeys(parts, 0)
    if "source" in given:
        given["source"] = min(whole["source"], _LEAST_SOURCE, limit // 2)
    left = limit - sum(given.values())
    for place, part in enumerate(parts):
        more = min(whole[part] - given[part], left if place == len(parts) - 1 else left // 2)
        given[part], left = given[part] + more, left - more
    for part in parts:
        more = min(whole[part] - given[part], left)
        given[part], left = given[part] + more, left - more
    # A few characters of a part are worth their title only if they are all of it.
    worth = [part for part in _READING if part in given and given[part] >= min(_TITLE + 10, whole[part])]
    return {part: given[part] - _TITLE for part in worth}


def _fitted(text: str, room: int) -> str:
    """The text, set off, within the room."""
    body = shorten(text, room)
    set_off = indented(body)
    return set_off if len(set_off) <= room else indented(shorten(text, room * len(body) // len(set_off)))


def title_of(cell: Cell) -> str:
    """What the reader calls the cell."""
    return f"In [{cell.execution_count if cell.execution_count is not None else ' '}], {cell.seconds:.1f} s"


def indented(text: str) -> str:
    """Set off, so that no line of it can look like one of ours."""
    return "\n".join(f"  {line}" for line in text.split("\n"))


def is_prompt(source: str) -> bool:
    """The cell begins with a prompt to Claude or consists of one: `%claude`, `%%claude`, `x = %claude`."""
    if "%claude" not in source:
        return False
    if _OURS.match(source):
        return True
    lines = [line for line in source.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    if lines and _OURS.match(lines[0]):
        return True
    if len(lines) == 2 and lines[0].startswith("%%") and _OURS.match(lines[1]):
        return True
    return len(lines) == 1 and _ONE_LINE.match(lines[0].strip()) is not None


def holds_only_ours(source: str) -> bool:
    """There is nothing in the cell but our magics, and comments."""
    lines = [line for line in source.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    if lines and _WHOLE_CELL.match(lines[0]):
        return True
    if lines and lines[0].startswith("%%"):  # such as `%%time`
        del lines[0]
        if not lines:
            return False
    return all(_ONLY_OURS.match(line.strip()) for line in lines)


def _info(result: Any) -> Any:
    return getattr(result, "info", None)
