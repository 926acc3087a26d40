"""An exception as plain text: short, without colours, with the notebook's own names for its cells."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from claude_nb.kernel.plain import clean, shorten

# Beyond these a traceback tells no more: the first frames say where the call came from, the last what failed.
_FIRST_FRAMES, _LAST_FRAMES = 3, 12
_CHAIN = 4
_LONGEST_VALUE = 2_000
_LONGEST_TRACEBACK = 8_000
_NOT_THE_USERS = ("IPython.", "ipykernel.")


@dataclass(frozen=True)
class CellError:
    """How a cell failed."""

    ename: str
    evalue: str
    traceback: str


def describe(error: BaseException, name_of_file: Callable[[str], str]) -> CellError:
    """The error as text; `name_of_file` tells what the reader calls a file, such as `Cell In[3]`."""
    return CellError(
        ename=type(error).__name__,
        evalue=shorten(clean(_value(error)), _LONGEST_VALUE),
        traceback=shorten(clean(_traceback(error, name_of_file)), _LONGEST_TRACEBACK),
    )


def _value(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "<its text could not be made>"


def _traceback(error: BaseException, name_of_file: Callable[[str], str]) -> str:
    if hasattr(type(error), "_render_traceback_"):  # the reader saw a line of its own making
        return f"{type(error).__name__}: {_value(error)}"
    told = [_one(link, name_of_file) for link in _chain(error)]
    return "\n\nand because of that, or while it was handled:\n\n".join(reversed(told))


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what led to it, the error first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain and len(chain) < _CHAIN:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return chain


def _one(error: BaseException, name_of_file: Callable[[str], str]) -> str:
    frames = list(_frames(error))
    lines = [_line(*frame, name_of_file) for frame in frames[:_FIRST_FRAMES]]
    skipped = len(frames) - _FIRST_FRAMES - _LAST_FRAMES
    if skipped > 0:
        lines.append(f"  … {skipped} frames left out …")
    lines += [
        _line(*frame, name_of_file) for frame in frames[max(_FIRST_FRAMES, len(frames) - _LAST_FRAMES) :]
    ]
    head = ["Traceback (most recent call last):"] if frames else []
    last = "".join(traceback.format_exception_only(error)).rstrip()
    if isinstance(error, SyntaxError) and error.filename:
        last = last.replace(f'File "{error.filename}"', name_of_file(error.filename))
    return "\n".join([*head, *lines, last])


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """The frames from the user's cell on."""
    users = False
    for frame, line in traceback.walk_tb(error.__traceback__):
        users = users or not str(frame.f_globals.get("__name__")).startswith(_NOT_THE_USERS)
        if users:
            yield frame, line


def _line(frame: FrameType, number: int, name_of_file: Callable[[str], str]) -> str:
    code = frame.f_code
    source = linecache.getline(code.co_filename, number, frame.f_globals).strip()[:300]
    where = f"  {name_of_file(code.co_filename)}, line {number}, in {code.co_name}"
    return f"{where}\n    {source}" if source else where
