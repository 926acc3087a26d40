"""May this tool run? Asked by Claude Code for each call that none of its own rules allows.

In this order: what only looks at the kernel may; then the policy; then a person, if one is there. Where
nobody is, the answer is no, with a reason that Claude reads. Claude Code's rules and modes come before all
this and are its own affair.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from claude_nb.asking import rules
from claude_nb.asking.question import Decision, Question
from claude_nb.kernel.tools import ADD_CELL, LOOKS, why_no_cell
from claude_nb.process import Answer

if TYPE_CHECKING:
    from claude_nb.session import Session
    from claude_nb.session_manager import SessionManager
    from claude_nb.turn import Turn

log = logging.getLogger(__name__)

# Claude Code's own tools that only read, anywhere on this machine.
READS = frozenset({"Read", "Glob", "Grep", "LS", "NotebookRead"})

NOBODY = "nobody is there to be asked"


class Permissions:
    """Answers for one kernel."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager

    async def decide(
        self, session: Session, turn: Turn | None, name: str, tool_input: dict[str, Any], context: Any
    ) -> Answer:
        """Whether the tool may run, and what else Claude Code is told. In the portal's loop."""
        folder = session.record.cwd or str(self._manager.folder)
        suggestions = rules.suggested(context.suggestions or (), folder)
        question = Question(session.name, name, tool_input, rules.in_words(suggestions))
        self._manager.audit.asked(context.tool_use_id)
        agent = context.agent_id if session.conversation.attribution.started(context.agent_id) else None
        decision = self._by_rule(question) or await self._by_person(question, turn, agent)
        log.info("%s of %r: %s by %s", name, session.name, decision.verdict, decision.by)
        self._manager.audit.decided(session, context.tool_use_id, question, decision)
        if not decision.allowed:
            return Answer(False, _refusal(name, decision), told=_told(decision))
        if decision.verdict == "always":
            rules.remember(session.record, suggestions)
            self._manager.keeper.save(session)
            return Answer(True, updates=suggestions)
        return Answer(True, input=_answered(question, decision))

    def _by_rule(self, question: Question) -> Decision | None:
        policy = self._manager.permission_policy
        if question.tool in LOOKS and self._manager.surroundings.shell is not None:
            return Decision("once", by="look")
        # Where a rule of the person's own says to ask, Claude Code suggests no other.
        if policy == "allow_reads" and question.tool in READS and question.rule:
            return Decision("once", by="policy")
        if policy == "deny":
            return Decision("deny", "permission_policy is 'deny'", by="policy")
        return None

    async def _by_person(self, question: Question, turn: Turn | None, agent: str | None) -> Decision:
        stage = turn.stage if turn is not None else None
        if turn is None or stage is None or not stage.someone:
            return Decision("deny", NOBODY, by="nobody")
        if question.tool == ADD_CELL and (why_not := why_no_cell(self._manager.surroundings, turn)):
            return Decision("deny", why_not, by="kernel")
        return await self._manager.desk.ask(question, turn, agent)


def _refusal(name: str, decision: Decision) -> str:
    """What Claude reads."""
    if decision.by in ("card", "input"):
        if not decision.reason:
            return f"{name} was not run: the user said no."
        return f"{name} was not run. The user said no: {decision.reason}"
    if decision.by in ("interrupt", "kernel"):
        return f"{name} was not run: {decision.reason}"
    return (
        f"{name} was not run: it needs the user's permission, and {decision.reason}. "
        "Say what you would have done, or do it with tools that need no permission."
    )


def _told(decision: Decision) -> str:
    """What the reader sees in the tool's card; nothing where the turn was ended, which says it."""
    if decision.by == "interrupt":
        return ""
    if decision.by in ("card", "input"):
        return f"Not run: you said no{': ' if decision.reason else '.'}{decision.reason}"
    return f"Not run: {decision.reason}"


def _answered(question: Question, decision: Decision) -> dict[str, Any] | None:
    """The input that the tool gets: Claude's own questions are answered in it."""
    if question.kind != "choices":
        return None
    return {**question.input, "answers": dict(decision.answers)}
