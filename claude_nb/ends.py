"""How a session's turns end, and what of them is set down: in its record and in the audit log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from claude_nb.doing import noted
from claude_nb.errors import PromptRefused
from claude_nb.failures import failure_of, process_died
from claude_nb.reply import Status

if TYPE_CHECKING:
    from claude_nb.keeper import SessionKeeper
    from claude_nb.process import ClaudeProcess
    from claude_nb.session import Session
    from claude_nb.turn import Turn


class Ends:
    """Of one session; used in the portal's loop. `closing` is why the session ends, if it does."""

    def __init__(self, session: Session, keeper: SessionKeeper) -> None:
        self._session = session
        self._keeper = keeper

    def __repr__(self) -> str:
        return f"<Ends of the turns of {self._session.name!r}>"

    def by_result(self, turn: Turn, result: Any, closing: str | None, ended: str | None = None) -> None:
        """Claude Code has told its result; `ended` is what an interrupt has ended beside the turn."""
        self._count()
        self._finish(turn, result, closing, ended)
        completed = turn.status is Status.COMPLETED
        # Only of a whole reply it is promised that it is recorded.
        self._session.last_text = turn.log.last_text if completed else ""
        self._note(turn, closing)
        self._keeper.save(self._session)

    def by_own(self, turn: Turn, result: Any, closing: str | None) -> None:
        """A turn that Claude Code began by itself is over; without a result a prompt's turn took it up."""
        if result is None:
            turn._finish(Status.COMPLETED)
        else:
            self._finish(turn, result, closing)
        # Its words are the last ones now.
        self._session.last_text = turn.log.last_text if turn.status is Status.COMPLETED else ""
        self.log_tools(turn)

    def _finish(self, turn: Turn, result: Any, closing: str | None, ended: str | None = None) -> None:
        aborted = (result.terminal_reason or "").startswith("aborted") or turn.wants_interrupt
        if result.is_error and aborted:
            status = Status.INTERRUPTED if closing is None else Status.CANCELLED
            turn._finish(status, reason=closing or ended)
        elif result.is_error:
            retried = turn.log.retries[-1] if turn.log.retries else None
            turn._finish(Status.FAILED, error=failure_of(result, retried, self._session.model))
        elif turn.log.refused is not None:
            turn._finish(Status.FAILED, error=PromptRefused(turn.log.refused))
            self._keeper.forgotten(self._session)  # what went along with it was refused, too
        else:
            turn._finish(Status.COMPLETED)

    def with_process(self, turn: Turn, process: ClaudeProcess, closing: str | None) -> None:
        """The turn's process is gone. The caller saves the record.

        Whether Claude Code has written anything of the turn is not known. Before the first turn of a
        conversation is on disk, there is nothing that could be resumed.
        """
        kept = self._session.turns > 0
        if kept:
            self._count()
        self._finish_with_process(turn, process, closing, kept)
        self._session.last_text = ""
        self._note(turn, closing)

    def own_with_process(self, turn: Turn, process: ClaudeProcess, closing: str | None) -> None:
        """The same for a turn that Claude Code began by itself."""
        self._finish_with_process(turn, process, closing, kept=True)
        self._session.last_text = ""
        self.log_tools(turn)

    def _finish_with_process(
        self, turn: Turn, process: ClaudeProcess, closing: str | None, kept: bool
    ) -> None:
        if closing is not None:
            turn._finish(Status.CANCELLED, reason=closing)
        elif turn.wants_interrupt:
            turn._finish(Status.INTERRUPTED, reason="the process was ended; the next prompt resumes")
        else:
            turn._finish(Status.FAILED, error=process_died(process.returncode, process.stderr, kept=kept))

    def forget(self) -> None:
        """The conversation is another one from now on: no reply of the former has to be recorded in it."""
        self._session.last_text = ""

    def note_work(self) -> None:
        """A server keeps a kernel where something is at work, and it sees only the record."""
        if not noted(self._session):
            self._keeper.save(self._session)

    def note_cut(self, turn: Turn, reason: str) -> None:
        """The turn was cut short by what ends the kernel; the next kernel tells its reader."""
        self._session.record.ended = {"reason": reason, "time": time.time(), "turn": turn.number}

    def log_tools(self, turn: Turn) -> None:
        """What the turn's tools came to, for the audit log."""
        while turn.log.ended_tools:
            self._keeper.tool_ended(self._session, turn.log.ended_tools.pop(0))

    def _count(self) -> None:
        """One turn more; counted before who waits for it goes on."""
        record = self._session.record
        record.turns += 1

    def _note(self, turn: Turn, closing: str | None) -> None:
        """How it ended if it was cut short."""
        record = self._session.record
        record.last_activity = time.time()
        self.log_tools(turn)
        if turn.status is Status.CANCELLED:
            self.note_cut(turn, closing or "")
        else:
            record.ended = None
