"""The audit log: every tool call, who decided about it and when, and what came of it.

JSON lines in `<data>/audit/<day>.jsonl`, for this user's eyes only. A decision is a line (`event` is
"decided") as soon as it is made, so that the log knows of a call during which the kernel is killed; a call
that has ended is a line with all there is to know (`event` is "ended"). Claude Code does not ask about what
its own rules allow: such calls are logged when they end, as decided by "claude code". Secrets in inputs and
reasons are masked, and what one would not see is written as `\\uXXXX`, so that a terminal shows all of it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_nb.kernel.tools import RUN_CELL
from claude_nb.masking import mask
from claude_nb.private import private_folder

if TYPE_CHECKING:
    from claude_nb.asking.question import Decision, Question
    from claude_nb.reply import ToolUseBlock
    from claude_nb.session import Session

log = logging.getLogger(__name__)

# Characters of an input: a file's whole new content is in the file.
_MOST = 20_000
_BY_CLAUDE_CODE = {"decision": "once", "by": "claude code", "reason": "", "rule": "", "decided": ""}
_NOT_DECIDED = {"decision": "deny", "by": "nobody", "reason": "not answered", "rule": "", "decided": ""}
# Control characters beyond ASCII, those that hide or reorder text, and lone surrogates.
_UNSEEN = re.compile(
    r"[\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u2060-\u206f"
    r"\u3000\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


# Code runs in the process that takes the answers and writes this log.
UNCERTAIN = "code that Claude ran in this kernel before could have given this answer"


class AuditLog:
    """The log of one user. Who is said to have decided is no evidence once Claude's code has run here."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "audit"
        self._code_ran = False
        self._decided: dict[str, Mapping[str, str]] = {}

    def asked(self, tool_use_id: str | None) -> None:
        """It is to be decided about a call now; it may end before that."""
        if tool_use_id:
            self._decided[tool_use_id] = _NOT_DECIDED

    def decided(
        self,
        session: Session,
        tool_use_id: str | None,
        question: Question,
        decision: Decision,
    ) -> None:
        """Write that a call was allowed or refused by us."""
        known = {
            "decision": decision.verdict,
            "by": decision.by,
            "reason": mask(decision.reason),
            "rule": (question.rule or "") if decision.verdict == "always" else "",
            "decided": _now(),
        }
        if self._code_ran:
            known["note"] = UNCERTAIN
        self._code_ran = self._code_ran or (decision.allowed and question.tool == RUN_CELL)
        if tool_use_id in self._decided:
            self._decided[tool_use_id] = known
        self._write(session, "decided", tool_use_id, question.tool, question.input, known)

    def ended(self, session: Session, tool: ToolUseBlock) -> None:
        """Write the line of a call that has its result, or that never will."""
        known = self._decided.pop(tool.id, _BY_CLAUDE_CODE)
        # An agent in the background, or a command that was interrupted: nobody knows how it went.
        outcome = "no result" if tool.state == "failed" and tool.result is None else tool.state
        self._write(session, "ended", tool.id, tool.name, tool.input, {**known, "outcome": outcome})

    def _write(
        self,
        session: Session,
        event: str,
        call: str | None,
        tool: str,
        tool_input: Mapping[str, Any],
        known: Mapping[str, str],
    ) -> None:
        line = {
            "time": _now(),
            "event": event,
            "session": session.name,
            "folder": session.record.folder,
            "conversation": session.id,
            "call": call,
            "tool": tool,
            "input": _shortened(tool_input),
            **known,
        }
        try:
            self._append(_UNSEEN.sub(_escape, json.dumps(line, ensure_ascii=False)))
        except OSError as error:  # a full disk must not cost the turn
            log.warning("the audit log could not be written: %s", error)

    def _append(self, line: str) -> None:
        private_folder(self.folder)
        file = self.folder / time.strftime("%Y-%m-%d.jsonl")
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _escape(match: re.Match[str]) -> str:
    """As JSON writes what ASCII has not."""
    return json.dumps(match[0])[1:-1]


def _masked(value: Any) -> Any:
    """Each text by itself: in JSON a secret that begins a line stands behind the n of its line feed."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list) else value


def _shortened(tool_input: Mapping[str, Any]) -> Any:
    text = mask(json.dumps(_masked(tool_input), ensure_ascii=False, default=str))
    if len(text) > _MOST:
        return text[:_MOST] + f"… ({len(text) - _MOST} more characters)"
    try:
        return json.loads(text)
    except ValueError:  # the mask took a quotation mark
        return text
