"""JupyterLab 4 in a browser, a whole kernel and the real CLI: a turn as its reader sees it."""

from __future__ import annotations

import re

import pytest
from lab_kit import Frontend, Notebook
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

FIVE_SIX = re.compile(r"\b5 6\b")
PID = "print(__import__('claude_nb').manager().session().pid)"
STATUS = re.compile(r"writing · \d+ s · [\d,]+ tokens")


@pytest.fixture(scope="module")
def told(shared_lab: Frontend) -> Notebook:
    """A notebook to add cells to, with a session that is warm."""
    notebook = shared_lab.open("%claude hello")
    notebook.run(1)
    return notebook


def test_a_first_reply_streams_with_a_status_line_that_is_gone_at_its_end(lab: Frontend) -> None:
    notebook = lab.open("%claude count slowly to 20")
    notebook.start(1)
    notebook.see(1, FIVE_SIX)
    notebook.see(1, STATUS)
    assert notebook.running(1)
    notebook.screenshot("streaming")
    notebook.finish(1)
    notebook.see(1, "Done. Had you interrupted me")
    expect(notebook.output(1)).not_to_contain_text(STATUS)
    texts = notebook.texts(1)
    assert len({text for text in texts if "3" in text and "Done" not in text}) >= 5


def test_the_seconds_pass_while_nothing_comes(told: Notebook) -> None:
    index = told.add("%claude say nothing at all")
    told.start(index)
    assert len(set(told.see_texts(index, r" · \d+ s", 3))) == 3
    told.interrupt()
    told.finish(index)


def test_the_second_cell_goes_to_the_same_process(told: Notebook) -> None:
    before = told.printed(told.run_new(PID))
    told.run_new("%claude remember the word heron")
    told.see(told.run_new("%claude what did I ask you to remember?"), "heron")
    assert int(told.printed(told.run_new(PID))) == int(before)


def test_formulas_are_typeset_and_code_is_coloured_and_tables_are_tables(told: Notebook) -> None:
    index = told.run_new("%claude explain the fast Fourier transform")
    output = told.output(index)
    expect(output.locator("mjx-container[display=true]")).to_have_count(1)
    expect(output.locator("mjx-container").nth(5)).to_be_attached()
    expect(output).not_to_contain_text("$")
    expect(output.locator("mjx-merror, [data-mjx-error]")).to_have_count(0)
    expect(output.locator("table tr")).to_have_count(3)
    expect(output.locator("pre code span").nth(5)).to_be_attached()
    told.screenshot("rich-reply")


def test_a_tool_call_is_a_card_that_unfolds(told: Notebook) -> None:
    index = told.run_new("%claude list the files")
    card = told.output(index).locator("details")
    expect(card).to_have_count(1)
    expect(card.locator("summary")).to_contain_text("Bash")
    expect(card.locator("pre").first).not_to_be_visible()
    card.locator("summary").click()
    expect(card.get_by_text("notebook.ipynb")).to_be_visible()
    told.screenshot("card-unfolded")
    card.locator("summary").click()
    expect(card.get_by_text("notebook.ipynb")).not_to_be_visible()


def test_an_assignment_shows_the_reply_once_and_keeps_it(told: Notebook) -> None:
    index = told.run_new("x = %claude ECHO is it shown once?")
    told.see(index, "is it shown once?")
    assert told.text(index).count("is it shown once?") == 1
    kept = told.printed(told.run_new("print(x.text, x.status)"))
    assert kept == "<<<ECHO is it shown once?>>> completed"


def test_a_refused_key_is_one_line_that_says_how_to_sign_in(told: Notebook) -> None:
    index = told.run_new("%claude fail with 401")
    error = told.error(index).inner_text().strip()
    assert error.startswith("NotSignedIn: ")
    assert "jupyter claude login" in error
    assert "\n" not in error
    told.screenshot("error-401")
    told.see(told.run_new("%claude hello"), "Hello!")


def test_a_mistake_is_one_line(told: Notebook) -> None:
    said = told.error(told.run_new("%claude -x hello")).inner_text().strip()
    assert said.startswith("UsageError: ")
    assert "\n" not in said


def test_run_all_keeps_its_order(lab: Frontend) -> None:
    notebook = lab.open(
        "order = []",
        "%claude count slowly to 20",
        "order.append('after a reply')",
        "r = %claude ECHO second\norder.append(r.text)",
        "print(order)",
    )
    notebook.run_all()
    assert notebook.printed(5) == "['after a reply', '<<<ECHO second>>>']"
    assert [cell["execution_count"] for cell in notebook.save()["cells"]] == [2, 3, 4, 5, 6, 7]


def test_a_reader_who_scrolled_up_keeps_the_place_while_a_long_reply_streams(lab: Frontend) -> None:
    notebook = lab.open("%claude write a long text")
    notebook.start(1)
    notebook.see(1, "Line 100:")
    place = scroll_to(notebook, 700)
    began = len(notebook.texts(1))
    assert notebook.running(1)
    places = positions_until(notebook, "Line 700:")
    assert len(notebook.texts(1)) - began >= 5
    assert set(places) == {place}
    notebook.finish(1)
    assert notebook.page.evaluate("kit.scroller().scrollTop") == place


def scroll_to(notebook: Notebook, top: int) -> float:
    """Turn the mouse wheel until the notebook is that far down; the place where it is then."""
    notebook.page.mouse.move(500, 500)
    notebook.page.mouse.wheel(0, top)
    notebook.page.wait_for_function("kit.scroller().scrollTop > 0")
    return notebook.page.evaluate(SETTLED)


def positions_until(notebook: Notebook, text: str) -> list[float]:
    """The place of each frame until a text is there."""
    return notebook.page.evaluate(POSITIONS, text)


# A wheel scrolls smoothly: the place is settled when ten frames agree.
SETTLED = """() => new Promise(resolve => {
  const scroller = kit.scroller();
  let last = -1, same = 0;
  const look = () => {
    same = scroller.scrollTop === last ? same + 1 : 0;
    last = scroller.scrollTop;
    if (same === 10) resolve(last); else requestAnimationFrame(look);
  };
  look();
})"""
POSITIONS = """text => new Promise(resolve => {
  const places = [];
  const look = () => {
    places.push(kit.scroller().scrollTop);
    if (kit.cell(1).node.textContent.includes(text)) resolve(places); else requestAnimationFrame(look);
  };
  look();
})"""
