"""Whole kernels and the real CLI: the commands of `%claude /...`, and Tab. A few at the top are pure."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_kit import MANAGER, PATIENCE, Cell, Kernel, environment, running_kernel

from claude_nb.answers import Table
from claude_nb.commands import COMMANDS
from claude_nb.help import WIDTH, chat_help, help_text, usages
from claude_nb.offline import OfflineAPI
from claude_nb.render.tables import as_markdown, as_text

AGENT = """\
---
name: poet
description: Writes verse
model: haiku
---
You are a poet of the heron school.
"""


# -- pure --------------------------------------------------------------------------------------------


@pytest.mark.pure
def test_the_help_has_a_line_for_every_command() -> None:
    helps = "\n".join(usages())
    for name in COMMANDS:
        assert f"  /{name}" in helps
    whole = f"{help_text()}\n{chat_help()}"
    assert all(len(line) <= WIDTH for line in whole.splitlines())


@pytest.mark.pure
def test_a_table_is_columns_as_text_and_harmless_as_markdown() -> None:
    table = Table(["name", "n"], [["a|b", "1"], ["<i>", "22"]], ["a note"])
    assert as_text(table).splitlines() == ["name  n", "a|b   1", "<i>   22", "a note"]
    markdown = as_markdown(table)
    assert "<i>" not in markdown
    assert [row.count("|") for row in markdown.splitlines()[:4]] == [3, 3, 3, 3]


@pytest.mark.pure
def test_the_readme_lists_every_command() -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    for name in (*COMMANDS, "show", "clear", "help"):
        assert f"`/{name}" in readme, name


# -- whole kernels -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Claude Code's configuration, with an agent in it."""
    config = tmp_path_factory.mktemp("claude")
    (config / "agents").mkdir()
    (config / "agents" / "poet.md").write_text(AGENT)
    return config


@pytest.fixture(scope="module")
def kernel(
    offline: OfflineAPI, place: Path, tmp_path_factory: pytest.TempPathFactory, private_home: Path
) -> Iterator[Kernel]:
    """One kernel for all of them; what a test makes has a name of its own."""
    variables = {**offline.environment(place), "JUPYTER_DATA_DIR": str(tmp_path_factory.mktemp("data"))}
    with environment(variables), running_kernel(tmp_path_factory.mktemp("notebook")) as kernel:
        yield kernel


@pytest.fixture(autouse=True)
def few_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """The processes of a test do not stay for the next one."""
    yield
    if "kernel" in request.fixturenames:
        request.getfixturevalue("kernel").run("%claude /stop --all")


def command(kernel: Kernel, words: str) -> str:
    """What a command prints; it must not fail."""
    cell = kernel.run(f"%claude {words}")
    assert cell.error is None, cell.shown_error
    assert "UsageError" not in cell.printed, cell.printed
    return cell.printed.strip()


def mistake(kernel: Kernel, words: str) -> str:
    """What is said about a mistake: one line, without a traceback."""
    cell = kernel.run(f"%claude {words}")
    assert cell.reply["ename"] == "UsageError", (words, cell.printed, cell.displays)
    assert cell.printed.startswith("UsageError: ")
    assert cell.printed.count("\n") == 1, cell.printed
    return cell.printed.removeprefix("UsageError: ").strip()


def table(kernel: Kernel, words: str) -> str:
    """A table as text."""
    cell = kernel.run(f"%claude {words}")
    assert len(cell.displays) == 1, (cell.printed, cell.shown_error)
    assert "| --- |" in cell.displays[0]["text/markdown"]
    return str(cell.displays[0]["text/plain"])


def rows(kernel: Kernel, words: str = "/sessions") -> dict[str, str]:
    """The lines of `/sessions` by name."""
    lines = [line for line in table(kernel, words).splitlines()[1:] if not line.endswith("each.")]
    return {line.lstrip("→ ").split("  ")[0]: line for line in lines}


def last_request(offline: OfflineAPI) -> dict[str, Any]:
    return [request for request in offline.requests if request.get("tools")][-1]


in_kernel = pytest.mark.kernel


WRONG = {
    "/new": "/new NAME",
    "/new a b": "/new NAME",
    "/new ../up": "'review 2'",
    "/new x --modle haiku": "--model",
    "/new x --model": "--model needs a value",
    "/new x --model --timeout 5": "--model needs a value",
    "/new x --timeout 200": "from 1 to 120",
    "/new x --timeout soon": "from 1 to 120",
    "/new x --cwd /no/such/folder": "no folder",
    "/switch": "/switch NAME",
    "/switch nowhere": "/sessions",
    "/status nowhere": "/sessions",
    "/suspend nowhere": "/sessions",
    "/resume nowhere": "/sessions",
    "/interrupt nowhere": "/sessions",
    "/stop nowhere": "/sessions",
    "/stop a b": "/stop [NAME | --all]",
    "/archive nowhere": "/sessions",
    "/show nowhere": "/sessions",
    "/rename one": "/rename OLD NEW",
    "/rename nowhere else": "/sessions",
    "/fork": "/fork NAME [NEW]",
    "/fork nowhere": "/sessions",
    "/timeout 0.5": "from 1 to 120",
    "/timeout 121": "from 1 to 120",
    "/timeout 1 2": "/timeout [MINUTES]",
    "/model a b": "/model [M]",
    "/mode yolo": "default, plan, acceptEdits",
    "/output loud": "quiet, normal, verbose",
    "/history x": "number",
    "/history 0": "number",
    "/wait now": "/wait",
    "/sessions everything": "--all",
    "-s other /status": "Options are for prompts",
    "-b /wait": "Options are for prompts",
}


@in_kernel
def test_wrong_usage_is_one_line_that_says_what_to_do_and_leaves_nothing_behind(kernel: Kernel) -> None:
    for words, cure in WRONG.items():
        assert cure in mistake(kernel, words), words
    assert not {"x", "a", "b", "other"} & set(rows(kernel))


@in_kernel
def test_an_unknown_command_names_the_nearest_before_anything_was_asked(
    kernel: Kernel, offline: OfflineAPI
) -> None:
    command(kernel, "/new fresh")
    asked = len(offline.requests)
    assert "Did you mean /sessions?" in mistake(kernel, "/sesions")
    assert "Did you mean /compact?" in mistake(kernel, "/compcat")
    assert "%claude /help" in mistake(kernel, "/xyzzy now")
    assert len([r for r in offline.requests[asked:] if r.get("tools")]) == 0


@in_kernel
def test_claude_codes_own_commands_are_passed_on_and_what_they_say_is_shown(kernel: Kernel) -> None:
    command(kernel, "/new own")
    kernel.run("%claude ECHO one")
    kernel.run("%claude ECHO two")
    usage = kernel.run("%claude /usage").markdown
    assert usage.startswith("```\nEstimated cost:")
    compacted = "> \u2139 The conversation was compacted"
    assert kernel.run("%claude /compact").markdown.startswith(compacted)
    kernel.run("%claude ECHO after")
    history = kernel.run("%claude /history").markdown
    assert "ECHO one" in history, "from before it was compacted"
    assert compacted in history
    assert usage.splitlines()[1] in history.splitlines(), "in a line of its own"
    assert "ECHO after" in history
    assert "command-name" not in history
    assert "being continued" not in history


@in_kernel
def test_new_makes_and_switches_and_refuses_a_name_that_is_there(kernel: Kernel) -> None:
    assert command(kernel, '/new "my review" --model haiku --timeout 5') == (
        "my review is the current session now."
    )
    assert kernel.eval(f"{MANAGER}.session().name") == "'my review'"
    assert command(kernel, "/model") == "my review uses haiku."
    assert command(kernel, "/timeout") == "my review is suspended after 5 idle minutes."
    assert "/switch" in mistake(kernel, '/new "my review"')


@in_kernel
def test_switch_and_the_arrow_of_the_table_say_which_is_current(kernel: Kernel) -> None:
    command(kernel, "/new left")
    command(kernel, "/new right")
    assert command(kernel, "/switch left") == "left is the current session now."
    found = rows(kernel)
    assert found["left"].startswith("→")
    assert not found["right"].startswith("→")
    assert "Did you mean 'right'?" in mistake(kernel, "/switch rihgt")


@in_kernel
def test_the_persona_of_new_brings_its_model_and_system_prompt_to_the_api(
    kernel: Kernel, offline: OfflineAPI
) -> None:
    command(kernel, "/new verse --agent poet")
    assert "ECHO hi" in kernel.run("%claude ECHO hi").markdown
    request = last_request(offline)
    assert "haiku" in request["model"]
    assert "heron school" in json.dumps(request["system"])
    assert "poet" in rows(kernel)["verse"]
    assert "poet" in table(kernel, "/status")


@in_kernel
def test_an_unknown_persona_leaves_nothing_behind_and_the_current_session_current(kernel: Kernel) -> None:
    command(kernel, "/new before")
    said = mistake(kernel, "/new prose --agent novelist")
    assert "'novelist'" in said
    assert "poet" in said
    found = rows(kernel)
    assert "prose" not in found
    assert found["before"].startswith("→")


@in_kernel
def test_new_adds_to_the_system_prompt_and_works_in_another_folder(
    kernel: Kernel, offline: OfflineAPI, tmp_path: Path
) -> None:
    command(kernel, f'/new elsewhere --cwd "{tmp_path}" --append-system-prompt "Always say ahoy."')
    kernel.run("%claude ECHO hi")
    request = json.dumps(last_request(offline))
    assert "Always say ahoy." in request
    assert str(tmp_path) in request
    assert str(tmp_path) in table(kernel, "/status")


@in_kernel
def test_the_table_of_sessions_sorts_by_activity_and_says_what_each_is_doing(kernel: Kernel) -> None:
    for name in ("first", "second", "third"):
        command(kernel, f"/new {name} --model haiku")
    kernel.run("%claude -s second ECHO x")
    kernel.run(f"{MANAGER}.session('third').record.last_activity -= 7200")
    text = table(kernel, "/sessions")
    assert text.splitlines()[0].split() == ["name", "state", "model", "persona", "turns", "last", "active"]
    order = [line.lstrip("→ ").split("  ")[0] for line in text.splitlines()[1:]]
    assert order.index("second") < order.index("first") < order.index("third")
    found = rows(kernel)
    assert " live " in found["second"]
    assert "haiku" in found["second"]
    assert "just now" in found["second"]
    assert "2 h ago" in found["third"]
    kernel.run("turn = " + MANAGER + ".session('first').ask('stream 400 lines')")
    wait_until(kernel, "'line 2' in turn.text")
    assert " busy " in rows(kernel)["first"]
    command(kernel, "/interrupt first")
    kernel.run(f"{MANAGER}.session('second').suspend().result(30)")
    kernel.run(f"{MANAGER}.session('second').record.last_activity -= 7200")
    assert "suspended 2 h" in rows(kernel)["second"]


@in_kernel
def test_sessions_are_data_from_python(kernel: Kernel) -> None:
    command(kernel, "/new as-data")
    fields = kernel.eval(f"[i for i in {MANAGER}.overview() if i.name == 'as-data']")
    for part in ("state='created'", "turns=0", "current=True", "live=False"):
        assert part in fields


@in_kernel
def test_more_than_a_few_live_sessions_are_warned_about(kernel: Kernel) -> None:
    kernel.run("%claude -s alive ECHO x")
    kernel.run("import claude_nb.session_manager as m; many, m._MANY = m._MANY, 0")
    assert "live process" in table(kernel, "/sessions")
    kernel.run("m._MANY = many")
    assert "live process" not in table(kernel, "/sessions")


@in_kernel
def test_more_live_sessions_than_allowed_are_refused_with_who_could_sleep(kernel: Kernel) -> None:
    kernel.run("%claude -s sleepy ECHO x")
    kernel.run("%config SessionManager.max_live = 1")
    cell = kernel.run("%claude -s wakeful ECHO x")
    kernel.run("%config SessionManager.max_live = 15")
    assert "/suspend NAME` ('sleepy')" in cell.shown_error
    assert "\n" not in cell.shown_error


@in_kernel
def test_status_tells_everything_about_a_session(kernel: Kernel) -> None:
    command(kernel, "/new told --timeout 5")
    assert "none now" in table(kernel, "/status")
    kernel.run("%claude ECHO x")
    facts = table(kernel, "/status told")
    for name in ("state", "turns", "model", "persona", "folder", "conversation", "memory", "CPU", "guard"):
        assert any(line.startswith(name) for line in facts.splitlines()), name
    assert f"pid {kernel.eval(f'{MANAGER}.session().pid')}, up " in facts
    assert "suspension    in " in facts
    log = Path(kernel.eval(f"{MANAGER}.log_file").strip("'"))
    assert str(log) in facts


@in_kernel
def test_a_sessions_timeout_is_its_own_and_zero_is_never(kernel: Kernel) -> None:
    command(kernel, "/new clock")
    assert command(kernel, "/timeout") == "clock is suspended after 10 idle minutes."
    assert command(kernel, "/timeout 120") == "clock is suspended after 120 idle minutes."
    assert command(kernel, "/timeout 1.5") == "clock is suspended after 1.5 idle minutes."
    assert command(kernel, "/timeout 0") == "clock is never suspended."
    command(kernel, "/new clock-2")
    assert command(kernel, "/timeout") == "clock-2 is suspended after 10 idle minutes."


@in_kernel
def test_suspend_ends_the_process_and_the_next_prompt_knows_everything(kernel: Kernel) -> None:
    command(kernel, "/new sleeper")
    assert "nothing to suspend" in command(kernel, "/suspend")
    kernel.run("%claude the code word is heron")
    assert command(kernel, "/suspend") == "sleeper is suspended; the next prompt resumes it."
    assert kernel.eval(f"{MANAGER}.session().pid is None") == "True"
    assert command(kernel, "/resume") == "sleeper is ready."
    assert kernel.eval(f"{MANAGER}.session().pid is None") == "False"
    assert command(kernel, "/stop sleeper") == "sleeper is stopped; the next prompt resumes it."
    assert "heron" in kernel.run("%claude what is the code word").markdown


@in_kernel
def test_stop_all_stops_every_session(kernel: Kernel) -> None:
    kernel.run("%claude -s one ECHO x")
    kernel.run("%claude -s two ECHO x")
    assert command(kernel, "/stop --all") == "2 sessions stopped; the next prompt resumes each."
    assert kernel.eval(f"{MANAGER}.live") == "[]"


@in_kernel
def test_a_fork_is_a_copy_under_a_name_of_its_own(kernel: Kernel) -> None:
    command(kernel, "/new origin")
    assert "nothing to copy" in kernel.run("%claude /fork origin").shown_error
    kernel.run("%claude the code word is heron")
    assert "copy of origin" in command(kernel, '/fork origin "the copy"')
    assert "origin-2 is a copy" in command(kernel, "/fork origin")
    assert "copied, not used yet" in rows(kernel)["origin-2"]
    assert "/switch" in mistake(kernel, '/fork origin "the copy"')
    command(kernel, '/switch "the copy"')
    assert "heron" in kernel.run("%claude what is the code word").markdown


@in_kernel
def test_a_rename_keeps_the_conversation_and_refuses_a_name_that_is_there(kernel: Kernel) -> None:
    command(kernel, "/new old")
    command(kernel, "/new taken")
    assert command(kernel, '/rename old "brand new"') == "old is called brand new now."
    assert {"brand new", "taken"} <= set(rows(kernel))
    assert "old" not in rows(kernel)
    assert "taken" in mistake(kernel, '/rename "brand new" taken')


@in_kernel
def test_an_archived_session_is_hidden_and_switch_brings_it_back(kernel: Kernel) -> None:
    command(kernel, "/new that-stays")
    command(kernel, "/new put-away")
    kernel.run("%claude the code word is heron")
    assert "/switch put-away" in command(kernel, "/archive")
    assert rows(kernel).keys() & {"that-stays", "put-away"} == {"that-stays"}
    assert "archived" in rows(kernel, "/sessions --all")["put-away"]
    command(kernel, "/switch put-away")
    assert "heron" in kernel.run("%claude what is the code word").markdown
    assert "put-away" in rows(kernel)


@in_kernel
def test_what_claude_talks_to_after_its_session_was_archived_is_the_notebooks_own(kernel: Kernel) -> None:
    kernel.run("%claude -s default ECHO x")
    command(kernel, "/new going")
    command(kernel, "/archive going")
    cell = kernel.run("%claude ECHO x")
    assert "in use" not in cell.markdown
    assert kernel.eval(f"{MANAGER}.session().name") == "'default'"


@in_kernel
def test_history_shows_the_last_prompts_and_replies(kernel: Kernel) -> None:
    command(kernel, "/new chronicle")
    assert command(kernel, "/history") == "Nothing was said in chronicle yet."
    for word in ("one", "two", "three"):
        kernel.run(f"%claude ECHO {word}")
    said = kernel.run("%claude /history 2").markdown
    assert said.startswith("> ECHO two")
    assert "ECHO one" not in said
    assert "&lt;&lt;&lt;ECHO three" in said


@in_kernel
def test_show_shows_the_last_turn_again(kernel: Kernel) -> None:
    command(kernel, "/new shown")
    assert "/history" in command(kernel, "/show")
    reply = kernel.run("%claude ECHO hi").markdown
    assert kernel.run("%claude /show").markdown == reply
    assert kernel.run("%claude /show shown").markdown == reply


@in_kernel
def test_wait_waits_for_what_runs_in_the_background(kernel: Kernel) -> None:
    command(kernel, "/new behind")
    assert command(kernel, "/wait") == "No turn is running."
    kernel.run("%%claude -b -o later\ncount slowly to 10")
    assert kernel.eval("later.done()") == "False"
    assert command(kernel, "/wait") == "1 turn ended."
    assert kernel.eval("later.done()") == "True"


@in_kernel
def test_an_interrupted_wait_is_one_line_and_the_turn_goes_on(kernel: Kernel) -> None:
    command(kernel, "/new patient")
    kernel.run("turn = " + MANAGER + ".session().ask('stream 400 lines')")
    wait_until(kernel, "'line 2' in turn.text")
    message = kernel.start_cell(
        "print('waiting', flush=True); get_ipython().run_line_magic('claude', '/wait')"
    )
    sent: list[bool] = []

    def interrupt(cell: Cell) -> None:
        if "waiting" in cell.printed and not sent:
            sent.append(True)
            time.sleep(0.5)
            kernel.manager.interrupt_kernel()

    cell = kernel.finish(message, watch=interrupt)
    assert cell.error is not None
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert cell.shown_error.count("\n") == 0
    assert kernel.eval("turn.done()") == "False"
    assert command(kernel, "/interrupt") == "The turn of patient was interrupted."
    assert kernel.eval("str(turn.reply.status)") == "'interrupted'"
    assert command(kernel, "/interrupt") == "patient has no running turn."


@in_kernel
def test_the_model_is_used_from_the_next_prompt_on(kernel: Kernel, offline: OfflineAPI) -> None:
    command(kernel, "/new modelled")
    assert command(kernel, "/model") == "modelled uses the default model."
    kernel.run("%claude ECHO x")
    assert command(kernel, "/model haiku") == "modelled uses haiku."
    kernel.run("%claude ECHO x")
    assert "haiku" in last_request(offline)["model"]
    assert command(kernel, "/model default") == "modelled uses the default model."
    kernel.run("%claude ECHO x")
    assert "haiku" not in last_request(offline)["model"]


@in_kernel
def test_the_mode_is_claude_codes_permission_mode(kernel: Kernel) -> None:
    command(kernel, "/new moded")
    assert command(kernel, "/mode") == "moded is in mode default."
    kernel.run("%claude ECHO x")
    assert command(kernel, "/mode plan") == "moded is in mode plan."
    command(kernel, "/new moded-2")
    assert command(kernel, "/mode") == "moded-2 is in mode default."


@in_kernel
def test_the_output_mode_says_how_tool_calls_are_shown(kernel: Kernel) -> None:
    command(kernel, "/new loud")
    assert command(kernel, "/output quiet") == "Tool calls are not shown (quiet)."
    assert "<details" not in kernel.run("%claude run a long command").markdown
    assert command(kernel, "/output normal") == "Tool calls are shown folded (normal)."
    assert "<details" in kernel.run("%claude run a long command").markdown


@in_kernel
def test_clear_forgets(kernel: Kernel) -> None:
    command(kernel, "/new forgetful")
    kernel.run("%claude the code word is heron")
    kernel.run("%claude /clear")
    assert "no code word" in kernel.run("%claude what is the code word").markdown


@in_kernel
def test_a_name_that_is_html_shows_as_text(kernel: Kernel) -> None:
    assert "cannot be a session's name" in mistake(kernel, "/new <img>")
    command(kernel, "/new plain --model <img>")
    markdown = kernel.run("%claude /sessions").displays[0]["text/markdown"]
    assert "<img" not in markdown


def wait_until(kernel: Kernel, condition: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while kernel.eval(condition) != "True":
        assert time.monotonic() < deadline, condition
        time.sleep(0.1)


# -- Tab ---------------------------------------------------------------------------------------------


def tab(kernel: Kernel, code: str) -> list[str]:
    """The line as each completion makes it, from a real `complete_request`."""
    message = kernel.client.complete(code, len(code))
    reply = kernel._reply(message, time.monotonic() + PATIENCE)
    return [code[: reply["cursor_start"]] + match + code[reply["cursor_end"] :] for match in reply["matches"]]


def kinds(kernel: Kernel, code: str) -> set[str]:
    """What stands beside the completions in a front end's list."""
    reply = kernel._reply(kernel.client.complete(code, len(code)), time.monotonic() + PATIENCE)
    return {match["type"] for match in reply["metadata"]["_jupyter_types_experimental"]}


@in_kernel
def test_tab_completes_commands_names_and_models_in_lines_and_cells(kernel: Kernel) -> None:
    command(kernel, "/new two-words")
    command(kernel, '/new "two words"')
    kernel.run("%claude ECHO x")
    assert tab(kernel, "%claude /sw") == ["%claude /switch"]
    assert tab(kernel, "x = %claude /comp") == ["x = %claude /compact"]
    assert tab(kernel, "%claude /switch two-") == ["%claude /switch two-words"]
    assert tab(kernel, '%claude /switch "two w') == ['%claude /switch "two words"']
    assert set(tab(kernel, "%claude /switch two")) == {
        "%claude /switch two-words",
        '%claude /switch "two words"',
    }
    assert tab(kernel, "%%claude -s two-") == ["%%claude -s two-words"]
    assert tab(kernel, "%claude --session=two-") == ["%claude --session=two-words"]
    assert tab(kernel, "%%claude -q -m hai") == ["%%claude -q -m haiku"]
    assert tab(kernel, "%claude /model opu") == ["%claude /model opus"]
    assert "%claude /model fable" in tab(kernel, "%claude /model "), "what Claude Code itself lists"
    assert tab(kernel, "%claude /mode p") == ["%claude /mode plan"]
    assert tab(kernel, "%claude /output v") == ["%claude /output verbose"]
    assert tab(kernel, "%claude /new x --agent po") == ["%claude /new x --agent poet"]
    assert tab(kernel, "%claude /new x --app") == ["%claude /new x --append-system-prompt"]
    assert tab(kernel, "%claude --back") == ["%claude --background"]
    everything = tab(kernel, "%claude /")
    assert {"%claude /help", "%claude /context", "%claude /widget", "%claude /compact"} <= set(everything)
    assert not [line for line in everything if "/_" in line]
    # Ours first; then Claude Code's, but for those that do nothing here.
    assert everything.index("%claude /wait") < everything.index("%claude /compact")
    assert not {"%claude /color", "%claude /heapdump"} & set(everything)
    assert kinds(kernel, "%claude /") == {"command", "Claude Code"}
    for code, kind in {
        "%claude /switch ": {"session"},
        "%claude -m ": {"model"},
        "%claude --": {"option"},
        "%claude /mode ": {"mode"},
    }.items():
        assert kinds(kernel, code) == kind, code


@in_kernel
def test_tab_completes_names_behind_an_at_sign_in_prompts(kernel: Kernel) -> None:
    kernel.run("frame = 1; framework = 2; data = {'train set': 1, 'test': 2}; _private = 3")
    assert tab(kernel, "%claude what is in @fra") == [
        "%claude what is in @frame",
        "%claude what is in @framework",
    ]
    assert tab(kernel, "x = %claude -q compare @frame and @framew") == [
        "x = %claude -q compare @frame and @framework"
    ]
    assert tab(kernel, "%%claude -s other\nfirst line\nwhat is @framew") == [
        "%%claude -s other\nfirst line\nwhat is @framework"
    ]
    assert tab(kernel, '%claude look at @data["tr') == ['%claude look at @data["train set"]']
    assert tab(kernel, "%claude look at @data['te") == ["%claude look at @data['test']"]
    assert tab(kernel, "%claude /context (@framew") == ["%claude /context (@framework"]
    everything = tab(kernel, "%claude what is @")
    assert {"%claude what is @frame", "%claude what is @data"} <= set(everything)
    assert not [line for line in everything if "_private" in line or "quit" in line]


@in_kernel
def test_tab_completes_files_behind_an_at_sign(kernel: Kernel) -> None:
    kernel.run(
        "import pathlib; pathlib.Path('tables/deep').mkdir(parents=True); table_of_mine = 1\n"
        "for name in ('tables/sales.csv', 'tables/sales_2.csv', 'tables/.hidden', 'tables/two words.csv'):\n"
        "    pathlib.Path(name).touch()"
    )
    assert tab(kernel, "%claude what is in @table") == [
        "%claude what is in @table_of_mine",
        "%claude what is in @tables/",
    ]
    assert tab(kernel, "%%claude -s other\nread @tables/sales") == [
        "%%claude -s other\nread @tables/sales.csv",
        "%%claude -s other\nread @tables/sales_2.csv",
    ]
    assert tab(kernel, "%claude @tables/.h") == ["%claude @tables/.hidden"]
    assert set(tab(kernel, "%claude @./tables/")) == {
        "%claude @./tables/deep/",
        "%claude @./tables/sales.csv",
        "%claude @./tables/sales_2.csv",
    }
    assert kinds(kernel, "%claude @table") == {"variable", "folder"}
    assert kinds(kernel, "%claude @tables/") == {"folder", "file"}


@in_kernel
def test_tab_completes_what_permissions_and_trust_take(kernel: Kernel) -> None:
    command(kernel, "/permissions allow mcp__kernel__run_cell")
    assert tab(kernel, "%claude /permissions f") == ["%claude /permissions forget"]
    assert tab(kernel, "%claude /permissions forget m") == [
        "%claude /permissions forget mcp__kernel__run_cell"
    ]
    assert tab(kernel, "%claude /trust --f") == ["%claude /trust --forget"]


@in_kernel
def test_tab_elsewhere_is_as_ever(kernel: Kernel) -> None:
    kernel.run("a_long_variable = 1")
    assert tab(kernel, "a_long_v") == ["a_long_variable"]
    assert tab(kernel, "%claude what is a_long_v") == ["%claude what is a_long_variable"]
