"""Pure: what a question shows in full, and which messages of a page its card believes.

The card is the real widget; only no page is connected to it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from comm import get_comm_manager

from claude_nb.asking.card import CardHandle, Event, QuestionCard, swap
from claude_nb.asking.parts import difference
from claude_nb.asking.question import Decision, Question
from claude_nb.asking.shown import card_html, plain_text, settled_markdown

pytestmark = pytest.mark.pure

LIST = {"command": "ls -l", "description": "List"}
COLOURS = {
    "questions": [
        {"question": "Which colour?", "options": [{"label": "Red"}, {"label": "Blue"}]},
        {
            "question": "Which shapes?",
            "multiSelect": True,
            "options": [{"label": "Circle"}, {"label": "Box"}],
        },
    ]
}
BOTH = {"0": {"picked": [1], "other": ""}, "1": {"picked": [1, 0], "other": " Star\x1b[A "}}


class Asked:
    """A card, and what it has told."""

    def __init__(self, tool: str = "Bash", given: Any = LIST, rule: str | None = None) -> None:
        self.events: list[Event] = []
        self.card = QuestionCard(Question("analysis", tool, given, rule=rule), self.events.append)

    def say(self, id: Any = "1", **content: Any) -> list[Event]:
        """What the card tells after this message of its page."""
        message = {"id": id, "nonce": self.card.nonce, **content}
        self.card.receive({"method": "custom", "content": message})
        return self.events

    def decide(self, verdict: Any, **more: Any) -> list[Decision | None]:
        return [event.decision for event in self.say(kind="decision", verdict=verdict, **more)]


@pytest.fixture(autouse=True)
def no_card_is_left() -> Iterator[None]:
    yield
    QuestionCard.close_all()


def text(question: Question) -> str:
    """What a card's HTML says."""
    return html.unescape(re.sub(r"<[^>]*>", "", card_html(question)))


# -- what is shown -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "given"),
    [
        ("Bash", {"command": "x" * 50_000 + "LAST", "timeout": 7654321, "run_in_background": True}),
        ("Write", {"file_path": "/a/b.py", "content": "\n".join(["line"] * 5_000 + ["LAST"])}),
        ("Write", {"file_path": "/a/b.py", "content": "x" * 150_000 + "LAST"}),
        ("Edit", {"file_path": "/a", "old_string": "gone", "new_string": "LAST", "replace_all": True}),
        ("MultiEdit", {"file_path": "/a", "edits": [{"old_string": "gone", "new_string": "LAST"}]}),
        ("NotebookEdit", {"notebook_path": "/a", "new_source": "LAST", "cell_id": "c7"}),
        ("mcp__kernel__run_cell", {"code": "x = 1\n" * 300 + "LAST"}),
        ("mcp__github__create", {"title": "LAST", "labels": ["a"] * 100, "deep": {"er": {"n": 1}}}),
        ("ExitPlanMode", {"plan": "- x\n" * 500 + "- LAST"}),
    ],
)
def test_the_input_is_shown_to_its_last_character(tool: str, given: dict[str, Any]) -> None:
    question = Question("s", tool, given)
    for shown in (text(question), plain_text(question)):
        assert "LAST" in shown
        for word in re.findall(r"\w+", str([v for v in given.values() if not isinstance(v, (str, bool))])):
            assert word in shown or word in ("old_string", "new_string"), word


def test_what_an_edit_does_not_do_is_not_told() -> None:
    edit = {"file_path": "/a", "old_string": "gone", "new_string": "come"}
    assert "replace_all" in text(Question("s", "Edit", edit | {"replace_all": True}))
    assert "replace_all" not in text(Question("s", "Edit", edit | {"replace_all": False}))


@pytest.mark.parametrize(
    "given", [None, [], 7, "x", {}, {1: 2}, {"command": None}, {"plan": 1}, {"edits": 3}]
)
@pytest.mark.parametrize(
    "tool", ["", "Bash", "Edit", "MultiEdit", "Write", "ExitPlanMode", "AskUserQuestion"]
)
def test_an_input_of_any_shape_can_be_asked_about(tool: str, given: Any) -> None:
    asked = Asked(tool, given)
    assert asked.card.form == "permission"
    assert plain_text(asked.card.question)
    assert settled_markdown(asked.card.question, Decision("once"))
    assert "\n" not in repr(asked.card)


def test_an_input_too_deep_to_print_can_be_asked_about() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert "cannot be shown" in Asked("Other", {"deep": deep}).card.body


def test_what_a_terminal_would_hide_is_part_of_the_command() -> None:
    question = Question("s", "Bash", {"command": "ls \x1b]0; rm -rf ~\x07 \x9b31m \u202e\r"})
    for shown in (text(question), plain_text(question)):
        assert "ls \u241b]0; rm -rf ~\u2407 \u27e6U+009B\u27e731m \u27e6U+202E\u27e7\u240d" in shown


def test_code_is_highlighted_and_an_edit_is_a_difference() -> None:
    assert '<span class="cnb-kn">import</span>' in card_html(
        Question("s", "mcp__kernel__run_cell", {"code": "import os"})
    )
    edit = card_html(Question("s", "Edit", {"old_string": "a\nb", "new_string": "a\nc"}))
    assert '<span class="cnb-gd">-b\n</span><span class="cnb-gi">+c\n</span>' in edit


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("a\nb\n", "a\nc\n", [" a", "-b", "+c"]),
        ("", "a", ["+a"]),
        ("a", "", ["-a"]),
        ("a", "a\n", [" a", "+"]),
        ("a\r\n", "a\n", ["-a\u240d", "+a"]),
        ("a\u200bb", "ab", ["-a\u27e6U+200B\u27e7b", "+ab"]),
    ],
)
def test_a_difference_names_each_line(old: str, new: str, lines: list[str]) -> None:
    assert difference(old, new).split("\n") == lines


def test_a_long_difference_has_all_lines_too() -> None:
    shown = difference("\n".join(["a"] * 3_000), "\n".join(["b"] * 3_000)).split("\n")
    assert (shown.count("-a"), shown.count("+b")) == (3_000, 3_000)


# -- which messages count ----------------------------------------------------------------------------


def test_a_click_is_a_decision_and_counts_once() -> None:
    asked = Asked()
    for _ in range(3):
        assert asked.decide("once") == [Decision("once", by="card")]
    assert [event.kind for event in asked.say("2", kind="decision", verdict="deny")] == ["decision"]


def test_the_early_and_the_normal_route_are_one() -> None:
    asked = Asked()
    asked.decide("deny", reason="no")
    content = {"id": "1", "nonce": asked.card.nonce, "kind": "decision", "verdict": "deny", "reason": "no"}
    asked.card._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})
    assert len(asked.events) == 1
    content = {"id": "2", "nonce": asked.card.nonce, "kind": "drawn"}
    asked.card._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})
    assert asked.events[1:] == [Event("drawn")]


@pytest.mark.parametrize(
    "content",
    [
        {"nonce": "guess"},
        {"nonce": None},
        {"id": None},
        {"id": 7},
        {"id": ""},
        {"id": "x" * 1_000},
        {"kind": "allow"},
        {"kind": ["decision"]},
        {"verdict": "always"},
        {"verdict": "yes"},
        {"verdict": None},
        {"verdict": ["once"]},
    ],
)
def test_a_message_that_makes_no_sense_decides_nothing(content: dict[str, Any]) -> None:
    asked = Asked()
    assert asked.say(**{"kind": "decision", "verdict": "once", **content}) == []
    assert asked.decide("once") == [Decision("once", by="card")]  # as it would have been


@pytest.mark.parametrize("data", [None, [], {}, {"method": "custom"}, {"method": "custom", "content": []}])
def test_what_is_no_message_is_ignored(data: Any) -> None:
    asked = Asked()
    asked.card.receive(data)
    assert asked.events == []


def test_a_page_cannot_change_the_card() -> None:
    asked = Asked()
    update = {"method": "update", "state": {"rule": "Bash(*)", "phase": "running"}, "buffer_paths": []}
    asked.card.receive(update)
    asked.card._handle_msg({"content": {"data": update}, "buffers": []})
    assert (asked.card.rule, asked.card.phase) == ("", "asking")


def test_two_cards_have_two_nonces() -> None:
    assert Asked().card.nonce != Asked().card.nonce


def test_always_needs_a_rule() -> None:
    assert Asked().decide("always") == []
    assert Asked(rule="Bash(ls:*)").decide("always") == [Decision("always", by="card")]
    assert Asked("ExitPlanMode", {"plan": "x"}, rule="x").decide("always") == []


def test_a_reason_is_one_line_of_text() -> None:
    reason = " use\ngit\x07 \x1b[Anot\u202e rm "
    assert Asked().decide("deny", reason=reason) == [Decision("deny", "use git not rm", by="card")]
    assert Asked().decide("deny", reason={"a": 1}) == [Decision("deny", by="card")]


def test_answers_are_labels_and_words_by_question() -> None:
    answers = {"Which colour?": "Blue", "Which shapes?": "Box, Circle, Star"}
    asked = Asked("AskUserQuestion", COLOURS)
    assert asked.decide("once", answers=BOTH) == [Decision("once", answers=answers, by="card")]


@pytest.mark.parametrize(
    "answers",
    [None, [], {}, {"0": BOTH["0"]}, {**BOTH, "0": {"picked": [9, -1, "0", True]}}, {**BOTH, "1": 3}],
)
def test_a_question_without_an_answer_is_not_answered(answers: Any) -> None:
    assert Asked("AskUserQuestion", COLOURS).decide("once", answers=answers) == []


def test_only_running_code_can_be_stopped() -> None:
    asked = Asked()
    assert asked.say(kind="stop") == []
    asked.card.phase = "running"
    assert asked.say(kind="stop") == [Event("stop")]


# -- what becomes of a card --------------------------------------------------------------------------


def test_a_settled_card_says_so_and_takes_no_more_answers() -> None:
    asked = Asked()
    assert settled_markdown(asked.card.question, None).startswith("> \u2298 Not answered")
    asked.card.settle(Decision("deny", "by policy", by="policy"))
    assert (asked.card.phase, asked.card.outcome) == ("answered", "\u2298 Denied: by policy")
    assert asked.decide("once") == []
    assert settled_markdown(asked.card.question, asked.card.decision).endswith("by policy")


def test_an_approved_plan_is_called_so() -> None:
    asked = Asked("ExitPlanMode", {"plan": "x"})
    asked.card.settle(Decision("once"))
    assert asked.card.outcome == "\u2713 Plan approved"


def test_swapping_closes_the_card_and_what_belongs_to_it() -> None:
    asked = Asked()
    layout, comm_id = asked.card.layout, asked.card.comm_id
    assert comm_id == asked.card.model_id
    swap(CardHandle(asked.card), "> done")
    assert asked.card.comm is None
    assert layout.comm is None
    assert asked.card.comm_id == comm_id


def test_its_name_is_the_same_every_time() -> None:
    assert repr(Asked().card) == repr(Asked().card) == "<QuestionCard asking: Bash ls -l>"


def test_what_a_page_says_to_a_closed_card_is_taken_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    card = Asked().card
    card.close()
    for message in ("comm_msg", "comm_close"):
        content = {"comm_id": card.comm_id, "data": {"method": "custom", "content": {}}}
        getattr(get_comm_manager(), message)(None, "", {"content": content})
    assert not caplog.records
