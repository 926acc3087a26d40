"""What the chats of a session are told, on the real CLI: whoever joins when, all of them show the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from claude_nb.chat.feed import feed_of
from claude_nb.chat.log import applied
from claude_nb.session_manager import SessionManager

pytestmark = pytest.mark.cli

PATIENCE = 40.0


class Chat:
    """A chat that keeps what it is told, as a page does."""

    def __init__(self) -> None:
        self.log: dict[str, Any] = {}
        self.head: dict[str, Any] = {}
        self.lost = 0
        self.patches = 0
        self._told = threading.Condition()

    @property
    def prompts(self) -> list[str]:
        return [entry["html"] for entry in self.log.get("entries", ()) if entry["kind"] == "prompt"]

    def until(self, condition: Callable[[], object]) -> None:
        with self._told:
            assert self._told.wait_for(condition, PATIENCE)

    def patch(self, change: dict[str, Any]) -> None:
        with self._told:
            self.lost += (change["feed"], change["rev"]) != (self.log["feed"], self.log["rev"] + 1)
            entries = applied(self.log["entries"], change["ops"])
            self.log = {
                "feed": change["feed"],
                "rev": change["rev"],
                "entries": entries,
                "more": change["more"],
            }
            self.patches += 1
            self._told.notify_all()

    def restarted(self, snapshot: dict[str, Any]) -> None:
        time.sleep(0)  # the feed's thread may go on, if it can
        with self._told:
            self.log = snapshot
            self._told.notify_all()

    def head_changed(self, head: dict[str, Any]) -> None:
        with self._told:
            self.head = head
            self._told.notify_all()

    def beat(self) -> None:
        pass

    def turns_changed(self) -> None:
        pass


def test_who_joins_in_the_middle_of_a_reply_misses_nothing_of_it(manager: SessionManager) -> None:
    session = manager.session("a")
    feed = feed_of(session)
    chats = [Chat()]
    feed.subscribe(chats[0])
    turn = session.ask("stream 40 lines")
    while not turn.done():
        patches = chats[0].patches
        chats[0].until(lambda seen=patches: chats[0].patches > seen)
        chats.append(Chat())
        feed.subscribe(chats[-1])
        feed.tell_all(chats[-2])
    for chat in chats:
        chat.until(lambda chat=chat: "end" in [entry["kind"] for entry in chat.log["entries"]])
        chat.until(lambda chat=chat: chat.head.get("state") == "idle")
        assert chat.lost == 0
        assert chat.log == feed.snapshot()
        feed.unsubscribe(chat)
    assert len(chats) > 2


def test_what_happens_while_no_chat_shows_the_session_is_there_when_one_does(manager: SessionManager) -> None:
    session = manager.session("a")
    feed = feed_of(session)
    chat = Chat()
    feed.subscribe(chat)
    turn = session.ask("stream 20 lines")
    chat.until(lambda: chat.patches)
    feed.unsubscribe(chat)
    deadline = time.monotonic() + PATIENCE
    while session.followers or turn.followers:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    turn.result(PATIENCE)
    session.ask("ECHO unseen").result(PATIENCE)
    session.suspend().result(PATIENCE)  # all of it is recorded
    feed.subscribe(chat)
    chat.until(lambda: chat.prompts == ["stream 20 lines", "ECHO unseen"])
    chat.until(lambda: chat.head["state"] == "suspended")
    session.ask("ECHO seen").result(PATIENCE)
    chat.until(lambda: chat.prompts == ["stream 20 lines", "ECHO unseen", "ECHO seen"])
    feed.unsubscribe(chat)
