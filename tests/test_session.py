"""The real Claude Code CLI on the loopback API: sessions and turns from Python, without a notebook."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import threading
import time
from pathlib import Path

import psutil
import pytest
from processes_kit import eventually

import claude_nb
from claude_nb.errors import InvalidName, ShuttingDown
from claude_nb.offline import OfflineAPI
from claude_nb.reply import Status, TextBlock, ToolResultBlock, ToolUseBlock
from claude_nb.session import Session
from claude_nb.session_manager import SessionManager
from claude_nb.state import State

pytestmark = pytest.mark.cli

PATIENCE = 60.0


def test_the_second_prompt_goes_to_the_same_process_which_knows_the_first(manager: SessionManager) -> None:
    session = manager.session("review")
    session.ask("the code word is heron").result(PATIENCE)
    pid = session.pid
    reply = session.ask("what is the code word").result(PATIENCE)
    assert reply.text == "The code word is heron."
    assert reply.status == "completed"
    assert reply.session == "review"
    assert session.pid == pid
    assert session.turns == 2


def test_a_session_is_made_once_and_got_by_its_name_afterwards(manager: SessionManager) -> None:
    assert manager.session("review") is manager.session("review")
    with pytest.raises(InvalidName):
        manager.session("../escape")


def test_making_a_session_starts_nothing(manager: SessionManager) -> None:
    session = manager.session("review")
    assert session.state is State.CREATED
    assert session.pid is None
    assert not manager.portal.running


PROMPTS = [
    "ECHO What is this?",
    "ECHO 'quotes' \"double\" `ticks` it's",
    "ECHO {braces} {{double}} $HOME ${x} %s",
    "ECHO back\\slash \\n \\",
    "ECHO trailing space   ",
    "ECHO\n>>> doctest\n... more\n\nIn [3]: x",
    "ECHO unicode 漢字 🦩 \u0301 é",
    "ECHO <b>html</b> & <system>tags</system>",
    "ECHO a\ttab",
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_reaches_the_api_exactly_as_given(
    manager: SessionManager, offline: OfflineAPI, prompt: str
) -> None:
    manager.session("echo").ask(prompt).result(PATIENCE)
    assert last_prompt(offline) == prompt


def last_prompt(offline: OfflineAPI) -> str:
    """The last block of the last user message: what the person typed."""
    turns = [request for request in offline.requests if request.get("tools")]
    users = [message for message in turns[-1]["messages"] if message["role"] == "user"]
    content = users[-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def test_claude_codes_own_system_prompt_is_in_force(manager: SessionManager, offline: OfflineAPI) -> None:
    manager.append_system_prompt = "Mention herons."
    manager.session("a").ask("ECHO x").result(PATIENCE)
    turns = [request for request in offline.requests if request.get("tools")]
    system = json.dumps(turns[-1]["system"])
    assert len(system) > 3000
    assert "Claude Code" in system
    assert "Mention herons." in system


def test_context_goes_before_the_prompt_and_brings_no_file_along(
    manager: SessionManager, offline: OfflineAPI, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the-secret-content")
    session = manager.session("a")
    session.ask("ECHO look", context=[f"a value: @{secret}"]).result(PATIENCE)
    request = json.dumps([request for request in offline.requests if request.get("tools")][-1])
    assert f"@{secret}" in request
    assert "the-secret-content" not in request


def test_ask_returns_at_once_and_prompts_are_answered_in_order(manager: SessionManager) -> None:
    session = manager.session("a")
    turns = [session.ask(f"ECHO {number}") for number in range(5)]
    assert not turns[-1].done()
    assert [turn.result(PATIENCE).text for turn in turns] == [f"<<<ECHO {n}>>>" for n in range(5)]
    assert session.turns == 5


def test_sessions_answer_side_by_side(manager: SessionManager) -> None:
    turns = {name: manager.session(name).ask(f"ECHO {name}") for name in ("a", "b", "c")}
    for name, turn in turns.items():
        assert turn.result(PATIENCE).text == f"<<<ECHO {name}>>>"
    assert len({manager.session(name).pid for name in turns}) == 3


def test_many_threads_get_each_their_own_reply(manager: SessionManager) -> None:
    session = manager.session("a")

    def ask(number: int) -> str:
        return session.ask(f"ECHO {number}").result(PATIENCE).text

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(ask, range(16)))
    assert replies == [f"<<<ECHO {number}>>>" for number in range(16)]


def test_a_turn_can_be_awaited_iterated_and_waited_for_at_the_same_time(manager: SessionManager) -> None:
    turn = manager.session("a").ask("run a long command")
    from_thread: list[str] = []
    thread = threading.Thread(target=lambda: from_thread.append(turn.result(PATIENCE).text))
    thread.start()

    async def both() -> tuple[str, list[object]]:
        async def blocks() -> list[object]:
            return [block async for block in turn]

        reply, seen = await asyncio.gather(turn, blocks())
        return reply.text, seen

    text, seen = asyncio.run(both())
    thread.join(PATIENCE)
    assert from_thread == [text]
    kinds = [type(block) for block in seen]
    assert kinds == [TextBlock, ToolUseBlock, ToolResultBlock, TextBlock]
    assert asyncio.run(both())[1] == seen  # and again, after the end


def test_a_turn_that_is_not_over_in_time_says_so_and_goes_on(manager: SessionManager) -> None:
    turn = manager.session("a").ask("stream 400 lines")
    with pytest.raises(TimeoutError, match="goes on"):
        turn.result(0.2)
    assert not turn.done()
    turn.interrupt()
    assert turn.result(PATIENCE).status == "interrupted"


def test_an_interrupted_turn_keeps_its_text_and_the_process_answers_the_next_prompt(
    manager: SessionManager,
) -> None:
    session = manager.session("a")
    turn = session.ask("stream 400 lines")
    assert eventually(lambda: "line 3" in turn.text, PATIENCE)
    pid = session.pid
    turn.interrupt()
    reply = turn.result(5)
    assert reply.status is Status.INTERRUPTED
    assert "line 3" in reply.text
    assert "line 399" not in reply.text
    assert session.ask("ECHO next").result(PATIENCE).text == "<<<ECHO next>>>"
    assert session.pid == pid


def test_a_queued_prompt_that_is_interrupted_is_never_sent(
    manager: SessionManager, offline: OfflineAPI
) -> None:
    session = manager.session("a")
    running = session.ask("stream 400 lines")
    queued = session.ask("ECHO never to be sent")
    assert eventually(lambda: "line 2" in running.text, PATIENCE)
    queued.interrupt()
    assert queued.result(5).status == "interrupted"
    running.interrupt()
    running.result(5)
    session.ask("ECHO afterwards").result(PATIENCE)
    assert not any("never to be sent" in json.dumps(request) for request in offline.requests)


def test_a_prompt_interrupted_while_claude_code_starts_ends_at_once(manager: SessionManager) -> None:
    session = manager.session("a")
    turn = session.ask("ECHO too early")
    turn.interrupt()
    assert turn.result(5).status == "interrupted"
    assert session.ask("ECHO now").result(PATIENCE).text == "<<<ECHO now>>>"


def test_a_session_that_does_not_answer_can_be_interrupted(manager: SessionManager) -> None:
    session = manager.session("a")
    turn = session.ask("say nothing at all")
    assert eventually(lambda: session.state is State.BUSY, PATIENCE)
    turn.interrupt()
    assert turn.result(5).status == "interrupted"


def test_a_second_interrupt_that_is_needed_ends_the_process_and_the_next_prompt_resumes(
    manager: SessionManager,
) -> None:
    session = manager.session("a")
    session.ask("the code word is stork").result(PATIENCE)
    turn = session.ask("stream 400 lines")
    assert eventually(lambda: "line 2" in turn.text, PATIENCE)
    pid = session.pid
    assert pid is not None
    psutil.Process(pid).suspend()  # a process that honours nothing
    turn.interrupt()
    turn.interrupt()
    reply = turn.result(10)
    assert reply.status == "interrupted"
    assert "the process was ended" in (reply.reason or "")
    assert session.ask("what is the code word").result(PATIENCE).text == "The code word is stork."
    assert session.pid != pid


def test_a_process_that_dies_in_mid_turn_fails_the_turn_and_keeps_the_conversation(
    manager: SessionManager,
) -> None:
    session = manager.session("a")
    session.ask("the code word is egret").result(PATIENCE)
    turn = session.ask("stream 400 lines")
    assert eventually(lambda: "line 2" in turn.text, PATIENCE)
    assert session.pid is not None
    psutil.Process(session.pid).kill()
    with pytest.raises(claude_nb.ProcessDied, match="signal 9") as failure:
        turn.result(10)
    assert failure.value.reply is not None
    assert "line 2" in failure.value.reply.text
    assert session.ask("what is the code word").result(PATIENCE).text == "The code word is egret."


def test_a_process_that_dies_while_idle_is_resumed_by_the_next_prompt(manager: SessionManager) -> None:
    session = manager.session("a")
    session.ask("the code word is crane").result(PATIENCE)
    assert session.pid is not None
    psutil.Process(session.pid).kill()
    assert eventually(lambda: session.state is State.DEAD)
    assert session.ask("what is the code word").result(PATIENCE).text == "The code word is crane."


def test_a_new_conversation_knows_nothing_of_the_old_one(manager: SessionManager) -> None:
    session = manager.session("a")
    session.ask("the code word is gull").result(PATIENCE)
    session.new_conversation().result(PATIENCE)
    assert session.ask("what is the code word").result(PATIENCE).text == "I was told no code word."


def test_a_stopped_session_resumes_with_its_history(manager: SessionManager) -> None:
    session = manager.session("a")
    session.ask("the code word is ibis").result(PATIENCE)
    session.stop().result(PATIENCE)
    assert session.state is State.STOPPED
    assert session.pid is None
    assert session.ask("what is the code word").result(PATIENCE).text == "The code word is ibis."


def test_a_tool_that_asks_is_refused_with_a_reason_that_claude_reads(manager: SessionManager) -> None:
    reply = manager.session("a").ask("write a file").result(PATIENCE)
    assert reply.tools[0].state == "refused"
    assert "permission" in reply.text
    assert not Path("/tmp/claude_nb_must_not_exist.txt").exists()


def test_a_tool_that_only_reads_runs_and_its_result_is_kept(manager: SessionManager) -> None:
    (manager.folder / "here.txt").touch()
    reply = manager.session("a").ask("run a long command").result(PATIENCE)
    (tool,) = reply.tools
    assert tool.name == "Bash"
    assert tool.state == "ok"
    assert "here.txt" in (tool.result or "")
    assert tool.seconds is not None


def allow(*rules: str) -> None:
    """The user's own rules, as they stand in their settings."""
    settings = Path(os.environ["CLAUDE_CONFIG_DIR"]) / "settings.json"
    settings.write_text(json.dumps({"permissions": {"allow": rules}}))


@pytest.mark.parametrize("wait", [0.0, 0.9, 1.0, 1.1, 3.0])
def test_what_claude_says_by_itself_is_never_another_prompts_reply(
    manager: SessionManager, wait: float
) -> None:
    allow("Bash(python3 *)")
    session = manager.session("a")
    first = session.ask("start a background task")
    assert first.result(PATIENCE).text == "I start it.\n\nIt runs."
    time.sleep(wait)
    replies = [session.ask(f"ECHO {number}").result(PATIENCE).text for number in range(3)]
    assert replies == [f"<<<ECHO {number}>>>" for number in range(3)]
    assert eventually(lambda: any(later.done() for later in first.aftermath))
    (later,) = first.aftermath
    assert "in the background has ended" in later.text


def test_the_reply_tells_what_it_cost_itself(manager: SessionManager) -> None:
    session = manager.session("a")
    reply = session.ask("ECHO x").result(PATIENCE)
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.usage.seconds > 0
    assert reply.model
    # The first request of a conversation fills the API's cache, for more than all later ones cost.
    first = reply.cost_usd or 0.0
    assert first > 0

    def cost(session: Session) -> float:
        return session.ask("ECHO x").result(PATIENCE).cost_usd or 0.0

    assert 0 < cost(session) < first / 2
    session.suspend().result(PATIENCE)
    assert 0 < cost(session) < first / 2, "after a resumption"
    assert 0 < cost(manager.fork("a", "b")) < first / 2, "in a fork"
    assert session.ask("/clear").result(PATIENCE).cost_usd == 0
    fresh = cost(session)
    assert abs(fresh - first) < first / 2
    assert 0 < cost(session) < first / 2, "after /clear"


def test_twenty_thousand_pieces_arrive_whole(manager: SessionManager) -> None:
    reply = manager.session("a").ask("twenty thousand pieces").result(PATIENCE)
    assert reply.text.split(". ")[-2] == "piece 20000" or "piece 19999" in reply.text
    assert reply.text.count("piece ") == 20000


def test_after_a_shutdown_no_process_is_left_and_prompts_are_refused(
    api: OfflineAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manager = SessionManager()
    sessions = [manager.session(name) for name in ("a", "b")]
    for session in sessions:
        session.ask("ECHO x").result(PATIENCE)
    pids = [session.pid for session in sessions]
    manager.shutdown()
    assert all(pid is not None and not psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(ShuttingDown):
        sessions[0].ask("ECHO too late")
    with pytest.raises(ShuttingDown):
        manager.session("c")


def test_nothing_of_the_kernels_secrets_reaches_the_process(
    manager: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "hub-secret")
    monkeypatch.setenv("JPY_API_TOKEN", "server-secret")
    manager.mcp_servers = {"silent": {"command": "true", "env": {"TOKEN": "mcp-secret"}}}
    session = manager.session("a")
    session.ask("ECHO x").result(PATIENCE)
    assert session.pid is not None
    process = psutil.Process(session.pid)
    values = set(process.environ().values())
    assert not values & {"hub-secret", "server-secret"}
    assert "mcp-secret" not in " ".join(process.cmdline() + process.parent().cmdline())  # type: ignore[union-attr]


def test_the_live_files_are_private_and_go_with_the_process(manager: SessionManager) -> None:
    session = manager.session("a")
    session.ask("ECHO x").result(PATIENCE)
    runtime = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / "claude_nb"
    assert session.life.now is not None
    live = session.life.now.folder
    assert live.parent == runtime
    for path in runtime.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    session.stop().result(PATIENCE)
    assert not live.exists()
