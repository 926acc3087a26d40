"""The MCP servers of a session: for which Claude Code waits, and without which Claude has to do.

Claude Code takes up the first prompt of a process when each server has answered or has had half a minute;
its first word, which names them all, comes after that.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from claude_nb.flag import Flag
from claude_nb.notices import server_notice
from claude_nb.reply import NoticeBlock

log = logging.getLogger(__name__)

Ask = Callable[[], Awaitable[Mapping[str, Any]]]

# Seconds. A server that works has answered before; then the person may want to know.
_QUIET = 2.0
# Claude's view of the notebook, which is no server of the user's.
_OURS = "kernel"


class Reader(Protocol):
    """Who waits for a turn."""

    def done(self) -> bool:
        """The turn has ended."""

    def tell(self, notice: NoticeBlock) -> None:
        """Show it between the turn's blocks."""

    def note(self, activity: str) -> None:
        """Show it where the turn says what goes on."""


class Servers:
    """Of one session; used in the portal's loop. `states` are words for `/status`, by name."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        # Those that the reader of a turn has been told about, in this process.
        self._told: set[str] = set()
        self._named = Flag()

    def __repr__(self) -> str:
        return f"<Servers: {self.states}>"

    def begin(self) -> None:
        """A process starts."""
        self._told.clear()
        self._named.clear()
        self.states = {}

    def named(self, servers: object, reader: Reader | None) -> bool:
        """Claude Code has named them all, as each turn begins; whether one has failed that had not."""
        self._named.set()
        found = dict(_states(servers))
        self.states = {name: self.states.get(name, state) for name, state in found.items()}
        new = False
        for name, state in found.items():
            notice = server_notice(name, state)
            if notice is None:
                self._told.discard(name)
            elif name not in self._told and reader is not None:
                self._told.add(name)
                reader.tell(notice)
                new = True
        return new

    async def look(self, ask: Ask) -> list[str]:
        """Ask Claude Code how each is, and why; the names of those that it waits for."""
        try:
            servers = (await ask()).get("mcpServers")
        except Exception as error:
            log.info("Claude Code did not say how its MCP servers are: %r", error)
            return []
        self.states = {name: _words(state, server) for (name, state), server in _both(servers)}
        return [name for name, state in _states(servers) if state == "pending"]

    async def name_waited_for(self, ask: Ask, reader: Reader) -> None:
        """As long as nothing comes of a prompt that was written, say for which servers Claude Code waits."""
        noted = False
        while not await self._named.wait_at_most(_QUIET) and not reader.done():
            waited_for = await self.look(ask)
            if waited_for and not self._named.is_set():
                named = " and ".join(f"'{name}'" for name in waited_for)
                reader.note(f"waiting for MCP server{'s' * (len(waited_for) > 1)} {named}")
                noted = True
        if noted:
            reader.note("")


def _both(servers: object) -> Iterable[tuple[tuple[str, str], Mapping[str, Any]]]:
    listed = servers if isinstance(servers, list) else []
    for server in listed:
        if isinstance(server, Mapping) and server.get("name") not in (None, _OURS):
            yield (str(server["name"]), str(server.get("status"))), server


def _states(servers: object) -> list[tuple[str, str]]:
    return [state for state, _ in _both(servers)]


def _words(state: str, server: Mapping[str, Any]) -> str:
    error = " ".join(str(server.get("error") or "").split())
    return f"{state} ({error})" if error else state
