"""What a command answers with, and what its mistakes are."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from claude_nb.errors import ClaudeNbError
from claude_nb.prompt_line import PromptLineError

if TYPE_CHECKING:
    from claude_nb.reply import Block

_T = TypeVar("_T")


@dataclass(frozen=True)
class Table:
    """Rows of text below a header; `notes` are lines below them."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Exchanges:
    """What was said: each prompt with what came of it."""

    pairs: Sequence[tuple[str, Sequence[Block]]]


class Verbatim(str):
    """Text that is shown exactly as it is."""


Answer = Table | Exchanges | str | None


class Mistake(PromptLineError):
    """The command was not given as it has to be; the message says how."""


class Called(Protocol):
    """A session, which has a name, and what prints call it."""

    @property
    def name(self) -> str: ...

    @property
    def called(self) -> str: ...


def as_subject(session: Called, given: str | None = None) -> str:
    """What an answer begins with that is about the session: the name it was given, or what it is called."""
    called = session.called if given is None else session.name
    return called if called == session.name else called.capitalize()


def wait_for(future: Future[_T], seconds: float, otherwise: str) -> _T:
    """The future's result within so many seconds; `otherwise` says what is not there yet."""
    try:
        return future.result(seconds)
    except TimeoutError:
        raise ClaudeNbError(
            f"{otherwise}, after {seconds:.0f} s. Look at `%claude /status`, and try again."
        ) from None
