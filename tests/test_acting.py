"""Whole kernels and the real CLI: code that Claude runs in the notebook, and what ends it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from kernel_kit import Cell, Kernel, answering, interrupted, on_each_ipykernel, settle, wait_for_file

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("code_is_allowed")]
nests = pytest.mark.nests

# Code that says that it has begun, and then takes long.
LONG = "open('begun', 'w').close(); time.sleep(100); open('slept', 'w').close()"


def what_is_shown(cell: Cell) -> list[str]:
    """The cell's outputs in their order, but for the reply and for a button on a slow machine."""
    shown = []
    for message in cell.messages:
        content = message["content"]
        data = content.get("data", {})
        if message["msg_type"] == "stream":
            shown.append(f"printed {content['text'].strip()}")
        elif message["msg_type"] == "execute_result":
            shown.append(f"result {data['text/plain']}")
        elif "application/vnd.jupyter.widget-view+json" in data:
            continue
        elif message["msg_type"] == "display_data" and "text/markdown" not in data:
            shown.append("image" if "image/png" in data else f"displayed {data.get('text/plain')}")
    return [line for line in shown if line != "displayed None"]


@on_each_ipykernel
def test_output_and_figures_come_in_order_in_the_cell_of_the_prompt(kernel: Kernel) -> None:
    code = (
        "import matplotlib.pyplot as plt\n"
        "print('one', flush=True)\n"
        "display('two')\n"
        "_ = plt.plot([1, 2]); plt.show()\n"
        "print('four', flush=True)\n"
        "'five'"
    )
    cell = kernel.run(f"%%claude\nrun: {code}")
    assert cell.error is None
    assert what_is_shown(cell) == ["printed one", "displayed 'two'", "image", "printed four", "result 'five'"]


@on_each_ipykernel
def test_the_code_is_in_the_history_with_numbers_that_go_on(kernel: Kernel) -> None:
    first = kernel.run("'mine'")
    number = first.reply["execution_count"]
    prompt = kernel.run("%claude run: 6 * 7")
    assert prompt.of("execute_input")[0]["execution_count"] == number + 1
    assert prompt.of("execute_result")[0]["execution_count"] == number + 2
    after = kernel.run("'after'")
    assert after.of("execute_input")[0]["execution_count"] == number + 3
    assert after.of("execute_result")[0]["execution_count"] == number + 3
    assert (
        kernel.eval(f"In[{number}], In[{number} + 2], In[{number} + 3]")
        == """("'mine'", '6 * 7', "'after'")"""
    )
    assert "run: 6 * 7" in kernel.eval(f"In[{number} + 1]")
    assert kernel.eval(f"Out[{number}], Out[{number} + 2], Out[{number} + 3]") == "('mine', 42, 'after')"
    assert prompt.reply["execution_count"] == number + 1
    two = kernel.run("%claude run twice: 'twice'")  # another cell has run meanwhile
    assert [r["execution_count"] for r in two.of("execute_result")] == [number + 8, number + 9]
    assert two.reply["execution_count"] == number + 7
    assert kernel.run("'last'").reply["execution_count"] == number + 10
    assert f"{number + 2}: 6 * 7" in " ".join(kernel.run("%history -n").printed.split("\n"))


@nests
@on_each_ipykernel
def test_code_may_await_use_magics_and_ask_the_person(kernel: Kernel) -> None:
    kernel.run(
        "async def mine():\n    await asyncio.sleep(0.3); return 'mine'\ntask = asyncio.ensure_future(mine())"
    )
    cell = kernel.run(
        "%claude run: await asyncio.sleep(0.05); awaited = await asyncio.sleep(0, 'yes'); awaited"
    )
    assert "'yes'" in cell.value
    assert kernel.eval("await task") == "'mine'"
    cell = kernel.run("%%claude\nrun: %%time\ntimed = 1")
    assert "Wall time" in cell.markdown + cell.printed
    cell, prompts = answering(kernel, kernel.start_cell("%claude run: who = input('Who? ')"), "it is me")
    assert prompts == ["Who? "]
    assert kernel.eval("awaited, timed, who") == "('yes', 1, 'it is me')"


@nests
@on_each_ipykernel
def test_an_error_is_text_and_the_cell_is_well(kernel: Kernel) -> None:
    for code in ("1 / 0", "await asyncio.sleep(0); 1 / 0", "raise SystemExit('gone')", "exit()", "1 +"):
        cell = kernel.run(f"%claude run: {code}")
        assert cell.error is None
        assert cell.reply["status"] == "ok"
        assert "The code raised an error." in cell.markdown
        assert any("text/plain" in data and "text/markdown" not in data for data in cell.displays), code
    assert kernel.eval("'the kernel lives'") == "'the kernel lives'"


def test_very_long_output_is_shortened_for_claude(kernel: Kernel) -> None:
    kernel.run("%claude run: for n in range(20_000): print(n, 'x' * 80)")
    results = kernel.eval("sum(len(str(tool.result)) for tool in manager.session().last_turn.reply.tools)")
    assert 1_000 < int(results) < 40_000


def test_code_may_prompt_another_session_but_not_wait_for_its_own(kernel: Kernel) -> None:
    cell = kernel.run("%claude run: said = manager.session('other').ask('ECHO to the other').result().text")
    assert cell.error is None
    assert kernel.eval("said") == "'<<<ECHO to the other>>>'"
    # The other's code runs inside of the first one's.
    inner = "manager.session('other').ask('run: deep = 1').result().text"
    kernel.run(
        "manager.session('other').record.rules.append('mcp__kernel__run_cell')\n%claude /suspend other"
    )
    assert kernel.run(f"%claude run: {inner}").error is None
    assert kernel.eval("deep") == "1"
    for code in (
        "manager.session().ask('me again').result()",
        "%claude me again",
        "%claude /wait",
        "%claude -n",
        "%claude /stop",
        "%claude /archive",
        "manager.session().running.result(60)",
        "manager.session().running.wait()",
        "manager.stop_all()",
        "manager.shutdown()",
        "%reload_ext claude_nb",
    ):
        cell = kernel.run(f"%claude run: {code}")
        assert cell.error is None, code
        assert "SessionBusy" in cell.markdown, code
    assert "ECHO x" in kernel.run("%claude ECHO x").markdown


def test_a_task_that_outlives_the_code_that_made_it_may_prompt_the_session(kernel: Kernel) -> None:
    late = (
        "async def late(gate):\n"
        "    await gate.wait()\n"
        "    return str(await manager.session().ask('ECHO from the task'))\n"
    )
    kernel.run(f"import asyncio\n{late}")
    kernel.run(
        "%claude run: gate = asyncio.Event(); task = asyncio.get_running_loop().create_task(late(gate))"
    )
    kernel.run("gate.set()")
    assert "ECHO from the task" in kernel.eval("await asyncio.wait_for(task, 60)")
    waited_for = "await asyncio.create_task(late(gate))"
    assert "SessionBusy" in kernel.run(f"%claude run: {waited_for}").markdown


def test_a_background_agent_runs_code_after_its_turn_is_over(kernel: Kernel) -> None:
    cell = kernel.run("%claude have a background agent run late = (6 * 7, turn.done())")
    assert cell.error is None
    kernel.run("turn = manager.session().last_turn")
    deadline = time.monotonic() + 60
    while kernel.eval("'late' in globals()") == "False":
        assert time.monotonic() < deadline, kernel.eval("[b.text for t in turn.aftermath for b in t.blocks]")
        time.sleep(0.1)
    assert kernel.eval("late") == "(42, True)"
    assert kernel.run("%claude ECHO x").error is None


# Both nest the loop.
LOOP_RUNS = pytest.param("%config SessionManager.keep_loop_running = True", marks=nests, id="loop runs")
AWAITS = pytest.param("await asyncio.sleep(0); " + LONG, marks=nests)
AWAITS_LONG = pytest.param(LONG.replace("time.", "await asyncio."), marks=nests)


@on_each_ipykernel
@pytest.mark.parametrize("loop", [pytest.param("", id=""), LOOP_RUNS])
@pytest.mark.parametrize("code", [LONG, AWAITS, AWAITS_LONG])
def test_interrupt_ends_the_code_and_the_turn(kernel: Kernel, folder: Path, code: str, loop: str) -> None:
    kernel.run(loop)
    cell = interrupted(kernel, kernel.start_cell(f"%claude run: {code}"), folder / "begun")
    assert cell.error is not None
    assert cell.error["ename"] == "TurnInterrupted"
    settle(kernel)
    assert not (folder / "slept").exists()
    assert "still there" in kernel.run("%claude ECHO still there").markdown
    assert kernel.eval("str(manager.session().state)") == "'idle'"


@on_each_ipykernel
def test_interrupt_between_cells_ends_the_code_of_a_background_turn(kernel: Kernel, folder: Path) -> None:
    kernel.run(f"%claude -b -o turn run: {LONG}")
    wait_for_file(folder / "begun")
    time.sleep(0.1)
    kernel.manager.interrupt_kernel()
    assert kernel.eval("turn.wait(20), str(turn.status)", timeout=20) == "(True, 'interrupted')"
    assert kernel.eval("await asyncio.sleep(0, 'the loop goes on')") == "'the loop goes on'"


def test_what_ends_the_turn_ends_its_code(kernel: Kernel, folder: Path) -> None:
    """The turn is interrupted from elsewhere while the code keeps the main thread."""
    kernel.run(
        "def end_it():\n"
        "    while not manager.session().running or not os.path.exists('begun'): time.sleep(0.05)\n"
        "    manager.session().running.interrupt()\n"
        "threading.Thread(target=end_it).start()"
    )
    cell = kernel.run(f"%claude run: {LONG}", timeout=20)
    assert cell.error is None
    assert not (folder / "slept").exists()


STOP_SOON = """
import sys
from claude_nb.kernel.execute import Execution

def under_way():
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, Execution) and found.seconds > 0.3:
            return found
        frame = frame.f_back

def stop_soon():
    while (found := under_way()) is None:
        time.sleep(0.05)
    found.stop()
    time.sleep(0.2)
    found.stop()

threading.Thread(target=stop_soon).start()
"""


@on_each_ipykernel
@pytest.mark.parametrize("how", ["%claude", "%claude -b -o turn"])
def test_stop_ends_the_code_and_nothing_else(kernel: Kernel, folder: Path, how: str) -> None:
    kernel.run(STOP_SOON)
    cell = kernel.run(f"{how} run: {LONG}", timeout=30)
    assert cell.error is None
    kernel.run("%claude /wait")
    assert "The user stopped the code" in kernel.eval("manager.session().last_turn.text")
    assert kernel.eval("str(manager.session().last_turn.status)") == "'completed'"
    assert not (folder / "slept").exists()


def test_of_200_attempts_where_nobody_is_there_none_runs(headless: Kernel, folder: Path) -> None:
    precious = folder / "precious.txt"
    precious.write_text("kept\n")
    (folder / "book.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    attempts = 0
    for number in range(10):
        cell = headless.run(f"reply = %claude try everything as attempt{number}")
        assert cell.error is None, cell.shown_error
        assert cell.reply["payload"] == []
        attempts += int(headless.eval("len(reply.tools)"))
    assert headless.eval("'unasked' in globals()") == "False"
    assert (
        headless.eval("[tool.name for tool in reply.tools if tool.state not in ('refused', 'failed')]")
        == "[]"
    )
    assert attempts == 200
    after = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert after == before
    assert [path for path in folder.iterdir() if path.name.startswith("attempt")] == []
