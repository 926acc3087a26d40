"""What stands around the messages of a chat: state, model, queue, usage. Plain values for the page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from claude_nb.render.tools import display_name
from claude_nb.reply import Status
from claude_nb.state import WORKING, State

if TYPE_CHECKING:
    from claude_nb.session import Session
    from claude_nb.turn import Turn

# From monotonic to unix seconds.
_CLOCK = time.time() - time.monotonic()
_PROMPT = 120  # characters of a prompt that waits


def head(session: Session) -> dict[str, Any]:
    """Of this session, now."""
    working = session.running or session.conversation.working
    return {
        "session": session.name,
        "state": state_of(session),
        "status": _status(session.conversation.asking or working),
        "record": session.record.id,
        "queued": [
            {"id": turn.id, "text": _short(turn.prompt), "prompt": turn.prompt}
            for turn in session.conversation.queue
        ],
        "model": session.record.model or "",
        "models": models(session),
        "banner": _banner(session),
    }


def state_of(session: Session) -> str:
    """A word for the dot: waiting, busy, idle, suspended or dead."""
    working = session.running or session.conversation.working
    if session.conversation.asking is not None:
        return "waiting"
    if working is not None or session.state in WORKING or session.state is State.STARTING:
        return "busy"
    if session.state is State.IDLE:
        return "idle"
    return "dead" if session.state is State.DEAD else "suspended"


def models(session: Session) -> list[dict[str, str]]:
    """The models that Claude Code offers, once it has been started."""
    return [
        {
            "name": str(model.get("value", "")),
            "label": str(model.get("displayName") or model.get("value", "")),
            "about": str(model.get("description", "")),
        }
        for model in session.models
    ]


def _status(turn: Turn | None) -> dict[str, Any]:
    """What it does now, and since when in unix seconds; empty when it does nothing."""
    if turn is None:
        return {}
    if (pending := turn.question) is not None:
        return {"words": "Waiting for you", "since": round(pending.since + _CLOCK, 1)}
    if turn.done():
        return {}
    begun = turn.log.activity if turn.status is not Status.QUEUED else ""
    verb, space, tool = (turn.activity or begun).partition(" ")
    words = turn.log.notice or f"{verb}{space}{display_name(tool)}"
    silent = turn.silent_for(time.monotonic())
    if silent is not None and not turn.log.notice:
        words = f"nothing has come for {silent:.0f} s"
    return {"words": words[:1].upper() + words[1:], "since": round(turn.created + _CLOCK, 1)}


def _banner(session: Session) -> str:
    closing = session.conversation.closing
    return f"This session takes no more prompts: {closing}." if closing else ""


def _short(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= _PROMPT else line[: _PROMPT - 1] + "\u2026"
