"""JupyterLab 4 in a browser, a whole kernel and the real CLI: tools that ask while their cell runs."""

from __future__ import annotations

import pytest
from asking_kit import SOON, ask, button, card, press, saved_texts, seconds_from_click, value
from lab_kit import Frontend, Notebook
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

LONG = "import time; time.sleep(60)"


@pytest.fixture(scope="module")
def told(shared_lab: Frontend) -> Notebook:
    """A notebook to add cells to, with a session that is warm."""
    notebook = shared_lab.open("%claude hello")
    notebook.run(1)
    return notebook


def test_a_click_on_allow_reaches_the_tool_at_once_and_leaves_a_line(told: Notebook) -> None:
    seconds = seconds_from_click(told, "x = 5; print('out', x); x")
    print(f"from the click to the code: {seconds * 1000:.0f} ms")
    assert 0 < seconds < SOON
    assert value(told, "x") == "5"
    index = told.run_new("pass") - 3
    reply, line, printed, result = saved_texts(told, index)
    assert "It gave:" in reply
    assert line.startswith("> \u2713 Allowed once: <b>kernel")
    assert (printed, result) == ("out 5\n", "5")
    expect(told.output(index).locator(".cnb-card")).to_have_count(0)
    assert "waiting for you" not in told.text(index)


def test_a_denied_tool_does_nothing_and_claude_reads_the_reason(told: Notebook) -> None:
    index = ask(told, "%claude run: denied = True")
    asking = card(told, index)
    expect(told.output(index).locator("summary i").first).to_have_text("waiting for you")
    asking.get_by_role("textbox").fill("not that one")
    press(told, index, "Deny")
    told.finish(index)
    reply, line = saved_texts(told, index)
    assert "It was refused:" in reply
    assert "The user said no: not that one" in reply
    assert line.startswith("> \u2298 Denied:")
    assert line.endswith(": not that one")
    assert value(told, "'denied' in globals()") == "False"


def test_always_asks_no_second_time_and_is_listed(told: Notebook) -> None:
    index = ask(told, "%claude -s trusted run: one = 1")
    press(told, index, "Always")
    told.finish(index)
    index = told.run_new("%claude -s trusted run: two = 2")
    told.see(index, "It gave:")
    assert "Allowed" not in told.text(index)
    assert value(told, "one + two") == "3"
    told.run_new("%claude /switch trusted")
    listed = told.output(told.run_new("%claude /permissions"))
    expect(listed.locator("tr", has_text="run_cell")).to_contain_text("always allowed in this session")
    told.run_new("%claude /switch notebook")


def test_stop_ends_the_code_and_nothing_else(told: Notebook) -> None:
    index = ask(told, f"%claude run: stopped = 1; {LONG}; stopped = 2")
    press(told, index, "Allow once")
    running = card(told, index, "running")
    expect(running).to_contain_text("Claude's code is running")
    told.screenshot("running-code")
    button(running, "Stop").click()
    told.finish(index)
    reply, *lines = saved_texts(told, index)
    assert "The user stopped the code." in reply
    assert "No such comm" not in reply
    assert "\u25a0 You stopped the code." in lines[-1]
    assert "Interrupted" not in told.text(index)
    assert value(told, "stopped") == "1"
    told.see(told.run_new("%claude ECHO on"), "ECHO on")


def test_interrupt_ends_the_code_and_the_turn(told: Notebook) -> None:
    index = ask(told, f"%claude run: {LONG}")
    press(told, index, "Allow once")
    card(told, index, "running")
    told.interrupt()
    told.finish(index)
    assert told.error(index).inner_text().strip().startswith("TurnInterrupted: ")
    expect(told.output(index).locator(".cnb-card")).to_have_count(0)
    told.see(told.run_new("%claude ECHO on"), "ECHO on")


def test_a_double_click_and_late_clicks_are_one_answer(told: Notebook) -> None:
    told.run_new("count = 0")
    index = ask(told, "%claude run twice: count += 1")
    first = card(told, index).element_handle()
    assert first is not None
    button(card(told, index), "Allow once").dblclick()
    told.page.wait_for_function("node => !node.isConnected", arg=first)
    assert told.running(index)  # it asks for the second run
    press(told, index, "Deny")
    told.finish(index)
    assert value(told, "count") == "1"


def test_claudes_questions_and_plans_are_answered_by_clicks(told: Notebook) -> None:
    index = ask(told, "%claude ask me something")
    card(told, index).get_by_label("Blue").check()
    told.screenshot("choices")
    press(told, index, "Submit")
    told.finish(index)
    reply, line = saved_texts(told, index)
    assert '"Which colour?"="Blue"' in reply
    assert line == "> \u2713 Answered: Which colour? <b>Blue</b>"
    told.run_new("%claude /mode plan")
    index = ask(told, "%claude make a plan")
    expect(card(told, index).locator("li")).to_have_text(["Look.", "Leap."])
    told.screenshot("plan")
    press(told, index, "Approve")
    told.finish(index)
    told.run_new("%claude /mode default")
    reply, line = saved_texts(told, index)
    assert "I go:" in reply
    assert line == "> \u2713 Plan approved"


def test_a_background_question_is_answered_while_nothing_and_while_something_runs(told: Notebook) -> None:
    idle = told.run_new("%claude -b run: first = 1")
    press(told, idle, "Allow once")
    told.see(idle, "It gave:")
    asking = told.run_new("%claude -b run: second = 2")
    card(told, asking)
    told.see(told.run_new("%claude /sessions"), "waiting for you")
    busy = told.add("import time; ends = time.time() + 3; time.sleep(3)")
    told.start(busy)
    press(told, asking, "Allow once")
    told.see(asking, "waits for the cell that runs")
    assert told.running(busy)
    told.see(asking, "It gave:")
    assert value(told, "first + second, time.time() > ends") == "(3, True)"
    assert len(saved_texts(told, asking)) == 2


def test_wait_puts_a_background_question_where_it_waits(told: Notebook) -> None:
    asking = told.run_new("%claude -b run: waited = 1")
    card(told, asking)
    waiting = ask(told, "%claude /wait")
    told.see(asking, "Asked again in another cell.")
    expect(told.output(asking).locator(".cnb-card")).to_have_count(0)
    press(told, waiting, "Allow once")
    told.finish(waiting)
    told.see(asking, "It gave:")
    assert value(told, "waited") == "1"
    assert "Allowed once" in saved_texts(told, waiting)[0]
    assert "Asked again" in saved_texts(told, asking)[1]


def test_two_sessions_that_ask_at_once_get_their_own_answers(told: Notebook) -> None:
    one = told.run_new("%claude -b -s one run: from_one = 1")
    two = told.run_new("%claude -b -s two run: from_two = 2")
    expect(card(told, one)).to_contain_text("one")
    press(told, two, "Deny")
    told.see(two, "It was refused")
    press(told, one, "Allow once")
    told.see(one, "It gave:")
    assert value(told, "[name for name in ('from_one', 'from_two') if name in globals()]") == "['from_one']"


def test_a_page_that_is_loaded_again_asks_again_while_the_cell_runs(lab: Frontend) -> None:
    notebook = lab.open("%claude run: answered = 1", "import ipywidgets; ipywidgets.IntSlider()")
    notebook.run(2)
    notebook.start(1)
    card(notebook, 1)
    notebook.save()
    notebook.reload()
    expect(card(notebook, 1)).to_contain_text("answered = 1")
    expect(notebook.output(2).locator(".widget-slider")).to_be_visible()
    press(notebook, 1, "Allow once")
    notebook.wait_until_kernel_is("idle")
    assert value(notebook, "answered") == "1"


def test_a_background_question_survives_its_page(lab: Frontend) -> None:
    notebook = lab.open("%claude -b run: answered = 1", "%claude /wait", "print('answered' in globals())")
    notebook.run(1)
    card(notebook, 1)
    notebook.reload()
    expect(notebook.output(1)).to_have_text("")
    notebook.run(3)
    assert notebook.printed(3) == "False"
    notebook.start(2)
    press(notebook, 2, "Allow once")
    notebook.finish(2)
    assert value(notebook, "answered") == "1"
