"""Answers to the requests that Claude Code makes on its own account; no script rule sees them.

Told by their form, since nothing in a request names its purpose: a quota probe allows one token,
a request for a title or a label asks for JSON by a schema or says so in its system prompt, and a
compaction ends in Claude Code's own instruction to summarise.
"""

from __future__ import annotations

import json
import re
from typing import Any

from claude_nb.offline.conversation import Conversation

TITLE_WORDS = 6
ASKS_FOR_TITLE = re.compile(r"\b(generate|write|create|come up with)\b[^.]{0,80}\b(title|name)\b", re.I)
ASKS_FOR_SUMMARY = re.compile(
    r"Your task is to create a detailed summary of (the|this|the RECENT portion of the) conversation"
)


def answer(body: dict[str, Any], conversation: Conversation) -> str | None:
    """The reply to an auxiliary request, or None where a person's turn is meant."""
    if body.get("max_tokens") == 1:
        return "ok"
    schema = asked_schema(body)
    if schema is not None:
        return json.dumps(instance_of(schema, title(conversation)))
    if ASKS_FOR_SUMMARY.search(conversation.prompt):
        return summary(conversation)
    if not body.get("tools") and ASKS_FOR_TITLE.search(conversation.system):
        return title(conversation)
    return None


def asked_schema(body: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON schema that a request wants its reply to have."""
    config = body.get("output_config")
    form = config.get("format") if isinstance(config, dict) else body.get("output_format")
    schema = form.get("schema") if isinstance(form, dict) else None
    return schema if isinstance(schema, dict) else None


def instance_of(schema: dict[str, Any], text: str) -> Any:
    """A small value of the schema; every string is `text`."""
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        properties: dict[str, Any] = schema.get("properties", {})
        return {name: instance_of(inner, text) for name, inner in properties.items()}
    empty: dict[Any, Any] = {"array": [], "boolean": False, "integer": 0, "number": 0, "null": None}
    return empty.get(kind, text) if isinstance(kind, str) else text


def title(conversation: Conversation) -> str:
    words = re.sub(r"<[^>]*>", " ", conversation.prompt).split()
    return " ".join(words[:TITLE_WORDS]) or "Offline conversation"


def summary(conversation: Conversation) -> str:
    """A compaction that keeps what the person said, so that recalling still works after it."""
    said = "\n".join(f"- {text}" for text in conversation.earlier)
    return f"<summary>\nThe offline script's summary. The user said:\n{said}\n</summary>"
