"""What Claude Code could not write is lost with its process: that is said first, and asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from claude_nb.answers import wait_for
from claude_nb.errors import ClaudeNbError
from claude_nb.kernel.main_thread import is_main_thread
from claude_nb.notices import unwritten

if TYPE_CHECKING:
    from claude_nb.session import Session
    from claude_nb.session_manager import SessionManager

FORCE = "--force"
_YES = ("y", "yes")
# A look at a folder on a slow disk.
_PATIENCE = 20.0


def forced(words: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether a command's words have `--force`, and the others."""
    return FORCE in words, [word for word in words if word != FORCE]


def refuse_to_lose(
    manager: SessionManager, sessions: Sequence[Session], deed: str, *, force: bool = False
) -> bool:
    """Whether something is lost by the `deed`, such as "stopped", to which a person has agreed.

    Raises `ClaudeNbError` where they have not: they said no, or nobody can be asked.
    """
    lost = [(session, why) for session in sessions if (why := _unwritten(session)) is not None]
    if not lost or force:
        return bool(lost)
    said = " ".join(unwritten(session.called, why) for session, why in lost)
    names = ", ".join(session.called for session, _ in lost)
    answer = _ask(manager, f"{said} Shall {names} be {deed} all the same? [y/N] ")
    if answer is None:
        raise ClaudeNbError(f"{said} Nobody can be asked, so {names} was not {deed}; `{FORCE}` does it.")
    if answer.strip().lower() not in _YES:
        raise ClaudeNbError(f"Nothing was {deed}. `{FORCE}` does it without a question.")
    return True


def _unwritten(session: Session) -> str | None:
    if session.life.now is None or not session.turns:
        return None
    waiting = f"It is not known yet whether the history of {session.called} is written"
    return wait_for(session.check_history(), _PATIENCE, waiting)


def _ask(manager: SessionManager, question: str) -> str | None:
    """What the person at the cell answers; None where nobody can be asked."""
    if not is_main_thread() or not manager.surroundings.stage().someone:
        return None
    try:
        return input(question)
    except (EOFError, RuntimeError):  # a front end that has no `input()`: StdinNotImplementedError is one
        return None
