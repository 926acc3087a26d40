"""What a person does with the sessions, the model and the code of a chat. Kernel; one for the module."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from kernel_kit import PATIENCE, Kernel, running_kernel
from page_kit import Page
from processes_kit import wait_until

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.kernel

MANAGER = "__import__('claude_nb').manager()"

# One that a browser shows.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# More than a page of the record.
TURNS = 34


@pytest.fixture(scope="module")
def kernel(offline: OfflineAPI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    place = tmp_path_factory.mktemp("chat")
    (place / "claude").mkdir(mode=0o700)
    (place / "work").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in offline.environment(place / "claude").items():
            patch.setenv(name, value)
        patch.setenv("JUPYTER_DATA_DIR", str(place / "data"))
        with running_kernel(place / "work") as kernel:
            yield kernel


@pytest.fixture
def page(kernel: Kernel, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A chat with a session of the test's own, which is put to sleep afterwards."""
    name = re.sub(r"\W", "-", request.node.name.removeprefix("test_"))[-60:].strip("_-")
    yield chat(kernel, name)
    kernel.run(f"for session in list({MANAGER}.sessions.values()): session.stop().result()")


def chat(kernel: Kernel, name: str) -> Page:
    """One more; the session is made if there is none."""
    return Page(kernel, f"__import__('claude_nb').ChatWidget({name!r})")


def names(page: Page) -> list[str]:
    return [session["name"] for session in page.state["sessions"]]


def ask(page: Page, text: str) -> None:
    page.say("send", text=text)
    page.until(lambda: text in answered(page) and page.state["state"] == "idle")


def answered(page: Page) -> list[str]:
    ended = {entry["turn"] for entry in page.kinds("end")}
    return [entry["html"] for entry in page.kinds("prompt") if entry["turn"] in ended]


def allow(page: Page) -> None:
    page.until(lambda: page.kinds("question"))
    (question,) = page.kinds("question")
    page.say("decide", question=question["id"], verdict="once")


# -- sessions ----------------------------------------------------------------------------------------


def test_a_new_session_is_empty_and_the_other_one_stays(page: Page) -> None:
    first = page.state["session"]
    ask(page, "ECHO one")
    page.run(
        "from ipywidgets import Widget\n"
        f"(shown,) = [w for w in Widget.widgets.values() if w.model_id == {page.id!r}]\n"
        "late = shown.feed.head"
    )
    page.say("new", name="plots")
    page.until(lambda: page.state["session"] == "plots" and not page.entries)
    # What the feed of the former session was about to tell does not bring it back.
    page.run("shown.head_changed(late)")
    assert page.state["session"] == page.kernel.eval("shown.shown.name").strip("'") == "plots"
    assert page.state["state"] == "suspended"
    assert {first, "plots"} <= set(names(page))
    ask(page, "ECHO two")
    page.say("switch", name=first)
    page.until(lambda: page.html("prompt") == ["ECHO one"])
    assert page.state["session"] == first
    assert page.failed == []


def test_a_renamed_session_goes_on_under_its_new_name_in_every_chat(page: Page) -> None:
    old = page.state["session"]
    ask(page, "the code word is heron")
    other = chat(page.kernel, old)
    page.say("rename", name="birds")
    page.until(lambda: page.state["session"] == "birds")
    assert "birds" in names(page)
    assert old not in names(page)
    ask(page, "what is the code word")
    assert "heron" in page.html("text")[-1]
    assert (
        page.kernel.eval(
            "[chat.session for chat in __import__('ipywidgets').Widget.widgets.values() "
            f"if chat.model_id == {other.id!r}]"
        )
        == "['birds']"
    )
    page.say("rename", name="birds/of prey")
    page.until(lambda: page.failed)
    assert page.state["session"] == "birds"


def test_a_fork_has_what_was_said_and_goes_its_own_way(page: Page) -> None:
    old = page.state["session"]
    page.say("fork")
    page.until(lambda: page.failed)
    assert "nothing to copy" in page.failed[0]["text"]
    ask(page, "the code word is heron")
    page.say("fork", name="copy")
    page.until(lambda: page.state["session"] == "copy" and len(page.kinds("prompt")) == 1)
    assert page.html("prompt") == ["the code word is heron"]
    page.say("send", text="what is the code word")
    page.until(lambda: "heron" in "".join(page.html("text")[1:]))
    page.say("switch", name=old)
    page.until(lambda: len(page.kinds("prompt")) == 1)
    assert page.state["session"] == old


def test_an_archived_session_is_let_go_of_everywhere_and_brought_back_with_undo(page: Page) -> None:
    own = page.kernel.eval(f"{MANAGER}.session().name").strip("'")
    page.say("switch", name=own)
    page.until(lambda: page.state["session"] == own)
    ask(page, "ECHO one")
    said = page.html("prompt")
    other = chat(page.kernel, own)
    held = f"{MANAGER}.session({own!r})"
    page.run(f"held = {held}")
    page.say("archive")
    page.until(lambda: page.state["session"] != own and own not in names(page) and page.kinds("answer"))
    now = page.state["session"]
    assert page.kernel.eval(f"{MANAGER}.session().name, {MANAGER}.session().record.listed") == repr(
        (now, True)
    )
    assert page.html("prompt") == []
    # Who still shows it, or has it, cannot go on with it behind the back of what bears its name.
    other.say("send", text="ECHO into the archive")
    other.until(lambda: other.failed)
    assert "it was archived" in other.failed[0]["text"]
    assert page.kernel.eval("held.pid is None") == "True"
    page.say("send", text="ECHO after the archive")
    page.until(lambda: "ECHO after the archive" in answered(page))
    (answer,) = page.kinds("answer")
    assert answer["more"] == {"undo": own}
    page.say("switch", name=answer["more"]["undo"])
    page.until(lambda: page.state["session"] == own and page.html("prompt") == said)
    ask(page, "ECHO two")
    assert names(page).count(own) == 1
    assert page.failed == []


def test_a_failure_in_a_chat_is_said_and_the_chat_goes_on(page: Page) -> None:
    session = f"{MANAGER}.session({page.state['session']!r})"
    page.run(
        "from ipywidgets import Widget\n"
        f"(shown,) = [w for w in Widget.widgets.values() if w.model_id == {page.id!r}]\n"
        "shown.observe(lambda change: 1 / 0, 'state')"
    )
    ask(page, "ECHO beside a faulty observer")
    page.run(f"models = {session}.models; {session}.models = [None]")
    page.until(lambda: any("AttributeError" in html and "goes on" in html for html in page.html("notice")))
    page.run(f"{session}.models = models")
    ask(page, "ECHO after the failure")
    assert len(page.kinds("notice")) == 1


@pytest.mark.parametrize("how", ["%%claude -n -s {name}\nECHO new", "/clear"])
def test_a_conversation_that_is_started_afresh_is_empty_in_its_chat(kernel: Kernel, how: str) -> None:
    page = chat(kernel, f"fresh{len(how)}")
    ask(page, "the code word is heron")
    ask(page, "what is the code word")
    if how.startswith("/"):
        page.say("send", text=how)
        page.until(lambda: not page.entries and not page.state["usage"])
    else:
        page.run(how.format(name=page.state["session"]))
        page.until(lambda: page.html("prompt") == ["ECHO new"])
    page.say("send", text="what is the code word")
    page.until(lambda: "I was told no code word" in "".join(page.html("text")))


def test_focus_wakes_a_session_that_sleeps_and_starts_none_that_has_not_begun(page: Page) -> None:
    name = page.state["session"]
    page.say("focus")
    ask(page, "ECHO one")
    page.run(f"{MANAGER}.session({name!r}).suspend().result()")
    page.until(lambda: page.state["state"] == "suspended")
    page.say("focus")
    page.until(lambda: page.state["state"] == "idle")
    assert page.html("prompt") == ["ECHO one"]


def test_focus_does_not_start_a_session_that_has_said_nothing(page: Page) -> None:
    id = page.say("focus")
    page.until(lambda: id in page.acks)
    # What is said later is done later.
    page.say("switch", name="nowhere")
    page.until(lambda: page.failed)
    assert page.kernel.eval(f"{MANAGER}.live") == "[]"


def test_a_command_is_run_as_in_a_cell_and_never_sent_to_claude(page: Page, offline: OfflineAPI) -> None:
    own = page.state["session"]
    ask(page, "the code word is heron")
    asked = len(offline.requests)
    for command, words in {
        "/sessions": own,
        "/status": "<td>session</td>",
        "/mode plan": f"{own} is in mode plan.",
        "/timeout 5": "is suspended after 5 idle minutes",
        "/context": "Nothing would be sent along",
        "/history": "the code word is heron",
        "/help fork": "/fork NAME [NEW]",
        "/permissions allow Bash(git diff:*)": "is allowed in",
        "/fork": "",
        "/swich elsewhere": "Did you mean /switch?",
        "/switch wher": "There is no session",
        "/show": "for cells",
        "/mode plam": "Choose one of",
    }.items():
        failures, answers = len(page.failed), len(page.kinds("answer"))
        page.say("send", text=command)
        page.until(lambda f=failures, a=answers: len(page.failed) > f or len(page.kinds("answer")) > a)
        said = page.html("answer")[-1] if len(page.kinds("answer")) > answers else page.failed[-1]["text"]
        assert words in said, command
        assert "%claude" not in said
    assert page.state["session"] == own
    page.say("send", text="/new side --timeout 5")
    page.until(lambda: page.state["session"] == "side" and page.kinds("answer"))
    page.say("send", text="/rename side aside")
    page.until(lambda: page.state["session"] == "aside")
    page.say("send", text=f"/switch {own}")
    page.until(lambda: page.state["session"] == own and page.html("prompt") == ["the code word is heron"])
    page.say("send", text="/model claude-haiku-4-5")
    page.until(lambda: page.state["model"] == "claude-haiku-4-5")
    assert len(offline.requests) == asked
    ask(page, "what is the code word")
    assert "heron" in page.html("text")[-1]
    assert "haiku" in page.kernel.eval(f"{MANAGER}.session({own!r}).last_turn.reply.model")
    page.say("send", text="-- /swich is a word")
    page.until(lambda: "/swich is a word" in answered(page))
    page.say("send", text="/clear what is the code word")
    page.until(lambda: page.html("prompt") == ["what is the code word"])
    page.until(lambda: "I was told no code word" in "".join(page.html("text")))
    assert page.kinds("answer") == []


# -- turns -------------------------------------------------------------------------------------------


def test_earlier_turns_are_shown_when_they_are_asked_for(page: Page) -> None:
    session = f"{MANAGER}.session({page.state['session']!r})"
    page.run(f"for number in range({TURNS}): {session}.ask(f'ECHO {{number}}').result()")
    page.run(f"{MANAGER}.fork({page.state['session']!r}, 'long')")
    later = chat(page.kernel, "long")
    later.until(lambda: len(later.kinds("prompt")) == 30)
    assert later.state["log"]["more"]
    assert later.html("prompt")[0] == f"ECHO {TURNS - 30}"
    later.say("more")
    later.until(lambda: len(later.kinds("prompt")) == TURNS)
    assert later.html("prompt") == [f"ECHO {number}" for number in range(TURNS)]
    assert not later.state["log"]["more"]


def test_another_model_answers_from_the_next_prompt_on(page: Page) -> None:
    session = f"{MANAGER}.session({page.state['session']!r})"
    ask(page, "ECHO one")
    before = page.kernel.eval(f"{session}.last_turn.reply.model")
    page.until(lambda: page.state["models"])
    assert all(model["name"] and model["label"] for model in page.state["models"])
    page.say("model", name="claude-haiku-4-5")
    page.until(lambda: page.state["model"] == "claude-haiku-4-5")
    ask(page, "ECHO two")
    now = page.kernel.eval(f"{session}.last_turn.reply.model")
    assert "haiku" in now
    assert now != before


def test_a_turn_that_was_stopped_is_asked_again(page: Page) -> None:
    page.say("send", text="say nothing at all")
    page.until(lambda: page.state["state"] == "busy" and page.kinds("prompt"))
    page.say("stop")
    page.until_over()
    (end,) = page.kinds("end")
    assert end["more"]["retry"]
    page.say("retry", turn=end["turn"])
    page.until(lambda: len(page.kinds("prompt")) == 2)
    assert page.html("prompt") == ["say nothing at all"] * 2
    page.say("stop")
    page.until_over(2)
    page.say("retry", turn="another")
    page.say("switch", name="nowhere")
    page.until(lambda: page.failed)
    assert len(page.kinds("prompt")) == 2


def test_context_and_status_are_told(page: Page) -> None:
    page.say("send", text="say nothing at all")
    page.until(lambda: page.state["status"].get("words"))
    page.say("send", text="ECHO two")
    page.until(lambda: page.state["queued"])
    assert [waiting["text"] for waiting in page.state["queued"]] == ["ECHO two"]
    page.say("stop")
    page.until_over(2)
    page.until(lambda: "% of" in page.state["usage"])
    assert page.state["status"] == {}
    assert page.state["queued"] == []


def test_a_chat_says_that_its_session_is_about_to_end(page: Page) -> None:
    page.say("send", text="say nothing at all")
    page.until(lambda: page.state["state"] == "busy" and page.kinds("prompt"))
    page.run(
        f"manager = {MANAGER}; manager.drain_timeout = 5\n"
        "__import__('threading').Thread(target=manager.stop_all).start()"
    )
    page.until(lambda: "all sessions were stopped" in page.state["banner"])
    page.say("send", text="ECHO too late")
    page.until(lambda: page.failed)
    page.until(lambda: not page.state["banner"])
    assert page.kinds("end")[0]["more"]["status"] == "cancelled"
    ask(page, "ECHO after")


# -- code that Claude runs ---------------------------------------------------------------------------


def test_what_code_prints_and_draws_stands_in_its_card(page: Page) -> None:
    code = (
        "import base64; from IPython.display import Image, display; print('six times seven'); "
        f"display(Image(base64.b64decode('{PICTURE}'))); 6 * 7"
    )
    page.say("send", text=f"run: {code}")
    allow(page)
    page.until_over()
    (card,) = page.html("tool")
    assert card.startswith("<details open")
    assert "six times seven" in card
    assert "42" in card
    assert f'src="data:image/png;base64,{PICTURE}"' in card
    assert page.kinds("images") == []


def test_the_code_alone_is_stopped_and_claude_goes_on(page: Page) -> None:
    page.say("send", text="run: import time; print('begun'); time.sleep(600)")
    allow(page)
    page.until(lambda: any(entry["more"].get("stop") for entry in page.kinds("tool")))
    assert page.state["status"]["words"] == "Running kernel \u00b7 run_cell"
    (card,) = page.kinds("tool")
    page.say("stop_code", entry="another")
    page.say("stop_code", entry=card["id"])
    page.until_over()
    assert page.kinds("end")[0]["more"]["status"] == "completed"
    assert "The user stopped the code" in page.html("text")[-1]
    assert "begun" in page.html("tool")[0]
    assert not page.kinds("tool")[0]["more"]


def test_a_question_that_is_open_when_the_turn_is_stopped_goes_without_an_answer(page: Page) -> None:
    page.say("send", text="run: touched = True")
    page.until(lambda: page.kinds("question"))
    page.say("stop")
    page.until_over()
    assert page.kinds("question") == []
    (end,) = page.kinds("end")
    assert end["more"]["words"].startswith("Interrupted \u00b7 ")
    (card,) = page.html("tool")
    assert 'data-state="interrupted"' in card
    for word in ("failed", "Denied", "withdrawn", "Not run"):
        assert word not in card


# -- what Claude sends to the background -------------------------------------------------------------


def test_a_background_agent_asks_after_its_turn_and_holds_nobody_up(page: Page) -> None:
    name = page.state["session"]
    page.say("send", text="have a background agent touch made")
    page.until_over()
    page.until(lambda: page.kinds("question") and page.state["state"] == "waiting")
    (question,) = page.kinds("question")
    assert question["turn"] == page.kinds("prompt")[0]["turn"]
    assert question["more"]["phase"] == "asking"
    said = f"__import__('claude_nb.doing').doing.doing_of({MANAGER}.session({name!r}).record).state"
    assert page.kernel.eval(said) == "'asking'"
    page.say("send", text="ECHO meanwhile")
    page.until(lambda: "ECHO meanwhile" in answered(page))
    page.say("decide", question=question["id"], verdict="once")
    page.until_over(3)
    assert "Claude goes on" in page.html("notice")[0]
    assert page.kernel.eval("__import__('os').path.exists('made')") == "True"
    assert page.kinds("question")[0]["more"]["phase"] == "answered"
    (card,) = page.html("tool")
    assert 'data-state="running"' not in card
    assert "touch made" in card
    assert page.kernel.eval(said) == "'idle'"


@pytest.mark.parametrize("how", ["stop", "session.stop()"])
def test_what_a_background_agent_asks_ends_with_its_session_or_with_stop(page: Page, how: str) -> None:
    page.say("send", text="have a background agent touch unmade")
    page.until(lambda: page.state["state"] == "waiting")
    if how == "stop":
        page.say("stop")
    else:
        page.run(f"{MANAGER}.session({page.state['session']!r}).stop().result()")
    page.until(lambda: page.state["state"] in ("idle", "suspended"))
    # What the person has stopped is answered; what ended with its session was never answered, and goes.
    page.until(
        lambda: [question["more"]["phase"] for question in page.kinds("question")] in ([], ["answered"])
    )
    assert bool(page.kinds("question")) == (how == "stop")
    assert page.kernel.eval("__import__('os').path.exists('unmade')") == "False"


# -- as a widget -------------------------------------------------------------------------------------


def test_a_chat_stands_in_a_box_with_its_layout_and_tells_what_it_does(kernel: Kernel) -> None:
    made = (
        "import claude_nb, ipywidgets; seen = []\n"
        "chat = claude_nb.ChatWidget('boxed', layout={'height': '300px'})\n"
        "chat.observe(lambda change: seen.append(change['new']), 'state')\n"
        "box = ipywidgets.VBox([ipywidgets.Label('Ask'), chat]); box"
    )
    cell = kernel.run(made)
    assert cell.error is None, cell.shown_error
    opened = [content["data"]["state"] for content in cell.of("comm_open")]
    id = kernel.eval("chat.model_id").strip("'")
    assert any(f"IPY_MODEL_{id}" in state.get("children", ()) for state in opened)
    assert any(state.get("height") == "300px" for state in opened)
    assert kernel.eval("chat.ask('ECHO one').result().status.value") == "'completed'"
    page = chat(kernel, "boxed")
    ask(page, "ECHO two")
    assert page.html("prompt") == ["ECHO one", "ECHO two"]
    # The feed's thread tells it, a moment after the reply is there.
    wait_until(lambda: "'busy', 'idle'" in kernel.eval("seen"), PATIENCE)
    assert kernel.eval("chat, chat.children if hasattr(chat, 'children') else None, chat.layout.height") == (
        "(ChatWidget('boxed'), None, '300px')"
    )
    assert kernel.eval("repr(chat) == repr(claude_nb.ChatWidget('boxed'))") == "True"


def test_a_page_that_still_talks_to_a_closed_chat_disturbs_nobody(kernel: Kernel) -> None:
    page = Page(kernel, "import claude_nb; chat = claude_nb.ChatWidget('closed'); chat")
    page.say("hello", feed="", rev=-1)
    page.until(lambda: page.acks)
    page.run("chat.close(); chat.close()")
    for _ in range(3):
        page.say("send", text="ECHO too late")
    page.run("print('still here')")
    assert page.complaints == ""
    assert kernel.eval(f"{MANAGER}.session('closed').turns") == "0"
    # Of a widget that never was there the kernel complains.
    page.id = "never"
    page.say("send", text="ECHO nowhere")
    page.until(lambda: "No such comm" in page.complaints)
