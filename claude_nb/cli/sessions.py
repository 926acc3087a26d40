"""`jupyter claude sessions`: the sessions of all kernels, as the server's API has them, without a kernel."""

from __future__ import annotations

import argparse
import json
import time

from claude_nb.answers import Table
from claude_nb.errors import ClaudeNbError
from claude_nb.everywhere import SessionRow, as_dicts, look
from claude_nb.registry import Registry
from claude_nb.render.tables import as_text
from claude_nb.words import ago, duration, megabytes

HEADER = ("name", "state", "model", "persona", "turns", "last active", "kernel", "memory", "CPU", "folder")
WORDS = {"asking": "waiting for you", "orphaned": "left behind", "unused": "never used"}


def run(arguments: argparse.Namespace) -> int:
    """Print them; nothing is started, claimed or written."""
    try:
        rows = look(Registry.default(), archived=arguments.all)
    except OSError as error:
        raise ClaudeNbError(f"The session records cannot be read: {error}") from None
    if arguments.json:
        print(json.dumps(as_dicts(rows), indent=2))
    elif rows:
        print(as_text(table(rows, time.time())))
    else:
        print("There are no sessions. The first `%claude` prompt in a notebook makes one.")
    return 0


def table(rows: list[SessionRow], now: float) -> Table:
    """The rows as a reader wants them."""
    orphans = any(row.state == "orphaned" for row in rows)
    notes = ["`jupyter claude sweep` ends what was left behind."] if orphans else []
    return Table(HEADER, [_cells(row, now) for row in rows], notes)


def _cells(row: SessionRow, now: float) -> list[str]:
    return [
        row.name,
        _state(row, now),
        row.model or "",
        row.agent or "",
        str(row.turns),
        ago(now - row.last_activity),
        "" if row.kernel is None else str(row.kernel),
        "" if row.memory is None else megabytes(row.memory),
        "" if row.cpu is None else f"{row.cpu:.1f} s",
        row.folder,
    ]


def _state(row: SessionRow, now: float) -> str:
    if row.state in ("busy", "idle"):
        return f"{row.state} {duration(now - row.since)}"
    if row.state == "suspended":
        return f"suspended {duration(now - row.last_activity)}"
    return WORDS.get(row.state, row.state)
