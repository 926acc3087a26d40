"""Tier: real CLI on the loopback API. The bundled Claude Code takes the stand-in for the real thing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    PermissionResultAllow,
    PermissionResultDeny,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ToolPermissionContext,
    ToolResultBlock,
    UserMessage,
)

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.cli

Serve = Callable[..., OfflineAPI]
TURN_TIMEOUT = 60  # seconds: Claude Code's own retries are within it

SCRIPT = """
rules:
  - matches: remember the code word (\\w+)
    reply: "I will remember {1}."
  - says: what is the code word
    recall: code word (\\w+)
    reply: "It is {recall}."
  - says: overloaded
    reply: [{error: 529, times: 2, retry_after: 0}, {text: recovered}]
  - exactly: run it
    reply: [{text: Running.}, {tool: Bash, input: {command: echo one-$((1+1)), description: count}}]
    then: ["Bash said {result}."]
  - exactly: both
    reply:
      - {tool: Bash, input: {command: 'echo first', description: a}}
      - {tool: Bash, input: {command: 'echo second', description: b}}
    then:
      - [{tool: Bash, input: {command: 'echo third', description: c}}]
      - "the last was {result}"
  - exactly: write
    reply: [{tool: Bash, input: {command: touch made.txt, description: make}}]
    then: [{ok: it is made, refused: "refused: {result}"}]
  - exactly: delegate
    reply: [{tool: Agent, input: {description: d, prompt: sub task, subagent_type: general-purpose}}]
    then: ["delegated"]
  - exactly: sub task
    reply: "the sub task is done"
  - notice: the sub task is done
    reply: "I was told"
  - exactly: go on for ever
    reply: [{text: 'word ', repeat: 100000, rate: 100}]
  - {exactly: no words, reply: [{error: credit}]}
  - {says: cut off, reply: [{text: some}, {drop: true}]}
  - {says: exact, reply: [{text: '{prompt}'}]}
"""


class Turns:
    """One Claude Code process in private folders, and what its turns brought."""

    def __init__(self, api: OfflineAPI, folder: Path, **options: Any) -> None:
        home, self.cwd = folder / "home", folder / "work"
        for path in (home, self.cwd):
            path.mkdir(exist_ok=True)
        env = {**api.environment(home / ".claude"), "HOME": str(home)}
        self.client = ClaudeSDKClient(
            ClaudeAgentOptions(
                env=env,
                cwd=self.cwd,
                setting_sources=["user"],
                system_prompt={"type": "preset", "preset": "claude_code"},
                stderr=lambda line: None,
                **options,
            )
        )
        self.messages: list[Message] = []

    async def __aenter__(self) -> Turns:
        await self.client.connect()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.disconnect()

    async def ask(self, prompt: str) -> ResultMessage:
        async with asyncio.timeout(TURN_TIMEOUT):
            await self.client.query(prompt)
            self.messages = [message async for message in self.client.receive_response()]
        last = self.messages[-1]
        assert isinstance(last, ResultMessage)
        return last

    def results(self) -> list[str]:
        users = [
            m.content for m in self.messages if isinstance(m, UserMessage) and isinstance(m.content, list)
        ]
        return [
            str(block.content) for blocks in users for block in blocks if isinstance(block, ToolResultBlock)
        ]


def talk(turns: Turns, *prompts: str) -> list[str | None]:
    """The results of the prompts, in one process."""

    async def run() -> list[str | None]:
        async with turns:
            return [(await turns.ask(prompt)).result for prompt in prompts]

    return asyncio.run(run())


def test_a_second_turn_recalls_a_code_word_from_the_history_that_the_cli_sends(
    serve: Serve, tmp_path: Path
) -> None:
    turns = Turns(serve(SCRIPT), tmp_path)
    answers = talk(turns, "remember the code word heron", "what is the code word?")
    assert answers == ["I will remember heron.", "It is heron."]


def test_a_resumed_process_recalls_and_a_fresh_one_does_not(serve: Serve, tmp_path: Path) -> None:
    api = serve(SCRIPT)
    first = Turns(api, tmp_path)
    talk(first, "remember the code word crow")
    (result,) = [message for message in first.messages if isinstance(message, ResultMessage)]
    assert talk(Turns(api, tmp_path, resume=result.session_id), "what is the code word?") == ["It is crow."]
    (fresh,) = talk(Turns(api, tmp_path), "what is the code word?")
    assert fresh is not None
    assert "have not asked me to remember" in fresh


def test_tools_run_and_their_results_come_back_step_by_step(serve: Serve, tmp_path: Path) -> None:
    turns = Turns(serve(SCRIPT), tmp_path)

    async def run() -> None:
        async with turns:
            assert (await turns.ask("both")).result == "the last was third"
            assert sorted(turns.results()[:2]) == ["first", "second"]
            assert turns.results()[2:] == ["third"]
            assert (await turns.ask("run it")).result == "Bash said one-2."
            assert (await turns.ask("both")).result == "the last was third"

    asyncio.run(run())


def test_a_person_who_says_no_and_one_who_says_yes(serve: Serve, tmp_path: Path) -> None:
    answers = [PermissionResultDeny(message="not now"), PermissionResultAllow()]

    async def decide(
        tool: str, given: dict[str, Any], context: ToolPermissionContext
    ) -> PermissionResultAllow | PermissionResultDeny:
        return answers.pop(0)

    turns = Turns(serve(SCRIPT), tmp_path, can_use_tool=decide)
    refused, made = talk(turns, "write", "write")
    assert refused == "refused: not now"
    assert made == "it is made"
    assert (turns.cwd / "made.txt").exists()


def test_a_subagent_has_its_own_conversation(serve: Serve, tmp_path: Path) -> None:
    api = serve(SCRIPT)
    turns = Turns(api, tmp_path)

    async def run() -> list[str | None]:
        async with turns, asyncio.timeout(TURN_TIMEOUT):
            await turns.client.query("delegate")
            results = [
                m.result async for m in turns.client.receive_response() if isinstance(m, ResultMessage)
            ]
            more = [m.result async for m in turns.client.receive_response() if isinstance(m, ResultMessage)]
            return results + more

    assert asyncio.run(run()) == ["delegated", "I was told"]
    assert sum("sub task" in str(body["messages"][0]) for body in api.requests) == 1


def test_an_overload_recovers_after_the_clis_own_retries(serve: Serve, tmp_path: Path) -> None:
    turns = Turns(serve(SCRIPT), tmp_path)
    assert talk(turns, "overloaded") == ["recovered"]
    retries = [m for m in turns.messages if isinstance(m, SystemMessage) and m.subtype == "api_retry"]
    assert [retry.data["error_status"] for retry in retries] == [529, 529]


def test_no_credit_and_an_unknown_model_end_the_turn_as_errors(serve: Serve, tmp_path: Path) -> None:
    api = serve(SCRIPT)

    async def failed(turns: Turns, prompt: str) -> ResultMessage:
        async with turns:
            return await turns.ask(prompt)

    credit = asyncio.run(failed(Turns(api, tmp_path), "no words"))
    assert credit.is_error
    assert "Credit balance is too low" in str(credit.result)
    unknown = asyncio.run(failed(Turns(api, tmp_path, model="no-such-model"), "hello"))
    assert unknown.is_error
    assert "no-such-model" in str(unknown.result)


@pytest.mark.parametrize(
    "prompt",
    [
        "exact?",
        "exact {x} \\",
        ' exact  "quotes" $HOME `a` \u00e9\U0001f600',
        ">>> exact\n  two\n\n",
        "exact <b>",
    ],
)
def test_a_prompt_arrives_byte_for_byte(serve: Serve, tmp_path: Path, prompt: str) -> None:
    turns = Turns(serve(SCRIPT), tmp_path)
    talk(turns, prompt)
    texts = [
        block.text
        for message in turns.messages
        if isinstance(message, AssistantMessage)
        for block in message.content
        if isinstance(block, TextBlock)
    ]
    assert texts == [prompt]


def test_an_interrupt_ends_a_long_reply_and_the_next_prompt_is_read(serve: Serve, tmp_path: Path) -> None:
    turns = Turns(serve(SCRIPT), tmp_path, include_partial_messages=True)

    async def run() -> ResultMessage:
        async with turns, asyncio.timeout(TURN_TIMEOUT):
            await turns.client.query("go on for ever")
            async for message in turns.client.receive_response():
                if "text_delta" in str(message):
                    await turns.client.interrupt()
                    break
            async for _ in turns.client.receive_response():
                pass
            return await turns.ask("exact after")

    assert asyncio.run(run()).result == "exact after"


def test_compacting_keeps_what_was_said(serve: Serve, tmp_path: Path) -> None:
    turns = Turns(serve(SCRIPT), tmp_path)
    answers = talk(turns, "remember the code word heron", "/compact", "what is the code word?")
    assert answers[-1] == "It is heron."


def test_the_environment_wins_over_a_persons_own_account(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set-up for another provider would send the prompt away from the loopback."""
    for name in ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "another-token")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert talk(Turns(serve(SCRIPT), tmp_path), "exact here") == ["exact here"]


def test_the_built_in_script_says_what_it_is_once(serve: Serve, tmp_path: Path) -> None:
    first, second = talk(Turns(serve(), tmp_path), "hello", "hello")
    assert first is not None
    assert second is not None
    assert "This is a script, not a model" in first
    assert "This is a script, not a model" not in second
