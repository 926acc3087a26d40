"""Whole kernels and the real CLI: every way to wait for a turn, and turns that nobody waits for."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from kernel_kit import (
    PATIENCE,
    SETUP,
    Cell,
    Kernel,
    answering,
    interrupted,
    on_each_ipykernel,
    settle,
    wait_for_file,
)

from claude_nb.offline import OfflineAPI

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("code_is_allowed")]


WAYS = {
    "a loop": "for q in questions: replies.append(session.ask(q).result())",
    "a function": "def ask(q): return session.ask(q).result()\nreplies += map(ask, questions)",
    "await": "for q in questions: replies.append(await session.ask(q))",
    "await of several": "replies += await asyncio.gather(*(session.ask(q) for q in questions))",
    "a task": "for q in questions: replies.append(await asyncio.create_task(session.ask(q)._wait_async()))",
    "blocks as they come": (
        "for q in questions:\n    turn = session.ask(q)\n    async for block in turn: pass\n"
        "    replies.append(turn.reply)"
    ),
    "a thread": (
        "def ask(): replies.extend(session.ask(q).result() for q in questions)\n"
        "thread = threading.Thread(target=ask); thread.start()\n"
        "while thread.is_alive(): await asyncio.sleep(0.05)"
    ),
    "the magic": "for q in questions:\n    get_ipython().run_line_magic('claude', q)\n"
    "    replies.append(session.last_turn.reply)",
}


@on_each_ipykernel
def test_every_way_of_waiting_gives_the_same_replies(kernel: Kernel) -> None:
    kernel.run("questions = ['ECHO first', 'run: n = n + 1; print(n)', 'ECHO last']")
    kernel.run("def plain(): return [(r.text, [t.name for t in r.tools], str(r.status)) for r in replies]")
    texts = ["<<<ECHO first>>>", "I run it.It gave: printed:", "<<<ECHO last>>>"]
    for way, code in WAYS.items():
        kernel.run("n, replies = 1, []")
        cell = kernel.run(code)
        assert cell.error is None, (way, cell.shown_error)
        assert "2" in cell.printed.split(), way
        told = eval(kernel.eval("plain()"))
        assert len(told) == 3, way
        for (text, tools, status), begins in zip(told, texts, strict=True):
            assert text.replace("\n", "").startswith(begins), way
            assert status == "completed", way
            assert tools == (["mcp__kernel__run_cell"] if "run it" in begins else []), way
        assert kernel.eval("n") == "2", way


@on_each_ipykernel
@pytest.mark.parametrize(
    "wait",
    [
        "await turn",
        "async for block in turn: pass",
        "await asyncio.gather(turn._wait_async())",
        "turn.result()",
    ],
)
def test_interrupt_ends_the_wait_and_the_turn(kernel: Kernel, folder: Path, wait: str) -> None:
    kernel.run("session.wake().result()")
    message = kernel.start_cell(
        f"turn = session.ask('say nothing at all'); open('begun', 'w').close()\n{wait}"
    )
    wait_for_file(folder / "begun")
    time.sleep(1)
    cell = interrupted(kernel, message, folder / "begun")
    assert cell.error is not None
    settle(kernel)
    assert kernel.eval("turn.wait(10), str(turn.status)") == "(True, 'interrupted')"
    assert kernel.eval("session.ask('ECHO on').result().text") == "'<<<ECHO on>>>'"


@on_each_ipykernel
def test_interrupt_in_a_cell_that_awaits_ends_the_code_and_the_turn(kernel: Kernel, folder: Path) -> None:
    code = "open('begun', 'w').close(); time.sleep(100); open('slept', 'w').close()"
    for wait in ("await turn", "await asyncio.gather(turn._wait_async())"):
        (folder / "begun").unlink(missing_ok=True)
        message = kernel.start_cell(f"turn = session.ask({'run: ' + code!r})\n{wait}")
        cell = interrupted(kernel, message, folder / "begun")
        assert cell.error is not None
        settle(kernel)
        assert kernel.eval("turn.wait(10), str(turn.status)") == "(True, 'interrupted')"
    assert not (folder / "slept").exists()
    assert kernel.eval("await asyncio.sleep(0, 'the loop goes on')") == "'the loop goes on'"


def test_a_wait_that_is_given_up_by_code_leaves_the_turn_alone(kernel: Kernel) -> None:
    kernel.run("turn = session.ask('lines of heron')")
    given_up = ("turn.result(timeout=0.1)", "await asyncio.wait_for(turn, 0.1)")
    for wait in given_up:
        cell = kernel.run(wait)
        assert cell.error is not None
        assert cell.error["ename"] == "TimeoutError"
        settle(kernel)
    assert kernel.eval("str(turn.result().status)") == "'completed'"


@on_each_ipykernel
def test_code_of_a_background_turn_waits_for_the_main_thread_and_says_so(kernel: Kernel) -> None:
    kernel.run("%claude -b -o turn run: ran = threading.current_thread().name")
    watched = kernel.run(
        "said = set(); end = time.monotonic() + 20\n"
        "while 'run_cell waits for the cell that runs' not in said and time.monotonic() < end:\n"
        "    said.add(turn.activity); time.sleep(0.05)\n"
        "early = 'ran' in globals()"
    )
    assert watched.error is None
    assert kernel.eval("early, 'run_cell waits for the cell that runs' in said") == "(False, True)"
    assert kernel.eval("str(turn.result().status)") == "'completed'"
    assert kernel.eval("ran, type(turn).__name__") == "('MainThread', 'Turn')"


@on_each_ipykernel
def test_code_of_a_background_turn_runs_between_cells_too(kernel: Kernel, folder: Path) -> None:
    kernel.run("%claude -b -o turn run: open('ran', 'w').close()")
    wait_for_file(folder / "ran")  # no cell runs meanwhile
    assert kernel.eval("str(turn.result().status)") == "'completed'"


def test_a_background_turn_adds_no_cell(kernel: Kernel) -> None:
    kernel.run("%claude -b -o turn add: x = 1")
    cell = kernel.run("turn.wait(20)")
    assert cell.reply["payload"] == []
    assert "No cell was added" in kernel.eval("turn.text")
    cell = kernel.run("%claude add: x = 1")
    assert [load["source"] for load in cell.reply["payload"]] == ["set_next_input"]


def test_where_nobody_is_there_the_background_is_waited_for(headless: Kernel) -> None:
    cell = headless.run("%claude -b -o turn ECHO hello")
    assert "ECHO hello" in cell.markdown
    assert headless.eval("type(turn).__name__, str(turn.status)") == "('Turn', 'completed')"


def gather(kernel: Kernel, messages: list[str]) -> dict[str, Cell]:
    """What each cell has shown up to now, late output included."""
    cells = {message: Cell() for message in messages}
    while True:
        try:
            message = kernel.client.get_iopub_msg(timeout=1.5)
        except Exception:
            return cells
        if message["parent_header"].get("msg_id") in cells:
            cells[message["parent_header"]["msg_id"]].messages.append(message)


def all_text(cell: Cell) -> str:
    return str([m["content"] for m in cell.messages if m["msg_type"] not in ("execute_input", "status")])


@on_each_ipykernel
def test_late_output_stays_in_its_cell(kernel: Kernel) -> None:
    """Two background turns, code that one of them runs, and a busy cell that prints all the time."""
    busy = "for n in range(30): print('busy', n, flush=True); display(f'busy {n}'); time.sleep(0.1)"
    sources = {
        "apple": "%claude -b -s one -o first lines of apple",
        "plum": "%claude -b -s two -o second lines of plum",
        "pear": "%claude -b -o third run: print('p' + 'ear', flush=True); display('p' + 'ear')",
        "busy": busy,
        "quince": "%claude lines of quince",
        "last": "first.wait(20), second.wait(20), third.wait(20), 'l' + 'ast'",
    }
    messages = [kernel.start_cell(source) for source in sources.values()]
    for message in messages[-1:]:
        while kernel.client.get_shell_msg(timeout=PATIENCE)["parent_header"]["msg_id"] != message:
            pass
    shown = [all_text(cell) for cell in gather(kernel, messages).values()]
    for word, own in zip(sources, shown, strict=True):
        assert word in own
        assert [other for other in sources if other != word and other in own] == []
    assert "apple 60" in shown[0] or "apple 59" in shown[0]


def signs_of_life(kernel: Kernel, seconds: float) -> list[dict[str, Any]]:
    found, end = [], time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        try:
            message = kernel.client.get_iopub_msg(timeout=rest)
        except Exception:
            break
        if message["msg_type"] != "status":
            found.append(message)
    return found


@on_each_ipykernel
def test_a_silent_turn_gives_signs_of_life_and_an_idle_session_none(kernel: Kernel) -> None:
    kernel.run("import claude_nb.signs; claude_nb.signs.EVERY = 0.2")
    kernel.run("turn = session.ask('say nothing at all')")
    signs = signs_of_life(kernel, 3)
    assert len(signs) >= 3
    # Servers count what belongs to a cell, and front ends ignore an update of what nobody has displayed.
    assert {sign["msg_type"] for sign in signs} == {"update_display_data"}
    assert {sign["parent_header"]["msg_type"] for sign in signs} == {"execute_request"}
    assert {str(sign["content"]["data"]) for sign in signs} == {"{}"}
    kernel.run("turn.interrupt(); turn.wait(10)")
    signs_of_life(kernel, 0.5)
    assert signs_of_life(kernel, 1) == []


def test_a_server_does_not_cull_a_kernel_whose_session_works(api: OfflineAPI, folder: Path) -> None:
    assert asyncio.run(asyncio.wait_for(lives_of_a_kernel(folder), PATIENCE)) == (True, False)


async def lives_of_a_kernel(folder: Path) -> tuple[bool, bool]:
    """Whether a kernel lives 7 seconds after its last cell, and whether it does once its turn has ended."""
    server = AsyncMappingKernelManager(
        root_dir=str(folder), cull_idle_timeout=3, cull_interval=1, cull_connected=True
    )
    kernel_id = await server.start_kernel(path="")
    client = server.get_kernel(kernel_id).client()
    client.start_channels()
    await client.wait_for_ready(timeout=PATIENCE)
    for code in (
        "%load_ext claude_nb",
        "import claude_nb.signs; claude_nb.signs.EVERY = 1",
        SETUP + "; turn = session.ask('say nothing at all')",
    ):
        await client.execute(code, reply=True, timeout=PATIENCE)
    await asyncio.sleep(7)
    working = kernel_id in server
    if working:
        await client.execute("turn.interrupt()", reply=True, timeout=PATIENCE)
        for _ in range(100):
            if kernel_id not in server:
                break
            await asyncio.sleep(0.1)
    idle = kernel_id in server
    client.stop_channels()
    await server.shutdown_all(now=True)
    return working, idle


COMMS = """
heard, ticks, ran = [], [], []

def opened(comm, _):
    comm.on_msg(lambda message: heard.append(message["content"]["data"]["n"]))

get_ipython().kernel.comm_manager.register_target("counting", opened)

async def tick():
    while True:
        ticks.append(time.monotonic()); await asyncio.sleep(0.05)

ticking = asyncio.get_event_loop().create_task(tick())
"""


@on_each_ipykernel
@pytest.mark.parametrize("runs_on", [False, pytest.param(True, marks=pytest.mark.nests)])
def test_nothing_is_lost_during_a_turn_with_a_question_and_code(kernel: Kernel, runs_on: bool) -> None:
    kernel.run("%claude /permissions forget mcp__kernel__run_cell")
    kernel.run(f"%config SessionManager.keep_loop_running = {runs_on}")
    kernel.run(COMMS)
    send = kernel.client.session.msg
    channel = kernel.client.shell_channel
    channel.send(send("comm_open", {"comm_id": "c1", "target_name": "counting", "data": {}}))
    message = kernel.start_cell(
        "begun = len(ticks)\n%claude run: time.sleep(0.3); print('code has run')\nended = len(ticks)"
    )
    queued = []
    for number in range(10):
        channel.send(send("comm_msg", {"comm_id": "c1", "data": {"n": number}}))
        queued.append(kernel.start_cell(f"ran.append({number})"))
    request = kernel.client.get_stdin_msg(timeout=PATIENCE)
    assert "Allow?" in request["content"]["prompt"]
    for number in range(10, 20):
        channel.send(send("comm_msg", {"comm_id": "c1", "data": {"n": number}}))
    kernel.client.input("y")
    cell = kernel.finish(message)
    assert cell.error is None, cell.shown_error
    assert "code has run" in cell.printed
    assert kernel.eval("str(ran)") == repr(str(list(range(10))))
    assert kernel.eval("str(heard)") == repr(str(list(range(20))))
    went_on = int(kernel.eval("ended - begun"))
    assert (went_on > 3) if runs_on else went_on <= 1
    assert kernel.eval("ticking.done()") == "False"
    kernel.run("ticking.cancel()")


@pytest.mark.nests
def test_an_interrupt_spares_the_users_own_tasks(kernel: Kernel) -> None:
    kernel.run(COMMS)
    kernel.run("%config SessionManager.keep_loop_running = True")
    for _ in range(5):
        message = kernel.start_cell("%claude say nothing at all")
        time.sleep(0.7)
        kernel.manager.interrupt_kernel()
        cell = kernel.finish(message)
        assert cell.error is not None
        assert cell.error["ename"] == "TurnInterrupted"
        settle(kernel)
    assert kernel.eval("ticking.done()") == "False"
    kernel.run("ticking.cancel()")


@on_each_ipykernel
def test_a_thread_may_be_the_first_to_ask_while_the_main_thread_waits_for_it(kernel: Kernel) -> None:
    code = "thread = threading.Thread(target=lambda: said.append(session.ask('ECHO hi').result().text))"
    kernel.run(f"said = []; {code}")
    assert kernel.run("thread.start(); thread.join(20)").error is None
    assert kernel.eval("said") == "['<<<ECHO hi>>>']"


@on_each_ipykernel
def test_a_question_of_an_awaited_turn_is_asked(kernel: Kernel) -> None:
    kernel.run("%claude /permissions forget mcp__kernel__run_cell")
    message = kernel.start_cell("reply = await session.ask('run: asked = True')")
    cell, prompts = answering(kernel, message, "y")
    assert cell.error is None, cell.shown_error
    assert len(prompts) == 1
    assert kernel.eval("asked, str(reply.status)") == "(True, 'completed')"
