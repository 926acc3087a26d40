"""JupyterLab 4 in a browser, a whole kernel: a card that asks, answered by mouse and by keyboard."""

from __future__ import annotations

import pytest
from card_kit import SWAP, Card
from lab_kit import Frontend
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

LIST = {"command": "ls -l", "description": "List the files"}
COLOURS = {
    "questions": [
        {
            "question": "Which colour?",
            "header": "Colour",
            "multiSelect": False,
            "options": [{"label": "Red", "description": "Warm"}, {"label": "Blue", "description": "Cold"}],
        },
        {
            "question": "Which shapes?",
            "header": "Shape",
            "multiSelect": True,
            "options": [{"label": "Circle", "description": ""}, {"label": "Square", "description": ""}],
        },
    ]
}
EVIL = "<img src=x onerror=pwned()><script>pwned()</script><a href='javascript:pwned()'>x</a>\u202e"
PWNED = "window.pwned = () => console.error('PWNED')"
# The time in which a click is an accident does not end, so that the test's click comes too early anywhere.
NEVER_READY = """() => {
  const later = window.setTimeout;
  window.setTimeout = (what, time, ...more) => time === 400 ? 0 : later(what, time, ...more);
}"""
CELLS = "() => kit.panel().content.widgets.length"


def test_allow_once_is_heard_and_the_card_becomes_a_line_of_text(lab: Frontend) -> None:
    card = Card(lab, "Bash", LIST)
    expect(card.node).to_contain_text("List the files")
    expect(card.button("Always")).to_have_count(0)
    card.button("Allow once").click()
    card.wait_until_phase("answered")
    assert "verdict='once'" in card.decided()
    card.ask(SWAP)
    card.notebook.see(1, "Allowed once: Bash ls -l")
    assert list(card.saved_output()) == ["text/markdown"]
    assert "QuestionCard" not in str(card.saved_output())
    card.notebook.reload()
    card.notebook.see(1, "Allowed once: Bash ls -l")


def test_always_shows_the_whole_rule_and_says_it(lab: Frontend) -> None:
    rule = f"Bash({'a-long-rule ' * 20}:*)"
    card = Card(lab, "Bash", LIST, rule=rule)
    expect(card.node).to_contain_text(rule)
    card.button("Always").click()
    card.wait_until_phase("answered")
    assert "verdict='always'" in card.decided()


def test_deny_takes_a_reason_along(lab: Frontend) -> None:
    card = Card(lab, "Bash", LIST)
    card.node.get_by_role("textbox").fill("use git ls-files")
    card.button("Deny").click()
    card.wait_until_phase("answered")
    assert "verdict='deny', reason='use git ls-files'" in card.decided()
    expect(card.node).to_contain_text("Denied: use git ls-files")


def test_choices_are_submitted_with_words_of_ones_own(lab: Frontend) -> None:
    card = Card(lab, "AskUserQuestion", COLOURS)
    card.node.get_by_label("Blue").check()
    card.button("Submit").click()
    expect(card.node).to_contain_text("Please answer every question.")
    card.node.get_by_label("Square").check()
    card.node.get_by_label("Other answer to question 2").fill("Star")
    card.button("Submit").click()
    card.wait_until_phase("answered")
    assert "{'Which colour?': 'Blue', 'Which shapes?': 'Square, Star'}" in card.decided()


def test_a_plan_is_approved_or_sent_back(lab: Frontend) -> None:
    card = Card(lab, "ExitPlanMode", {"plan": "# Plan\n\n1. Look\n2. Leap"})
    expect(card.node.locator("li")).to_have_text(["Look", "Leap"])
    card.node.get_by_role("textbox").fill("look twice")
    card.button("Keep planning").click()
    card.wait_until_phase("answered")
    assert "verdict='deny', reason='look twice'" in card.decided()


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_reaches_and_presses_every_button_and_the_notebook_has_the_focus_then(
    lab: Frontend, key: str
) -> None:
    card = Card(lab, "Bash", LIST, rule="Bash(ls:*)")
    keyboard = lab.page.keyboard
    assert not card.node.evaluate("node => node.contains(document.activeElement)")
    cells = lab.page.evaluate(CELLS)
    card.node.evaluate("node => node.focus()")
    for name in ("Allow once", "Always"):
        while not card.button(name).evaluate("node => node === document.activeElement"):
            keyboard.press("Tab")
        keyboard.press("b")  # a new cell, were it the notebook's
    assert lab.page.evaluate(CELLS) == cells
    assert card.decided() == "[]"
    card.button("Allow once").focus()
    keyboard.press(key)
    card.wait_until_phase("answered")
    assert "verdict='once'" in card.decided()
    assert lab.page.evaluate("document.activeElement.matches('.jp-Notebook, .jp-Notebook *')")


def test_neither_a_script_nor_a_click_that_comes_at_once_can_allow(lab: Frontend) -> None:
    card = Card(lab, "Bash", LIST)
    card.button("Allow once").evaluate("node => node.click()")
    assert card.decided() == "[]"
    lab.page.evaluate(NEVER_READY)
    card.ask("card2 = QuestionCard(card.question, heard); show_card(card2); None")
    again = card.notebook.page.locator(".cnb-card").last
    again.get_by_role("button", name="Allow once").click()
    expect(again).to_have_attribute("data-phase", "asking")
    expect(again.get_by_role("button", name="Allow once")).to_be_enabled()
    assert card.decided() == "[]"
    again.get_by_role("button", name="Deny").click()
    expect(again.get_by_role("button", name="Deny")).to_be_disabled()


def test_a_click_is_said_again_until_the_kernel_has_answered_and_counts_once(lab: Frontend) -> None:
    card = Card(lab, "Bash", LIST, settles=False)
    card.ask("told = []\ncard.on_msg(lambda _, content, __: told.append(content['id']))")
    card.button("Allow once").click()
    expect(card.node).to_contain_text("sending…")
    expect(card.button("Allow once")).to_be_disabled()
    expect(card.node).to_contain_text("has not answered", timeout=60_000)
    assert card.decided().count("once") == 1
    assert card.ask("print(max(told.count(id) for id in told) > 2)") == "True"
    card.ask("card.settle(events[-1].decision)")
    card.wait_until_phase("answered")
    expect(card.node).not_to_contain_text("sending…")


def test_running_code_has_a_stop_button(lab: Frontend) -> None:
    card = Card(lab, "mcp__kernel__run_cell", {"code": "for i in range(9):\n    print(i)"})
    expect(card.node).to_contain_text("Claude wants to run code in this notebook")
    card.button("Allow once").click()
    card.wait_until_phase("answered")
    card.ask("card.phase = 'running'")
    card.wait_until_phase("running")
    expect(card.node).to_contain_text("for i in range(9):")
    card.button("Stop").click()
    card.wait_until_heard("stop")
    expect(card.button("Stop")).to_be_disabled()
    card.ask("card.phase = 'ended'")
    card.wait_until_phase("ended")
    expect(card.button("Stop")).to_have_count(0)


def test_a_card_comes_back_when_the_page_is_loaded_again(lab: Frontend) -> None:
    card = Card(lab, "Bash", LIST)
    card.notebook.save()
    card.notebook.reload()
    expect(card.button("Deny")).to_be_visible()
    card.button("Deny").click()
    card.wait_until_phase("answered")


HOSTILE = [
    ("Bash", {"command": EVIL, EVIL: EVIL}),
    ("Edit", {"file_path": EVIL, "old_string": EVIL, "new_string": f"{EVIL}\n{EVIL}"}),
    (EVIL, {"a": {"b": EVIL}}),
    ("ExitPlanMode", {"plan": f"{EVIL}\n\n```html\n{EVIL}\n```\n![x](http://evil.example/x.png)"}),
    (
        "AskUserQuestion",
        {
            "questions": [
                {"question": EVIL, "header": EVIL, "options": [{"label": EVIL, "description": EVIL}]}
            ]
        },
    ),
]


@pytest.mark.parametrize(("tool", "input"), HOSTILE, ids=[*"abcde"])
def test_nothing_in_a_question_runs_or_fetches_anything(lab: Frontend, tool: str, input: dict) -> None:  # type: ignore[type-arg]
    lab.page.add_init_script(PWNED)
    card = Card(lab, tool, input, rule=EVIL)
    expect(card.node).to_contain_text("pwned()")
    expect(card.node).to_contain_text("\u27e6U+202E\u27e7")
    assert "\u202e" not in card.node.inner_text()
    assert card.node.locator("img, script, a, iframe").count() == 0
    card.button("Keep planning" if tool == "ExitPlanMode" else "Deny").click()
    card.wait_until_phase("answered")
    card.ask(SWAP)
    card.notebook.see(1, "\u2298")
    witness = lab.witness
    assert not [text for text in witness.console if "PWNED" in text]
    assert [*witness.errors, *witness.dialogs, *witness.elsewhere(lab.server)] == []
