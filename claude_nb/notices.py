"""What Claude Code says to the person beside the reply, as notices in one line each. Pure.

Claude Code speaks to the person by `system` messages. Those that only keep a client informed have no words
for a reader. The others are put in words here; a kind that is not known and carries a text is shown plainly,
since it is better to read a sentence too much than to miss that a reply was cut short. No notice holds what
differs from run to run, such as a time or an id: notebooks are compared with what they have saved.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from claude_nb.reply import NoticeBlock, PrintedBlock

log = logging.getLogger(__name__)

Data = Mapping[str, Any]

# Kinds that speak to a client, not to a person.
_FOR_CLIENTS = frozenset(
    [
        "init",
        "status",
        "api_retry",
        "api_error",
        "session_state_changed",
        "background_tasks_changed",
        "commands_changed",
        "task_started",
        "task_progress",
        "task_updated",
        "task_notification",
        "task_summary",
        "post_turn_summary",
        "thinking_tokens",
        "thinking",
        "hook_started",
        "hook_progress",
        "hook_response",
        "files_persisted",
        "file_snapshot",
        "elicitation_complete",
        "turn_duration",
        "turn_starting",
        "turn_preempted",
        "turn_began_before_init",
        "turn_handoff_available",
        "stop_hook_summary",
        "microcompact_boundary",
        "session_metadata",
        "session_title_changed",
        "shell_cwd",
        "vcs_state_changed",
        "worker_shutting_down",
        "local_command",
        "local_command_output",
        "memory_recall",
        "control_request_progress",
        "mirror_error",
        "away_summary",
        "cloud_session_delta",
        "rewind_stand_in",
        "ui_invalidate",
        "model_refusal_no_fallback",
    ]
)
# Keys that mean nothing here: "stop hook problem · ctrl+o to see".
_KEYS = re.compile(r"\s*\u00b7\s*(?:ctrl|alt|shift|esc|tab)\b[^\u00b7]*$", re.IGNORECASE)
_LOST = {"transcript": "the last part of the conversation", "global_config": "its settings"}
_FULL = {"ENOSPC": "the disk is full", "EDQUOT": "the disk quota is used up"}
# What Claude Code puts in Claude's place where there is nothing to say.
NO_RESPONSE = "No response requested."
_PRINTED = re.compile(r"<local-command-stdout>(.*)</local-command-stdout>", re.DOTALL)
# What a hook answers, if it answers in JSON.
_MOST_JSON = 100_000
# Characters of what a hook that fails says last.
_MOST_SAID = 200
_unknown: set[str] = set()


def told_by(message: Any) -> NoticeBlock | None:
    """What one of the SDK's messages tells the person; None if it tells nothing."""
    match type(message).__name__:
        case "SystemMessage":
            return notice_of(message.subtype, message.data)
        case "HookEventMessage":
            return hook_words(message.data)[1]
        case "ConversationResetMessage":
            return NoticeBlock("A new conversation was begun; Claude has forgotten the old one.", "reset")
    return None


def notice_of(subtype: str, data: Data) -> NoticeBlock | None:
    """What a `system` message tells the person; None if it tells nothing."""
    write = _WRITERS.get(subtype)
    if write is not None:
        return write(data)
    if subtype in _FOR_CLIENTS:
        return None
    text = next((data[key] for key in ("content", "text", "message") if _is_text(data.get(key))), None)
    if text is None:
        _log_once(subtype)
        return None
    return NoticeBlock(_one_line(text), subtype)


def recorded_block(entry: Data) -> NoticeBlock | PrintedBlock | None:
    """What an entry of a transcript told the person beside the conversation; None if it told nothing."""
    match entry.get("type"):
        case "attachment":
            return _attachment(_mapping(entry.get("attachment")))
        case "system":
            return _recorded(entry)
        case "assistant" if (words := synthetic_words(entry)) is not None and words != NO_RESPONSE:
            return NoticeBlock(words, "api_error", "warning")
    return None


def is_placeholder(entry: Data) -> bool:
    """An entry of a transcript stands in Claude's place where there was nothing to say."""
    return synthetic_words(entry) == NO_RESPONSE


def synthetic_words(entry: Data) -> str | None:
    """What Claude Code says in Claude's place; None if it is Claude who says it."""
    message = _mapping(entry.get("message"))
    if message.get("model") != "<synthetic>":
        return None
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    return _one_line(" ".join(str(_mapping(part).get("text") or "") for part in parts))


def _recorded(entry: Data) -> NoticeBlock | PrintedBlock | None:
    subtype = str(entry.get("subtype"))
    if subtype == "local_command":
        printed = _PRINTED.fullmatch(str(entry.get("content")).strip())
        return PrintedBlock(printed[1].strip(), done=True) if printed and printed[1].strip() else None
    if subtype not in _WRITERS:  # a transcript holds much else
        return None
    renamed = {_snake(key): value for key, value in entry.items()}
    metadata = _mapping(renamed.get("compact_metadata"))
    renamed["compact_metadata"] = {_snake(key): value for key, value in metadata.items()}
    ending = _mapping(_mapping(renamed.get("prompt_submit_ending")).get("ending"))
    if ending:
        return NoticeBlock(refusal_words(ending.get("reason")), "prompt_refused", "warning")
    return notice_of(subtype, renamed)


def refusal(subtype: str, data: Data) -> str | None:
    """Why a prompt never reached Claude, in a sentence; None if the message does not end it."""
    outcome = data.get("prompt_submit_outcome")
    if subtype != "informational" or not isinstance(outcome, Mapping):
        return None
    return refusal_words(outcome.get("reason"))


def refusal_words(reason: object) -> str:
    """A prompt that a hook has refused. Not what Claude Code writes: that quotes the hook and the prompt."""
    said = f": {_sentence(str(reason))}" if _is_text(reason) else "."
    return f"A hook of yours refused the prompt{said}"


def ending_notice(terminal_reason: str | None, hook_said: str) -> NoticeBlock | None:
    """Why a turn ended that did not fail; None for the usual end."""
    if terminal_reason in (None, "completed") or str(terminal_reason).startswith("aborted"):
        return None
    words = _ENDINGS.get(str(terminal_reason), f"Claude Code ended the turn: {terminal_reason}.")
    if terminal_reason in ("hook_stopped", "stop_hook_prevented") and hook_said:
        words = f"{words.removesuffix('.')}: {_sentence(hook_said)}"
    return NoticeBlock(words, str(terminal_reason), "warning")


def hook_words(data: Data) -> tuple[str, NoticeBlock | None]:
    """What a hook's answer says: why it stops the turn, and what it tells the person at a session's start.

    The latter of every other hook comes as a message of its own.
    """
    answer = _answer(data.get("stdout") or data.get("output"))
    reason = answer.get("stopReason")
    stopped = str(reason) if answer.get("continue") is False and _is_text(reason) else ""
    message = answer.get("systemMessage")
    if data.get("hook_event") == "SessionStart" and _is_text(message):
        return stopped, NoticeBlock(f"SessionStart says: {_one_line(str(message))}", "informational")
    return stopped, _failed_hook(data)


def _failed_hook(data: Data) -> NoticeBlock | None:
    """A hook that broke; Claude Code goes on without it. Status 2 is a hook's answer."""
    if data.get("outcome") != "error" or data.get("exit_code") in (0, 2):
        return None
    lines = [line for line in str(data.get("stderr") or "").splitlines() if line.strip()]
    said = f": {_one_line(lines[-1])[:_MOST_SAID]}" if lines else "."
    return NoticeBlock(f"The hook {data.get('hook_name')} failed{said}", "hook_failed", "warning")


def server_notice(name: str, status: str) -> NoticeBlock | None:
    """An MCP server that Claude has to do without in a turn that begins; None for one that works."""
    trouble = _SERVERS.get(status)
    if trouble is None:
        return None
    return NoticeBlock(
        f"MCP server '{name}' {trouble}, so its tools are missing. `%claude /status` says more.",
        "mcp_server",
        "warning",
    )


_SERVERS = {
    "failed": "has failed",
    "pending": "has not answered",
    "needs-auth": "needs you to sign in",
    "needs_auth": "needs you to sign in",
}

_ENDINGS = {
    "hook_stopped": "A hook stopped the turn.",
    "stop_hook_prevented": "A Stop hook ended the turn.",
    "max_turns": "Claude Code's limit of steps in a turn was reached.",
    "budget_exhausted": "The budget for this session is used up.",
    "background_requested": "The turn goes on in the background.",
    "tool_deferred": "A hook put off a tool call, and the turn ended with it.",
    "blocking_limit": "The conversation is too long. Use `/compact` or `/clear`.",
    "prompt_too_long": "The conversation is too long. Use `/compact` or `/clear`.",
    "rapid_refill_breaker": "The conversation filled up again right after it was compacted. Use `/clear`.",
}


# -- the known kinds -------------------------------------------------------------------------------


def _informational(data: Data) -> NoticeBlock | None:
    if not _is_text(data.get("content")) or data.get("prompt_submit_outcome") or data.get("level") == "info":
        return None  # "info" is for Claude Code's own transcript view
    return NoticeBlock(_one_line(data["content"]), "informational", _level(data.get("level")))


def _compacted(data: Data) -> NoticeBlock:
    facts = _mapping(data.get("compact_metadata"))
    by_itself = " by itself, to make room" if facts.get("trigger") == "auto" else ""
    before, after = _tokens(facts.get("pre_tokens")), _tokens(facts.get("post_tokens"))
    size = f" ({before} to {after} tokens)" if before and after else ""
    return NoticeBlock(f"The conversation was compacted{by_itself}{size}.", "compact_boundary")


def _switched(data: Data) -> NoticeBlock:
    """Another model answers, for whatever reason."""
    plain = f"{data.get('fallback_model')} answers in place of {data.get('original_model')}."
    text = data.get("content")
    words = _one_line(str(text)) if _is_text(text) else plain
    return NoticeBlock(words, "model_fallback", "warning")


def _denied(data: Data) -> NoticeBlock:
    reason = data.get("decision_reason") or data.get("message") or ""
    # What follows is advice for Claude.
    words = _one_line(str(reason)).split(" IMPORTANT:")[0]
    return NoticeBlock(f"{data.get('tool_name')} was not allowed: {words}", "permission_denied", "warning")


def _notified(data: Data) -> NoticeBlock | None:
    if not _is_text(data.get("text")) or data.get("key") == "stop-hook-error":
        return None  # which one, and why, is told as for every other hook
    urgent = data.get("priority") in ("high", "immediate")
    return NoticeBlock(
        _KEYS.sub("", _one_line(data["text"])), "notification", "warning" if urgent else "info"
    )


def _writes_lost(data: Data) -> NoticeBlock:
    listed = [_LOST.get(str(what), str(what)) for what in data.get("lost") or ()]
    why = _FULL.get(str(data.get("error_code")), str(data.get("error_code")))
    return NoticeBlock(
        f"Claude Code could not save {' and '.join(listed)}, since {why}. Resuming may miss it.",
        "session_writes_lost",
        "warning",
    )


_WRITERS: dict[str, Callable[[Data], NoticeBlock | None]] = {
    "informational": _informational,
    "compact_boundary": _compacted,
    "model_fallback": _switched,
    "model_refusal_fallback": _switched,
    "model_consent_fallback": _switched,
    "permission_denied": _denied,
    "notification": _notified,
    "session_writes_lost": _writes_lost,
}


def _attachment(attachment: Data) -> NoticeBlock | None:
    """A hook's words as a transcript keeps them."""
    match attachment.get("type"):
        case "hook_system_message" if _is_text(attachment.get("content")):
            name = str(attachment.get("hookName")).removesuffix(":startup").removesuffix(":resume")
            return NoticeBlock(f"{name} says: {_one_line(attachment['content'])}", "informational")
        case "hook_stopped_continuation":
            reason = "stop_hook_prevented" if attachment.get("hookEvent") == "Stop" else "hook_stopped"
            return ending_notice(reason, str(attachment.get("message") or ""))
    return None


# -- small pieces ----------------------------------------------------------------------------------


def _log_once(subtype: str) -> None:
    if subtype not in _unknown:
        _unknown.add(subtype)
        log.info("Claude Code sends messages of a kind that is not known: %s", subtype)


def _answer(text: object) -> Data:
    if not isinstance(text, str) or not text.lstrip().startswith("{") or len(text) > _MOST_JSON:
        return {}
    try:
        return _mapping(json.loads(text))
    except ValueError:
        return {}


def _mapping(value: object) -> Data:
    return value if isinstance(value, Mapping) else {}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _level(level: object) -> Any:
    return "warning" if level in ("warning", "error") else "info"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _sentence(text: str) -> str:
    line = _one_line(text)
    return line if line.endswith((".", "!", "?", "\u2026")) else line + "."


def _tokens(number: object) -> str:
    """A size that is about the same in the next run: 14k."""
    if not isinstance(number, int) or number <= 0:
        return ""
    return f"{round(number / 1000)}k" if number >= 1000 else "less than 1k"


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()


def unwritten(session: str, why: str) -> str:
    """What Claude Code does not say: that it cannot write a session's conversation, and what is lost."""
    return (
        f"The history of {session} cannot be written ({why}), so its process is the only copy: all that was "
        "said in it is lost when the process ends."
    )
