"""Follow a session for the chats that show it: its record, and all its turns, wherever they were asked.

One feed serves all chats of a session, with a thread that lives while there are any. The thread is told by
the session and its turns that something has changed, looks at what there is now, and tells each chat the
difference, no more often than a page can draw and a Jupyter server lets pass.
"""

from __future__ import annotations

import hashlib
import html
import json
import logging
import secrets
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from claude_nb.asking.parts import seen
from claude_nb.chat.head import head
from claude_nb.chat.log import ChatLog, Entry, Op
from claude_nb.chat.past import PastTurn, past_turns
from claude_nb.chat.turns import Shown, TurnView, entries_of, entries_or_failure
from claude_nb.render.html import notice_html
from claude_nb.render.html_answer import answer_html
from claude_nb.render.throttle import KERNEL_BUDGET, Throttle

if TYPE_CHECKING:
    from claude_nb.answers import Answer
    from claude_nb.asking.desk import Pending
    from claude_nb.kernel.execute import Execution
    from claude_nb.session import Session
    from claude_nb.turn import Turn

log = logging.getLogger(__name__)

# So many turns are read from the record at a time: some screens full.
_PAGE = 30
# So many are kept; older ones are read from the record again when somebody wants to see them.
_MOST_TURNS = 300
# States that change without an event, such as a turn that says nothing, are looked at this often; a page that
# hears nothing for some more time than this knows that the kernel has gone.
_HEARTBEAT = 1.0
# An update costs its message as well as what is in it.
_GAP = 0.1
# After a failure; doubled each time that there is another at once.
_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class Listener(Protocol):
    """A chat. Called in the feed's thread, or in the one that asks the feed to tell it.

    `patch` and `restarted` come in the order of what they tell. They only pass it on: they are waited for.
    """

    def patch(self, change: dict[str, Any]) -> None:
        """The log has changed: `feed`, `rev` (the number of its state now), `ops`, `more` (earlier turns)."""

    def restarted(self, snapshot: dict[str, Any]) -> None:
        """The log may have changed in a way that was not told: this is all of it."""

    def head_changed(self, head: dict[str, Any]) -> None:
        """What stands around the log has changed."""

    def beat(self) -> None:
        """The session is at work, and there is nothing else to tell."""

    def turns_changed(self) -> None:
        """A turn is over, or earlier ones were read."""


# The `feed` and the `rev` of what a chat was told last.
Known = tuple[object, object] | None


class _Earlier(NamedTuple):
    """A page of the record of that conversation, and whether there is more before it."""

    conversation: str
    turns: list[PastTurn]
    entries: list[tuple[str, list[Entry]]]
    more: bool


class Feed:
    """What the chats of one session show."""

    def __init__(self, session: Session) -> None:
        self.session = session
        # The page tells by it which session an operation belongs to.
        self.id = secrets.token_hex(4)
        self.rev = 0
        self.more = False
        self._log = ChatLog()
        self._live: dict[str, TurnView[Turn]] = {}
        # Turns that are over, but for what they sent to the background.
        self._going_on: set[str] = set()
        self._turns: dict[str, Shown] = {}
        self._turns_changed = False
        self._new: deque[Turn] = deque()
        # Commands that were typed and what they answered, to be shown.
        self._answers: deque[Entry] = deque()
        self._listeners: list[Listener] = []
        self._head: dict[str, Any] = {}
        # Those who were told of it: the very list, which is another one when somebody joins.
        self._know_head: list[Listener] = self._listeners
        self._told_at = 0.0
        # Held also while the log is told, so that nobody is told an earlier state after a later one.
        self._lock = threading.RLock()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._wants_earlier = False
        self._room = _MOST_TURNS
        self._usage: dict[str, str] = {}
        self._begun_anew = session.conversation.begun_anew

    def __repr__(self) -> str:
        return f"<Feed of {self.session.name!r}, {len(self._log)} turns, {len(self._listeners)} chats>"

    # -- from any thread ----------------------------------------------------------------------

    def subscribe(self, listener: Listener, known: Known = None) -> None:
        """From now on, until `unsubscribe`; what it does not know yet is told at once."""
        with self._lock:
            self._listeners = [*self._listeners, listener]
            if self._thread is None:
                self._start()
            self.tell_all(listener, known)
        self.look()

    def unsubscribe(self, listener: Listener) -> None:
        """No more of the log from now on; what stands around it may be told once more."""
        with self._lock:
            self._listeners = [other for other in self._listeners if other is not listener]
        self.look()

    def tell_all(self, listener: Listener, known: Known = None) -> None:
        """Tell it the whole log, unless it knows this one in its state of now."""
        with self._lock:
            if known != (self.id, self.rev):
                listener.restarted(self.snapshot())

    def look(self) -> None:
        """Something may have changed."""
        self._changed.set()

    def answer(self, command: str, answer: Answer, **more: Any) -> None:
        """Show a command that a person gave and what came of it, below all that is there.

        `more` is for the page: `undo` is the name of a session that was archived.
        """
        turn = f"command-{secrets.token_hex(6)}"
        said = f'<div class="cnb-typed">{html.escape(seen(command))}</div>'
        self._answers.append(Entry(f"{turn}/answer", turn, "answer", said + answer_html(answer), more=more))
        self.look()

    def show_earlier(self) -> None:
        """Read more of the record."""
        self._wants_earlier = True
        self.look()

    def snapshot(self) -> dict[str, Any]:
        """The whole log as it was told so far."""
        with self._lock:
            entries = [entry.state() for entry in self._log.entries()]
            return {"feed": self.id, "rev": self.rev, "entries": entries, "more": self.more}

    @property
    def turns(self) -> list[Shown]:
        """What is shown, the first one first."""
        with self._lock:
            return [self._turns[turn] for turn in self._log.turns if turn in self._turns]

    @property
    def head(self) -> dict[str, Any]:
        """What stands around the log now."""
        return {**head(self.session), "usage": " \u00b7 ".join(filter(None, self._usage.values()))}

    def pending(self, entry: str) -> Pending | None:
        """The open question that an entry shows."""
        with self._lock:
            found = (view.pending(entry) for view in self._live.values())
            return next((pending for pending in found if pending is not None), None)

    def prompt(self, turn: str) -> str:
        """What was asked in a turn that is shown, of this kernel or an earlier one; empty if it is not."""
        with self._lock:
            known = self._turns.get(turn)
            return known.prompt if known is not None else ""

    def execution(self, entry: str) -> Execution | None:
        """The running code that an entry offers to stop."""
        with self._lock:
            found = (view.execution(entry) for view in self._live.values())
            return next((execution for execution in found if execution is not None), None)

    # -- called by the session, in its thread --------------------------------------------------

    def _follow(self, turn: Turn) -> None:
        # A prompt that was not sent in the end is shown, to be offered again.
        if turn.done() or turn is self.session.running or not turn.prompt:
            self._new.append(turn)
        self.look()

    def _on_state(self, _change: Any) -> None:
        self.look()

    # -- the thread ---------------------------------------------------------------------------

    def _start(self) -> None:
        """With the lock: begin to follow the session, from its record on."""
        conversation = self.session.conversation
        # What happened while nobody looked is not in what was told before.
        self.id, self.rev, self._begun_anew = secrets.token_hex(4), 0, conversation.begun_anew
        self._log.clear()
        self._turns.clear()
        self._new.clear()
        self.session.followers.append(self._follow)
        self.session.observe(self._on_state, "state")
        going_on = [*conversation.attribution.tasks.values(), conversation.working, self.session.running]
        self._new += [turn for turn in going_on if turn is not None]
        self._wants_earlier = self.session.turns > 0
        self._thread = threading.Thread(target=self._run, name="claude_nb_chat", daemon=True)
        self._thread.start()

    def _is_over(self) -> bool:
        """Nobody listens: the session is not followed any more."""
        with self._lock:
            if self._listeners:
                return False
            self.session.followers.remove(self._follow)
            self.session.unobserve(self._on_state, "state")
            for key in list(self._live):
                self._let_go(key)
            self._thread = None
            return True

    def _run(self) -> None:
        throttle = Throttle(time.monotonic(), KERNEL_BUDGET)
        failures = 0
        while True:
            self._changed.wait(_HEARTBEAT)
            self._changed.clear()
            if self._is_over():
                return
            try:
                length = self._step()
                failures = 0
            except Exception as error:
                log.exception("the chat of %r failed and goes on", self.session.name)
                self._failed(error)
                # What fails each time must not keep the kernel busy.
                time.sleep(min(_PAUSE * 2**failures, _LONGEST_PAUSE))
                failures += 1
                continue
            if length:
                now = time.monotonic()
                for _ in self._listeners[1:]:  # each chat is told in a message of its own
                    throttle.sent(now)
                time.sleep(max(_GAP, throttle.due(now, length)))

    def _failed(self, error: Exception) -> None:
        """Say so, once for each kind of failure, and tell all anew: some change may have been lost."""
        words = f"claude_nb failed in this chat: {error!r}. It goes on; please report this."
        with self._lock:
            turn = f"failure-{hashlib.sha256(words.encode()).hexdigest()[:16]}"
            self._log.update(turn, [Entry(f"{turn}/notice", turn, "notice", notice_html(words, "error"))])
            self.rev += 1
            self._tell(self._listeners, lambda listener: listener.restarted(self.snapshot()))

    def _tell(self, listeners: list[Listener], tell: Callable[[Listener], None]) -> None:
        """Each one alone: what an observer of one chat does wrong is no affair of the others."""
        for listener in listeners:
            try:
                tell(listener)
            except Exception:
                log.exception("a chat of %r could not be told what has changed", self.session.name)

    def _step(self) -> int:
        """Look at all that may have changed and tell it; the length of what was told."""
        earlier = self._read_earlier()
        with self._lock:
            ops = [*self._forgotten(), *self._begun(), *self._grown(), *self._answered()]
            ops += [*self._earlier(earlier), *self._too_old()]
            listeners = self._listeners
            if ops:
                self.rev += 1
                change = {"feed": self.id, "rev": self.rev, "ops": ops, "more": self.more}
                self._tell(listeners, lambda listener: listener.patch(change))
            turns_changed, self._turns_changed = self._turns_changed, False
        if turns_changed:
            self._tell(listeners, lambda listener: listener.turns_changed())
        self._tell_head(listeners)
        now = time.monotonic()
        if ops:
            self._told_at = now
        elif self._head["state"] in ("busy", "waiting") and now - self._told_at > _HEARTBEAT / 2:
            self._told_at = now
            self._tell(listeners, lambda listener: listener.beat())
        return len(json.dumps(ops)) if ops else 0

    def _begun(self) -> list[Op]:
        while self._new:
            turn = self._new.popleft()
            if turn.id not in self._live and turn.id not in self._log:
                turn.followers.append(self.look)
                self._live[turn.id] = TurnView(turn)
                self._turns[turn.id] = turn
        return []

    def _answered(self) -> list[Op]:
        ops: list[Op] = []
        while self._answers:
            entry = self._answers.popleft()
            ops += self._log.update(entry.turn, [entry])
        return ops

    def _grown(self) -> list[Op]:
        ops: list[Op] = []
        for key, view in list(self._live.items()):
            ended = view.turn.reply is not None  # asked first: it may end while it is looked at
            over = ended and view.turn not in list(self.session.conversation.attribution.tasks.values())
            ops += self._log.update(key, entries_or_failure(view))
            if ended and key not in self._going_on:
                self._going_on.add(key)
                self._note_usage(view.turn)
                self._turns_changed = True
            if over:
                self._let_go(key)
                self._turns_changed = True
        return ops

    def _let_go(self, key: str) -> None:
        """The turn changes no more."""
        self._live.pop(key).turn.followers.remove(self.look)
        self._going_on.discard(key)

    def _note_usage(self, turn: Turn) -> None:
        """How full the context is, once Claude Code has said it, and what the session has cost."""

        def told(answer: Future[str | None]) -> None:
            if answer.exception() is None and (fill := answer.result()):  # Claude Code may be too old
                self._usage = {"context": fill, "cost": self._usage.get("cost", "")}
                self.look()

        if turn.reply is not None and turn.reply.cost_usd:
            self._usage["cost"] = f"${self.session.conversation.spending.total:.2f}"
        self.session.portal.run(self.session.context_fill()).add_done_callback(told)

    def _read_earlier(self) -> _Earlier | None:
        """What somebody wants to see of the record; reading takes a while, so nobody waits for the log."""
        if not self._wants_earlier:
            return None
        self._wants_earlier = False
        known, conversation = self._log.turns, self.session.id
        turns = past_turns(self.session, but=self._live, most=len({*known, *self._live}) + _PAGE + 1)
        places = [place for place, turn in enumerate(turns) if turn.id in known]
        before = turns[: places[0]] if places else turns
        page = before[-_PAGE:]
        return _Earlier(conversation, page, entries_of(page), len(before) > _PAGE)

    def _earlier(self, read: _Earlier | None) -> list[Op]:
        if read is None or read.conversation != self.session.id:
            return []
        self.more = read.more
        # What somebody wanted to see must not be too old at once.
        self._room = max(_MOST_TURNS, len(self._log) + 2 * _PAGE)
        self._turns = {turn.id: turn for turn in read.turns} | self._turns
        self._turns_changed = True
        return self._log.put_before(read.entries)

    def _too_old(self) -> list[Op]:
        ops: list[Op] = []
        while len(self._log) > self._room and self._log.turns[0] not in self._live:
            ops += self._drop(self._log.turns[0])
            self.more = True
        return ops

    def _forgotten(self) -> list[Op]:
        """The session's conversation was started afresh."""
        before, self._begun_anew = self._begun_anew, self.session.conversation.begun_anew
        if self._begun_anew == before:
            return []
        self.more = False
        self._usage = {}
        for key in [key for key, view in self._live.items() if view.turn.done()]:
            self._let_go(key)
        return [op for turn in self._log.turns if turn not in self._live for op in self._drop(turn)]

    def _drop(self, turn: str) -> list[Op]:
        self._turns.pop(turn, None)
        self._turns_changed = True
        return self._log.drop(turn)

    def _tell_head(self, listeners: list[Listener]) -> None:
        now = self.head
        if now != self._head or listeners is not self._know_head:
            self._head, self._know_head = now, listeners
            self._tell(listeners, lambda listener: listener.head_changed(now))


# By the id of the session's object, which lives as long as its feed.
_feeds: weakref.WeakValueDictionary[int, Feed] = weakref.WeakValueDictionary()
_finding = threading.Lock()


def feed_of(session: Session) -> Feed:
    """The one feed of a session."""
    with _finding:
        feed = _feeds.get(id(session))
        if feed is None:
            feed = _feeds[id(session)] = Feed(session)
        return feed
