"""When a growing display may be updated next: often enough to read along, seldom enough for every front end.

A long text is updated less often, since each update carries and renders the whole of it. Besides, no session
sends twenty messages in any second and no kernel two hundred, beyond which Jupyter servers drop messages.
Time is handed in (`time.monotonic()` in life, any number in a test); nothing here waits.
"""

from __future__ import annotations

from collections import deque

SHORTEST_GAP = 1 / 12  # seconds between two updates: faster is not seen
CHARACTERS_PER_SECOND = 100_000  # so much text a page renders in a second and still scrolls smoothly
PER_SESSION = 19  # messages in any second
PER_KERNEL = 190
_SECOND = 1.0


class Budget:
    """At most `limit` messages in any second. One is shared by all sessions of a kernel."""

    def __init__(self, limit: int = PER_KERNEL) -> None:
        self.limit = limit
        self._sent: deque[float] = deque(maxlen=limit)

    def __repr__(self) -> str:
        return f"<Budget: {len(self._sent)} of {self.limit}>"

    def wait(self, now: float) -> float:
        """Seconds until one more message may be sent."""
        if len(self._sent) < self.limit:
            return 0.0
        return max(0.0, self._sent[0] + _SECOND - now)

    def spend(self, now: float) -> None:
        self._sent.append(now)


# All cells and chats of a kernel share what a Jupyter server lets pass.
KERNEL_BUDGET = Budget()


class Throttle:
    """One display's pace. The last update is always shown: whoever ends a display does not ask."""

    def __init__(self, now: float, budget: Budget | None = None) -> None:
        self._last = now
        self._own = Budget(PER_SESSION)
        self._all = budget

    def __repr__(self) -> str:
        return f"<Throttle: last shown at {self._last:.2f}>"

    def due(self, now: float, length: int) -> float:
        """Ask once after each update, of `length` characters: the seconds until the next may be shown."""
        self._last = now
        self.sent(now)
        gap = max(SHORTEST_GAP, length / CHARACTERS_PER_SECOND)
        return max(gap, self._own.wait(now), self._all.wait(now) if self._all else 0.0)

    def sent(self, now: float) -> None:
        """Some other message of this session was sent."""
        self._own.spend(now)
        if self._all:
            self._all.spend(now)
