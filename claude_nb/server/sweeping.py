"""When it is time to sweep: at once after a kernel has ended, then ever more seldom. Pure."""

from __future__ import annotations

# Seconds. A guard that is still ending its session is left alone, and it may be killed in the middle of it.
_FIRST_GAP = 1.0
_REGULAR = 300.0


class SweepClock:
    """Handed the time (monotonic seconds), so that a test need not wait for it. Due at once when new."""

    def __init__(self) -> None:
        self._due = 0.0
        self._gap = _FIRST_GAP
        self._orphans: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<SweepClock, then after {self._gap:g} s>"

    def kernel_ended(self, now: float) -> None:
        """A kernel was shut down or restarted, or was found dead."""
        self._due, self._gap = min(self._due, now), _FIRST_GAP

    def left_behind(self, orphans: frozenset[str], now: float) -> None:
        """These sessions have a dead kernel; a new one among them is worth a sweep now."""
        if orphans - self._orphans:
            self.kernel_ended(now)
        self._orphans = orphans

    def is_due(self, now: float) -> bool:
        return now >= self._due

    def swept(self, now: float) -> None:
        """The next sweep comes after twice the gap."""
        self._due, self._gap = now + self._gap, min(self._gap * 2, _REGULAR)
