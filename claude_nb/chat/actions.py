"""What a person does in a chat, done.

The page says each thing until it is acknowledged, with an id by which it is done once; it may come early,
while a cell runs, and again by the normal route. What only passes something on is done at once, in whatever
thread the message came; what may take a while is done in a thread of the chat's own, one after the other.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from claude_nb.asking.card import decision_on
from claude_nb.asking.question import Decision
from claude_nb.chat.wording import as_said_in_a_chat
from claude_nb.commands import start
from claude_nb.errors import ClaudeNbError
from claude_nb.state import ASLEEP

if TYPE_CHECKING:
    from claude_nb.chat.widget import ChatWidget

log = logging.getLogger(__name__)

_ID_LENGTH = 100
_IDS_KEPT = 1_000
_LONGEST_PROMPT = 1_000_000

Content = Mapping[str, Any]


class Actions:
    """The actions of one chat."""

    def __init__(self, chat: ChatWidget) -> None:
        self._chat = chat
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def take(self, content: object) -> None:
        """A message of the page, in whatever thread."""
        if not isinstance(content, Mapping) or content.get("nonce") != self._chat.nonce:
            return
        id, kind = content.get("id"), content.get("kind")
        if not isinstance(id, str) or not 0 < len(id) <= _ID_LENGTH or not isinstance(kind, str):
            return
        if self._is_new(id):
            self._do(kind, id, content)
        self._chat.later(lambda: self._chat.send({"kind": "ack", "id": id}))

    def close(self) -> None:
        """End the thread once it has done what it does."""
        self._waiting.put(None)

    def _is_new(self, id: str) -> bool:
        with self._lock:
            if id in self._ids:
                return False
            self._ids[id] = None
            if len(self._ids) > _IDS_KEPT:
                self._ids.popitem(last=False)
            return True

    def _do(self, kind: str, id: str, content: Content) -> None:
        if kind in _AT_ONCE:
            _AT_ONCE[kind](self, content)
        elif kind in _IN_THREAD:
            self._start_thread()
            self._waiting.put(lambda: self._try(kind, id, content))

    def _start_thread(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="claude_nb_chat_actions", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (action := self._waiting.get()) is not None:
            try:
                action()
            except Exception:  # telling of a failure has failed, as when the chat was closed
                log.exception("an action of a chat failed")

    def _try(self, kind: str, id: str, content: Content) -> None:
        try:
            _IN_THREAD[kind](self, content)
        except (ClaudeNbError, ValueError) as error:
            self._chat.send({"kind": "failed", "id": id, "what": kind, "text": as_said_in_a_chat(str(error))})
        except Exception as error:
            log.exception("%s in a chat failed", kind)
            text = f"claude_nb failed: {error!r}. Please report this."
            self._chat.send({"kind": "failed", "id": id, "what": kind, "text": text})

    # -- at once ------------------------------------------------------------------------------

    def _stop(self, content: Content) -> None:
        session = self._chat.shown
        session.interrupt()
        asking = session.conversation.asking
        # Of a turn that is over there is nothing to stop but that its agent asks.
        if asking is not None and asking.done() and (pending := asking.question) is not None:
            pending.answer(Decision("deny", by="card"))

    def _unqueue(self, content: Content) -> None:
        for turn in self._chat.shown.conversation.queue:
            if turn.id == content.get("turn"):
                turn.interrupt()

    def _decide(self, content: Content) -> None:
        pending = self._chat.feed.pending(str(content.get("question")))
        decision = decision_on(pending.question, content) if pending is not None else None
        if pending is not None and decision is not None:
            pending.answer(decision)

    def _stop_code(self, content: Content) -> None:
        """The turn goes on; Claude is told that the person stopped its code."""
        execution = self._chat.feed.execution(str(content.get("entry")))
        if execution is not None:
            execution.stop()

    def _more(self, content: Content) -> None:
        self._chat.feed.show_earlier()

    # -- in the chat's thread -----------------------------------------------------------------

    def _hello(self, content: Content) -> None:
        self._chat.feed.tell_all(self._chat, known=(content.get("feed"), content.get("rev")))

    def _send(self, content: Content) -> None:
        self._chat.ask(_text(content, "text", _LONGEST_PROMPT))

    def _retry(self, content: Content) -> None:
        prompt = self._chat.feed.prompt(str(content.get("turn")))
        if prompt:
            self._chat.send_prompt(prompt)

    def _focus(self, content: Content) -> None:
        session = self._chat.shown
        if session.state in ASLEEP and session.turns:
            start(session)

    def _model(self, content: Content) -> None:
        self._chat.shown.use_model(_text(content, "name") or None)
        self._chat.feed.look()

    def _sessions(self, content: Content) -> None:
        self._chat.list_sessions()

    def _switch(self, content: Content) -> None:
        self._chat.show(self._chat.manager.existing(_text(content, "name")))

    def _new(self, content: Content) -> None:
        self._chat.show(self._chat.manager.new(_text(content, "name")))

    def _rename(self, content: Content) -> None:
        self._chat.manager.rename(self._chat.shown.name, _text(content, "name"))
        self._chat.feed.look()

    def _fork(self, content: Content) -> None:
        name = _text(content, "name") or None
        self._chat.show(self._chat.manager.fork(self._chat.shown.name, name))

    def _archive(self, content: Content) -> None:
        self._chat.archive()


def _text(content: Content, key: str, most: int = 200) -> str:
    value = content.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"That is too long: {most:,} characters are the most.")
    return value


_AT_ONCE: dict[str, Callable[[Actions, Content], None]] = {
    "stop": Actions._stop,
    "unqueue": Actions._unqueue,
    "decide": Actions._decide,
    "stop_code": Actions._stop_code,
    "more": Actions._more,
}
_IN_THREAD: dict[str, Callable[[Actions, Content], None]] = {
    "hello": Actions._hello,
    "send": Actions._send,
    "retry": Actions._retry,
    "focus": Actions._focus,
    "model": Actions._model,
    "sessions": Actions._sessions,
    "switch": Actions._switch,
    "new": Actions._new,
    "rename": Actions._rename,
    "fork": Actions._fork,
    "archive": Actions._archive,
}
