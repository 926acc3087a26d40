"""What each turn of a conversation has cost, of Claude Code's running total. Pure."""

from __future__ import annotations

# Differences of sums of thousandths of a cent.
_DIGITS = 9


class Spending:
    """The running total of one conversation.

    Claude Code goes on with the total when it resumes a conversation, and begins at nothing with a new one,
    with a fork, and with `/clear` in the middle of a process.
    """

    def __init__(self) -> None:
        self.total = 0.0

    def __repr__(self) -> str:
        return f"<Spending: ${self.total:.4f}>"

    def begin(self, total: float) -> None:
        """A process starts that goes on from this total."""
        self.total = total

    def of_turn(self, total: float | None) -> float | None:
        """What a turn has cost, after which the total is this; None where nothing is billed by it."""
        if total is None:
            return None
        before, self.total = self.total, total
        return round(total - before if total >= before else total, _DIGITS)
