"""What Claude Code says to the person beside the reply, and what it takes back. CLI."""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_kit import Kernel

from claude_nb.chat.past import past_turns
from claude_nb.errors import PromptRefused, SafetyStop
from claude_nb.history import exchanges
from claude_nb.offline import OfflineAPI
from claude_nb.reply import Block, NoticeBlock
from claude_nb.session_manager import SessionManager

pytestmark = pytest.mark.cli

PATIENCE = 60

SCRIPT = r"""
rules:
  - exactly: run a command
    reply: [{text: "I run it."}, {tool: Bash, input: {command: "ls", description: Look}}]
    then: [[{text: "It has run."}]]
  - exactly: run a forbidden command
    reply: [{tool: Bash, input: {command: "find . -name x", description: Look}}]
    then: [[{text: "It was not run."}]]
  - exactly: break in mid-reply
    reply:
      - {thinking: "Half a thought", open: true}
      - {stall: 0.3}
      - {drop: true, times: 1}
      - {text: "Half a sentence of the second try, and\n\n```python\nold = 1\n", open: true}
      - {stall: 0.3}
      - {drop: true, times: 1}
      - {text: "The whole answer."}
  - exactly: overload in mid-reply
    reply:
      - {text: "Half a sentence ", open: true}
      - {stall: 0.3}
      - {error: 529, times: 1}
      - {text: "All of it."}
  - exactly: break after a paragraph
    reply: [{text: "A whole paragraph."}, {stall: 0.3}, {error: 529}]
  - notice: cut off mid-stream
    reply: [{text: "And the rest."}]
  - exactly: break behind a tool
    reply: [{text: "I look."}, {tool: Bash, input: {command: "ls", description: Look}}]
    then:
      - - {text: "Half a sentence ", open: true}
        - {stall: 0.3}
        - {drop: true, times: 1}
        - {text: "It is all there."}
  - exactly: start a background task
    reply:
      - tool: Bash
        input:
          command: python3 -c 'import time; time.sleep(0.5)'
          run_in_background: true
          description: a nap
    then: [[{text: "It runs."}]]
  - exactly: something dangerous
    reply: [{text: "First step: take the"}, {stop: refusal}]
  - notice: safety classifier
    reply: [{text: "I will leave that part out."}]
  - says: something worse
    reply: [{stop: refusal}]
  - matches: .
    reply: [{text: "fine"}]
"""

# What a person's hooks say, by the prompt or the tool.
HOOKS = """
import json, sys
given = json.load(sys.stdin)
event, prompt = given["hook_event_name"], given.get("prompt", "").splitlines()[-1:]
if event == "SessionStart":
    print(json.dumps({"systemMessage": "welcome"}))
if prompt == ["about a customer"]:
    print("Policy: no customer data", file=sys.stderr)
    sys.exit(2)
if prompt == ["for lunch"]:
    print(json.dumps({"continue": False, "stopReason": "Lunch first"}))
if prompt == ["hello"]:
    print(json.dumps({"systemMessage": "be brief"}))
if event == "PostToolUse":
    print(json.dumps({"continue": False, "stopReason": "That was enough"}))
"""


@pytest.fixture(scope="module")
def offline(private_home: Path) -> Iterator[OfflineAPI]:
    """With this module's script."""
    with OfflineAPI(script=SCRIPT) as api:
        yield api


def settings(**given: Any) -> None:
    """The user's own."""
    file = Path(os.environ["CLAUDE_CONFIG_DIR"]) / "settings.json"
    file.write_text(json.dumps(given))


def hooks(folder: Path) -> dict[str, Any]:
    program = folder / "hooks.py"
    program.write_text(HOOKS)
    command = {"type": "command", "command": f"{shlex.quote(sys.executable)} {shlex.quote(str(program))}"}
    return {event: [{"hooks": [command]}] for event in ("SessionStart", "UserPromptSubmit", "PostToolUse")}


def recorded_notices(blocks: list[Block]) -> list[str]:
    """What the chat shows of them after a restart."""
    return [block.text for block in blocks if isinstance(block, NoticeBlock)]


def ask(manager: SessionManager, prompt: str, name: str = "a") -> Any:
    return manager.session(name).ask(prompt).result(PATIENCE)


def test_hooks_speak_stop_and_refuse_in_their_own_words_alone(
    manager: SessionManager, offline: OfflineAPI, tmp_path: Path
) -> None:
    settings(hooks=hooks(tmp_path))
    first = ask(manager, "hello")
    assert first.text == "fine"
    assert first.notices == ["SessionStart says: welcome", "UserPromptSubmit says: be brief"]
    stopped = ask(manager, "run a command")
    assert (stopped.status, stopped.text) == ("completed", "I run it.")
    assert stopped.notices == ["A hook stopped the turn: That was enough."]
    before = len(offline.requests)
    for prompt, reason in (("about a customer", "Policy: no customer data."), ("for lunch", "Lunch first.")):
        turn = manager.session("a").ask(prompt, context=["PRIVATE"])
        with pytest.raises(PromptRefused) as refused:
            turn.result(PATIENCE)
        assert str(refused.value) == f"A hook of yours refused the prompt: {reason}"
        assert refused.value.reply.text == ""
        assert "PRIVATE" not in str(refused.value.reply.blocks)
    assert len(offline.requests) == before
    assert ask(manager, "ECHO").text == "fine"
    past = {turn.prompt: turn.blocks for turn in past_turns(manager.session("a"))}
    assert recorded_notices(past["hello"]) == first.notices
    assert recorded_notices(past["run a command"])[0] == stopped.notices[0]


def test_nothing_of_an_attempt_that_broke_is_left_in_the_reply(manager: SessionManager) -> None:
    broken = ask(manager, "break in mid-reply")
    assert (broken.status, broken.text, broken.code) == ("completed", "The whole answer.", [])
    assert [block.type for block in broken.blocks] == ["text"]
    assert ask(manager, "overload in mid-reply").text == "All of it."
    kept = ask(manager, "break after a paragraph")
    assert [block.type for block in kept.blocks] == ["text", "notice", "text"]
    assert kept.text == "A whole paragraph.\n\nAnd the rest."
    assert "broke here" in kept.notices[0]
    behind = ask(manager, "break behind a tool")
    assert behind.text == "I look.\n\nIt is all there."
    assert [tool.state for tool in behind.tools] == ["ok"]


def test_a_reply_that_safeguards_stopped_says_so_where_it_was_stopped(manager: SessionManager) -> None:
    reply = ask(manager, "something dangerous")
    assert [block.type for block in reply.blocks] == ["text", "notice", "text"]
    assert "safeguards stopped the response" in reply.notices[0]
    assert reply.text == "First step: take the\n\nI will leave that part out."
    with pytest.raises(SafetyStop, match="safeguards") as stopped:
        ask(manager, "something worse", "b")
    assert "Request ID" not in str(stopped.value)


def test_commands_of_claude_codes_own_print_lines_and_compacting_is_told_with_its_size(
    manager: SessionManager,
) -> None:
    ask(manager, "hello")
    usage = ask(manager, "/usage")
    assert [(block.type, block.is_markdown) for block in usage.blocks] == [("text", False)]
    assert len(usage.text.splitlines()) > 3
    ask(manager, "and more")
    (block,) = ask(manager, "/compact").blocks
    assert block.type == "notice"
    assert block.text.startswith("The conversation was compacted (")
    past = past_turns(manager.session("a"))
    assert [turn.prompt for turn in past] == ["hello", "/usage", "and more", "/compact"]
    assert [b.text for b in past[1].blocks] == [usage.text]
    assert block.text in recorded_notices([b for turn in past for b in turn.blocks])
    assert ask(manager, "/context").blocks[0].is_markdown
    assert ask(manager, "/clear").notices == [
        "A new conversation was begun; Claude has forgotten the old one."
    ]


def test_what_claude_code_tells_claude_is_no_prompt_in_the_history(manager: SessionManager) -> None:
    settings(permissions={"allow": ["Bash(python3 *)"]})
    ended = threading.Event()
    turn = manager.session("a").ask("start a background task")
    turn.on_aftermath = lambda later: later.on_end(ended.set)
    assert turn.result(PATIENCE).text == "It runs."
    assert ended.wait(PATIENCE)
    past = past_turns(manager.session("a"))
    assert [turn.prompt for turn in past] == ["start a background task"]
    assert "in the background has ended" in str(past[0].blocks[-1])
    ((prompt, blocks),) = exchanges(manager.session("a"))
    assert prompt == "start a background task"
    assert "<task-notification>" not in str(blocks)


def test_what_a_rule_denies_is_told_and_its_call_is_refused(manager: SessionManager) -> None:
    settings(permissions={"deny": ["Bash(find:*)"]})
    reply = ask(manager, "run a forbidden command")
    assert reply.notices[0].startswith("Bash was not allowed: Permission to use Bash")
    assert [tool.state for tool in reply.tools] == ["refused"]


def test_a_server_that_fails_or_does_not_answer_is_named(manager: SessionManager) -> None:
    reads = {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}
    manager.mcp_servers = {"weather": {"command": "/nonexistent/server", "args": []}, "mute": reads}
    manager.environment = {"MCP_TIMEOUT": "6000"}
    turn = manager.session("a").ask("hello")
    activities, version = set(), -1
    while not turn.done():
        version = turn.wait_for_change(version, PATIENCE)
        activities.add(turn.activity)
    assert "waiting for MCP server 'mute'" in activities
    first = turn.result(PATIENCE)
    assert first.text == "fine"
    missing = "so its tools are missing. `%claude /status` says more."
    weather, mute = sorted(first.notices, reverse=True)
    assert weather == f"MCP server 'weather' has failed, {missing}"
    assert mute in {f"MCP server 'mute' has {how}, {missing}" for how in ("failed", "not answered")}
    assert ask(manager, "hello").notices == [], "once is enough"
    assert "weather: failed (" in manager.status(manager.session("a"))["MCP servers"]


@pytest.mark.kernel
def test_a_notebook_with_notices_is_the_same_in_a_second_run(headless: Kernel) -> None:
    runs = [
        [
            headless.run(f"%claude {prompt}").markdown
            for prompt in ("-n something dangerous", "break in mid-reply")
        ]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    dangerous, broken = runs[0]
    assert "\n\n> \u2139 Opus" in dangerous
    assert broken == "The whole answer."
