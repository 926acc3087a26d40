"""What is asked, and what was answered. Data only; no I/O."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from claude_nb.reply import ToolUseBlock

# permission: may this tool run?   choices: Claude's AskUserQuestion   plan: approve what Claude will do
Kind = Literal["permission", "choices", "plan"]
Verdict = Literal["once", "always", "deny"]

PLAN = "ExitPlanMode"
_KINDS: dict[str, Kind] = {"AskUserQuestion": "choices", PLAN: "plan"}


@dataclass(frozen=True)
class Question:
    """A tool call that waits for a person.

    `tool` and `input` are Claude Code's own and untrusted. `rule` is the rule that "always" would add, as
    Claude Code writes it (`Bash(git diff:*)`), and None where it suggested none.
    """

    session: str
    tool: str
    input: Mapping[str, Any]
    rule: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def kind(self) -> Kind:
        """What form the question has."""
        return _KINDS.get(self.tool, "permission")

    def is_about(self, call: ToolUseBlock) -> bool:
        """It is this call that waits."""
        return call.state == "running" and (call.name, call.input) == (self.tool, self.input)


@dataclass(frozen=True)
class Decision:
    """What a person, a rule or a policy said.

    `reason` is what Claude reads when the verdict is "deny". `answers` are those of a "choices" question, by
    the question's text. `by` says who decided: "card", "input", "nobody", "policy", "look", "interrupt".
    """

    verdict: Verdict
    reason: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    by: str = ""

    @property
    def allowed(self) -> bool:
        """The tool runs."""
        return self.verdict != "deny"
