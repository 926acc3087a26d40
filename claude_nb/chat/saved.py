"""What stays of a chat in the notebook: its transcript, below the panel, for where the panel does not run.

A saved widget needs its kernel; without it a page shows an error or "Loading widget...". So a chat is
displayed as two outputs: the panel, and static HTML that is updated after each turn. A style that the second
one brings hides it while the panel is alive beside it, else what stands in the panel's place. Where styles
are taken out (GitHub, notebooks that are not trusted) the panel is not shown either, but its empty HTML.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from claude_nb.chat.past import PastTurn
from claude_nb.render.html import Entry, transcript_html

if TYPE_CHECKING:
    from claude_nb.chat.turns import Shown
    from claude_nb.kernel.place import Place

_ALIVE = ".jp-OutputArea:has(.cnb-chat) .jp-OutputArea-child:has(.cnb-saved)"
# What stands just before the transcript; JupyterLab gives it no mark of its own while it waits for a kernel.
_DEAD = ".jp-OutputArea-child:not(:has(.cnb-chat)):has(+ .jp-OutputArea-child .cnb-saved)"
_STYLE = f"<style>{_ALIVE}, {_DEAD} {{display: none}}</style>"
# So many turns, and no more than so many characters of them: the notebook's file holds it.
_TURNS = 30
_LARGEST = 500_000


class SavedChat:
    """The static side of one chat, in each cell where it was displayed."""

    def __init__(self) -> None:
        self._shown: list[tuple[str, Place]] = []
        self._last = ""
        # The turns that have ended, so that each is rendered once.
        self._entries: dict[str, Entry] = {}

    def show(self, name: str, place: Place | None) -> None:
        """A first, empty one; what was said before comes with the first update."""
        if place is not None:
            display_id = uuid.uuid4().hex
            place.publish(_bundle(name, ""), display_id=display_id)
            self._shown.append((display_id, place))
            self._last = ""

    def update(self, name: str, turns: Sequence[Shown]) -> None:
        """These are the chat's turns now."""
        html = self._html(turns) if self._shown else ""
        if html != self._last:
            self._last = html
            for display_id, place in self._shown:
                place.publish(_bundle(name, html), display_id=display_id, update=True)

    def _html(self, turns: Sequence[Shown]) -> str:
        """The transcript of the last turns."""
        kept = [self._entry(turn) for turn in turns[-_TURNS:]]
        while len(html := transcript_html(kept)) > _LARGEST and len(kept) > 1:
            kept = kept[len(kept) // 2 :]
        if len(kept) < len(turns):
            html = f"<p><i>Earlier turns: {len(turns) - len(kept)}. The session has them.</i></p>{html}"
        return html

    def _entry(self, turn: Shown) -> Entry:
        if turn.id in self._entries:
            return self._entries[turn.id]
        entry = Entry.of(turn.reply) if turn.reply is not None else Entry(turn.prompt, turn.blocks)
        if turn.reply is not None or isinstance(turn, PastTurn):
            while len(self._entries) >= _TURNS:
                self._entries.pop(next(iter(self._entries)))
            self._entries[turn.id] = entry
        return entry


def view_bundle(bundle: dict[str, Any]) -> dict[str, Any]:
    """How the panel is displayed: where it cannot be, as nothing rather than as its name."""
    return {**bundle, "text/html": "<!-- a chat; its transcript follows -->"}


def _bundle(name: str, html: str) -> dict[str, Any]:
    return {
        "text/html": f'<div class="cnb-saved">{_STYLE}{html}</div>',
        "text/plain": f"The transcript of the chat with {name!r}",
    }
