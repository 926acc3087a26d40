"""Whose message is it? Which turn each message of Claude Code belongs to. No I/O.

Claude Code writes one stream. Most of it answers the prompt that was written last, but when a background
task of Claude's has ended, Claude Code starts a turn *of its own*, at any moment: also between the time a
prompt is written and the time it is taken up. What tells them apart:

- each prompt carries a uuid of ours, and its *echo* comes just before the first word of its answer;
- a result names the prompts it answers; a turn of Claude Code's own names none;
- a prompt that is taken up in the middle of such a turn is named by that turn's result all the same.

So words before the echo are Claude Code's own, words after it the prompt's. An own turn belongs to the
turn that started the task: its `aftermath`, shown where the task was started.

An agent that works in the background says its words in the same stream. They are no turn of Claude Code's
own: they belong to the turn that started the agent, also when that is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_nb.turn import Turn

_WORDS = ("StreamEvent", "AssistantMessage")


class Attribution:
    """The turns of one process: the prompt's (`turn`), Claude Code's own (`own`), and the running tasks."""

    def __init__(self, make_own: Callable[[], Turn]) -> None:
        self.turn: Turn | None = None
        self.own: Turn | None = None
        # Background tasks that run now, and the turn that started each.
        self.tasks: dict[str, Turn | None] = {}
        # The agents among them: by each tool call that they make, and the one that started them, which it is.
        self._agents: dict[str, str] = {}
        # How Claude describes each task, and those that an interrupt has ended.
        self._descriptions: dict[str, str] = {}
        self._ended: list[str] = []
        self._make_own = make_own
        self._prompt_id: str | None = None
        self._echoed = False
        # Something has come since the prompt was written: Claude Code may have taken it up.
        self.heard = False
        self._origin: Turn | None = None

    def __repr__(self) -> str:
        return f"<Attribution: prompt {self.turn!r}, own {self.own!r}, {len(self.tasks)} tasks>"

    @property
    def quiet(self) -> bool:
        """Claude Code does nothing of its own: a prompt written now is taken up at once."""
        return self.own is None

    def expect(self, turn: Turn, prompt_id: str) -> None:
        """The prompt is about to be written."""
        self.turn, self._prompt_id, self._echoed, self.heard = turn, prompt_id, False, False

    def forget(self) -> None:
        """The prompt is over, or its process is gone."""
        self.turn, self._prompt_id, self._echoed = None, None, False

    def started(self, agent: str | None) -> Turn | None:
        """The turn that started a background agent; None for what is none."""
        return self.tasks.get(agent) if agent in self._agents.values() else None  # type: ignore[arg-type]

    @property
    def of_agents(self) -> Turn | None:
        """The turn that started a background agent which works on; the last one if there are several."""
        turns = [self.tasks.get(agent) for agent in self._agents.values()]
        return next((turn for turn in reversed(turns) if turn is not None), None)

    def whose(self, message: Any) -> Turn | None:
        """The turn to apply the message to; None for what is nobody's."""
        kind = type(message).__name__
        self.heard = self.heard or not _is_idle_news(message)
        self._track_task(kind, message)
        agent = self._agents.get(getattr(message, "parent_tool_use_id", None) or "")
        if agent is not None:
            calls = getattr(message, "content", None) if kind == "AssistantMessage" else None
            self._agents |= {part.id: agent for part in calls or () if type(part).__name__ == "ToolUseBlock"}
            return self.tasks.get(agent)
        if kind == "UserMessage" and message.uuid is not None and message.uuid == self._prompt_id:
            self._echoed = True
            return None
        if kind == "ResultMessage":
            if self.answers_prompt(message):
                return self.turn
            if self.turn is None and self.own is None and _has_failed(message):
                self._begin_own()  # one that came to no word
            return self.own
        if self.turn is not None and self._echoed:
            return self.turn
        if self.own is None and kind in _WORDS and not _is_synthetic(message):
            self._begin_own()
        # What is neither words nor an echo, such as news of an API error, may come before the echo.
        return self.own or self.turn

    def answers_prompt(self, result: Any) -> bool:
        """The result ends the prompt's turn."""
        if self.turn is None:
            return False
        named = [*(result.user_message_uuids or []), result.user_message_uuid]
        if any(named):
            return self._prompt_id in named
        # One without a word before the echo tells that something left over from before was seen to.
        return self._echoed or (self.own is None and (result.is_error or result.num_turns > 0))

    def end_own(self) -> Turn | None:
        """Claude Code's own turn is over; the turn it was, None if there was none."""
        own, self.own = self.own, None
        return own

    def _begin_own(self) -> None:
        self.own = self._make_own()
        if self._origin is not None:
            self._origin._add_aftermath(self.own)

    def _track_task(self, kind: str, message: Any) -> None:
        if kind == "TaskStartedMessage":
            outer = self._agents.get(message.tool_use_id or "")
            self._descriptions[message.task_id] = str(message.description or message.task_id)
            self.tasks[message.task_id] = self.tasks.get(outer) if outer else self.turn or self._origin
            if message.task_type == "local_agent" and message.data.get("is_backgrounded"):
                self._agents[message.tool_use_id] = message.task_id
        elif kind in _TASK_NEWS and message.status in _TASK_ENDED:
            working = self.turn or self.own
            if message.task_id in self.tasks and working is not None and working.wants_interrupt:
                self._ended.append(message.task_id)
            self._origin = self.tasks.pop(message.task_id, self._origin)
            self._agents = {call: agent for call, agent in self._agents.items() if agent in self.tasks}

    def take_ended(self) -> str | None:
        """Return in words what an interrupt has ended beside the turn, once; None if nothing."""
        ended, self._ended = self._ended, []
        words = self._in_words(ended)
        return f"it also ended {words}" if words else None

    def forget_tasks(self) -> str | None:
        """They have ended with the process. Returns which, in words; None if there were none."""
        words = self._in_words(list(self.tasks))
        self.tasks.clear()
        self._agents.clear()
        self._descriptions.clear()
        return words

    def _in_words(self, tasks: list[str]) -> str | None:
        if not tasks:
            return None
        named = ", ".join(repr(self._descriptions.get(task, task)) for task in tasks)
        return f"what Claude had in the background: {named}"


def _is_synthetic(message: Any) -> bool:
    """Claude Code's own words, which a command such as `/context` answers with, without an echo."""
    return getattr(message, "model", None) == "<synthetic>"


def _has_failed(result: Any) -> bool:
    """It ends a turn that failed, and that nobody has interrupted."""
    return result.is_error and not str(result.terminal_reason or "").startswith("aborted")


def _is_idle_news(message: Any) -> bool:
    """It tells the end of the turn before, and may come late."""
    data = getattr(message, "data", None) or {}
    return data.get("subtype") == "session_state_changed" and data.get("state") == "idle"


_TASK_NEWS = ("TaskNotificationMessage", "TaskUpdatedMessage")
# The SDK's TERMINAL_TASK_STATUSES, which cannot be had without importing all of it.
_TASK_ENDED = frozenset({"completed", "failed", "killed", "stopped"})
