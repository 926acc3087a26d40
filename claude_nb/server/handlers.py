"""`GET /claude-nb/api/sessions`: the sessions of all kernels of this user, for dashboards.

Authenticated and authorized as the server's own API is. The answer is `{"sessions": [...], "server": pid}`;
the fields are those of `everywhere.SessionRow`. `?archived=1` has the archived ones too.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from claude_nb.everywhere import as_dicts, look
from claude_nb.registry import Registry

# A folder on a slow file system; what takes longer is answered with 503.
PATIENCE = 10.0
# The last active ones; all of those with a process.
MOST = 500

Rows = list[dict[str, Any]]


class Lookout:
    """Looks in a thread of its own; who asks while a look is under way gets its answer."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._thread = ThreadPoolExecutor(1, "claude_nb-api")
        self._looks: dict[bool, asyncio.Future[Rows]] = {}

    def __repr__(self) -> str:
        return f"<Lookout over {self._registry!r}>"

    async def rows(self, *, archived: bool) -> Rows:
        """Raises `TimeoutError` after `PATIENCE`, and what reading the folder raises."""
        under_way = self._looks.get(archived)
        if under_way is None or under_way.done():
            loop = asyncio.get_running_loop()
            under_way = self._looks[archived] = loop.run_in_executor(self._thread, self._look, archived)
        return await asyncio.wait_for(asyncio.shield(under_way), PATIENCE)

    def _look(self, archived: bool) -> Rows:
        return as_dicts(look(self._registry, archived=archived, most=MOST))


class SessionsHandler(APIHandler):
    """Made by tornado for each request."""

    auth_resource = "claude_nb"

    def initialize(self, lookout: Lookout) -> None:
        """Called by tornado with what the route says."""
        self._lookout = lookout

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The sessions, or 503 with a reason."""
        archived = self.get_query_argument("archived", "0") in ("1", "true")
        try:
            rows = await self._lookout.rows(archived=archived)
        except TimeoutError:
            raise web.HTTPError(503, reason="The session records could not be read in time") from None
        except OSError as error:
            self.log.warning("claude_nb | the session records cannot be read: %s", error)
            raise web.HTTPError(503, reason="The session records cannot be read") from None
        self.set_header("Cache-Control", "no-store")
        self.finish({"sessions": rows, "server": os.getpid()})
