"""What Claude has scheduled for later: wake-ups and recurring jobs, which live in its process alone.

Claude Code sends no task message for them and says that it is idle; once its process has ended they never
come.
Their tools' results say when they are due. No clock: `now` is in unix seconds, as the times are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

_TOOLS = frozenset({"ScheduleWakeup", "CronCreate", "CronDelete"})
# Seconds after its time in which one comes that is due.
GRACE = 60.0
_SHOWN = 60  # characters of what it is for


@dataclass(frozen=True)
class Alarm:
    """One of them; `recurring` ones come until they are deleted."""

    due: float
    about: str
    recurring: bool = False

    def in_words(self) -> str:
        """As a reader says it: "'look again' at 17:50"."""
        clock = time.strftime("%a %H:%M", time.localtime(self.due))
        return f"{self.about!r} {'from' if self.recurring else 'at'} {clock}{' on' if self.recurring else ''}"


class Scheduled:
    """Of one process."""

    def __init__(self) -> None:
        self._alarms: dict[str, Alarm] = {}
        self._calls: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Scheduled: {list(self._alarms.values())!r}>"

    def heard(self, message: Any) -> bool:
        """Whether the message has changed what is scheduled."""
        kind: str = type(message).__name__
        content: Any = getattr(message, "content", None)
        if kind == "AssistantMessage":
            self._calls |= {part.id: part for part in content if getattr(part, "name", None) in _TOOLS}
        elif kind == "UserMessage" and self._calls and isinstance(content, list):
            for part in content:
                call = self._calls.pop(getattr(part, "tool_use_id", ""), None)
                if call is not None and not part.is_error:
                    return self._done(call, message.tool_use_result)
        return False

    def _done(self, call: Any, result: Any) -> bool:
        if call.name == "CronDelete":
            return self._alarms.pop(str(call.input.get("id")), None) is not None
        told = result if isinstance(result, dict) else {}
        due = told.get("scheduledFor") or told.get("nextFireAt")
        if not isinstance(due, int | float):
            return False
        about = " ".join(str(call.input.get("reason") or call.input.get("prompt") or call.name).split())
        alarm = Alarm(due / 1000, about[:_SHOWN], bool(told.get("recurring")))
        self._alarms[str(told.get("id") or call.id)] = alarm
        return True

    def ahead(self, now: float) -> list[Alarm]:
        """Return those that are still to come."""
        return [alarm for alarm in self._alarms.values() if alarm.recurring or now < alarm.due + GRACE]

    def clear(self) -> None:
        """Their process has ended."""
        self._alarms.clear()
        self._calls.clear()
