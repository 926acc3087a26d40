"""ChatWidget: a session as a panel in the notebook.

What survives a page's reload is in its traits. The messages are in `log`, which is changed in place without
being told, since it is long: a page gets all of it once, with the widget, and then the operations that
change it, numbered; where one is missing it asks for all again (`static/chat.js` tells the protocol).
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from claude_nb.asking.card import deafen
from claude_nb.chat.actions import Actions
from claude_nb.chat.feed import Feed, feed_of
from claude_nb.chat.head import state_of
from claude_nb.chat.saved import SavedChat, view_bundle
from claude_nb.chat.steering import steer
from claude_nb.kernel.surroundings import Stage
from claude_nb.losing import refuse_to_lose
from claude_nb.names import quoted
from claude_nb.prompt_line import parse_prompt
from claude_nb.render.html import code_css

if TYPE_CHECKING:
    from claude_nb.overview import SessionInfo
    from claude_nb.session import Session
    from claude_nb.session_manager import SessionManager
    from claude_nb.turn import Turn

log = logging.getLogger(__name__)

_STATIC = Path(__file__).resolve().parents[1] / "static"


def _script() -> str:
    """The question card's own front end, which shows the questions in a chat too, and the chat's."""
    card = (_STATIC / "card.js").read_text().rpartition("export default")[0]
    return card + (_STATIC / "chat.js").read_text()


def _style() -> str:
    return "\n".join(
        [
            (_STATIC / "card.css").read_text(),
            (_STATIC / "chat.css").read_text(),
            code_css(".cnb-chat .cnb-code"),
        ]
    )


class ChatWidget(anywidget.AnyWidget):
    """Chat with the session of that name, made if there is none; without a name the current one.

    `session` may be set to show another one. What the page shows besides the messages may be observed:
    `state` (waiting, busy, idle, suspended, dead), `status`, `model`, `queued`, `usage`, `banner`.
    """

    _esm = _script()
    _css = _style()

    session = traitlets.Unicode().tag(sync=True)
    state = traitlets.Unicode("idle").tag(sync=True)
    status: Any = traitlets.Dict().tag(sync=True)
    model = traitlets.Unicode().tag(sync=True)
    models: Any = traitlets.List().tag(sync=True)
    sessions: Any = traitlets.List().tag(sync=True)
    record = traitlets.Unicode().tag(sync=True)
    queued: Any = traitlets.List().tag(sync=True)
    usage = traitlets.Unicode().tag(sync=True)
    banner = traitlets.Unicode().tag(sync=True)
    log: Any = traitlets.Dict().tag(sync=True)
    nonce = traitlets.Unicode().tag(sync=True)

    def __init__(
        self, session: str | None = None, *, manager: SessionManager | None = None, **kwargs: Any
    ) -> None:
        import claude_nb

        self.manager = manager if manager is not None else claude_nb.manager()
        self.shown: Session = self.manager.session(session)
        self.feed: Feed = feed_of(self.shown)
        # Held while another session comes to be shown, and while what a feed tells of its session is set.
        self._showing = threading.RLock()
        around = self.manager.surroundings
        around.prepare()
        # What code that Claude runs for this chat displays stands below it.
        self._stage = Stage("chat", True, around.stage().place)
        self._actions = Actions(self)
        self._saved = SavedChat()
        super().__init__(nonce=secrets.token_urlsafe(16), session=self.shown.name, **kwargs)
        self.comm_id: str = self.model_id
        self.on_msg(lambda _widget, content, _buffers: self._actions.take(content))
        if around.early is not None:
            around.early.register(self.comm_id, lambda data, _: self.receive(data))
        self.observe(self._on_session, "session")
        self.list_sessions()
        self.head_changed(self.feed.head)
        self.feed.subscribe(self, known=(self.log.get("feed"), self.log.get("rev")))

    def __repr__(self) -> str:
        return f"ChatWidget({self.session!r})"

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Called by IPython to display the chat: the panel, and what is saved of it."""
        self._show(self._repr_mimebundle_(**kwargs))

    def show_in(self, box: Any) -> None:
        """Display a widget that holds the chat, such as a `VBox`; the notebook keeps the transcript."""
        self._show(box._repr_mimebundle_())

    def _show(self, bundle: Any) -> None:
        from IPython.display import display

        display(view_bundle(bundle[0] if isinstance(bundle, tuple) else bundle), raw=True)
        stage = self.manager.surroundings.stage()
        self._stage = replace(self._stage, place=stage.place)
        with self.shown.unrecorded():
            self._saved.show(self.shown.name, stage.place)
        if stage.someone:  # else only the first display counts, which is equal in each run
            self.turns_changed()

    def ask(self, text: str) -> Turn | None:
        """Send a prompt as if it had been typed here; a `/command` of ours is carried out, which is no turn.

        Raises `Mistake` for a command that nobody knows.
        """
        request = parse_prompt(text)
        if request.new:
            refuse_to_lose(self.manager, [self.shown], "begun anew", force=request.force)
            self.manager.wait_until_stopped(self.shown, self.shown.new_conversation())
            self.feed.look()
            if not request.prompt.strip():
                return None
        if request.command is not None and steer(self, request):
            return None
        return self.send_prompt(request.prompt)

    def send_prompt(self, prompt: str) -> Turn:
        """Send a prompt to Claude as it is."""
        return self.shown.ask(prompt, stage=self._stage)

    def show(self, session: Session) -> None:
        """Show another session from now on."""
        with self._showing:
            if session is self.shown:
                return
            self.feed.unsubscribe(self)
            self.shown, self.feed = session, feed_of(session)
            self.head_changed(self.feed.head)
            self.feed.subscribe(self)
        self.list_sessions()
        self.turns_changed()

    def receive(self, data: Mapping[str, Any]) -> None:
        """Take the data of a comm message, in whatever thread; the page cannot change the state."""
        if isinstance(data, Mapping) and data.get("method") == "custom":
            self._actions.take(data.get("content"))

    def close(self) -> None:
        """Take the chat off every page; what was said there may still come. The session goes on."""
        if self.comm is not None:
            self.feed.unsubscribe(self)
            self._actions.close()
            if self.manager.surroundings.early is not None:
                self.manager.surroundings.early.unregister(self.comm_id)
            self.layout.close()
            super().close()
            deafen(self.comm_id)

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Called by ipywidgets; the messages are as the page is told of them."""
        if getattr(self, "feed", None) is not None:
            self._trait_values["log"] = self.feed.snapshot()
        state: dict[str, Any] = super().get_state(*args, **kwargs)
        return state

    def later(self, function: Callable[[], object]) -> None:
        """Do it soon in the portal's thread: what reads the kernel's socket must not write to it."""
        with contextlib.suppress(RuntimeError):  # the manager has ended
            self.manager.portal.call(function)

    def archive(self, *, force: bool = False) -> None:
        """Archive the session that is shown and go on with the one that `%claude` talks to."""
        refuse_to_lose(self.manager, [self.shown], "archived", force=force)
        name = self.shown.name
        self.manager.archive(name)
        self.show(self.manager.session())
        words = f"{name} is archived; this is {self.shown.name}. `/switch {quoted(name)}` brings it back."
        self.feed.answer("/archive", words, undo=name)

    def list_sessions(self) -> None:
        """Look which sessions there are now."""
        mine = {session.name: session for session in self.manager.sessions.values()}
        self.sessions = [
            {
                "name": info.name,
                "state": state_of(mine[info.name]) if info.name in mine else _elsewhere(info),
                "words": info.state,
                "current": info.name == self.shown.name,
            }
            for info in self.manager.overview()
        ]

    # -- called by the feed, mostly in its thread ----------------------------------------------

    def patch(self, change: dict[str, Any]) -> None:
        """The messages have changed."""
        self.send({"kind": "patch", **change})

    def beat(self) -> None:
        """The session is at work."""
        self.send({"kind": "beat"})

    def restarted(self, snapshot: dict[str, Any]) -> None:
        """These are all messages, whatever was told of them."""
        self.send({"kind": "all", **snapshot})

    def head_changed(self, head: dict[str, Any]) -> None:
        """What stands around them has changed; what comes late, of a session shown before, is left out."""
        with self._showing, self.hold_sync():
            if head["record"] != self.shown.record.id:
                return
            for name, value in head.items():
                try:
                    setattr(self, name, value)
                except Exception:  # of an observer; the value is set
                    log.exception("an observer of %r in a chat failed", name)

    def turns_changed(self) -> None:
        """A turn is over, or earlier ones were read."""
        with self.shown.unrecorded():
            self._saved.update(self.shown.name, self.feed.turns)

    # -- the front end -------------------------------------------------------------------------

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        """Called by ipywidgets with each message of the page: it may ask and tell, not set."""
        if msg["content"]["data"].get("method") != "update":
            super()._handle_msg(msg)

    def _on_session(self, change: Any) -> None:
        """Another session is to be shown, unless this one has only got another name."""
        if change["new"] == self.shown.name:
            self.list_sessions()
            return
        try:
            shown = self.manager.session(change["new"])
        except Exception:
            self.session = self.shown.name
            raise
        self.show(shown)


def _elsewhere(info: SessionInfo) -> str:
    if info.working:
        return "busy"
    return "idle" if info.state.startswith("in use") else "suspended"
