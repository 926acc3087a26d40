"""Whole kernels and the real CLI: `%claude` and `%%claude` as a notebook's cells run them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kernel_kit import MANAGER, PATIENCE, Cell, Kernel, environment, running_kernel
from shared_kernels import SharedKernels

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.kernel

PID = f"{MANAGER}.session().pid"


@pytest.fixture(scope="module")
def shared_kernel(
    offline: OfflineAPI, tmp_path_factory: pytest.TempPathFactory, private_home: Path
) -> Iterator[Kernel]:
    """One kernel for the tests that leave nothing behind in it."""
    variables = offline.environment(tmp_path_factory.mktemp("claude"))
    with environment(variables), running_kernel(tmp_path_factory.mktemp("notebook")) as kernel:
        yield kernel


def test_a_cell_shows_the_reply_once_and_returns_it(shared_kernel: Kernel) -> None:
    cell = shared_kernel.run("%claude ECHO hello")
    assert cell.error is None
    assert cell.displays == [{"text/markdown": "&lt;&lt;&lt;ECHO hello&gt;&gt;&gt;"}] or (
        len(cell.displays) == 1 and "ECHO hello" in cell.markdown
    )
    assert "Reply" in shared_kernel.eval("repr(_)")


def test_the_second_cell_goes_to_the_same_process(shared_kernel: Kernel) -> None:
    shared_kernel.run("%claude the code word is heron")
    pid = shared_kernel.eval(PID)
    assert "heron" in shared_kernel.run("%claude what is the code word").markdown
    assert shared_kernel.eval(PID) == pid


FORMS = {
    "%claude ECHO What does this do?": "ECHO What does this do?",
    "x = %claude ECHO is it?": "ECHO is it?",
    "for i in range(1):\n    r = %claude ECHO in a loop?": "ECHO in a loop?",
    "def f():\n    return get_ipython().run_line_magic('claude', 'ECHO called')\nf();": "ECHO called",
    "def g():\n    r = %claude ECHO in a function?\n    return r\ng();": "ECHO in a function?",
    "%%time\n%claude ECHO timed?": "ECHO timed?",
    "%claude ECHO it's \"quoted": "ECHO it's \"quoted",
    "%claude ECHO a trailing \\": "ECHO a trailing \\",
    "%claude ECHO {x} $HOME %s": "ECHO {x} $HOME %s",
    "%%claude\nECHO\n>>> doctest\nIn [3]: y\n...: z": "ECHO\n>>> doctest\nIn [3]: y\n...: z",
    "%%claude ECHO first\nsecond": "ECHO first\nsecond",
    "%%claude -q\nECHO  two  spaces": "ECHO  two  spaces",
    "%claude ECHO line 1\n%claude ECHO line 2 )": "ECHO line 2 )",
}


@pytest.mark.parametrize("source", FORMS)
def test_a_prompt_reaches_claude_byte_for_byte_as_typed(
    shared_kernel: Kernel, offline: OfflineAPI, source: str
) -> None:
    cell = shared_kernel.run(source)
    assert cell.error is None, cell.shown_error
    request = [request for request in offline.requests if request.get("tools")][-1]
    user = [message for message in request["messages"] if message["role"] == "user"][-1]
    content = user["content"]
    assert (content if isinstance(content, str) else content[-1]["text"]) == FORMS[source]


def test_the_reply_can_be_bound_and_asked(shared_kernel: Kernel) -> None:
    assert shared_kernel.run("answer = %claude ECHO bound").error is None
    assert shared_kernel.eval("answer.text, str(answer.status), answer.session") == (
        "('<<<ECHO bound>>>', 'completed', 'default')"
    )
    cell = shared_kernel.run("%%claude -o named\nECHO by option")
    assert len(cell.displays) == 1
    assert shared_kernel.eval("named.text") == "'<<<ECHO by option>>>'"


def test_a_reply_displays_itself_when_it_is_asked_for_again(shared_kernel: Kernel) -> None:
    shared_kernel.run("again = %claude ECHO again")
    cell = shared_kernel.run("again")
    assert "ECHO again" in cell.markdown


def test_another_session_is_another_process(shared_kernel: Kernel) -> None:
    shared_kernel.run("%claude ECHO x")
    cell = shared_kernel.run('%claude -s "my review" ECHO elsewhere')
    assert "ECHO elsewhere" in cell.markdown
    pids = shared_kernel.eval(f"[s.pid for s in {MANAGER}.sessions.values()]")
    assert len(set(json.loads(pids))) == 2


def test_a_captured_cell_holds_one_output(shared_kernel: Kernel) -> None:
    shared_kernel.run("%%capture captured\n%claude ECHO captured")
    assert shared_kernel.eval("len([o for o in captured.outputs if o.data])") == "1"


def test_a_tool_call_is_a_folded_card_and_quiet_leaves_it_out(shared_kernel: Kernel) -> None:
    assert "<details>" in shared_kernel.run("%claude run a long command").markdown
    assert "<details" not in shared_kernel.run("%claude -q run a long command").markdown


def test_what_is_saved_is_equal_in_every_run(shared_kernel: Kernel) -> None:
    first = shared_kernel.run("%claude -n run a long command")
    second = shared_kernel.run("%claude -n run a long command")
    assert first.displays == second.displays


def test_no_reply_can_bring_html_into_the_page(shared_kernel: Kernel) -> None:
    cell = shared_kernel.run("%claude ECHO <img src=x onerror=alert(1)>")
    assert "<img" not in cell.markdown


def test_a_mistake_is_one_line_that_says_what_to_do(shared_kernel: Kernel) -> None:
    for source in (
        "%claude -x hello",
        "%claude -s",
        "%claude -o 1x hi",
        '%claude -s "../up" hi',
        "%claude /sesions",
    ):
        cell = shared_kernel.run(source)
        assert cell.reply["ename"] == "UsageError", source
        assert cell.printed.startswith("UsageError: "), source
        assert cell.printed.count("\n") == 1, cell.printed


def test_help_is_printed_and_asks_nobody(shared_kernel: Kernel, offline: OfflineAPI) -> None:
    before = len(offline.requests)
    assert "%claude PROMPT" in shared_kernel.run("%claude /help").printed
    assert "%claude PROMPT" in shared_kernel.run("%claude").printed
    fork = shared_kernel.run("%claude /help fork").printed
    assert fork.startswith("/fork NAME [NEW]")
    assert "/sessions" not in fork
    assert "Did you mean /fork?" in shared_kernel.run("%claude /help frok").printed
    # `%claude?`, and Shift-Tab in the word
    for code, place in (("%claude?", 8), ("%claude hello", 5), ("%%claude", 8)):
        told = shared_kernel.client.inspect(code, place, reply=True, timeout=60)["content"]
        assert "--no-context" in told["data"]["text/plain"], code
    assert len(offline.requests) == before


def test_a_reply_streams_into_one_display_and_its_last_update_is_whole(kernel: Kernel) -> None:
    cell = kernel.run("%claude count slowly to 20")
    updates = cell.of("update_display_data")
    assert len(cell.of("display_data")) == 1
    assert len(updates) > 5
    assert "20" in cell.markdown
    assert any("tokens" in update["data"]["text/markdown"] for update in updates)
    assert "tokens" not in cell.markdown


def test_an_interrupted_cell_keeps_its_text_and_the_next_prompt_goes_to_the_same_process(
    kernel: Kernel,
) -> None:
    message = kernel.start_cell("%claude stream 400 lines")
    sent: list[Cell] = []

    def interrupt(cell: Cell) -> None:
        if "line 5" in cell.markdown and not sent:
            sent.append(cell)
            kernel.manager.interrupt_kernel()

    cell = kernel.finish(message, watch=interrupt)
    assert "line 400" not in cell.markdown
    assert cell.error is not None
    assert cell.error["ename"] == "TurnInterrupted"
    assert len(cell.error["traceback"]) == 1
    assert "line 5" in cell.markdown
    assert "Interrupted" not in cell.markdown, "the error says it"
    pid = kernel.eval(PID)
    assert "ECHO after" in kernel.run("%claude ECHO after").markdown
    assert kernel.eval(PID) == pid


def test_an_interrupt_stops_a_loop_of_prompts(kernel: Kernel) -> None:
    message = kernel.start_cell(
        "asked = 0\nfor i in range(5):\n    asked += 1\n    r = %claude stream 400 lines"
    )
    sent: list[bool] = []

    def interrupt(cell: Cell) -> None:
        if "line 3" in cell.markdown and not sent:
            sent.append(True)
            kernel.manager.interrupt_kernel()

    kernel.finish(message, watch=interrupt)
    assert kernel.eval("asked") == "1"


def test_interrupting_another_cell_leaves_claude_code_alone(kernel: Kernel) -> None:
    kernel.run("%claude ECHO x")
    pid = kernel.eval(PID)
    message = kernel.start_cell("import time; time.sleep(30)")
    time.sleep(0.5)
    kernel.manager.interrupt_kernel()
    assert kernel.finish(message).error["ename"] == "KeyboardInterrupt"  # type: ignore[index]
    kernel.manager.interrupt_kernel()  # and while nothing runs
    assert "ECHO y" in kernel.run("%claude ECHO y").markdown
    assert kernel.eval(PID) == pid


def test_where_nobody_is_there_the_first_display_is_the_whole_reply(headless: Kernel) -> None:
    cell = headless.run("%claude count slowly to 20")
    assert len(cell.of("display_data")) == 1
    assert not cell.of("update_display_data")
    assert "20" in cell.markdown


def test_what_is_saved_with_a_reader_equals_what_nobody_saw_made(
    api: OfflineAPI, kernels: SharedKernels, own_data: Path, folder: Path
) -> None:
    displays = []
    for someone_there in (True, False):
        with kernels.lend(folder, someone_there=someone_there) as kernel:
            displays.append(kernel.run("%claude run a long command").displays)
    assert displays[0] == displays[1]


def test_loading_starts_no_process_and_imports_nothing_slow(api: OfflineAPI, tmp_path: Path) -> None:
    with running_kernel(tmp_path, load=False) as kernel:
        children = len(psutil.Process(kernel.pid).children(recursive=True))
        files = set(Path(os.environ["JUPYTER_RUNTIME_DIR"]).rglob("*"))
        cell = kernel.run(
            "%load_ext claude_nb\nimport sys\n"
            "[m for m in ('claude_agent_sdk', 'mcp', 'ipywidgets', 'anywidget') if m in sys.modules]"
        )
        assert cell.value == "[]"
        assert len(psutil.Process(kernel.pid).children(recursive=True)) == children
        assert set(Path(os.environ["JUPYTER_RUNTIME_DIR"]).rglob("*")) == files


def test_the_sdk_is_imported_while_the_kernel_is_idle(api: OfflineAPI, tmp_path: Path) -> None:
    with running_kernel(tmp_path) as kernel:
        deadline = time.monotonic() + PATIENCE
        while kernel.eval("'claude_agent_sdk' in __import__('sys').modules") != "True":
            assert time.monotonic() < deadline
            time.sleep(1.5)


def test_unloading_ends_the_process_and_leaves_the_shell_as_it_was(kernel: Kernel) -> None:
    probe = (
        "ip = get_ipython(); t = ip.input_transformer_manager; "
        "[len(ip.events.callbacks['pre_run_cell']), len(ip.events.callbacks['post_run_cell']), "
        "len(ip.configurables), len(t.token_transformers), len(t.cleanup_transforms), "
        "'claude' in ip.magics_manager.magics['line'], 'claude' in ip.magics_manager.magics['cell']]"
    )
    with_extension = kernel.eval(probe)
    kernel.run("%claude ECHO x")
    pid = int(kernel.eval(PID))
    kernel.run("%unload_ext claude_nb")
    assert not psutil.pid_exists(pid)
    without = json.loads(kernel.eval(probe).replace("False", "false").replace("True", "true"))
    assert without[-2:] == [False, False]
    kernel.run("%load_ext claude_nb")
    assert kernel.eval(probe).endswith("True, True]")
    assert with_extension.endswith("True, True]")
    assert "ECHO again" in kernel.run("%claude ECHO again").markdown


def test_cells_that_were_queued_run_in_their_order(kernel: Kernel) -> None:
    first = kernel.start_cell("order = []\nr = %claude count slowly to 20\norder.append(1)")
    second = kernel.start_cell("order.append(2)")
    third = kernel.start_cell("r = %claude ECHO x\norder.append(3)")
    for message in (first, second, third):
        assert kernel.finish(message).error is None
    assert kernel.eval("order") == "[1, 2, 3]"


def test_a_cell_can_await_a_turn_and_iterate_its_blocks(kernel: Kernel) -> None:
    cell = kernel.run(
        "import claude_nb\n"
        "turn = claude_nb.manager().session().ask('run a long command')\n"
        "reply = await turn\n"
        "print(reply.status, [b.type async for b in turn])"
    )
    assert cell.printed == "completed ['text', 'tool_use', 'tool_result', 'text']\n"


def test_a_forked_worker_does_not_end_its_parents_session(kernel: Kernel) -> None:
    kernel.run("%claude ECHO x")
    pid = kernel.eval(PID)
    kernel.run(
        "import multiprocessing\n"
        "worker = multiprocessing.get_context('fork').Process(target=len, args=([],))\n"
        "worker.start(); worker.join(20)"
    )
    assert kernel.eval("worker.exitcode") == "0"
    assert "ECHO y" in kernel.run("%claude ECHO y").markdown
    assert kernel.eval(PID) == pid


def test_a_background_cell_returns_at_once_and_its_reply_streams_into_it(kernel: Kernel) -> None:
    kernel.run("%claude ECHO x")
    cell = kernel.run("%%claude -b -o later\ncount slowly to 20")
    assert len(cell.displays) == 1
    assert kernel.eval("later.done()") == "False"
    assert kernel.eval("later.result(30).text.split()[:3]") == "['1', '2', '3']"
    assert "status='completed'" not in kernel.eval("later")
    cell = kernel.run("value = %claude -b ECHO y")
    assert len(cell.displays) == 1
    assert kernel.eval("type(value).__name__, value.result(30).text") == "('Turn', '<<<ECHO y>>>')"
    assert len(kernel.run("%claude -b ECHO z").displays) == 1, "not a second time as the cell's value"
    assert "ECHO z" in kernel.run("_.result(30); _").markdown


def test_a_background_cell_waits_where_nobody_would_see_what_comes_later(headless: Kernel) -> None:
    cell = headless.run("%%claude -b -o later\ncount slowly to 20")
    assert "20" in cell.markdown
    assert headless.eval("later.done()") == "True"
    assert len(cell.displays) == 1


@pytest.mark.parametrize("keep", [pytest.param(True, marks=pytest.mark.nests), False])
def test_the_users_asyncio_tasks_go_on_while_a_cell_waits_only_if_they_are_to(
    kernel: Kernel, keep: bool
) -> None:
    kernel.run(f"%config SessionManager.keep_loop_running = {keep}")
    kernel.run(
        "import asyncio\nticks = []\n"
        "async def tick():\n    while True:\n        ticks.append(1)\n        await asyncio.sleep(0.05)\n"
        "task = asyncio.create_task(tick())"
    )
    first = kernel.start_cell(
        "before = len(ticks)\nr = %claude count slowly to 20\nduring = len(ticks) - before"
    )
    queued = [kernel.start_cell(f"queued_{n} = {n}") for n in range(3)]
    assert "20" in kernel.finish(first).markdown
    for message in queued:
        assert kernel.finish(message).error is None
    assert (int(kernel.eval("during")) > 20) is keep
    assert kernel.eval("queued_0, queued_1, queued_2") == "(0, 1, 2)"


@pytest.mark.nests
def test_an_interrupt_ends_the_turn_also_while_the_loop_goes_on(kernel: Kernel) -> None:
    kernel.run("%config SessionManager.keep_loop_running = True")
    message = kernel.start_cell("%claude stream 400 lines")
    sent: list[bool] = []

    def interrupt(cell: Cell) -> None:
        if "line 3" in cell.markdown and not sent:
            sent.append(True)
            kernel.manager.interrupt_kernel()

    cell = kernel.finish(message, watch=interrupt)
    assert cell.error is not None
    assert cell.error["ename"] == "TurnInterrupted"
    assert "Interrupted" not in cell.markdown, "the error says it"
    assert "ECHO after" in kernel.run("%claude ECHO after").markdown


def test_waiting_for_a_turn_in_a_cell_can_be_interrupted(kernel: Kernel) -> None:
    kernel.run(
        "import claude_nb; session = claude_nb.manager().session()\n_ = session.ask('ECHO x').result()"
    )
    message = kernel.start_cell("turn = session.ask('stream 400 lines')\nprint('asked')\nturn.result()")
    sent: list[bool] = []

    def interrupt(cell: Cell) -> None:
        if "asked" in cell.printed and not sent:
            sent.append(True)
            time.sleep(0.5)
            kernel.manager.interrupt_kernel()

    cell = kernel.finish(message, watch=interrupt)
    assert cell.error is not None
    assert cell.error["ename"] == "TurnInterrupted"
    assert kernel.eval("str(turn.reply.status)") == "'interrupted'"
