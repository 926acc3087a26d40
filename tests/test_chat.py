"""The chat as a page and its kernel speak with one another: a bare client in the page's place. Kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kernel_kit import MANAGER, Kernel, running_kernel
from page_kit import Page

pytestmark = pytest.mark.kernel

# The bounds.
WIRE = 300_000
MESSAGES_A_SECOND = 20


@pytest.fixture
def page(kernel: Kernel) -> Page:
    return Page(kernel)


def test_opening_a_chat_starts_nothing(page: Page) -> None:
    assert page.state["state"] == "suspended"
    assert page.kernel.eval(f"{MANAGER}.live") == "[]"


def test_a_prompt_is_answered_once_however_often_it_is_said(page: Page) -> None:
    id = page.say("send", text="ECHO one")
    page.say("send", id=id, text="ECHO one")
    page.until_over()
    page.say("send", id=id, text="ECHO one")
    page.until(lambda: page.acks.count(id) >= 3)
    assert page.html("prompt") == ["ECHO one"]
    assert "ECHO one" in page.html("text")[0]
    assert page.gaps == 0
    assert page.state["usage"]


def test_the_whole_is_what_the_operations_made_of_it(page: Page) -> None:
    page.say("send", text="show me code")
    page.until_over()
    by_operations = page.entries
    page.state["log"] = {"feed": "", "rev": -1, "entries": []}
    page.say("hello", feed="", rev=-1)
    page.until(lambda: page.state["log"]["feed"])
    assert page.entries == by_operations
    assert 'data-language="python"' in page.html("text")[0]


def test_who_does_not_know_the_nonce_is_not_heard(page: Page) -> None:
    page.say("send", nonce="guessed", text="ECHO one")
    id = page.say("send", text="ECHO two")
    page.until_over()
    assert page.html("prompt") == ["ECHO two"]
    assert set(page.acks) == {id}


def test_a_page_cannot_set_the_state(page: Page) -> None:
    client = page.kernel.client
    data = {"method": "update", "state": {"nonce": "mine", "session": "other"}, "buffer_paths": []}
    client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": page.id, "data": data}))
    page.say("send", text="ECHO one")
    page.until_over()
    assert page.state["session"] == page.kernel.eval(f"{MANAGER}.session().name").strip("'")


def test_a_turn_asked_anywhere_is_shown_and_its_record_after_a_restart(
    own_kernel: Kernel, folder: Path
) -> None:
    page = Page(own_kernel)
    page.run("%claude list the variables")
    page.run(f"turn = {MANAGER}.session().ask('ECHO from Python'); _ = turn.result()")
    page.say("sessions")
    page.until_over(2)
    prompts, texts = page.html("prompt"), page.html("text")
    assert prompts == ["list the variables", "ECHO from Python"]
    assert len(page.kinds("tool")) == 1
    page.run(f"{MANAGER}.session().suspend().result()")
    with running_kernel(folder) as other:
        page.kernel.manager.shutdown_kernel(now=False)
        later = Page(other)
        later.until(lambda: len(later.kinds("prompt")) == 2)
        assert later.html("prompt") == prompts
        assert later.html("text") == texts
        assert len(later.kinds("tool")) == 1
        assert later.kinds("end") == []


def test_what_a_killed_kernel_left_unanswered_can_be_asked_again(own_kernel: Kernel, folder: Path) -> None:
    page = Page(own_kernel)
    page.say("send", text="ECHO one")
    page.until_over()
    # Longer than Claude Code gets to come to its end.
    page.say("send", text="stream 400 lines")
    page.until(lambda: "line 5" in "".join(page.html("text")))
    page.kernel.manager.shutdown_kernel(now=True)
    with running_kernel(folder) as other:
        later = Page(other)
        later.until(lambda: later.kinds("end"))
        (end,) = later.kinds("end")
        assert end["turn"] == later.kinds("prompt")[1]["turn"]
        assert end["more"]["retry"]
        later.say("retry", turn=end["turn"])
        later.until(lambda: "line 5" in later.html("text")[-1])
        assert later.html("prompt") == ["ECHO one", "stream 400 lines", "stream 400 lines"]
        later.say("stop")
        later.until_over(2)


def test_a_question_takes_the_first_answer_and_no_other(page: Page, folder: Path) -> None:
    page.say("send", text="touch made")
    page.until(lambda: page.kinds("question"))
    (question,) = page.kinds("question")
    page.until(lambda: "waiting for you" in page.kinds("tool")[0]["tail"])
    page.say("decide", question=question["id"], verdict="perhaps")
    page.say("decide", question="another", verdict="once")
    page.say("decide", question=question["id"], verdict="deny", reason="not now")
    page.say("decide", question=question["id"], verdict="once")
    page.until_over()
    assert page.kinds("question")[0]["more"]["outcome"].endswith("not now")
    assert not (folder / "made").exists()


def test_mistakes_are_told_in_the_chat(page: Page) -> None:
    page.say("new", name="../up")
    page.say("switch", name="nowhere")
    page.say("send", text="@nothing_of_that_name is what?")
    page.until(lambda: len(page.failed) == 3)
    assert [said["what"] for said in page.failed] == ["new", "switch", "send"]
    assert "nothing_of_that_name" in page.failed[2]["text"]


def test_a_long_reply_costs_little_on_the_wire(page: Page) -> None:
    page.say("send", text="ECHO warm")
    page.until_over()
    page.sizes.clear()
    page.say("send", text="fifty kilobytes at two hundred chunks a second")
    page.until_over(2)
    (text,) = [html for html in page.html("text") if "Paragraph 200" in html]
    assert len(text) > 50_000
    print(f"{sum(size for _, size in page.sizes):,} bytes in {len(page.sizes)} messages")
    assert sum(size for _, size in page.sizes) < WIRE
    times = [at for at, _ in page.sizes]
    fullest = max(sum(at <= other < at + 1 for other in times) for at in times)
    assert fullest <= MESSAGES_A_SECOND
    assert page.gaps == 0


def test_the_first_display_says_nothing_that_differs_from_run_to_run(page: Page) -> None:
    panel, transcript = page.outputs
    assert panel["text/plain"] == f"ChatWidget({page.state['session']!r})"
    assert "Loading" not in json.dumps(page.outputs)
    again = Page(page.kernel)
    assert again.outputs[1] == transcript


def test_a_box_that_holds_a_chat_has_its_transcript_below_it(page: Page) -> None:
    page.say("send", text="ECHO one")
    page.until_over()
    page.run("import claude_nb, ipywidgets; chat = claude_nb.ChatWidget()")
    cell = page.kernel.run("chat.show_in(ipywidgets.VBox([chat]))")
    assert cell.error is None, cell.shown_error
    panel, saved = (content["data"] for content in cell.of("display_data"))
    assert panel["text/plain"] == f"VBox(children=(ChatWidget({page.state['session']!r}),))"
    assert "VBox" not in panel["text/html"]
    assert "cnb-saved" in saved["text/html"]
    (update,) = (content["data"] for content in cell.of("update_display_data"))
    assert "ECHO one" in update["text/html"]


def test_a_closed_chat_is_followed_by_nobody(page: Page) -> None:
    page.run("chat = __import__('claude_nb').ChatWidget()")
    page.run("chat.close(); import threading, time; time.sleep(3)")
    page.say("send", text="ECHO one")
    page.until_over()
    assert page.html("prompt") == ["ECHO one"]
