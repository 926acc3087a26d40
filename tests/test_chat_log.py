"""What a chat shows and the operations that change it. Pure."""

from __future__ import annotations

import random
from typing import Any

import pytest

from claude_nb.chat.log import ChatLog, Entry, applied, change
from claude_nb.chat.wording import as_said_in_a_chat

pytestmark = pytest.mark.pure


def entry(turn: str, name: str, html: str = "", tail: str = "", **more: Any) -> Entry:
    return Entry(f"{turn}/{name}", turn, "text", html, tail, more=more)


def states(log: ChatLog) -> list[dict[str, Any]]:
    return [entry.state() for entry in log.entries()]


def test_what_is_equal_is_not_told_again() -> None:
    log = ChatLog()
    assert log.update("a", [entry("a", "1", "x")]) != []
    assert log.update("a", [entry("a", "1", "x")]) == []


def test_a_growing_reply_tells_only_its_end() -> None:
    old, new = entry("a", "1", "<p>one</p>", "<p>tw"), entry("a", "1", "<p>one</p><p>two</p>", "<p>thr")
    told = change(old, new)
    assert told is not None
    assert (told["op"], told["html"], told["keep"], told["tail"]) == ("grow", "<p>two</p>", 4, "hr")


def test_what_is_kept_is_counted_as_javascript_counts() -> None:
    told = change(
        entry("a", "1", "", "\U0001f600\U0001f600 one"), entry("a", "1", "", "\U0001f600\U0001f600 two")
    )
    assert told is not None
    assert (told["keep"], told["tail"]) == (5, "two")


def test_a_finished_part_that_changes_is_told_whole() -> None:
    told = change(entry("a", "1", "one"), entry("a", "1", "other"))
    assert told is not None
    assert told["op"] == "set"


def test_an_earlier_turn_stands_before_the_others() -> None:
    log = ChatLog()
    log.update("b", [entry("b", "1"), entry("b", "2")])
    before = states(log)
    ops = log.put_before([("a", [entry("a", "1"), entry("a", "2")]), ("b", [entry("b", "9")])])
    assert [state["id"] for state in applied(before, ops)] == ["a/1", "a/2", "b/1", "b/2"]
    assert applied(before, ops) == states(log)


def test_a_turn_that_goes_on_stands_between_those_that_are_over() -> None:
    log = ChatLog()
    log.update("b", [entry("b", "1")])
    log.update("d", [entry("d", "1")])
    before = states(log)
    ops = log.put_before([(turn, [entry(turn, "9")]) for turn in "abc"])
    assert [state["id"] for state in applied(before, ops)] == ["a/9", "b/1", "c/9", "d/1"]
    assert applied(before, ops) == states(log)


def test_a_turn_that_goes_on_stays_in_its_place() -> None:
    log = ChatLog()
    log.update("a", [entry("a", "1")])
    log.update("b", [entry("b", "1")])
    before = states(log)
    ops = log.update("a", [entry("a", "1"), entry("a", "2")])
    assert [state["id"] for state in applied(before, ops)] == ["a/1", "a/2", "b/1"]


def test_a_page_that_carries_out_the_operations_has_what_the_log_has() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        log, page = ChatLog(), list[dict[str, Any]]()
        for _ in range(60):
            page = applied(page, some_change(log, chance))
            assert page == states(log), seed


def some_change(log: ChatLog, chance: random.Random) -> list[dict[str, Any]]:
    turn = chance.choice("abcdefgh")
    match chance.randrange(10):
        case 0:
            return log.drop(turn)
        case 1:
            return log.put_before([(turn, some_entries(turn, chance)), ("z", some_entries("z", chance))])
        case 2 if chance.random() < 0.2:
            return log.clear()
    return log.update(turn, some_entries(turn, chance))


def some_entries(turn: str, chance: random.Random) -> list[Entry]:
    text = "<p>a\U0001f600</p><b>\u00e9</b>"
    return [
        entry(turn, str(number), text[: chance.randrange(len(text))], text[: chance.randrange(len(text))])
        for number in range(5)
        if chance.random() < 0.7
    ]


def test_what_is_written_for_a_cell_is_said_as_it_is_done_in_a_chat() -> None:
    told = "Use `jupyter claude login`, then run the cell again. `%claude /switch x` or `%claude -n`."
    assert as_said_in_a_chat(told) == (
        "Use `jupyter claude login`, then send the prompt again. `/switch x` or `/clear`."
    )
