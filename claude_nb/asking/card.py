"""The card that asks: a widget with buttons, below the cell that waits for the answer.

What it shows was made in `shown`; what the front end may say to it is listed in `static/card.js`. A message
counts once, by its id, since it may come twice: early, while a cell keeps the kernel busy, and by the normal
route afterwards. It must carry the nonce of the card's own state, so that a script that got into the page
by some other way cannot answer blindly. Handlers may run in any thread, so `on_event` should only enqueue.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anywidget
import traitlets
from comm import get_comm_manager
from IPython.display import DisplayHandle

from claude_nb.asking.parts import Choice, choices, form, one_line, seen, title
from claude_nb.asking.question import Decision, Question, Verdict
from claude_nb.asking.shown import about, card_html, outcome, tag
from claude_nb.asking.typed import typed

EventKind = Literal["drawn", "decision", "stop", "here"]

_STATIC = Path(__file__).resolve().parents[1] / "static"
_ID_LENGTH = 100


@dataclass(frozen=True)
class Event:
    """What came from the front end.

    `drawn`: a person can see the card. `here`: a person touches it. `stop`: they want the running code to
    end. `decision`: they answered; only then is there a `decision`.
    """

    kind: EventKind
    decision: Decision | None = None


class QuestionCard(anywidget.AnyWidget):
    """One question to a person, answered at most once.

    `phase` is "asking", "answered", "running" (with a Stop button) or "ended".
    """

    _esm = _STATIC / "card.js"
    _css = _STATIC / "card.css"

    phase = traitlets.Enum(("asking", "answered", "running", "ended"), "asking").tag(sync=True)
    outcome = traitlets.Unicode().tag(sync=True)
    nonce = traitlets.Unicode().tag(sync=True)
    form = traitlets.Unicode().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)
    tag = traitlets.Unicode().tag(sync=True)
    body = traitlets.Unicode().tag(sync=True)
    rule = traitlets.Unicode().tag(sync=True)
    choices: Any = traitlets.List().tag(sync=True)

    def __init__(self, question: Question, on_event: Callable[[Event], None]) -> None:
        self.question = question
        self.decision: Decision | None = None
        self._on_event = on_event
        self._lock = threading.Lock()
        self._known_ids: set[str] = set()
        self._answered = False
        super().__init__(
            nonce=secrets.token_urlsafe(16),
            form=form(question),
            title=title(question),
            tag=tag(question),
            body=card_html(question),
            rule=seen(question.rule or ""),
            choices=[choice_state(choice) for choice in choices(question)],
        )
        self.comm_id: str = self.model_id
        self.on_msg(lambda _widget, content, _buffers: self._take(content))

    def __repr__(self) -> str:
        return f"<QuestionCard {self.phase}: {one_line(self.question.tool)} {about(self.question)}>"

    def receive(self, data: Mapping[str, Any]) -> None:
        """Take the data of a comm message, in whatever thread; the page cannot change the state."""
        if isinstance(data, Mapping) and data.get("method") == "custom":
            self._take(data.get("content"))

    def settle(self, decision: Decision) -> None:
        """Show what was decided, by whomever; the buttons go."""
        with self._lock:
            self._answered = True
            self.decision = decision
        with self.hold_sync():
            self.outcome = outcome(self.question, decision)
            self.body = card_html(self.question, masked=True)
            self.phase = "answered"

    def close(self) -> None:
        """Take the card off every page; what a page has said until then may still come."""
        if self.comm is not None:
            self.layout.close()
            super().close()
            deafen(self.comm_id)

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        """Called by ipywidgets with each message of the front end: it may ask and tell, not set."""
        if msg["content"]["data"].get("method") != "update":
            super()._handle_msg(msg)

    def _take(self, content: object) -> None:
        if not isinstance(content, Mapping) or content.get("nonce") != self.nonce:
            return
        event = self._event(content)
        if event is not None and self._is_new(content.get("id"), event):
            self._on_event(event)

    def _event(self, content: Mapping[str, Any]) -> Event | None:
        """What a message means, None where it makes no sense."""
        kind: Any = content.get("kind")
        if kind == "decision":
            decision = decision_on(self.question, content) if self.phase == "asking" else None
            return Event("decision", decision) if decision else None
        if kind == "stop" and self.phase != "running":
            return None
        return Event(kind) if kind in ("drawn", "here", "stop") else None

    def _is_new(self, id: object, event: Event) -> bool:
        """A message counts once; so does an answer, also from another page that shows this card."""
        if not isinstance(id, str) or not 0 < len(id) <= _ID_LENGTH:
            return False
        with self._lock:
            if id in self._known_ids or (event.decision and self._answered):
                return False
            self._known_ids.add(id)
            self._answered = self._answered or event.decision is not None
            return True


def decision_on(question: Question, content: Mapping[str, Any]) -> Decision | None:
    """What a page has said about a question; None where that is no answer to it."""
    verdict: Verdict
    kind = form(question)
    match content.get("verdict"):
        case "deny":
            reason = content.get("reason")
            return Decision("deny", typed(reason) if isinstance(reason, str) else "", by="card")
        case "once":
            verdict = "once"
        case "always" if kind == "permission" and question.rule:
            verdict = "always"
        case _:
            return None
    if kind != "choices":
        return Decision(verdict, by="card")
    answers = _answers(choices(question), content.get("answers"))
    return Decision(verdict, answers=answers, by="card") if answers else None


def deafen(comm_id: str) -> None:
    """Take what comes for a closed widget's comm, and do nothing with it."""
    get_comm_manager().register_comm(_Deaf(comm_id))  # type: ignore[arg-type]


class _Deaf:
    """Takes the place of a closed widget's comm: the normal route would complain in the cell that runs."""

    target_name = "claude_nb.closed"

    def __init__(self, comm_id: str) -> None:
        self.comm_id = comm_id

    def handle_msg(self, message: Any) -> None:
        """Called by the comm manager with what comes late."""

    handle_close = handle_msg


class CardHandle(DisplayHandle):
    """The display of a card."""

    def __init__(self, card: QuestionCard) -> None:
        super().__init__()
        self.card = card


def show_card(card: QuestionCard) -> CardHandle:
    """Display a card where output goes now."""
    handle = CardHandle(card)
    handle.display(card)
    return handle


def swap(handle: CardHandle, markdown: str) -> None:
    """Put static Markdown in the card's place and close the card: a saved widget needs its kernel."""
    handle.update({"text/markdown": markdown}, raw=True)
    handle.card.close()


def choice_state(choice: Choice) -> dict[str, Any]:
    """One question with its options, for the page."""
    return {
        "question": seen(choice.question),
        "header": one_line(choice.header),
        "several": choice.several,
        "options": [
            {"label": one_line(option.label), "description": seen(option.description)}
            for option in choice.options
        ],
    }


def _answers(asked: list[Choice], given: object) -> dict[str, str]:
    """By question, from `{"0": {"picked": [1], "other": "text"}}`; empty unless all are answered."""
    if not isinstance(given, Mapping):
        return {}
    found = {choice.question: _answer(choice, given.get(str(i))) for i, choice in enumerate(asked)}
    return found if all(found.values()) else {}


def _answer(choice: Choice, given: object) -> str:
    if not isinstance(given, Mapping):
        return ""
    picked, other = given.get("picked"), given.get("other")
    numbers = [n for n in picked if type(n) is int] if isinstance(picked, list) else []
    labels = [choice.options[n].label for n in dict.fromkeys(numbers) if 0 <= n < len(choice.options)]
    labels += [typed(other)] if isinstance(other, str) and typed(other) else []
    return ", ".join(labels if choice.several else labels[:1])
