"""What becomes of Claude Code's messages in a turn, and what its notices say. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from claude_agent_sdk import (
    AssistantMessage,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from claude_nb.notices import ending_notice, hook_words, notice_of, recorded_block, refusal
from claude_nb.reply import result_text
from claude_nb.turn_log import TurnLog

pytestmark = pytest.mark.pure


def event(kind: str, **more: Any) -> StreamEvent:
    return StreamEvent(uuid="u", session_id="s", event={"type": kind, **more})


def message_start(id: str) -> StreamEvent:
    return event("message_start", message={"id": id})


def opened(text: str) -> list[StreamEvent]:
    return [
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": text}),
    ]


def said(id: str, *blocks: Any, uuid: str = "w") -> AssistantMessage:
    return AssistantMessage(content=list(blocks), model="claude-x", message_id=id, uuid=uuid)


def system(subtype: str, **data: Any) -> SystemMessage:
    return SystemMessage(subtype=subtype, data={"type": "system", "subtype": subtype, **data})


def log_of(*messages: Any) -> TurnLog:
    log = TurnLog()
    for message in messages:
        log.apply(message, 0.0)
    return log


def test_what_an_attempt_did_not_tell_whole_goes_when_the_next_one_begins() -> None:
    half = [message_start("m1"), said("m1", TextBlock("kept")), *opened("lost")]
    assert log_of(*half).text == "kept\n\nlost", "it may yet go on, or be interrupted"
    assert log_of(*half, message_start("m2")).text == "kept"
    assert log_of(*half, system("api_retry", error_status=529)).text == "kept"
    assert log_of(*half, said("m2", TextBlock("whole"))).text == "kept\n\nwhole", "without a stream"


def test_what_claude_code_retracts_goes_with_its_tools_and_results() -> None:
    log = log_of(
        said("m1", TextBlock("refused"), uuid="one"),
        said("m1", ToolUseBlock("t", "Bash", {}), uuid="two"),
        UserMessage([ToolResultBlock("t", "out")], uuid="three"),
        said("m0", TextBlock("kept"), uuid="four"),
        system(
            "model_refusal_fallback",
            content="Another answers",
            retracted_message_uuids=["one", "two", "three"],
        ),
    )
    assert [block.type for block in log.blocks] == ["text", "notice"]
    assert log.text == "kept"


def test_words_in_claudes_place_are_a_notice_unless_the_result_says_them() -> None:
    lost = AssistantMessage(content=[TextBlock("API Error: Connection lost.")], model="<synthetic>")
    log = log_of(said("m1", TextBlock("before")), lost, message_start("m2"), said("m2", TextBlock("after")))
    assert log.text == "before\n\nafter"
    assert [block.type for block in log.blocks] == ["text", "notice", "text"]
    placeholder = AssistantMessage(content=[TextBlock("No response requested.")], model="<synthetic>")
    assert log_of(placeholder, message_start("m2")).blocks == []


def test_a_tools_time_is_without_the_wait_for_the_person() -> None:
    log = TurnLog()
    log.apply(said("m1", ToolUseBlock("t", "Bash", {})), 10.0)
    log.waited("t", 30.0)
    log.apply(UserMessage([ToolResultBlock("t", "out")]), 41.0)
    (tool,) = log.ended_tools
    assert tool.seconds == 1.0


def text_of(subtype: str, **data: Any) -> str | None:
    notice = notice_of(subtype, data)
    return notice and notice.text


def test_each_kind_that_speaks_to_the_person_is_told_in_one_line() -> None:
    assert text_of("informational", content="Stop says: a\nb", level="notice") == "Stop says: a b"
    facts = {"trigger": "auto", "pre_tokens": 13_602, "post_tokens": 480}
    compacted = text_of("compact_boundary", compact_metadata=facts)
    assert compacted == (
        "The conversation was compacted by itself, to make room (14k to less than 1k tokens)."
    )
    assert text_of("model_fallback", content="Switched to Sonnet") == "Switched to Sonnet"
    assert text_of("notification", text="stop hook problem · ctrl+o to see") == "stop hook problem"
    lost = text_of("session_writes_lost", error_code="ENOSPC", lost=["transcript"])
    assert lost is not None
    assert "the disk is full" in lost
    denied = text_of("permission_denied", tool_name="Write", message="No. IMPORTANT: You may attempt")
    assert denied == "Write was not allowed: No."


def test_a_new_kind_with_a_text_is_shown_and_one_without_is_not() -> None:
    assert text_of("something_new", content="Read this") == "Read this"
    assert text_of("something_new", uuid="u", count=3) is None
    assert text_of("status", status="requesting", message="for clients") is None


def test_why_a_prompt_was_refused_is_the_hooks_reason_alone() -> None:
    quoted = "UserPromptSubmit operation blocked by hook:\n[python3 hook.py]: No\n\nOriginal prompt: private"
    outcome = {"kind": "blocked_by_hook", "reason": "No\n", "prompt_kept": False}
    data = {"content": quoted, "prompt_submit_outcome": outcome}
    assert refusal("informational", data) == "A hook of yours refused the prompt: No."
    assert refusal("informational", {"content": "x", "prompt_submit_outcome": {"kind": "no_verdict"}}) == (
        "A hook of yours refused the prompt."
    )
    assert notice_of("informational", data) is None


def test_a_turn_that_ends_early_names_why() -> None:
    assert ending_notice("completed", "") is None
    assert ending_notice("aborted_streaming", "") is None
    stopped, _ = hook_words({"stdout": '{"continue": false, "stopReason": "Enough"}'})
    notice = ending_notice("hook_stopped", stopped)
    assert notice is not None
    assert notice.text == "A hook stopped the turn: Enough."
    unknown = ending_notice("some_new_reason", "")
    assert unknown is not None
    assert "some_new_reason" in unknown.text


def test_a_hook_that_breaks_is_named_and_one_that_answers_is_not() -> None:
    broken = {"hook_name": "Stop", "outcome": "error", "exit_code": 1, "stderr": "Traceback\nKeyError: 'x'\n"}
    _, notice = hook_words(broken)
    assert notice is not None
    assert notice.text == "The hook Stop failed: KeyError: 'x'"
    assert hook_words({**broken, "exit_code": 2})[1] is None
    assert hook_words({"hook_name": "Stop", "outcome": "success", "exit_code": 0, "stderr": "hm"})[1] is None


def test_a_transcript_tells_the_same_notices() -> None:
    entry = {
        "type": "system",
        "subtype": "compact_boundary",
        "content": "Conversation compacted",
        "compactMetadata": {"trigger": "manual", "preTokens": 13_602, "postTokens": 2_805},
    }
    notice = recorded_block(entry)
    assert notice is not None
    assert notice.text == "The conversation was compacted (14k to 3k tokens)."
    hook = {"type": "hook_system_message", "hookName": "SessionStart:startup", "content": "welcome"}
    notice = recorded_block({"type": "attachment", "attachment": hook})
    assert notice is not None
    assert notice.text == "SessionStart says: welcome"
    assert recorded_block({"type": "system", "subtype": "api_error", "content": "x"}) is None


def test_marks_that_claude_code_makes_for_claude_are_not_shown() -> None:
    assert result_text("<tool_use_error>Error: No such tool</tool_use_error>") == "Error: No such tool"
    assert result_text([{"type": "text", "text": "<tool_use_error>No</tool_use_error>"}]) == "No"
    assert result_text("a <tool_use_error> in a text") == "a <tool_use_error> in a text"
