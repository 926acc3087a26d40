"""Notes of one cell while it runs; see `cells` for how and why."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from claude_nb.kernel.mime import best_text
from claude_nb.kernel.pipes import drain
from claude_nb.kernel.plain import BoundedText, clean, shorten
from claude_nb.kernel.shown import ShownPictures

log = logging.getLogger(__name__)

LONGEST_TEXT = 20_000
_MOST_DISPLAYS = 20
_MOST_IMAGES = 20
_LARGEST_IMAGE = 5_000_000
_IMAGES = ("image/png", "image/jpeg")

_WIDGETS = "ipywidgets.widgets.widget"
_OUTPUTS = "ipywidgets.widgets.widget_output"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_ABSENT = object()

# Ours that could not be taken off, since the cell of another subshell had put its own over them; with what
# they stood for.
_left: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

# In threads that were started without a context, and in those of ipykernel 6, it is not set.
_running: ContextVar[RunningCell | None] = ContextVar("claude_nb_running_cell", default=None)


def the_running_cell(stack: list[RunningCell]) -> RunningCell | None:
    """Whose output it is that this thread or task makes now."""
    found = _running.get()
    if found is None:
        return stack[-1] if stack else None
    return found if found.listening else None


class RunningCell:
    """What is known of a cell so far."""

    def __init__(
        self,
        shell: Any,
        info: Any,
        ours: bool,
        stack: list[RunningCell],
        is_prompt: bool,
        pictures: ShownPictures,
    ) -> None:
        self.info = info
        self.ours = ours
        self.source = shorten(info.raw_cell, LONGEST_TEXT)
        self.thread = threading.get_ident()
        self.printed = BoundedText(LONGEST_TEXT)
        self.result = BoundedText(LONGEST_TEXT)
        self.displays: dict[Any, str] = {}
        # How many displays in the middle were too many to keep.
        self.unkept = 0
        self.images: dict[Any, bytes] = {}
        self.listening = False
        self._shell = shell
        self._terminal = getattr(shell, "kernel", None) is None
        self.is_prompt = is_prompt
        self._pictures = pictures
        self._stack = stack
        self.nested = False
        self._outer: RunningCell | None = None
        self._before: RunningCell | None = None
        self._started = time.perf_counter()
        self._seconds: float | None = None
        self._ways: list[Any] = []
        self._undo: list[Callable[[], None]] = []
        self._mute = threading.local()
        self._process = os.getpid()
        self._shown = 0
        self._to_be_cleared = False
        # By display: the widget that caught it, and the one that it shows.
        self._owners: dict[Any, str | None] = {}
        self._widgets: dict[Any, str] = {}

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.perf_counter() - self._started if self._seconds is None else self._seconds

    def is_alike(self, info: Any) -> bool:
        """An ExecutionInfo, or its absence, may be about this cell."""
        return info is None or info.raw_cell == self.info.raw_cell

    def listen(self) -> None:
        """Take notes from now on; whatever this context does is this cell's."""
        self.listening = True
        self._before = _running.get()
        # A callback that an earlier cell has left behind still has that cell's context.
        self._outer = self._before if self._before is not None and self._before.listening else None
        self.nested = self._outer is not None
        _running.set(self)
        publisher, hook = self._shell.display_pub, self._shell.displayhook
        streams = [sys.stdout] if sys.stdout is sys.stderr else [sys.stdout, sys.stderr]
        self._ways = [*streams, publisher]
        for stream in filter(self._is_seen, streams):
            self._replace(stream, "write", self._write)
        if self._is_seen(publisher):
            self._replace(publisher, "publish", self._publish)
            self._replace(publisher, "clear_output", self._clear_output)
        self._replace(hook, "write_format_data", self._write_format_data)
        self._replace(self._shell.display_formatter, "format", self._format)
        if self._terminal:
            # A terminal shows all this by printing it, which is no output of the cell's own.
            for owner, name in ((hook, "write_output_prompt"), *self._errors()):
                self._replace(owner, name, self._print_unnoted)

    def complete(self) -> None:
        """Note what is still on its way here, and what has changed since it was displayed."""
        drain(self._ways[:-1])
        try:
            self._renew_widgets()
        except Exception:
            log.debug("a widget is recorded as it was displayed", exc_info=True)

    def let_go(self) -> None:
        """The cell has ended."""
        self._seconds = self.seconds
        self.listening = False
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        if _running.get() is self:
            _running.set(self._before)
        self._before = self._outer = None  # contexts live long, and must not hold all cells there were

    @contextlib.contextmanager
    def muted(self) -> Iterator[None]:
        """What this thread puts out meanwhile is not noted."""
        depth = getattr(self._mute, "depth", 0)
        self._mute.depth = depth + 1
        try:
            yield
        finally:
            self._mute.depth = depth

    def _is_seen(self, way: Any) -> bool:
        """It leads to the reader; not so what `%%capture` has put in its place before it runs its body."""
        outer = self._outer
        return self.ours or outer is None or any(way is known for known in outer._ways)

    def _errors(self) -> tuple[tuple[Any, str], ...]:
        return (self._shell, "showtraceback"), (self._shell, "showsyntaxerror")

    def _replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put a method on an instance, to be taken off again unless somebody else has put theirs there."""
        try:
            before = vars(owner).get(name, _ABSENT)
            method = make(getattr(owner, name))
            setattr(owner, name, method)
        except (AttributeError, TypeError):  # a stream of the user's own that takes none
            return

        def undo() -> None:
            if vars(owner).get(name) is not method:
                _left[method] = before
                return
            found = before
            while found in _left:
                found = _left[found]
            if found is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, found)

        self._undo.append(undo)

    def _notes(self) -> bool:
        """What is put out here and now is this cell's, and to be noted."""
        if self.is_prompt and self._terminal:
            return False  # a terminal has Claude's reply printed
        if the_running_cell(self._stack) is not self or os.getpid() != self._process:
            return False
        return not getattr(self._mute, "depth", 0)

    def _write(self, original: Callable[..., Any]) -> Callable[..., Any]:
        source = object()

        def write(text: Any, *rest: Any, **named: Any) -> Any:
            answer = original(text, *rest, **named)
            try:
                if self._notes():
                    self._clear_if_due()
                    self.printed.add(str(text), source)
            except Exception:
                log.debug("printed text is not recorded", exc_info=True)
            return answer

        return write

    def _publish(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def publish(*args: Any, **named: Any) -> Any:
            try:
                if self._notes():
                    self._note_display(args[0] if args else named.get("data"), named)
            except Exception:
                log.debug("a display is not recorded", exc_info=True)
            with self.muted():  # a terminal prints it
                return original(*args, **named)

        return publish

    def _clear_output(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def clear_output(wait: bool = False, *args: Any, **named: Any) -> Any:
            try:
                if self._notes():
                    self._note_clear(wait)
            except Exception:
                log.debug("that outputs are cleared is not recorded", exc_info=True)
            with self.muted():
                return original(wait, *args, **named)

        return clear_output

    def _write_format_data(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def write_format_data(format_dict: Any, *args: Any, **named: Any) -> Any:
            try:
                if self._notes():
                    self._note_result(format_dict)
            except Exception:
                log.debug("a result is not recorded", exc_info=True)
            with self.muted():
                return original(format_dict, *args, **named)

        return write_format_data

    def _format(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def format_(value: Any, *args: Any, **named: Any) -> Any:
            answer = original(value, *args, **named)
            try:
                image = image_of(answer[0])
                if image is not None:
                    self._pictures.note(value, image)
            except Exception:  # such as a value of which no weak reference can be had
                log.debug("a picture is not remembered", exc_info=True)
            return answer

        return format_

    def _print_unnoted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def unnoted(*args: Any, **named: Any) -> Any:
            with self.muted():
                return original(*args, **named)

        return unnoted

    def _note_display(self, data: Any, named: dict[str, Any]) -> None:
        if not isinstance(data, dict):
            return
        name = (named.get("transient") or {}).get("display_id")
        if named.get("update") and name not in self.displays:
            return  # it belongs to an earlier cell
        if not named.get("update"):
            self._clear_if_due()
        self._shown += 1
        key = self._shown if name is None else name
        self.displays[key] = shorten(clean(best_text(data)), LONGEST_TEXT)
        self._owners[key] = _capturing_widget()
        if isinstance(view := data.get(_WIDGET), dict):
            self._widgets[key] = str(view.get("model_id"))
        self._note_image(key, data)
        if len(self.displays) > _MOST_DISPLAYS:
            self._forget(list(self.displays)[_MOST_DISPLAYS // 2])
            self.unkept += 1

    def _note_result(self, data: Any) -> None:
        self._clear_if_due()
        self._shown += 1
        self.result.add(best_text(data) + "\n")
        self._note_image(self._shown, data)

    def _note_clear(self, wait: bool) -> None:
        """The reader's outputs go away, now or when something else comes."""
        owner = _capturing_widget()
        if owner is not None:  # only what this widget shows
            for key in [key for key, owning in self._owners.items() if owning == owner]:
                self._forget(key)
        elif wait:
            self._to_be_cleared = True
        else:
            self._clear()

    def _clear_if_due(self) -> None:
        if self._to_be_cleared and _capturing_widget() is None:
            self._clear()

    def _clear(self) -> None:
        self._to_be_cleared = False
        self.printed.clear()
        self.unkept = 0
        for kept in (self.displays, self.images, self._owners, self._widgets):
            kept.clear()

    def _forget(self, key: Any) -> None:
        for kept in (self.displays, self.images, self._owners, self._widgets):
            kept.pop(key, None)

    def _renew_widgets(self) -> None:
        """What widgets say of themselves at the end: a progress bar was empty when it was displayed."""
        known = getattr(sys.modules.get(_WIDGETS), "_instances", None)
        plain = self._shell.display_formatter.formatters.get("text/plain")
        for key, model in self._widgets.items():
            widget = known.get(model) if type(known) is dict else None
            if widget is None:
                self.displays[key] = f"{self.displays[key]} (closed)"
            elif plain is not None:
                self.displays[key] = shorten(clean(plain(widget) or self.displays[key]), LONGEST_TEXT)

    def _note_image(self, key: Any, data: dict[str, Any]) -> None:
        if key not in self.images and len(self.images) >= _MOST_IMAGES:
            self.images.pop(next(iter(self.images)))
        image = image_of(data)
        if image is not None:
            self.images[key] = image


def image_of(data: dict[str, Any]) -> bytes | None:
    """The picture in a bundle of mime types, if it is not too large."""
    for kind in _IMAGES:
        image = data.get(kind)
        if isinstance(image, str) and len(image) <= _LARGEST_IMAGE * 4 // 3:
            image = base64.b64decode(image)
        if isinstance(image, bytes) and len(image) <= _LARGEST_IMAGE:
            return image
    return None


def _capturing_widget() -> str | None:
    """The widget that shows, instead of the cell, what is put out now."""
    known = getattr(sys.modules.get(_WIDGETS), "_instances", None)
    output = getattr(sys.modules.get(_OUTPUTS), "Output", None)
    if output is None or type(known) is not dict:
        return None
    return next(
        (name for name, widget in list(known.items()) if type(widget) is output and widget.msg_id), None
    )
